package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

func (s *scene) attempt(tenant, key, source string) (enrollment.Credential, error) {
	return s.AttemptLogIn(context.Background(), tenant, key, netip.MustParseAddr(source))
}

// user is somebody who enrolled.
func (s *scene) user(account, name string) (enrollment.ID, int64) {
	s.t.Helper()
	s.bills(mongo, invoice(account, "QX4T-88ZK", daysAgo(1)))
	return s.enrolls(s.form(mongo, account, "QX4T-88ZK", named(s.t, name)))
}

func TestALogInIsCountedBeforeThePasswordIsCompared(t *testing.T) {
	s := stage(t)
	const here = "192.0.2.1"
	id, user := s.user("100482-7", "Bob’sBuilding")
	c, err := s.attempt(mongo, "bob'sbuilding", here)
	ok(t, err)
	if c.User != user || c.PasswordHash != passwordHash {
		t.Errorf("%+v", c)
	}
	if elsewhere, err := s.attempt(zeros, "bob'sbuilding", here); err != nil || elsewhere != (enrollment.Credential{}) {
		t.Errorf("at another tenant: %+v, %v", elsewhere, err)
	}
	for range enrollment.WrongTriesOnAccount - 1 {
		_, err := s.attempt(mongo, "bob'sbuilding", here)
		ok(t, err)
	}
	_, err = s.attempt(mongo, "bob'sbuilding", here)
	waitIs(t, err, 30*time.Second)
	if _, err := s.attempt(mongo, "bob'sbuilding", "192.0.2.2"); err != nil {
		t.Errorf("another source: %v", err)
	}

	// The last try was right after all: nothing is left of the wrong ones, and the fact is told.
	s.forgetOutbox()
	ok(t, s.SignIn(t.Context(), mongo, user, netip.MustParseAddr(here)))
	if fact := only[events.SignedIn](t, s.announced()); fact.EnrollmentID != id.String() || fact.Sequence != 3 {
		t.Errorf("%+v", fact)
	}
	for range enrollment.WrongTriesOnAccount {
		_, err := s.attempt(mongo, "bob'sbuilding", here)
		ok(t, err)
	}
	_, err = s.attempt(mongo, "bob'sbuilding", here)
	waitIs(t, err, 30*time.Second)
}

func TestAnUnknownUsernameIsCountedAlike(t *testing.T) {
	s := stage(t)
	s.user("100482-7", "bob")
	traces := func(name string) string {
		s.DB.MustExec(`DELETE FROM attempts`)
		_, err := s.attempt(mongo, name, "192.0.2.1")
		ok(t, err)
		return s.dump(`SELECT scope, wrong, level, wait_until FROM attempts`)
	}
	if diff := cmp.Diff(traces("bob"), traces("eve")); diff != "" {
		t.Errorf("traces (-known +unknown):\n%s", diff)
	}
}

func TestARightPasswordTakesBackItsOwnTryOnly(t *testing.T) {
	s := stage(t)
	const here = "192.0.2.1"
	_, user := s.user("100482-7", "bob")
	for i := range enrollment.WrongTriesOnTenant - 1 {
		_, err := s.attempt(mongo, fmt.Sprint("name", i), here)
		ok(t, err)
	}
	for range 3 { // the twentieth try is right, any number of times
		_, err := s.attempt(mongo, "bob", here)
		ok(t, err)
		ok(t, s.SignIn(t.Context(), mongo, user, netip.MustParseAddr(here)))
	}
	_, err := s.attempt(mongo, "one more name", here)
	ok(t, err)
	_, err = s.attempt(mongo, "bob", here)
	waitIs(t, err, 30*time.Second) // the first wait, since those who were right never waited
}

