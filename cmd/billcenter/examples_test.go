//go:build ci

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/deploy/local"
	"github.com/mongotel/billcenter/deploy/nats/natstest"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
)

// What deploy/examples/node says a newcomer can do in another language, done.
func TestExamplesInNode(t *testing.T) {
	n := installNodeExamples(t)
	t.Run("the link is that of the contract's test vectors", n.mintsTheContractsLinks)
	t.Run("a publisher is heard, and heard once", n.publishes)
	t.Run("a mail worker takes the place of ours", n.mails)
	t.Run("an analytics consumer counts what is there", n.counts)
	t.Run("each gets by with the rights of its account", n.keepToTheirAccounts)
}

// nodeExamples is a folder with the programs and their dependencies installed.
type nodeExamples struct{ dir string }

func installNodeExamples(t *testing.T) nodeExamples {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v: apt-get install nodejs npm", err)
		}
	}
	n := nodeExamples{t.TempDir()}
	const from = "../../deploy/examples/node"
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() { // a developer's node_modules
			continue
		}
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		n.write(t, e.Name(), string(b))
	}
	install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = n.dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	return n
}

func (n nodeExamples) write(t *testing.T, name, content string) (path string) {
	t.Helper()
	path = filepath.Join(n.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs a program to its end and returns what it printed.
func (n nodeExamples) run(t *testing.T, want int, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", args...)
	cmd.Dir = n.dir
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if code := cmd.ProcessState.ExitCode(); code != want {
		t.Fatalf("node %s: %v, want exit %d\n%s%s", strings.Join(args, " "), err, want, out, errs.String())
	}
	return string(out)
}

// spawn starts a program that goes on; the test's end kills it.
func (n nodeExamples) spawn(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command("node", args...), done: make(chan error, 1)}
	p.cmd.Dir = n.dir
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("node %s:\n%s", args[0], p.out.String())
		}
	})
	return p
}

func (n nodeExamples) mintsTheContractsLinks(t *testing.T) {
	vectors, err := filepath.Abs("../../schema/enrollment/testdata/activation-links.json")
	if err != nil {
		t.Fatal(err)
	}
	n.run(t, 0, "mail-worker.mjs", "--self-test", vectors)

	b, err := os.ReadFile(vectors)
	if err != nil {
		t.Fatal(err)
	}
	n.run(t, 1, "mail-worker.mjs", "--self-test", n.write(t, "wrong.json", strings.Replace(string(b), "AY97", "BY97", 1)))
}

func (n nodeExamples) publishes(t *testing.T) {
	up := start(t, "--no-demo")
	data := func(i int) string { return fmt.Sprintf(foreignData, i, i, i) }
	lines := n.write(t, "bills.ndjson", data(1)+"\n\n"+data(2)+"\n")
	array := n.write(t, "bills.json", "["+data(3)+","+data(4)+"]")
	whole := n.write(t, "whole.ndjson",
		`{"specversion":"1.0","id":"w-1","source":"//foreign/billing","type":"net.billcenter.invoice.emailed.v1","subject":"Zoë 100%","data":`+data(5)+"}\n")

	publish := func(want int, summary string, args ...string) {
		t.Helper()
		got := n.run(t, want, append([]string{"publisher.mjs", "--nats", up.NATS}, args...)...)
		if strings.TrimSpace(got) != summary {
			t.Errorf("%v: %s, want %s", args, got, summary)
		}
	}
	publish(0, `{"published":4,"duplicates":0,"failed":0}`, lines, array)
	publish(0, `{"published":2,"duplicates":0,"failed":0}`, "--binary", whole, "--data", data(6))
	publish(0, `{"published":0,"duplicates":4,"failed":0}`, array, lines)
	publish(1, `{"published":1,"duplicates":0,"failed":1}`, "--data", data(7), "--data", `{"accountNumber":`)

	db := up.db(t)
	eventually(t, "the stored invoices", func() error { return exactly(db, 7, `SELECT count(*) FROM invoice_emails`) })
	if err := exactly(db, 7, `SELECT count(DISTINCT account) FROM invoice_emails`); err != nil {
		t.Error(err)
	}
	if letters := decode[[]bus.DeadLetter](t, up.command(t, 0, "deadletters", "list", "--json")); len(letters) > 0 {
		t.Errorf("dead letters: %+v", letters)
	}
}

