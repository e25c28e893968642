package portal

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadForm(t *testing.T) {
	const urlencoded = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name, kind, body string
		want             form
		status           int // of the refusal; 0: read
	}{
		{"plain fields are read", urlencoded, "email=a%40b.example&username=Bob%E2%80%99s+Building", form{"email": "a@b.example", "username": "Bob’s Building"}, 0},
		{"a charset that is UTF-8 changes nothing", urlencoded + "; charset=UTF-8", "a=b", form{"a": "b"}, 0},
		{"a field may be empty", urlencoded, "a=&b", form{"a": "", "b": ""}, 0},
		{"no body and no type is the empty form", "", "", form{}, 0},
		{"a field given twice is nobody's guess", urlencoded, "email=a%40b.example&email=c%40d.example", nil, 400},
		{"a field given twice under one spelling and another", urlencoded, "email=a&e%6dail=b", nil, 400},
		{"an array is no field", urlencoded, "email[]=a%40b.example", nil, 400},
		{"a broken escape in a value", urlencoded, "a=%zz", nil, 400},
		{"a broken escape in a name", urlencoded, "%zz=a", nil, 400},
		{"semicolons do not separate", urlencoded, "a=b;c=d", nil, 400},
		{"bytes that are no UTF-8", urlencoded, "a=%ff", nil, 400},
		{"a NUL", urlencoded, "a=%00", nil, 400},
		{"JSON is no form", "application/json", `{"a":"b"}`, nil, 415},
		{"plain text is no form", "text/plain", "a=b", nil, 415},
		{"a multipart form is none of ours", "multipart/form-data; boundary=x", "--x--", nil, 415},
		{"a body of no type", "", "a=b", nil, 415},
		{"a charset that is not UTF-8", urlencoded + "; charset=latin1", "a=b", nil, 415},
		{"the largest body that is read", urlencoded, "a=" + strings.Repeat("x", maxForm-2), form{"a": strings.Repeat("x", maxForm-2)}, 0},
		{"one byte more", urlencoded, "a=" + strings.Repeat("x", maxForm-1), nil, 413},
		{"a body that is too large is not looked at", "text/plain", strings.Repeat("x", maxForm+1), nil, 413},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, told := range []bool{true, false} {
				r := httptest.NewRequest("POST", "/signup?email=from-the-address", strings.NewReader(c.body))
				if !told { // chunked: the length shows only at the end
					r.Body, r.ContentLength = io.NopCloser(strings.NewReader(c.body)), -1
				}
				if c.kind != "" {
					r.Header.Set("Content-Type", c.kind)
				}
				got, err := readForm(httptest.NewRecorder(), r)
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("length told: %v: (-want +got)\n%s", told, diff)
				}
				if status := statusOf(t, err); status != c.status {
					t.Errorf("length told: %v: refused with %d, want %d", told, status, c.status)
				}
			}
		})
	}
}

func TestReadFormOfACompressedBody(t *testing.T) {
	r := httptest.NewRequest("POST", "/signup", strings.NewReader("a=b"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Content-Encoding", "gzip")
	_, err := readForm(httptest.NewRecorder(), r)
	if status := statusOf(t, err); status != http.StatusUnsupportedMediaType {
		t.Errorf("refused with %d, want 415", status)
	}
}

func statusOf(t *testing.T, err error) int {
	t.Helper()
	var bad *unreadable
	switch {
	case err == nil:
		return 0
	case errors.As(err, &bad):
		return bad.status
	default:
		t.Fatalf("error of no known kind: %v", err)
		return -1
	}
}

func TestRequestID(t *testing.T) {
	for _, c := range []struct{ name, given, want string }{
		{"our own come back unchanged", "8d0a2a6e-9a55-4c6f-9f0e-0d7f1a1a2b3c", "8d0a2a6e-9a55-4c6f-9f0e-0d7f1a1a2b3c"},
		{"so do others of that shape", "request_000001", "request_000001"},
		{"none is none", "", ""},
		{"a short one could be met by chance", "1234567", ""},
		{"a long one is not ours", strings.Repeat("x", 65), ""},
		{"markup is not ours", `"><script>alert(1)`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := requestID(form{"request_id": c.given}); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