func TestManyLogInsAtOnceAreCountedOneByOne(t *testing.T) {
	s := stage(t)
	got := reasons(t, atOnce(60, func(int) error { _, err := s.attempt(mongo, "bob", "192.0.2.1"); return err }))
	want := map[enrollment.Reason]int{"": enrollment.WrongTriesOnAccount, enrollment.TooManyTries: 60 - enrollment.WrongTriesOnAccount}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

func TestAnAccountShowsItsInvoices(t *testing.T) {
	s := stage(t)
	id, user := s.user("100482-7", "bob")
	numbered := func(number string, amount int64, change ...func(*events.InvoiceEmailed)) func(*events.InvoiceEmailed) {
		return func(m *events.InvoiceEmailed) {
			m.Invoice.Number, m.Invoice.AmountDueMinor = number, &amount
			for _, c := range change {
				c(m)
			}
		}
	}
	s.DB.MustExec(`DELETE FROM invoice_emails`)
	s.bills(mongo,
		invoice("100482-7", "", daysAgo(10), numbered("I-2", 200)),
		invoice("1004827", "", daysAgo(1), numbered("I-1", 111, func(m *events.InvoiceEmailed) {
			m.CompanyName = "Bob & Sons"
			m.Invoice.DueOn = "2026-12-20"
			m.Invoice.DocumentURL = "https://b.example/1"
		})),
		invoice("100482-7", "", daysAgo(20), numbered("I-1", 100)),
		invoice("100482-7", "", daysAgo(5), numbered("I-3", 0, func(m *events.InvoiceEmailed) {
			m.Invoice.AmountDueMinor = nil
			m.Invoice.Currency = ""
			m.Invoice.IssuedOn = ""
		})),
		invoice("SOMEBODY-ELSE", "", daysAgo(0.1), numbered("I-9", 999)),
	)
	got, err := s.Invoices(t.Context(), mongo, user)
	ok(t, err)
	face := func(i enrollment.Invoice) enrollment.Invoice {
		i.AccountNumber, i.CompanyName = "1004827", "Bob & Sons"
		return i
	}
	want := []enrollment.Invoice{
		face(enrollment.Invoice{Number: "I-1", EmailedAt: daysAgo(1), IssuedOn: daysAgo(1).Format(time.DateOnly), DueOn: "2026-12-20", Currency: "USD", AmountDueMinor: 111, DocumentURL: "https://b.example/1"}),
		face(enrollment.Invoice{Number: "I-3", EmailedAt: daysAgo(5)}),
		face(enrollment.Invoice{Number: "I-2", EmailedAt: daysAgo(10), IssuedOn: daysAgo(10).Format(time.DateOnly), Currency: "USD", AmountDueMinor: 200}),
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b time.Time) bool { return a.Sub(b).Abs() < time.Minute })); diff != "" {
		t.Errorf("invoices (-want +got):\n%s", diff)
	}
	c, err := s.Customer(t.Context(), mongo, user)
	ok(t, err)
	if diff := cmp.Diff(enrollment.Customer{Username: "bob", Email: c.Email, Accounts: []enrollment.Holding{
		{AccountNumber: "1004827", CompanyName: "Bob & Sons", Users: c.Accounts[0].Users},
	}}, c); diff != "" || c.Email == "" || len(c.Accounts[0].Users) != 1 || c.Accounts[0].Users[0].Username != "bob" {
		t.Errorf("customer (-want +got):\n%s", diff)
	}

	s.forgetOutbox()
	ok(t, s.ViewInvoices(t.Context(), mongo, user))
	if fact := only[events.InvoiceViewed](t, s.announced()); fact.EnrollmentID != id.String() {
		t.Errorf("%+v", fact)
	}
	for _, tenant := range []string{zeros, "nobody"} {
		_, err := s.Customer(t.Context(), tenant, user)
		for _, err := range []error{err, s.ViewInvoices(t.Context(), tenant, user), s.SignIn(t.Context(), tenant, user, netip.MustParseAddr("192.0.2.1"))} {
			if !errors.Is(err, enrollment.ErrUnknown) {
				t.Errorf("tenant %s: %v, want ErrUnknown", tenant, err)
			}
		}
	}
	if _, err := s.Customer(t.Context(), mongo, user+1); !errors.Is(err, enrollment.ErrUnknown) {
		t.Errorf("nobody's account: %v", err)
	}
}

func TestForgetTakesWhatIsOver(t *testing.T) {
	s := stage(t)
	keep := func(what string, want map[string]int) {
		t.Helper()
		got := map[string]int{}
		for table := range want {
			got[table] = s.number(`SELECT count(*) FROM ` + table)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	_, user := s.user("100482-7", "bob")
	s.DB.MustExec(`DELETE FROM attempts`)
	s.saves("t1", user, 0, "x", time.Hour)
	s.saves("t2", user, 0, "x", 24*time.Hour)
	refused(t, s.guess("A", "192.0.2.1"), enrollment.NotRecognised)
	forget := func(want int) {
		t.Helper()
		if n, err := s.Forget(t.Context()); n != want || err != nil {
			t.Errorf("forgot %d, %v; want %d", n, err, want)
		}
	}
	forget(0)
	s.Pass(t, 11*time.Hour)
	forget(1)
	keep("after eleven hours", map[string]int{"sessions": 1, "attempts": 3, "refusals": 1})
	s.Pass(t, 2*time.Hour)
	forget(2)
	keep("after thirteen hours", map[string]int{"sessions": 1, "attempts": 1, "refusals": 1}) // of the account, which is remembered longer
	s.Pass(t, 90*24*time.Hour)
	forget(2)
	keep("after ninety days", map[string]int{"sessions": 0, "attempts": 0, "refusals": 1})
	s.Pass(t, 310*24*time.Hour)
	forget(1)
	if n := storetest.One[int](t, s.Database, `SELECT count(*) FROM refusals`); n != 0 {
		t.Errorf("%d refusals are left", n)
	}
}
