package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

func (s *scene) adds(user int64, account, code string) error {
	return s.AddAccount(s.t.Context(), user, enrollment.Application{
		Tenant: mongo, AccountNumber: account, Code: enrollment.Secret(code), Source: somewhere,
	})
}

func (s *scene) accountsOf(user int64) []string {
	s.t.Helper()
	c, err := s.Customer(s.t.Context(), mongo, user)
	ok(s.t, err)
	var numbers []string
	for _, a := range c.Accounts {
		numbers = append(numbers, a.AccountNumber)
	}
	return numbers
}

func TestAnAccountIsAddedByItsCodeOnce(t *testing.T) {
	s := stage(t)
	_, user := s.user("100", "bob")
	s.bills(mongo, invoice("200", "7F3K-9QWD", daysAgo(1)))
	s.forgetOutbox()
	refused(t, s.adds(user, "200", "WRONG-CODE"), enrollment.NotRecognised)
	refused(t, s.adds(user, "300", "7F3K-9QWD"), enrollment.NotRecognised)
	s.forgetOutbox()
	ok(t, s.adds(user, "200", "7f3k 9qwd"))
	if diff := cmp.Diff([]string{"Registered", "Activated", "EnrollmentNoticeRequested"}, names(s.announced())); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"100", "200"}, s.accountsOf(user)); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
	ok(t, s.adds(user, "200", "7F3K-9QWD")) // two clicks
	if n := s.number(`SELECT count(*) FROM memberships`); n != 2 {
		t.Errorf("%d memberships", n)
	}
	_, other := s.user("400", "ada")
	refused(t, s.adds(other, "200", "7F3K-9QWD"), enrollment.CodeUsed)
	_, err := s.register(s.form(mongo, "200", "7F3K-9QWD"))
	refused(t, err, enrollment.CodeUsed)
}

func TestAnAccountIsAddedToOneUserOfMany(t *testing.T) {
	s := stage(t)
	_, bob := s.user("100", "bob")
	_, ada := s.user("400", "ada")
	s.bills(mongo, invoice("200", "7F3K-9QWD", daysAgo(1)))
	got := reasons(t, atOnce(10, func(i int) error { return s.adds([]int64{bob, ada}[i%2], "200", "7F3K-9QWD") }))
	if got[""] != 5 || got[enrollment.CodeUsed] != 5 { // the winner's four other clicks found it done
		t.Errorf("answers: %v", got)
	}
}

func TestAddingContinuesWhatIsPending(t *testing.T) {
	s := stage(t)
	_, user := s.user("100", "bob")
	s.bills(mongo, invoice("200", "7F3K-9QWD", daysAgo(1)))
	id := s.admits(s.form(mongo, "200", "7F3K-9QWD"))
	ok(t, s.adds(user, "200", "7F3K-9QWD"))
	if got := s.state(id); got != enrollment.Cancelled {
		t.Errorf("the pending sign-up is %s", got)
	}
}

func TestWhoGuessesWhileLoggedInWaitsLikeAnybody(t *testing.T) {
	s := stage(t)
	_, user := s.user("100", "bob")
	s.bills(mongo, invoice("200", "7F3K-9QWD", daysAgo(1)))
	for range enrollment.WrongTriesOnAccount {
		refused(t, s.adds(user, "200", "WRONG-CODE"), enrollment.NotRecognised)
	}
	waitIs(t, s.adds(user, "200", "7F3K-9QWD"), 30*time.Second)
	s.Pass(t, 31*time.Second)
	ok(t, s.adds(user, "200", "7F3K-9QWD"))
}

func TestATenantMayAllowOneUserForEachAccount(t *testing.T) {
	s := stage(t)
	alone := store.New(s.DB, s.Ring, func(tenant string) (enrollment.Policy, bool) {
		p, known := storetest.Policy(tenant)
		p.SeveralUsers = false
		return p, known
	})
	s.user("100", "bob")
	s.bills(mongo, invoice("100", "SECOND-CODE", daysAgo(0.5)))
	_, err := alone.Register(t.Context(), s.form(mongo, "100", "SECOND-CODE"))
	refused(t, err, enrollment.CodeUsed)
	s.enrolls(s.form(mongo, "100", "SECOND-CODE", named(t, "ada"))) // here the tenant allows several
	c, err := s.Customer(t.Context(), mongo, storetest.One[int64](t, s.Database, `SELECT id FROM users WHERE username = 'ada'`))
	ok(t, err)
	if diff := cmp.Diff("bob, ada", usersOf(c.Accounts[0])); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
}

func closing(account string, at time.Time) events.AccountClosed {
	return events.AccountClosed{AccountNumber: account, ClosedAt: at}
}

