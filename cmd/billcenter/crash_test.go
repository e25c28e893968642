package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/mongotel/billcenter/events/bus"
)

// A bill run and a registration are cut off by kill -9, again and again; nothing is lost and nothing happens twice.
func TestAKillInTheMiddleLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	const invoices = 6000
	up := processUp(t)
	file := filepath.Join(up.dir, "invoices.ndjson")
	if err := os.WriteFile(file, []byte(up.command(t, 0, "events", "sample", "--count", fmt.Sprint(invoices), "--seed", "7")), 0o600); err != nil {
		t.Fatal(err)
	}
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)

	// The first publisher loses its broker in the middle; it waits for it and goes on.
	publisher := spawn(t, "publish", file, "--nats-url", up.NATS)
	db := up.db(t)
	eventually(t, "the first stored invoices", func() error { return atLeast(db, 1000, `SELECT count(*) FROM invoice_emails`) })
	up.killAndStart()

	// A registration is answered; the process dies before or after the mail is out, nobody knows.
	bob := up.visitor(t)
	page := bob.fill("/signup", fields{"account_number": account, "registration_code": code, "email": "bob@bobsbuilding.example", "username": "Bob’sBuilding"})
	up.killAndStart()
	page.is(http.StatusOK, "/signup/check-email")
	if over, why := publisher.over(); over && !strings.HasPrefix(why, "<nil>") {
		t.Fatalf("publish: %s", why)
	}
	<-waitFor(publisher)

	// Publishing the whole file again changes nothing.
	up.command(t, 0, "publish", file)
	distinct := countDistinct(t, file)
	eventually(t, "every invoice", func() error {
		return exactly(db, distinct, `SELECT count(*) FROM invoice_emails AS m JOIN inbox AS i ON i.id = m.event WHERE i.source = '//mongo.billcenter.net/billing' AND i.event_id NOT LIKE 'emailed-%'`)
	})
	if n := len(decode[[]bus.DeadLetter](t, up.command(t, 0, "deadletters", "list", "--json"))); n != 0 {
		t.Errorf("%d dead letters, want none", n)
	}

	link := up.inbox.expect(t, "bob@bobsbuilding.example").link(t)
	bob.fill(link, fields{"password": passphrase, "password_confirmation": passphrase}).is(http.StatusOK, "/login")
	up.killAndStart()
	up.visitor(t).fill("/login", fields{"username": "bob'sbuilding", "password": passphrase}).is(http.StatusOK, "/account")
	up.facts(t, "registered", "activated", "signed-in")

	eventually(t, "an empty outbox", func() error { return exactly(db, 0, `SELECT count(*) FROM outbox`) })
	up.everyFactOnce(t, db)
	mails := 0
	all, err := up.inbox.messages()
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, m := range all {
		if m.To[0] == "bob@bobsbuilding.example" {
			mails++
			ids[m.MessageID] = true
		}
	}
	if mails < 1 || mails > 3 || len(ids) != 1 {
		t.Errorf("%d activation mails under %d Message-IDs, want 1 to 3 under one", mails, len(ids))
	}
	if audited := up.command(t, 0, "audit"); strings.Count(audited, "kept  ") < 10 {
		t.Errorf("audit: %s", audited)
	}
	up.proc.stop()
}

// everyFactOnce checks that ENROLLMENT holds an Invited for each stored code mail and no fact twice.
func (s *system) everyFactOnce(t *testing.T, db *sqlx.DB) {
	t.Helper()
	var coded int
	if err := db.Get(&coded, `SELECT count(*) FROM invoice_emails WHERE code_hash IS NOT NULL`); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an Invited for each code mail", func() error {
		seen := map[string]int{}
		invited := 0
		for _, m := range s.stream(t, bus.StreamEnrollment) {
			var e struct{ ID, Source string }
			if err := json.Unmarshal(m.Data, &e); err != nil {
				return err
			}
			if seen[e.Source+e.ID]++; seen[e.Source+e.ID] > 1 {
				t.Fatalf("the fact %s is on the stream %d times", e.ID, seen[e.Source+e.ID])
			}
			if strings.HasSuffix(m.Subject, ".invited") {
				invited++
			}
		}
		if invited != coded {
			return fmt.Errorf("%d facts for %d code mails", invited, coded)
		}
		return nil
	})
}

func waitFor(p *process) <-chan struct{} {
	c := make(chan struct{})
	go func() {
		err := <-p.done
		p.done <- err
		close(c)
	}()
	return c
}

func exactly(db *sqlx.DB, want int, query string) error {
	var n int
	if err := db.Get(&n, query); err != nil {
		return err
	}
	if n != want {
		return fmt.Errorf("%s: %d, want %d", query, n, want)
	}
	return nil
}

func atLeast(db *sqlx.DB, want int, query string) error {
	var n int
	if err := db.Get(&n, query); err != nil {
		return err
	}
	if n < want {
		return fmt.Errorf("%s: %d, want at least %d", query, n, want)
	}
	return nil
}

// countDistinct counts the different lines: a line that repeats another is the same event.
func countDistinct(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]bool{}
	for l := range strings.Lines(string(b)) {
		lines[l] = true
	}
	return len(lines)
}

// Twenty at once, as impatient fingers and clever scripts do it.
func TestTwentyAtOnceAreOne(t *testing.T) {
	t.Parallel()
	up := start(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)
	form := url.Values{"account_number": {account}, "registration_code": {code}, "email": {"bob@bobsbuilding.example"}, "username": {"bobby"}, "request_id": {"7d7b6b0e-6f2f-4c61-9d1f-0d6f8a4f3c11"}}
	statuses := make(chan int, 20)
	for range 20 {
		go func() { statuses <- up.visitor(t).do(http.MethodPost, "/signup", form).status }()
	}
	for range 20 {
		if s := <-statuses; s != http.StatusOK {
			t.Errorf("a registration was answered %d", s)
		}
	}
	link := up.inbox.expect(t, "bob@bobsbuilding.example").link(t)

	passwords := make(chan string, 20)
	for i := range 20 {
		go func() {
			secret := fmt.Sprintf("%s number %d", passphrase, i)
			p := up.visitor(t).do(http.MethodPost, link, url.Values{"password": {secret}, "password_confirmation": {secret}})
			if p.url.Path != "/login" {
				secret = ""
			}
			passwords <- secret
		}()
	}
	var won []string
	for range 20 {
		if p := <-passwords; p != "" {
			won = append(won, p)
		}
	}
	if len(won) != 1 {
		t.Fatalf("%d activations succeeded, want 1", len(won))
	}
	up.visitor(t).fill("/login", fields{"username": "bobby", "password": won[0]}).is(http.StatusOK, "/account")
	db := up.db(t)
	for _, q := range []string{`SELECT count(*) FROM enrollments`, `SELECT count(*) FROM users`, `SELECT count(*) FROM mails WHERE purpose = 'activation'`} {
		if err := exactly(db, 1, q); err != nil {
			t.Error(err)
		}
	}
}
