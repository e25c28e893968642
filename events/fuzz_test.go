package events

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Nothing that comes in makes Decode panic; every refusal is a *Malformed; and what is taken is understood in one way only:
// by encoding/json as by us, and after it was written again as before.
func FuzzDecode(f *testing.F) {
	for _, def := range catalog {
		f.Add(def.Subject("mongo"), ContentType, "ce-x", "", Sample(def))
	}
	f.Add("billing.mongo.account.closed", "application/json", "ce-type", "net.billcenter.account.closed.v1", []byte(`{"accountNumber":"1","closedAt":"2026-01-01T00:00:00+23:59"}`))
	f.Add("billing.mongo.account.closed", "", "CE-subject", "%00%ff%", []byte(`{"a":[1,2.5e-3,{"\ud83d\ude00":null}],"A":true}`))
	f.Add("billing.mongo.invoice.emailed", "", "traceparent", "\xff", Sample(catalog[0]))
	f.Add("enrollment.*.expired", ";", "", "", []byte("\ufeff{}"))

	f.Fuzz(func(t *testing.T, subject, contentType, header, value string, body []byte) {
		e, err := Decode(subject, map[string][]string{HeaderContentType: {contentType}, header: {value}}, body)
		if err != nil {
			if _, ok := AsMalformed(err); !ok {
				t.Fatalf("refused without a fault: %v", err)
			}
			return
		}
		m := e.Definition.New()
		if err := unmarshal(e.Data, m); err != nil {
			if _, ok := AsMalformed(err); !ok {
				t.Fatalf("refused without a fault: %v", err)
			}
			return
		}
		if m.Validate() != nil {
			return
		}
		other := e.Definition.New()
		if err := json.Unmarshal(e.Data, other); err != nil {
			t.Fatalf("encoding/json does not take it: %v", err)
		}
		if diff := cmp.Diff(other, m); diff != "" {
			t.Fatalf("encoding/json (-) reads it otherwise (+):\n%s", diff)
		}

		encoded, err := Encode(e.Tenant, e.Envelope, m)
		if err != nil {
			t.Fatalf("cannot be written again: %v", err)
		}
		again, err := Decode(encoded.Subject, encoded.Header, encoded.Body)
		if err != nil {
			t.Fatalf("cannot be read again: %v", err)
		}
		n := again.Definition.New()
		if err := unmarshal(again.Data, n); err != nil {
			t.Fatalf("cannot be read again: %v", err)
		}
		equalTimes := cmpopts.EquateApproxTime(0)
		if diff := cmp.Diff(e.Envelope, again.Envelope, equalTimes) + cmp.Diff(m, n, equalTimes); diff != "" {
			t.Fatalf("another event after a second writing:\n%s", diff)
		}
	})
}

// The many copies of a name cost no more than the first: a message of 1 MiB is read in the time of its length.
func TestManyNamesAreReadInTimeOfTheirNumber(t *testing.T) {
	var names names
	compared := 0
	for i := range 200_000 {
		name := string([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
		if !names.add(name) {
			t.Fatalf("the %dth name is new", i)
		}
		if names.many == nil {
			compared += names.n
		}
	}
	if compared > 1000 || names.add(string([]byte{1, 0, 0})) || names.add(string([]byte{100, 0, 0})) {
		t.Errorf("%d comparisons, or a second name was taken for new", compared)
	}
}