func TestAClosedAccountEndsWhatIsPendingAndTakesNobody(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("100", "QX4T-88ZK", daysAgo(1)), invoice("200", "7F3K-9QWD", daysAgo(1)))
	a := s.form(mongo, "100", "QX4T-88ZK")
	id, other := s.admits(a), s.admits(s.form(mongo, "200", "7F3K-9QWD"))
	link := s.link(mongo, id, 1, a.Email)
	s.bills(mongo, closing("100", daysAgo(0.1)))
	refused(t, s.activate(mongo, link), enrollment.AccountClosed) // also before anybody came by to cancel it
	s.forgetOutbox()
	n, err := s.CancelClosed(t.Context(), 10)
	if err != nil || n != 1 || s.state(id) != enrollment.Cancelled || s.state(other) != enrollment.Registered {
		t.Errorf("%d cancelled, %v: %s, %s", n, err, s.state(id), s.state(other))
	}
	announced := s.announced()
	if fact := only[events.Cancelled](t, announced); fact.Reason != "account-closed" || announced[0].Source != events.Source(mongo, "deadlines") {
		t.Errorf("%+v from %s", fact, announced[0].Source)
	}
	_, err = s.Renew(t.Context(), mongo, link, wish("again-again"))
	refused(t, err, enrollment.AccountClosed)
	_, err = s.register(s.form(mongo, "100", "QX4T-88ZK"))
	refused(t, err, enrollment.AccountClosed)
	_, err = s.register(s.form(mongo, "100", "WRONG-CODE")) // told only to who holds the pair
	refused(t, err, enrollment.NotRecognised)
	if n, err := s.CancelClosed(t.Context(), 10); err != nil || n != 0 {
		t.Errorf("again: %d, %v", n, err)
	}
}

func TestAnAccountThatWillCloseIsOpen(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("100", "QX4T-88ZK", daysAgo(1)), closing("100", daysAgo(-1)))
	s.admits(s.form(mongo, "100", "QX4T-88ZK"))
	if n, err := s.CancelClosed(t.Context(), 10); err != nil || n != 0 {
		t.Errorf("%d cancelled, %v", n, err)
	}
}

func TestAccessToAClosedAccountEndsAfterTheGrace(t *testing.T) {
	s := stage(t)
	_, user := s.user("100", "bob")
	s.bills(mongo, closing("100", daysAgo(59)))
	c, err := s.Customer(t.Context(), mongo, user)
	ok(t, err)
	if a := c.Accounts[0]; a.ClosedAt.IsZero() || !a.AccessUntil.Equal(a.ClosedAt.Add(60*24*time.Hour)) {
		t.Errorf("%+v", a)
	}
	s.Pass(t, 25*time.Hour)
	if got := s.accountsOf(user); got != nil {
		t.Errorf("sees %v", got)
	}
	invoices, err := s.Invoices(t.Context(), mongo, user)
	ok(t, err)
	payments, err := s.Payments(t.Context(), mongo, user)
	ok(t, err)
	if len(invoices)+len(payments) > 0 {
		t.Errorf("sees %v, %v", invoices, payments)
	}
}

func TestHowAnAccountPaysIsWhatBillingSaidLast(t *testing.T) {
	s := stage(t)
	_, user := s.user("100", "bob")
	s.user("200", "ada")
	s.bills(mongo,
		events.PaymentMethodChanged{AccountNumber: "100", ChangedAt: daysAgo(1), Kind: events.Card, Brand: "Visa", LastFour: "4242", ExpiresOn: "2028-03"},
		events.PaymentMethodChanged{AccountNumber: "100", ChangedAt: daysAgo(2), Kind: events.BankAccount, Brand: "First Bank", LastFour: "0001"},
		events.PaymentMethodChanged{AccountNumber: "200", ChangedAt: daysAgo(0.5), Kind: events.NoMethod},
	)
	got, err := s.Payments(t.Context(), mongo, user)
	ok(t, err)
	want := []enrollment.Payment{{AccountNumber: "100", CompanyName: "Bob's Building", Kind: "card", Brand: "Visa", LastFour: "4242", ExpiresOn: "2028-03"}}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b time.Time) bool { return true })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestANewCodeIsAskedForOnceADayAndFourTimesAMonth(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("100482-7", "QX4T-88ZK", daysAgo(1)), invoice("200", "7F3K-9QWD", daysAgo(1)), closing("200", daysAgo(0.5)))
	asked := func() int { return s.number(`SELECT count(*) FROM outbox WHERE subject LIKE 'requests.%'`) }
	ask := func(account string) { t.Helper(); ok(t, s.AskForCode(t.Context(), mongo, account, somewhere)) }
	for _, account := range []string{"1004827", "100482-7", "999", "200"} { // nobody's, and a closed one's, ask nothing and say nothing
		ask(account)
	}
	if asked() != 1 {
		t.Fatalf("%d requests, want 1", asked())
	}
	if m := only[events.CodeReissueRequested](t, s.announced()); m.Cause != events.CustomerAsked || m.AccountNumber != "100482-7" {
		t.Errorf("%+v", m)
	}
	for range 6 {
		s.Pass(t, 25*time.Hour)
		ask("100482-7")
	}
	if asked() != enrollment.MaxCodeReissues {
		t.Errorf("%d requests in a week, want %d", asked(), enrollment.MaxCodeReissues)
	}
	for range enrollment.WrongTriesOnTenant - 1 {
		ask("999")
	}
	waitIs(t, s.AskForCode(t.Context(), mongo, "100482-7", somewhere), 30*time.Second)
	refused(t, s.AskForCode(t.Context(), mongo, " - ", somewhere), enrollment.Missing)
}
