package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

// guess tries a wrong code.
func (s *scene) guess(account, source string) error {
	_, err := s.register(s.form(mongo, account, "A WRONG GUESS", from(source)))
	return err
}

// waitIs checks that a wait of about that length is told, and returns it.
func waitIs(t *testing.T, err error, want time.Duration) time.Duration {
	t.Helper()
	no := refused(t, err, enrollment.TooManyTries)
	if no.RetryAfter > want || no.RetryAfter < want-20*time.Second {
		t.Fatalf("the wait is %s, want %s less what has passed", no.RetryAfter, want)
	}
	return no.RetryAfter
}

func TestFiveWrongTriesMakeASourceWait(t *testing.T) {
	s := stage(t)
	const source = "192.0.2.1"
	s.bills(mongo, invoice("100482-7", "QX4T-88ZK", daysAgo(1)), invoice("100483-5", "MB07-22YL", daysAgo(1)))
	for range enrollment.WrongTriesOnAccount {
		refused(t, s.guess("100482-7", source), enrollment.NotRecognised)
	}
	only[events.Locked](t, s.announced())
	right := s.form(mongo, "1004827", "QX4T-88ZK", from(source))
	_, err := s.register(right)
	first := waitIs(t, err, 30*time.Second)
	for range 3 {
		if again := waitIs(t, s.guess("100482-7", source), 30*time.Second); again > first {
			t.Fatalf("a try moved the end of the wait from %s to %s", first, again)
		}
	}

	// Another source, and this source on another account, do not wait.
	refused(t, s.guess("100482-7", "192.0.2.2"), enrollment.NotRecognised)
	s.admits(s.form(mongo, "100483-5", "MB07-22YL", from(source)))

	for _, wait := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute} {
		s.Pass(t, 15*time.Minute)
		refused(t, s.guess("100482-7", source), enrollment.NotRecognised)
		waitIs(t, s.guess("100482-7", source), wait)
	}

	s.Pass(t, 15*time.Minute)
	s.admits(right)
	for range enrollment.WrongTriesOnAccount {
		refused(t, s.guess("100482-7", source), enrollment.NotRecognised)
	}
	waitIs(t, s.guess("100482-7", source), 30*time.Second) // being right made the waits short again
}

func TestAnIdleCountIsForgotten(t *testing.T) {
	s := stage(t)
	for range enrollment.WrongTriesOnAccount {
		refused(t, s.guess("A", "192.0.2.1"), enrollment.NotRecognised)
	}
	s.Pass(t, 12*time.Hour+time.Minute)
	for range enrollment.WrongTriesOnAccount {
		refused(t, s.guess("A", "192.0.2.1"), enrollment.NotRecognised)
	}
	waitIs(t, s.guess("A", "192.0.2.1"), 30*time.Second)
}

// The counter here is the database's, not the limiter's: a refusal is recorded for each guess that was compared.
func TestOfManyGuessesAtOnceFiveAreCompared(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("100482-7", "QX4T-88ZK", daysAgo(1)))
	forms := make([]enrollment.Application, 200)
	for i := range forms {
		forms[i] = s.form(mongo, "100482-7", fmt.Sprint("GUESS", i), from("192.0.2.1"))
	}
	got := reasons(t, atOnce(len(forms), func(i int) error { _, err := s.register(forms[i]); return err }))
	want := map[enrollment.Reason]int{enrollment.NotRecognised: 5, enrollment.TooManyTries: 195}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if n := s.number(`SELECT count(*) FROM refusals`); n != 5 {
		t.Errorf("%d guesses were compared, want 5", n)
	}
}

func TestTwentyWrongTriesOnATenantMakeASourceWait(t *testing.T) {
	s := stage(t)
	for i := range enrollment.WrongTriesOnTenant {
		refused(t, s.guess(fmt.Sprint("A-", i), "192.0.2.1"), enrollment.NotRecognised)
	}
	waitIs(t, s.guess("B", "192.0.2.1"), 30*time.Second)
	_, err := s.register(s.form(zeros, "B", "GUESS", from("192.0.2.1")))
	refused(t, err, enrollment.NotRecognised) // another tenant's portal is another matter
	s.Pass(t, 31*time.Second)
	refused(t, s.guess("C", "192.0.2.1"), enrollment.NotRecognised)
	waitIs(t, s.guess("D", "192.0.2.1"), time.Minute)
	s.Pass(t, 11*time.Minute)
	for i := range enrollment.WrongTriesOnTenant {
		refused(t, s.guess(fmt.Sprint("E-", i), "192.0.2.1"), enrollment.NotRecognised)
	}
	waitIs(t, s.guess("F", "192.0.2.1"), 2*time.Minute)

	// The ten minutes begin with the first wrong try, not with a right one long before it.
	s.bills(mongo, invoice("100482-7", "QX4T-88ZK", daysAgo(1)))
	s.admits(s.form(mongo, "100482-7", "QX4T-88ZK", from("192.0.2.9")))
	s.Pass(t, 9*time.Minute)
	for i := range enrollment.WrongTriesOnTenant - 1 {
		refused(t, s.guess(fmt.Sprint("G-", i), "192.0.2.9"), enrollment.NotRecognised)
	}
	s.Pass(t, 2*time.Minute)
	refused(t, s.guess("H", "192.0.2.9"), enrollment.NotRecognised)
	waitIs(t, s.guess("I", "192.0.2.9"), 30*time.Second)
}

