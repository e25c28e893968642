package main

import (
	"bytes"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

// Whoever is on call asks what the system promises, and hears what is broken.
func TestTheAuditNamesWhatIsBroken(t *testing.T) {
	t.Parallel()
	up := start(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)
	bob := up.visitor(t)
	bob.fill("/signup", fields{"account_number": account, "registration_code": code, "email": "bob@bobsbuilding.example", "username": "bobby"})
	link := up.inbox.expect(t, "bob@bobsbuilding.example").link(t)
	bob.fill(link, fields{"password": passphrase, "password_confirmation": passphrase}).is(http.StatusOK, "/login")
	up.facts(t, "registered", "activated")

	type report struct {
		Kept     bool
		Promises []kept
	}
	audit := func(want int) report {
		t.Helper()
		var out, errs bytes.Buffer
		args := []string{"audit", "--json", "--data-dir", filepath.Join(up.dir, "data")}
		if code := run(t.Context(), args, strings.NewReader(""), &out, &errs); code != want {
			t.Fatalf("audit ended with %d, want %d: %s%s", code, want, out.String(), errs.String())
		}
		return decode[report](t, out.String())
	}
	if r := audit(0); !r.Kept || len(r.Promises) < 15 {
		t.Errorf("audit = %+v", r)
	}

	// A move that no fact has told, a link that leads elsewhere, an address in a fact.
	db := up.db(t)
	db.MustExec(`UPDATE enrollment_moves SET at = at - interval '10 minutes', sequence = sequence + 1000`)
	db.MustExec(`UPDATE enrollments SET email = 'elsewhere@example.com'`)
	up.publishRaw(t, &nats.Msg{Subject: "enrollment.mongo.signed-in", Data: []byte(`{"specversion":"1.0","id":"1","source":"//mongo.billcenter.net/portal","type":"net.billcenter.enrollment.signed-in.v1","data":{"accountRef":"bob@bobsbuilding.example","occurredAt":"2026-11-20T08:00:00Z"}}`)})
	var broken []string
	for _, k := range audit(1).Promises {
		if !k.Kept {
			broken = append(broken, k.Promise)
		}
	}
	for _, want := range []string{"a link leads to the present address", "every move of an enrollment became a fact", "facts carry no personal data"} {
		if !slices.Contains(broken, want) {
			t.Errorf("broken: %q, without %q", broken, want)
		}
	}
}
