package main

import (
	"bytes"
	"crypto/sha256"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mongotel/billcenter/deploy/nats/natstest"
	"github.com/mongotel/billcenter/events/bus"
)

// One customer's enrollment on the broker as it is deployed: every process has its own user, and what that may do is
// enough. Nobody may do another's work.
func TestAllRolesWorkUnderTheDeployedPermissions(t *testing.T) {
	broker := natstest.Start(t)
	as := func(user string) []string {
		return []string{"--nats-url", broker.URL(user), "--nats-ca", broker.CAFile}
	}
	users := map[string]string{"migrate": "operator", "publish": "billing-mongo", "mailer": "mailer", "helpdesk": "helpdesk"}
	w := startRolesOn(t, broker.URL("operator"), func(who string) []string {
		if user, ok := users[who]; ok {
			return as(user)
		}
		return as("core")
	})
	account, code := w.publishOne(t)

	bob := w.visitor(t)
	bob.fill("/signup", fields{"account_number": account, "registration_code": code, "email": "bob@example.com", "username": "bobby"}).is(http.StatusOK, "/signup/check-email")
	link := w.mails.expect(t, "bob@example.com").link(t)
	bob.fill(link, fields{"password": passphrase, "password_confirmation": passphrase}).is(http.StatusOK, "/login")
	bob.fill("/login", fields{"username": "bobby", "password": passphrase}).is(http.StatusOK, "/account")
	w.mails.expectSubject(t, "ap@foreign.example", "online access")

	analyst, err := bus.Dial(t.Context(), bus.Options{URL: broker.URL("analytics"), RootCAFile: broker.CAFile})
	if err != nil {
		t.Fatal(err)
	}
	defer analyst.Close()
	want := []string{"invited", "registered", "activation-mailed", "activated", "signed-in"}
	for len(want) > 0 {
		batch, err := analyst.Pull(t.Context(), bus.ConsumerAnalytics, 10, patience)
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 {
			t.Fatalf("analytics never heard of %v", want)
		}
		for _, in := range batch {
			fact := in.Subject[strings.LastIndexByte(in.Subject, '.')+1:]
			want = slices.DeleteFunc(want, func(name string) bool { return name == fact })
		}
		if err := bus.AckAll(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}

	// The back office reads, replays and drops dead letters by its own right.
	biller, err := bus.Dial(t.Context(), bus.Options{URL: broker.URL("billing-mongo"), RootCAFile: broker.CAFile})
	if err != nil {
		t.Fatal(err)
	}
	defer biller.Close()
	if err := biller.Publish(t.Context(), bus.Outgoing{Subject: "billing.mongo.invoice.emailed", ID: "stray", Data: []byte("not json")}); err != nil {
		t.Fatal(err)
	}
	token := sha256.Sum256([]byte("a-session"))
	w.db(t).MustExec(`
		INSERT INTO staff_sessions (token_hash, subject, roles, idle, idle_until, expires_at)
		VALUES ($1, 'idp#grace', '{operator}', interval '1 hour', now() + interval '1 hour', now() + interval '1 hour')`, token[:])
	office := w.visitor(t)
	office.base = w.staff
	office.client.Jar.SetCookies(mustParse(t, w.staff), []*http.Cookie{{Name: "staff", Value: "a-session"}})
	office.eventually("/deadletters", "1 letter")
	because := fields{"reason": "a message of a test", "letters": "not-json"}
	office.do(http.MethodPost, "/deadletters/replay", because.form()).is(http.StatusOK, "/deadletters").says("1 replayed")
	office.eventually("/deadletters", "/deadletters/2") // it died again
	office.do(http.MethodPost, "/deadletters/2/drop", because.form()).is(http.StatusOK, "/deadletters").says("there are none")

	// The operator's own work, and what others are told who try it.
	common := w.flags[:6] // database, broker, key ring; a later flag goes before an earlier one
	w.command(t, 0, append(append([]string{"deadletters", "list"}, common...), as("operator")...)...)
	w.command(t, 0, append(append([]string{"migrate", "status"}, common[:4]...), as("operator")...)...)
	file := filepath.Join(w.dir, "one.ndjson")
	for _, tt := range []struct {
		name   string
		denied string
		args   []string
	}{
		{"billing of one tenant speaks for another", "billing.acme.invoice.emailed",
			append([]string{"publish", file, "--tenant", "acme", "--patience", "1ms"}, as("billing-mongo")...)},
		{"the mail worker reads codes", "$JS.API.CONSUMER.INFO.BILLING.codes",
			append(append([]string{"run", "codes", "--ops-addr", "127.0.0.1:0"}, w.flags...), as("mailer")...)},
		{"billing reads dead letters", "$JS.API.STREAM.INFO.DEADLETTER",
			append(append([]string{"deadletters", "list"}, common...), as("billing-mongo")...)},
		{"analytics migrates", "$JS.API.STREAM.INFO.BILLING",
			append(append([]string{"migrate"}, common[:4]...), as("analytics")...)},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), tt.args, nil, &out, &out); code == 0 {
			t.Errorf("%s: exit 0\n%s", tt.name, out.String())
		}
		if !strings.Contains(out.String(), "does not permit") || !strings.Contains(out.String(), tt.denied) {
			t.Errorf("%s: does not name %s:\n%s", tt.name, tt.denied, out.String())
		}
	}

	for _, name := range roleNames {
		w.roles[name].stop()
		if logged := w.roles[name].out.String(); strings.Contains(logged, "Permissions Violation") {
			t.Errorf("role %s tried what it may not:\n%s", name, tail(logged, 20))
		}
	}
}