func TestOneSubscriberOfIPv6IsOneSource(t *testing.T) {
	s := stage(t)
	for i := range enrollment.WrongTriesOnAccount {
		refused(t, s.guess("A", fmt.Sprintf("2001:db8:1:2:%x::1", i)), enrollment.NotRecognised)
	}
	waitIs(t, s.guess("A", "2001:db8:1:2:ffff::9"), 30*time.Second)
	refused(t, s.guess("A", "2001:db8:1:3::1"), enrollment.NotRecognised)
	for range enrollment.WrongTriesOnAccount {
		refused(t, s.guess("B", "::ffff:192.0.2.1"), enrollment.NotRecognised)
	}
	waitIs(t, s.guess("B", "192.0.2.1"), 30*time.Second)
}

func TestAHundredWrongTriesRetireTheCodes(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("100482-7", "QX4T-88ZK", daysAgo(1)))
	guessAlong := func(n int) {
		t.Helper()
		for range n {
			_, err := s.register(s.form(mongo, "100482-7", "A WRONG GUESS"))
			refused(t, err, enrollment.NotRecognised)
		}
	}
	asked := func() (n int) {
		t.Helper()
		for _, name := range names(s.announced()) {
			if name == "CodeReissueRequested" {
				n++
			}
		}
		return n
	}
	guessAlong(99)
	s.Pass(t, 13*time.Hour) // patience does not help
	if _, err := s.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if asked() != 0 {
		t.Fatal("retired before the hundredth try")
	}
	guessAlong(1)
	request := only[events.CodeReissueRequested](t, s.announced())
	if request.AccountNumber != "100482-7" || request.Cause != events.CodesRetired {
		t.Errorf("%+v", request)
	}
	right := s.form(mongo, "100482-7", "QX4T-88ZK")
	_, err := s.register(right)
	refused(t, err, enrollment.CodeRetired)

	// Billing is asked once a day and four times in thirty days, however many guess.
	quick := func() {
		t.Helper()
		guessAlong(1)
		_, err := s.DB.Exec(`UPDATE attempts SET wrong = $1 WHERE scope = 'code-account'`, enrollment.WrongTriesToRetire-1)
		ok(t, err)
		guessAlong(1)
	}
	for day, want := range []int{1, 2, 3, 4, 4, 4} {
		quick()
		if got := asked(); got != want {
			t.Errorf("day %d: billing was asked %d times, want %d", day, got, want)
		}
		s.Pass(t, 25*time.Hour)
	}
	s.Pass(t, 27*24*time.Hour)
	quick()
	if got := asked(); got != 5 {
		t.Errorf("after a month billing was asked %d times, want 5", got)
	}

	s.bills(mongo, invoice("100482-7", "BRAND-NEW", time.Now().Add(time.Second)))
	s.admits(s.form(mongo, "100482-7", "brand new"))
}

// Nothing in what an unknown account costs or leaves behind tells it from a known one, up to the hundredth try.
func TestAnUnknownAccountLeavesTheSameTraces(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("KNOWN", "QX4T-88ZK", daysAgo(1)), events.AccountClosed{AccountNumber: "CLOSED", ClosedAt: daysAgo(1)})
	traces := func(account string) string {
		t.Helper()
		s.forgetOutbox()
		for _, table := range []string{"attempts", "refusals"} {
			_, err := s.DB.Exec(`DELETE FROM ` + table)
			ok(t, err)
		}
		refused(t, s.guess(account, "192.0.2.1"), enrollment.NotRecognised)
		return s.dump(`SELECT tenant, scope, wrong, level, wait_until IS NULL AS free FROM attempts`) +
			s.dump(`SELECT tenant, reason FROM refusals`) +
			s.dump(`SELECT subject, jsonb_object_keys(body::jsonb -> 'data') AS key, length(body::jsonb -> 'data' ->> 'accountRef') FROM outbox`)
	}
	known := traces("KNOWN")
	for _, account := range []string{"UNKNOWN", "CLOSED"} {
		if diff := cmp.Diff(known, traces(account)); diff != "" {
			t.Errorf("%s (-known +%s):\n%s", account, account, diff)
		}
	}
	for _, account := range []string{"UNKNOWN", "CLOSED"} {
		s.retire(account) // no answer but the usual one, though there is nothing to retire
	}
}

func TestARightTryOnOneAccountForgetsNothingOfAnother(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("MINE", "QX4T-88ZK", daysAgo(1)))
	for i := range enrollment.WrongTriesOnTenant {
		refused(t, s.guess(fmt.Sprint("A-", i), "192.0.2.1"), enrollment.NotRecognised)
		if i%4 == 0 {
			s.admits(s.form(mongo, "MINE", "QX4T-88ZK", from("192.0.2.1"), named(t, "mallory"), func(a *enrollment.Application) { a.Email = "m@company.example" }))
		}
	}
	waitIs(t, s.guess("B", "192.0.2.1"), 30*time.Second)
	if err := s.guess("A-1", "192.0.2.2"); errors.Is(err, enrollment.ErrUnknown) {
		t.Error("an unknown account was told apart")
	}
	if n := storetest.One[int](t, s.Database, `SELECT wrong FROM attempts WHERE scope = 'code-source' AND key = '192.0.2.1/32'`); n != enrollment.WrongTriesOnTenant {
		t.Errorf("%d wrong tries counted, want %d", n, enrollment.WrongTriesOnTenant)
	}
}
