package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/keyring"
	"github.com/mongotel/billcenter/schema/store"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

func until(t time.Time) func(*events.InvoiceEmailed) {
	return func(m *events.InvoiceEmailed) { m.RegistrationCodeExpiresAt = &t }
}

func TestWhoMayRegister(t *testing.T) {
	s := stage(t)
	newer := daysAgo(8)
	s.bills(mongo, invoice("HOLDER", "HOLDERS-CODE", daysAgo(1)))
	s.enrolls(s.form(mongo, "HOLDER", "HOLDERS-CODE", named(t, "Taken")))
	for i, tt := range []struct {
		name   string
		bills  []events.Message // of the account ACCOUNT-<i>
		before func(account string)
		change func(*enrollment.Application)
		want   *enrollment.Refusal // nil: admitted
	}{
		{name: "the newest code", bills: []events.Message{invoice("", "FIRST", daysAgo(3)), invoice("", "GOOD", daysAgo(2))}},
		{name: "an account that nobody knows", want: &enrollment.Refusal{Reason: enrollment.NotRecognised}},
		{name: "a wrong code", bills: []events.Message{invoice("", "OTHER", daysAgo(2))}, want: &enrollment.Refusal{Reason: enrollment.NotRecognised}},
		{name: "an account that never got a code", bills: []events.Message{invoice("", "", daysAgo(2))}, want: &enrollment.Refusal{Reason: enrollment.NotRecognised}},
		{name: "an account known by a closure only", bills: []events.Message{events.AccountClosed{ClosedAt: daysAgo(1)}}, want: &enrollment.Refusal{Reason: enrollment.NotRecognised}},
		{name: "a code of the same account number at another tenant", bills: []events.Message{invoice("", "GOOD", daysAgo(2))},
			change: func(a *enrollment.Application) { a.Tenant = zeros }, want: &enrollment.Refusal{Reason: enrollment.NotRecognised}},
		{name: "a code whose successor was e-mailed less than the grace ago", bills: []events.Message{invoice("", "GOOD", daysAgo(20)), invoice("", "NEWER", daysAgo(6.9))}},
		{name: "a code whose successor was e-mailed longer ago", bills: []events.Message{invoice("", "GOOD", daysAgo(20)), invoice("", "NEWER", newer)},
			want: &enrollment.Refusal{Reason: enrollment.CodeSuperseded, Field: enrollment.FieldCode, NewerSentOn: newer}},
		{name: "a code with two successors names the newest", bills: []events.Message{invoice("", "NEWER", newer), invoice("", "GOOD", daysAgo(40)), invoice("", "MIDDLE", daysAgo(20))},
			want: &enrollment.Refusal{Reason: enrollment.CodeSuperseded, Field: enrollment.FieldCode, NewerSentOn: newer}},
		{name: "a superseded code that was e-mailed once more", bills: []events.Message{invoice("", "GOOD", daysAgo(40)), invoice("", "NEWER", daysAgo(20)), invoice("", "GOOD", daysAgo(1))}},
		{name: "a mail without a code supersedes nothing", bills: []events.Message{invoice("", "GOOD", daysAgo(20)), invoice("", "", daysAgo(10))}},
		{name: "a code of 44 days", bills: []events.Message{invoice("", "GOOD", daysAgo(44))}},
		{name: "a code older than the default life", bills: []events.Message{invoice("", "GOOD", daysAgo(45.1))}, want: &enrollment.Refusal{Reason: enrollment.CodeExpired, Field: enrollment.FieldCode}},
		{name: "an old code whose event names a later end", bills: []events.Message{invoice("", "GOOD", daysAgo(100), until(daysAgo(-1)))}},
		{name: "a young code whose event named an earlier end", bills: []events.Message{invoice("", "GOOD", daysAgo(2), until(daysAgo(1)))}, want: &enrollment.Refusal{Reason: enrollment.CodeExpired, Field: enrollment.FieldCode}},
		{name: "a refresh decides the end", bills: []events.Message{invoice("", "GOOD", daysAgo(1), until(daysAgo(-30))), invoice("", "GOOD", daysAgo(2), until(daysAgo(1)))}},
		{name: "of two ends told at the same moment the later one counts", bills: []events.Message{invoice("", "GOOD", newer, until(daysAgo(-30))), invoice("", "GOOD", newer, until(daysAgo(1)))}},
		{name: "a used code", bills: []events.Message{invoice("", "GOOD", daysAgo(2))},
			before: func(account string) { s.enrolls(s.form(mongo, account, "GOOD")) }, want: &enrollment.Refusal{Reason: enrollment.CodeUsed, Field: enrollment.FieldCode}},
		{name: "a used code whose life is over is used first of all", bills: []events.Message{invoice("", "GOOD", daysAgo(2))},
			before: func(account string) {
				s.enrolls(s.form(mongo, account, "GOOD"))
				s.bills(mongo, invoice(account, "GOOD", daysAgo(1), until(daysAgo(0.5))))
			}, want: &enrollment.Refusal{Reason: enrollment.CodeUsed, Field: enrollment.FieldCode}},
		{name: "the code after a used one", bills: []events.Message{invoice("", "OLDER", daysAgo(20)), invoice("", "GOOD", daysAgo(2))},
			before: func(account string) { s.enrolls(s.form(mongo, account, "OLDER")) }},
		{name: "a retired code", bills: []events.Message{invoice("", "GOOD", daysAgo(2))}, before: s.retire, want: &enrollment.Refusal{Reason: enrollment.CodeRetired, Field: enrollment.FieldCode}},
		{name: "a retired code that was e-mailed again stays retired", bills: []events.Message{invoice("", "GOOD", daysAgo(2)), invoice("", "GOOD", daysAgo(-0.01))}, before: s.retire,
			want: &enrollment.Refusal{Reason: enrollment.CodeRetired, Field: enrollment.FieldCode}},
		{name: "a code e-mailed after the others were retired", bills: []events.Message{invoice("", "OLDER", daysAgo(2)), invoice("", "GOOD", daysAgo(-0.01))}, before: s.retire},
		{name: "a username that somebody holds, in another spelling", bills: []events.Message{invoice("", "GOOD", daysAgo(2))}, change: named(t, "TAKEN"),
			want: &enrollment.Refusal{Reason: enrollment.UsernameTaken, Field: enrollment.FieldUsername, Suggestions: []string{"TAKEN2", "TAKEN-billing", "TAKEN3"}}},
		{name: "a code with no significant characters", bills: []events.Message{invoice("", "GOOD", daysAgo(2))},
			change: func(a *enrollment.Application) { a.Code = "--" }, want: &enrollment.Refusal{Reason: enrollment.Missing, Field: enrollment.FieldCode}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.t = t
			account := fmt.Sprint("ACCOUNT-", i)
			for _, m := range tt.bills {
				switch m := m.(type) {
				case events.InvoiceEmailed:
					m.AccountNumber = account
					s.bills(mongo, m)
				case events.AccountClosed:
					m.AccountNumber = account
					s.bills(mongo, m)
				}
			}
			if tt.before != nil {
				tt.before(account)
			}
			a := s.form(mongo, account, "GOOD")
			if tt.change != nil {
				tt.change(&a)
			}
			before := s.number(`SELECT count(*) FROM enrollments`)
			admitted, err := s.register(a)
			if tt.want == nil {
				ok(t, err)
				if s.state(admitted.Enrollment) != enrollment.Registered || admitted.Continued {
					t.Errorf("%+v", admitted)
				}
				return
			}
			no := refused(t, err, tt.want.Reason)
			if diff := cmp.Diff(tt.want, no); diff != "" {
				t.Errorf("refusal (-want +got):\n%s", diff)
			}
			if got := s.number(`SELECT count(*) FROM enrollments`); got != before {
				t.Errorf("a refusal left %d enrollments", got-before)
			}
		})
	}
}

// retire makes the next wrong guess at an account the one that retires its codes, and guesses.
func (s *scene) retire(account string) {
	s.t.Helper()
	for range 2 {
		_, err := s.register(s.form(mongo, account, "A WRONG GUESS"))
		refused(s.t, err, enrollment.NotRecognised)
		_, err = s.DB.Exec(`UPDATE attempts SET wrong = $1 WHERE scope = 'code-account' AND key = upper(replace($2, '-', ''))`, enrollment.WrongTriesToRetire-1, account)
		ok(s.t, err)
	}
}

func TestWhichCodesAreTheSame(t *testing.T) {
	s := stage(t)
	for i, tt := range []struct {
		name   string
		tenant string
		billed string // account number
		stored []string
		number string // account number typed
		typed  string
		want   enrollment.Reason
	}{
		{"as e-mailed", mongo, "100482-7", []string{"QX4T-88ZK"}, "100482-7", "QX4T-88ZK", ""},
		{"lower case, blanks, no dashes", mongo, "ab 100482-7", []string{"QX4T-88ZK"}, "AB–1004 827", " qx4t 88zk\u200b", ""},
		{"letters typed for the digits e-mailed", mongo, "1", []string{"A0B1-1"}, "1", "AOBI-L", ""},
		{"digits typed for the letters e-mailed", mongo, "2", []string{"AOBI-L"}, "2", "A0B1-1", ""},
		{"letters typed for other letters", mongo, "3", []string{"AOBI-I"}, "3", "a0b1-l", ""},
		{"the exact match comes before the look-alike", mongo, "4", []string{"AB10", "ABIO"}, "4", "AB10", enrollment.CodeSuperseded},
		{"and the other way round", mongo, "5", []string{"AB10", "ABIO"}, "5", "ABIO", ""},
		{"O is no Q", mongo, "6", []string{"A0B1"}, "6", "AQB1", enrollment.NotRecognised},
		{"zeros count where the policy does not say otherwise", mongo, "00482", []string{"QX4T-88ZK"}, "482", "QX4T-88ZK", enrollment.NotRecognised},
		{"zeros left out", zeros, "00482", []string{"QX4T-88ZK"}, "482", "QX4T-88ZK", ""},
		{"zeros added", zeros, "483", []string{"QX4T-88ZK"}, "0000-483", "QX4T-88ZK", ""},
		{"zeros of a code always count", zeros, "484", []string{"00X4T"}, "484", "X4T0", enrollment.NotRecognised},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.t = t
			billed, number := fmt.Sprint(tt.billed, "/", i), fmt.Sprint(tt.number, "/", i)
			for j, code := range tt.stored {
				s.bills(tt.tenant, invoice(billed, code, daysAgo(float64(30-15*j))))
			}
			_, err := s.register(s.form(tt.tenant, number, tt.typed))
			if tt.want != "" {
				refused(t, err, tt.want)
				return
			}
			ok(t, err)
		})
	}
}

// keys makes a ring of the named keys, the last one newest.
func keys(t *testing.T, ids ...string) *keyring.Ring {
	t.Helper()
	text := ""
	for i, id := range ids {
		secret := "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2" + string(id[0]) + "="
		text += fmt.Sprintf(`,{"id": %q, "createdAt": "2026-01-%02dT00:00:00Z", "secret": %q}`, id, i+1, secret)
	}
	ring, err := keyring.Parse([]byte(`{"keys": [` + text[1:] + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestKeysAreRotated(t *testing.T) {
	s := stage(t)
	before, after := store.New(s.DB, keys(t, "E"), storetest.Policy), store.New(s.DB, keys(t, "E", "M"), storetest.Policy)
	s.Store = before
	s.bills(mongo, invoice("1", "OLD-KEY", daysAgo(20)), invoice("2", "BOTH-KEYS", daysAgo(20)), invoice("3", "USED-CODE", daysAgo(20)))
	s.Ring = keys(t, "E")
	s.enrolls(s.form(mongo, "3", "USED-CODE"))
	held := s.admits(s.form(mongo, "2", "BOTH-KEYS"))

	s.Store, s.Ring = after, keys(t, "E", "M")
	s.admits(s.form(mongo, "1", "OLD-KEY"))

	// The same codes again, stored under the new key, are refreshes: neither superseded nor free once more.
	s.bills(mongo, invoice("2", "BOTH-KEYS", daysAgo(10)), invoice("3", "USED-CODE", daysAgo(10)))
	if n := s.number(`SELECT count(DISTINCT code_key) FROM invoice_emails`); n != 2 {
		t.Fatalf("codes are stored under %d keys, want 2", n)
	}
	_, err := s.register(s.form(mongo, "3", "USED-CODE"))
	refused(t, err, enrollment.CodeUsed)
	admitted, err := s.register(s.form(mongo, "2", "BOTH-KEYS"))
	ok(t, err)
	if admitted.Enrollment != held || !admitted.Continued {
		t.Errorf("%+v, want enrollment %s continued", admitted, held)
	}

	// A redelivery is recognised under the new key; the account keeps its name in facts.
	old := event(t, mongo, "//b", "e-old", 1000, invoice("4", "SOME-CODE", daysAgo(20)))
	s.Store = before
	ref := s.takes(old)[0].AccountRef
	s.Store = after
	if r := s.takes(old)[0]; r.Fault != nil || !r.Duplicate || r.AccountRef != ref {
		t.Errorf("redelivered after the rotation: %+v", r)
	}
}

func TestTwentyIdenticalRegistrationsAtOnceAreOne(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("100482-7", "QX4T-88ZK", daysAgo(1)))
	a := s.form(mongo, "100482-7", "QX4T-88ZK")
	ids := make([]enrollment.ID, 20)
	for _, err := range atOnce(len(ids), func(i int) error {
		admitted, err := s.register(a)
		ids[i] = admitted.Enrollment
		return err
	}) {
		ok(t, err)
	}
	if len(slices.Compact(ids)) != 1 {
		t.Errorf("admitted as %v", ids)
	}
	want := []string{"Registered", "ActivationRequested"}
	if diff := cmp.Diff(want, names(s.announced())); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}
}

func TestARegistrationAnnouncesFactAndMail(t *testing.T) {
	s := stage(t)
	emailed := daysAgo(3.5)
	s.bills(mongo, invoice("100482-7", "QX4T-88ZK", emailed), invoice("1004827", "", daysAgo(1), func(m *events.InvoiceEmailed) { m.CompanyName = "Bob & Sons" }))
	id := s.admits(s.form(mongo, "1004827", "qx4t88zk", named(t, "Bob’sBuilding"), func(a *enrollment.Application) {
		a.Email, a.Locale, a.Browser = "bob@gmail.com", "", "Firefox, Windows"
	}))
	mail := only[events.ActivationRequested](t, s.announced())
	want := events.ActivationRequested{EnrollmentID: id.String(), Generation: 1, Number: 1, To: "bob@gmail.com", Username: "Bob’sBuilding",
		CompanyName: "Bob & Sons", AccountNumber: "1004827", AccountRef: s.Ring.AccountRef(mongo, "1004827"), Locale: "en-US", ValidForSeconds: 72 * 3600, SignedUpWith: "Firefox, Windows"}
	if diff := cmp.Diff(want, mail, cmpopts.IgnoreFields(mail, "RequestedAt", "SignedUpAt")); diff != "" {
		t.Errorf("mail (-want +got):\n%s", diff)
	}
	fact := only[events.Registered](t, s.announced()).Fact
	days := 3
	wantFact := events.Fact{AccountRef: s.Ring.AccountRef(mongo, "1004827"), EnrollmentID: id.String(), Sequence: 1,
		Properties: events.Properties{Locale: "en-US", InvoiceMonth: emailed.Format("2006-01"), CodeAgeDays: &days, MailDomainClass: enrollment.Freemail}}
	if diff := cmp.Diff(wantFact, fact, cmpopts.IgnoreFields(fact, "OccurredAt")); diff != "" {
		t.Errorf("fact (-want +got):\n%s", diff)
	}
	if age := time.Since(fact.OccurredAt); age < -time.Minute || age > time.Minute {
		t.Errorf("it occurred %s ago", age)
	}
}

// Two mails of one moment with one code: which came first must not be seen in the facts. Without a date of issue the month is
// that of the mail, as in Invited.
func TestTheInvoiceMonthDependsOnNoOrder(t *testing.T) {
	s := stage(t)
	at := daysAgo(1)
	issued := func(on events.Date) func(*events.InvoiceEmailed) {
		return func(m *events.InvoiceEmailed) { m.Invoice.IssuedOn = on }
	}
	for i, tt := range []struct {
		name          string
		first, second events.Date
		want          string
	}{
		{"the second event is the newer", "2026-08-01", "2026-09-01", "2026-09"},
		{"no date of issue", "2026-08-01", "", at.Format("2006-01")},
	} {
		for _, swapped := range []bool{false, true} {
			account := fmt.Sprint("A-", i, swapped)
			batch := []events.Received{
				event(t, mongo, "//b", account+"1", s.next(), invoice(account, "QX4T-88ZK", at, issued(tt.first))),
				event(t, mongo, "//b", account+"2", s.next(), invoice(account, "QX4T-88ZK", at, issued(tt.second))),
			}
			if swapped {
				slices.Reverse(batch)
			}
			for _, r := range batch {
				s.takes(r)
			}
			id := s.admits(s.form(mongo, account, "QX4T-88ZK"))
			if got := storetest.One[string](t, s.Database, `SELECT invoice_month FROM enrollments WHERE id = $1`, id); got != tt.want {
				t.Errorf("%s, swapped %t: %s, want %s", tt.name, swapped, got, tt.want)
			}
		}
	}
}

func TestOfTwoAccountsThatWantOneUsernameOneGetsIt(t *testing.T) {
	s := stage(t)
	const n = 6
	for i := range n {
		s.bills(mongo, invoice(fmt.Sprint("A-", i), "QX4T-88ZK", daysAgo(1)))
	}
	forms := make([]enrollment.Application, n)
	for i := range forms {
		forms[i] = s.form(mongo, fmt.Sprint("A-", i), "QX4T-88ZK", named(t, "bob"))
	}
	got := reasons(t, atOnce(n, func(i int) error { _, err := s.register(forms[i]); return err }))
	if diff := cmp.Diff(map[enrollment.Reason]int{"": 1, enrollment.UsernameTaken: n - 1}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	// Those who hold another name and would like the same one race as well.
	for i := range forms {
		forms[i] = s.form(mongo, fmt.Sprint("A-", i), "QX4T-88ZK")
		s.admits(forms[i])
		forms[i] = s.form(mongo, fmt.Sprint("A-", i), "QX4T-88ZK", named(t, "alice"), func(a *enrollment.Application) { a.Email = forms[i].Email })
	}
	got = reasons(t, atOnce(n, func(i int) error { _, err := s.register(forms[i]); return err }))
	if diff := cmp.Diff(map[enrollment.Reason]int{"": 1, enrollment.UsernameTaken: n - 1}, got); diff != "" {
		t.Errorf("answers to a change (-want +got):\n%s", diff)
	}
	if n := s.number(`SELECT count(*) FROM usernames WHERE username_key = 'alice'`); n != 1 {
		t.Errorf("alice is held %d times", n)
	}
}

func TestAnOverdueHolderGivesUpCodeAndUsernameAtOnce(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("1", "QX4T-88ZK", daysAgo(1)), invoice("2", "MB07-22YL", daysAgo(1)), invoice("3", "ZZZZ-4444", daysAgo(1)))
	first := s.admits(s.form(mongo, "1", "QX4T-88ZK", named(t, "bob")))
	s.admits(s.form(mongo, "3", "ZZZZ-4444"))
	s.Pass(t, 8*24*time.Hour)
	s.forgetOutbox()

	second := s.admits(s.form(mongo, "2", "MB07-22YL", named(t, "bob")))
	if got := s.state(first); got != enrollment.Expired {
		t.Errorf("the first holder of the name is %s", got)
	}
	third := s.admits(s.form(mongo, "1", "QX4T-88ZK"))
	if third == first || third == second {
		t.Error("the code was not free")
	}
	// Whoever goes on with a pending enrollment may take an overdue name as well.
	s.Pass(t, 8*24*time.Hour)
	fourth := s.admits(s.form(mongo, "3", "ZZZZ-4444"))
	s.admits(s.form(mongo, "3", "ZZZZ-4444", named(t, "bob")))
	if got := storetest.One[enrollment.ID](t, s.Database, `SELECT enrollment FROM usernames WHERE username_key = 'bob'`); got != fourth {
		t.Errorf("bob is held by %s, want %s", got, fourth)
	}
	if n := s.number(`SELECT count(*) FROM enrollments WHERE state = 'expired'`); n != 3 {
		t.Errorf("%d expired enrollments, want 3", n)
	}
}

func TestAFailedTransactionLeavesNothing(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("100482-7", "QX4T-88ZK", daysAgo(1)))
	_, err := s.DB.Exec(`ALTER TABLE enrollment_addresses ADD CONSTRAINT broken CHECK (address = '')`)
	ok(t, err)
	woken := 0
	s.OnOutbox(func() { woken++ })
	a := s.form(mongo, "100482-7", "QX4T-88ZK")
	if admitted, err := s.register(a); err == nil || admitted != (enrollment.Admission{}) {
		t.Fatalf("admitted %v, error %v", admitted, err)
	}
	for _, table := range []string{"enrollments", "usernames", "outbox", "attempts", "refusals", "enrollment_moves"} {
		if n := s.number(`SELECT count(*) FROM ` + table); n != 0 {
			t.Errorf("%d rows in %s", n, table)
		}
	}
	if woken != 0 {
		t.Error("the relay was woken for nothing")
	}
	_, err = s.DB.Exec(`ALTER TABLE enrollment_addresses DROP CONSTRAINT broken`)
	ok(t, err)
	s.admits(a)
	if woken != 1 {
		t.Errorf("the relay was woken %d times, want once", woken)
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Register(ctx, s.form(mongo, "100482-7", "QX4T-88ZK")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	if _, err := s.register(s.form("nobody", "100482-7", "QX4T-88ZK")); !errors.Is(err, enrollment.ErrUnknown) {
		t.Errorf("an unknown tenant: %v", err)
	}
	if _, err := store.Open(context.Background(), "postgres://u:s3cret@"+filepath.Join(t.TempDir(), "none")+":x/db", 1); err == nil {
		t.Error("opened a database that is not there")
	}
}