func (n nodeExamples) mails(t *testing.T) {
	w := startRoles(t)
	w.roles["mailer"].stop()
	worker := n.mailWorker(t, w)

	bills := n.write(t, "two.ndjson", fmt.Sprintf(foreignData+"\n"+foreignData+"\n", 1, 1, 1, 2, 2, 2))
	n.run(t, 0, "publisher.mjs", "--nats", w.NATS, bills)
	db := w.db(t)
	eventually(t, "the stored codes", func() error { return exactly(db, 2, `SELECT count(*) FROM invoice_emails`) })

	// The customer's story, with the foreign worker's mails.
	bob := w.visitor(t)
	bob.fill("/signup", fields{"account_number": "77-1", "registration_code": "QWER-TYUP-0001", "email": "Bob+bills@example.com", "username": "bobby"}).is(http.StatusOK, "/signup/check-email")
	mail := w.mails.expect(t, "Bob+bills@example.com")
	bob.eventually("/signup/check-email", "We sent it")
	if !strings.Contains(mail.Text, "Ünïcode & Söhne") {
		t.Errorf("the mail does not name the company:\n%s", mail.Text)
	}

	// Whatever comes again, to this worker or to its successor after a kill, sends no second mail and tells no second fact.
	requests := w.stream(t, bus.StreamMail)
	again := func() {
		t.Helper()
		for _, m := range requests {
			w.publishRaw(t, &nats.Msg{Subject: m.Subject, Header: nats.Header{"Content-Type": m.Header["Content-Type"]}, Data: m.Data})
		}
		w.mailerIsDone(t)
	}
	again()
	worker.kill()
	worker = n.mailWorker(t, w)
	again()
	if sent := w.mailsTo(t, "Bob+bills@example.com"); len(sent) != 1 {
		t.Errorf("%d mails: %v", len(sent), sent)
	}
	if facts := w.named(t, "activation-mailed"); facts != 1 {
		t.Errorf("%d facts that the mail went out", facts)
	}

	// What nobody can read blocks nothing, an empty message that looks like the broker's own included.
	w.publishRaw(t, &nats.Msg{Subject: "mail.mongo.activation.requested", Header: nats.Header{"Status": {"409"}, "Description": {"Consumer Deleted"}}})
	w.publishRaw(t, &nats.Msg{Subject: "mail.mongo.activation.requested", Data: []byte(`{"specversion":"1.0"}`)})
	w.mailerIsDone(t)

	link := mail.link(t)
	bob.fill(link, fields{"password": passphrase, "password_confirmation": passphrase}).is(http.StatusOK, "/login")
	w.mails.expectSubject(t, "ap@foreign.example", "online access")
	eve := w.visitor(t)
	eve.fill("/signup", fields{"account_number": "77-1", "registration_code": "QWER-TYUP-0001", "email": "eve@example.com", "username": "evelyn"})
	w.mails.expectSubject(t, "Bob+bills@example.com", "tried again")

	// An address that no mail reaches is told on the page, and can be corrected.
	eve.fill("/signup", fields{"account_number": "77-2", "registration_code": "QWER-TYUP-0002", "email": "eve@nowhere.invalid", "username": "evelyn"}).is(http.StatusOK, "/signup/check-email")
	eve.eventually("/signup/check-email", "did not reach you")
	eve.fill("/signup/email", fields{"email": "eve@example.com"}).is(http.StatusOK, "/signup/check-email")
	eve.fill(w.mails.expect(t, "eve@example.com").link(t), fields{"password": passphrase, "password_confirmation": passphrase}).is(http.StatusOK, "/login")
	w.facts(t, "registered", "activation-mailed", "activated", "registered", "activation-mail-failed", "email-corrected", "activation-mailed", "activated")

	// The kit that judges mail workers agrees.
	w.command(t, 0, "events", "conformance", "--mail-worker", "--nats-url", w.NATS, "--portal-url", w.Portal, "--inbox-url", w.mails.url,
		"--only", "mail-outcome,mail-link,mail-redelivery,mail-undeliverable")

	worker.stop()
	for _, secret := range []string{"example.com", link[strings.LastIndexByte(link, '/')+1:], "QWER", "bobby"} {
		if strings.Contains(worker.out.String(), secret) {
			t.Errorf("the worker's log shows %q", secret)
		}
	}
	if letters := decode[[]bus.DeadLetter](t, w.command(t, 0, append([]string{"deadletters", "list", "--json"}, w.flags[:6]...)...)); len(letters) > 0 {
		t.Errorf("its facts became dead letters: %+v", letters)
	}
}

// mailWorker starts the mail worker with what a mail team is given: the link key and the tenants.
func (n nodeExamples) mailWorker(t *testing.T, w *roles) *process {
	t.Helper()
	key := filepath.Join(w.dir, "link.key")
	if _, err := os.Stat(key); err != nil {
		w.command(t, 0, append([]string{"keys", "link", key}, w.flags[4:6]...)...)
	}
	var tenants map[string]map[string]any
	b, err := os.ReadFile(filepath.Join(n.dir, "tenants.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &tenants); err != nil {
		t.Fatal(err)
	}
	tenants["mongo"]["baseURL"] = w.Portal
	if b, err = json.Marshal(tenants); err != nil {
		t.Fatal(err)
	}
	smtp := w.flags[slices.Index(w.flags, "--smtp-addr")+1]
	return n.spawn(t, "mail-worker.mjs", "--nats", w.NATS, "--smtp", "smtp://"+smtp, "--link-key-file", key,
		"--tenants", n.write(t, "tenants-here.json", string(b)), "--ledger", filepath.Join(n.dir, "ledger.ndjson"))
}

func (n nodeExamples) counts(t *testing.T) {
	up := start(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)
	bob := up.visitor(t)
	bob.fill("/signup", fields{"account_number": account, "registration_code": "WRNG-CODE-7777", "email": "bob@example.com", "username": "bobby"})
	bob.fill("/signup", fields{"account_number": account, "registration_code": code, "email": "bob@example.com", "username": "bobby"})
	bob.fill(up.inbox.expect(t, "bob@example.com").link(t), fields{"password": passphrase, "password_confirmation": passphrase})
	bob.fill("/login", fields{"username": "bobby", "password": passphrase}).is(http.StatusOK, "/account")
	up.facts(t, "invited", "registration-refused", "registered", "activation-mailed", "activated", "signed-in", "invoice-viewed")

	want := map[string]int{}
	stored := up.stream(t, bus.StreamEnrollment)
	for _, m := range stored {
		want[nameOf(m.Subject)]++
	}
	// A fact that comes twice counts once, and what is no fact blocks none.
	twice := stored[0]
	up.publishRaw(t, &nats.Msg{Subject: twice.Subject, Data: twice.Data})
	up.publishRaw(t, &nats.Msg{Subject: "enrollment.mongo.activated", Header: nats.Header{"Status": {"409"}, "Description": {"Consumer Deleted"}}})
	up.publishRaw(t, &nats.Msg{Subject: "enrollment.mongo.activated", Data: []byte("?")})

	type report struct {
		Facts, Duplicates, Unreadable int
		Steps                         []struct {
			Step           string
			Facts, Reached int
		}
		Others map[string]int
	}
	expect := func(args ...string) {
		t.Helper()
		r := decode[report](t, n.run(t, 0, append([]string{"analytics.mjs", "--nats", up.NATS}, args...)...))
		got := r.Others
		for _, s := range r.Steps {
			if s.Facts > 0 {
				got[s.Step] = s.Facts
			}
			if s.Step == "activated" && s.Reached != 1 {
				t.Errorf("%v: %d activated, want bob", args, s.Reached)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || r.Facts != len(stored) {
			t.Errorf("%v: %d facts, want %d (-want +got):\n%s", args, r.Facts, len(stored), diff)
		}
	}
	expect("--once")
	expect("--until", fmt.Sprint(len(stored)))
	nobody := decode[report](t, n.run(t, 0, "analytics.mjs", "--nats", up.NATS, "--once", "--tenant", "nobody"))
	if nobody.Facts != 0 {
		t.Errorf("another tenant has %d facts", nobody.Facts)
	}

	// With a durable consumer it goes on where it stopped.
	journal := filepath.Join(n.dir, "facts.ndjson")
	expect("--once", "--durable", bus.ConsumerAnalytics, "--journal", journal)
	expect("--once", "--durable", bus.ConsumerAnalytics, "--journal", journal)
}

// keepToTheirAccounts runs the three on the production broker's own configuration.
func (n nodeExamples) keepToTheirAccounts(t *testing.T) {
	broker := natstest.Start(t)
	as := func(user string) []string { return []string{"--nats", broker.URL(user), "--nats-ca", broker.CAFile} }
	operator, err := bus.Dial(t.Context(), bus.Options{URL: broker.URL("operator"), RootCAFile: broker.CAFile, Topology: bus.DefaultTopology().ForTenants("mongo", "acme")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { operator.Close() })
	if _, err := operator.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	inbox, err := local.StartInbox(local.InboxOptions{Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inbox.Stop(context.Background()) })

	bill := fmt.Sprintf(foreignData, 1, 1, 1)
	n.run(t, 0, append([]string{"publisher.mjs", "--data", bill}, as("billing-mongo")...)...)
	n.run(t, 1, append([]string{"publisher.mjs", "--data", bill, "--tenant", "acme"}, as("billing-mongo")...)...)

	request, err := events.Encode("mongo", events.Envelope{ID: "r-1", Source: events.Source("mongo", "portal")}, events.ActivationRequested{
		EnrollmentID: "01960f2e-6b1d-7c55-9d4e-3a2f8c7b6e10", Generation: 1, To: "bob@example.com", Username: "bobby",
		AccountNumber: "77-1", RequestedAt: time.Now(), ValidForSeconds: 3600,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := consumers.PublishOn(operator).Publish(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	n.spawn(t, append([]string{"mail-worker.mjs", "--smtp", "smtp://" + inbox.SMTPAddr(), "--ledger", filepath.Join(n.dir, "mailteam.ndjson"),
		"--link-key-file", n.write(t, "any.key", strings.Repeat("0f", 32))}, as("mailteam")...)...)
	counted := decode[struct{ Facts int }](t, n.run(t, 0, append([]string{"analytics.mjs", "--until", "1",
		"--durable", bus.ConsumerAnalytics, "--journal", filepath.Join(n.dir, "analytics.ndjson")}, as("analytics")...)...))
	if mails := len(inbox.Messages()); mails != 1 || counted.Facts != 1 {
		t.Errorf("%d mails, %d facts about them", mails, counted.Facts)
	}
}

func nameOf(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// named counts the facts of a name.
func (s *system) named(t *testing.T, name string) int {
	t.Helper()
	n := 0
	for _, m := range s.stream(t, bus.StreamEnrollment) {
		if nameOf(m.Subject) == name {
			n++
		}
	}
	return n
}

func (w *roles) mailsTo(t *testing.T, address string) []mail {
	t.Helper()
	all, err := w.mails.messages()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(m mail) bool { return !slices.Contains(m.To, address) })
}

// mailerIsDone waits until everything on MAIL is settled.
func (s *system) mailerIsDone(t *testing.T) {
	t.Helper()
	js := s.jetstream(t)
	eventually(t, "an idle mailer", func() error {
		c, err := js.Consumer(t.Context(), bus.StreamMail, bus.ConsumerMailer)
		if err != nil {
			return err
		}
		if i := c.CachedInfo(); i.NumPending+uint64(i.NumAckPending) > 0 {
			return fmt.Errorf("%d to be delivered, %d to be acknowledged", i.NumPending, i.NumAckPending)
		}
		return nil
	})
}
