package portal

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxForm is the largest body that is read, in bytes. The longest honest form, every character percent-encoded, stays
// under half of it.
const maxForm = 16 << 10

// form is what the body of a POST said. Each name has one value: two would leave it to chance which one counts.
type form map[string]string

// unreadable says that a request was no form of ours; status is the answer's.
type unreadable struct {
	status int
	why    string
}

func (e *unreadable) Error() string { return fmt.Sprintf("portal: form: %s", e.why) }

// readForm reads the body strictly, and only the body: net/url's own reading would take fields from the address, keep the
// first of two values, and see an empty form where the content is of another type.
func readForm(w http.ResponseWriter, r *http.Request) (form, error) {
	if r.ContentLength > maxForm {
		return nil, &unreadable{http.StatusRequestEntityTooLarge, "body too large"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return nil, &unreadable{http.StatusRequestEntityTooLarge, "body too large"}
	} else if err != nil {
		return nil, &unreadable{http.StatusBadRequest, "body cut off"}
	}
	if len(body) == 0 && r.Header.Get("Content-Type") == "" {
		return form{}, nil
	}
	if !isForm(r.Header) {
		return nil, &unreadable{http.StatusUnsupportedMediaType, "not application/x-www-form-urlencoded"}
	}
	return parseForm(string(body))
}

func isForm(h http.Header) bool {
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" || h.Get("Content-Encoding") != "" {
		return false
	}
	charset := params["charset"]
	return charset == "" || strings.EqualFold(charset, "utf-8")
}

func parseForm(body string) (form, error) {
	bad := func(why string) (form, error) { return nil, &unreadable{http.StatusBadRequest, why} }
	f := make(form)
	for pair := range strings.SplitSeq(body, "&") {
		if pair == "" {
			continue
		}
		if strings.Contains(pair, ";") {
			return bad("semicolon between fields")
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			return bad("percent encoding")
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil {
			return bad("percent encoding")
		}
		if strings.ContainsFunc(name, notInFieldName) {
			return bad("field name")
		}
		if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
			return bad("not UTF-8 text")
		}
		if _, twice := f[name]; twice {
			return bad("field given twice")
		}
		f[name] = value
	}
	return f, nil
}

// notInFieldName refuses `email[]` and the like, with which some servers smuggle a second value.
func notInFieldName(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }
