package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mongotel/billcenter/events/bus"
)

const foreignData = `{"accountNumber":"77-%d","companyName":"Ünïcode & Söhne","billingEmail":"ap@foreign.example","emailedAt":"2026-11-20T08:00:00Z",` +
	`"registrationCode":"QWER-TYUP-%04d","invoice":{"number":"F-%d"},"futureField":{"kept":true}}`

// A publisher in any language: a NATS client, a subject, and JSON.
func TestAForeignPublisherIsHeardAndItsMistakesBlockNothing(t *testing.T) {
	t.Parallel()
	up := start(t, "--no-demo")
	nc, err := nats.Connect(up.NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	const subject = "billing.mongo.invoice.emailed"
	publish := func(subject string, header nats.Header, body string) {
		t.Helper()
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: header, Data: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	data := func(n int) string { return fmt.Sprintf(foreignData, n, n, n) }
	structured := func(n int) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":"f-%d","source":"//foreign/billing","type":"net.billcenter.invoice.emailed.v1","myext":"kept","data":%s}`, n, data(n))
	}
	binary := func(n int) nats.Header {
		return nats.Header{"ce-specversion": {"1.0"}, "ce-id": {fmt.Sprintf("f-%d", n)}, "ce-source": {"//foreign/billing"}, "ce-type": {"net.billcenter.invoice.emailed.v1"}}
	}

	publish(subject, nil, structured(1)) // as a command line does, without any header
	publish(subject, nil, "")
	publish(subject, nil, "null")
	publish(subject, nil, `{"specversion":"1.0","id":"x"`)
	publish(subject, nil, strings.ReplaceAll(structured(9), `"data":{`, `"data":{"emailedAt":7,`))
	publish(subject, nil, strings.ReplaceAll(structured(9), "invoice.emailed.v1", "nobody.knows.v1"))
	publish(subject, nil, strings.ReplaceAll(structured(9), "invoice.emailed.v1", "invoice.emailed.v2"))
	publish(subject, nil, strings.ReplaceAll(structured(9), `"77-9"`, `77`))
	publish("billing.nowhere.invoice.emailed", nil, structured(10))
	publish(subject, nats.Header{"Content-Type": {"application/cloudevents+json"}}, structured(2))
	publish(subject, binary(3), data(3))
	typed := binary(4)
	typed.Set("Content-Type", "application/json")
	publish(subject, typed, data(4))
	publish(subject, nil, structured(1)) // the same again
	publish(subject, nil, strings.ReplaceAll(structured(1), "QWER", "OTHR"))

	db := up.db(t)
	eventually(t, "the four good ones", func() error { return exactly(db, 4, `SELECT count(*) FROM invoice_emails`) })
	want := map[string]int{"not-json": 4, "type-unknown": 1, "version-unknown": 1, "field-invalid": 1, "tenant-unknown": 1, "id-reused": 1}
	eventually(t, "the dead letters", func() error {
		got := map[string]int{}
		for _, l := range decode[[]bus.DeadLetter](t, up.command(t, 0, "deadletters", "list", "--json")) {
			got[l.Reason]++
			if strings.Contains(l.Detail, "QWER") || strings.Contains(l.Detail, "foreign.example") {
				t.Fatalf("a dead letter shows what it carried: %s", l.Detail)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("reasons (-want +got):\n%s", diff)
		}
		return nil
	})
	if err := exactly(db, 4, `SELECT count(*) FROM invoice_emails WHERE extra->'data'->'futureField' IS NOT NULL`); err != nil {
		t.Error("an unknown field is not kept:", err)
	}
	eventually(t, "an empty BILLING", func() error {
		if left := up.stream(t, bus.StreamBilling); len(left) > 0 {
			return fmt.Errorf("%d messages left", len(left))
		}
		return nil
	})
}

// Once all is done, nothing that was stored or logged shows a code, a link or a password.
func TestNoSecretIsLeftBehind(t *testing.T) {
	t.Parallel()
	up := processUp(t)
	bill := up.inbox.expect(t, "ap@bobsbuilding.example")
	account, code := bill.box(t)
	bob := up.visitor(t)
	bob.fill("/signup", fields{"account_number": account, "registration_code": code, "email": "bob@bobsbuilding.example", "username": "bobby"})
	bob.fill("/signup", fields{"account_number": account, "registration_code": "WRNG-CODE-7777", "email": "bob@bobsbuilding.example", "username": "bobby"})
	link := up.inbox.expect(t, "bob@bobsbuilding.example").link(t)
	token := link[strings.LastIndexByte(link, '/')+1:]
	bob.fill(link, fields{"password": passphrase, "password_confirmation": passphrase}).is(http.StatusOK, "/login")
	bob.fill("/login", fields{"username": "bobby", "password": passphrase}).is(http.StatusOK, "/account")
	session := ""
	for _, c := range bob.client.Jar.Cookies(mustParse(t, up.Portal)) {
		if len(c.Value) > len(session) {
			session = c.Value
		}
	}
	up.facts(t, "signed-in", "invoice-viewed")
	eventually(t, "an empty BILLING", func() error {
		if left := up.stream(t, bus.StreamBilling); len(left) > 0 {
			return fmt.Errorf("%d messages left", len(left))
		}
		return nil
	})

	dump := dumpOf(t, up.Database)
	up.proc.stop()
	secrets := map[string]string{
		"code": code, "code without dashes": strings.ReplaceAll(code, "-", ""), "wrong code": "WRNG-CODE-7777", "token": token,
		"password": passphrase, "session": session,
	}
	look := func(where string, b []byte) {
		for name, secret := range secrets {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s shows the %s", where, name)
			}
		}
	}
	look("the database's dump", dump)
	look("what up printed", []byte(strings.ReplaceAll(up.proc.out.String(), code, ""))) // it tells newcomers the one sample code
	seen := 0
	data := filepath.Join(up.dir, "data")
	if err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		// The inbox is the customer's mailbox, and billing.json the billing system's own memory: both are other people's.
		if strings.HasPrefix(path, filepath.Join(data, "inbox")) || filepath.Base(path) == "billing.json" {
			return nil
		}
		b, err := os.ReadFile(path)
		look(path, b)
		seen++
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if seen < 100 {
		t.Fatalf("looked at %d files only", seen)
	}
}

// dumpOf is what a thief of a backup would have.
func dumpOf(t *testing.T, url string) []byte {
	t.Helper()
	out, err := exec.Command("pg_dump", url).Output()
	if err != nil {
		t.Fatalf("pg_dump: %v (apt-get install postgresql)", err)
	}
	if !bytes.Contains(out, []byte("bobby")) {
		t.Fatal("the dump does not hold the data")
	}
	return out
}

// Roles as processes of their own, against a broker and a database that are theirs alone, each killed in the middle.
func TestRolesSurviveBeingKilled(t *testing.T) {
	t.Parallel()
	w := startRoles(t)
	account, code := w.publishOne(t)

	bob := w.visitor(t)
	w.roles["relay"].kill()
	bob.fill("/signup", fields{"account_number": account, "registration_code": code, "email": "bob@example.com", "username": "bobby"}).is(http.StatusOK, "/signup/check-email")
	w.roles["portal"].kill()
	w.roles["mailer"].kill()
	w.role("relay")
	w.broker.Restart()
	w.role("mailer")
	w.role("portal")

	link := w.mails.expect(t, "bob@example.com").link(t)
	w.roles["progress"].kill()
	bob.fill(link, fields{"password": passphrase, "password_confirmation": passphrase}).is(http.StatusOK, "/login")
	w.role("progress")
	bob.fill("/login", fields{"username": "bobby", "password": passphrase}).is(http.StatusOK, "/account")
	w.facts(t, "invited", "registered", "activated", "signed-in")
	w.mails.expectSubject(t, "ap@foreign.example", "online access")

	for _, name := range roleNames {
		w.roles[name].stop()
	}

	w.role("all") // in one process, too
	w.visitor(t).fill("/login", fields{"username": "Bobby", "password": passphrase}).is(http.StatusOK, "/account")
	w.roles["all"].stop()
}

func TestEverySampleValidates(t *testing.T) {
	t.Parallel()
	var none *system
	for _, row := range decode[[]eventRow](t, none.command(t, 0, "events", "list", "--json")) {
		file := filepath.Join(t.TempDir(), row.Name+".json")
		if err := os.WriteFile(file, []byte(none.command(t, 0, "events", "sample", row.Name)), 0o600); err != nil {
			t.Fatal(err)
		}
		none.command(t, 0, "events", "validate", file)
	}
}
