package conformance

import (
	"regexp"
	"testing"
	"time"

	"github.com/mongotel/billcenter/events"
)

func fresh() *run {
	return newRun(Options{Tenant: "mongo"}, time.Now(), Standing{})
}

// check reads a message as the system does.
func check(m Message) error {
	e, err := events.Decode(m.Subject, m.Header, m.Body)
	if err != nil {
		return err
	}
	return e.Check()
}

func TestAFlawedFixtureHasTheFlawThatItsCaseNames(t *testing.T) {
	for _, f := range flaws() {
		t.Run(f.name, func(t *testing.T) {
			r := fresh()
			i := r.mailed()
			m, ok := events.AsMalformed(check(f.message(r, &i)))
			if !ok {
				t.Fatal("it is valid")
			}
			if string(m.Fault) != f.reason || m.Parked() {
				t.Errorf("it is %v, want %s", m, f.reason)
			}
		})
	}
}

func TestASoundFixtureIsValid(t *testing.T) {
	r := fresh()
	a := r.account()
	plain, spaced, none := r.mailed(), r.mailed(), r.mailed()
	none.code = ""
	older, newer := r.superseded()
	old, again := r.refreshed()
	for name, m := range map[string]Message{
		"structured": r.message(&plain), "binary": r.binary(&plain, ""), "binary with a content type": r.binary(&plain, "application/json"),
		"with an extension": r.messageWith(&spaced, `"futureattribute":"kept",`, nil), "without a code": r.message(&none),
		"closed": r.closed(r.eventID(), a), "payment method": r.paymentMethod(r.eventID(), a), "for nobody": r.stray(&plain),
		"older": r.message(&older), "newer": r.message(&newer), "old": r.message(&old), "again": r.message(&again),
	} {
		if err := check(m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !older.emailedAt.Before(newer.emailedAt) || older.number != newer.number || older.code == newer.code {
		t.Error("superseded codes are not two of one account, in their order")
	}
	if old.code != again.code || !old.expiresAt.Before(time.Now()) || !again.expiresAt.After(time.Now()) {
		t.Error("a refreshed code is not one that was over and lives again")
	}
}

func TestNoTwoInvoicesShareWhatTheyAreKnownBy(t *testing.T) {
	seen := map[any]bool{}
	for _, r := range []*run{fresh(), fresh()} {
		for range 2000 {
			i := r.mailed()
			r.message(&i)
			for _, known := range []any{r.id + i.emailedAt.String(), i.id, i.number, i.code} {
				if seen[known] {
					t.Fatalf("%v is known by something that another has", i.number)
				}
				seen[known] = true
			}
		}
	}
}

func TestCasesHaveNamesToAskForThemBy(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Cases() {
		if !regexp.MustCompile(`^[a-z0-9-]+$`).MatchString(c.Name) || seen[c.Name] || c.Sent == "" || c.Expected == "" || c.play == nil {
			t.Errorf("case %+v", c.Name)
		}
		seen[c.Name] = true
		if got, err := choose([]string{c.Name}); err != nil || len(got) != 1 || got[0].Name != c.Name {
			t.Errorf("asked for %s, got %v, %v", c.Name, got, err)
		}
	}
	if _, err := choose([]string{"plain-invoice", "no-such-case"}); err == nil {
		t.Error("a case that does not exist was found")
	}
}
