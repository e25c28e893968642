package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/journey"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

// monday is when the accounts of these tests were invited.
var monday = time.Date(2026, 11, 2, 9, 0, 0, 123_456_789, time.UTC)

// about is a fact about an account, some time after monday. The enrollment may be empty.
func about(account, enrollment string, after time.Duration, changes ...func(*events.Fact)) events.Fact {
	f := events.Fact{AccountRef: "ref-of-" + account, EnrollmentID: enrollment, OccurredAt: monday.Add(after), Properties: events.Properties{Locale: "en-US"}}
	for _, change := range changes {
		change(&f)
	}
	return f
}

func because(reason string) func(*events.Fact) { return func(f *events.Fact) { f.Reason = reason } }

// enrollmentOf is a UUID of the nth enrollment of an account.
func enrollmentOf(account string, n int) string {
	return uuid.NewSHA1(uuid.Nil, fmt.Append(nil, account, n)).String()
}

// told is a fact as it comes from the stream.
func told(t testing.TB, tenant, id string, sequence uint64, m events.Message) events.Received {
	t.Helper()
	r := event(t, tenant, events.Source(tenant, "test"), id, sequence, m)
	var err error
	if r.Message, err = r.Read(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (s *scene) takesFacts(batch ...events.Received) {
	s.t.Helper()
	ok(s.t, s.TakeFacts(context.Background(), batch))
}

// journeys are those derived after a revision, and the latest revision.
func (s *scene) journeys(after int64) ([]journey.Journey, int64) {
	s.t.Helper()
	var all []journey.Journey
	last, err := s.JourneysSince(context.Background(), after, func(j journey.Journey) error {
		all = append(all, j)
		return nil
	})
	ok(s.t, err)
	return all, last
}

const journeyRows = `SELECT * FROM analytics.journeys`

// customers is a population of n accounts in two tenants, of every fact there is.
func customers(t testing.TB, n int) []events.Received {
	t.Helper()
	var all []events.Received
	random := rand.New(rand.NewPCG(4, 4))
	age := 9
	for i := range n {
		tenant, account := []string{mongo, zeros}[i%2], fmt.Sprint("account", i)
		id := enrollmentOf(account, random.IntN(2))
		after := time.Duration(random.Int64N(int64(30 * 24 * time.Hour)))
		way := []events.Message{
			events.Invited{Fact: about(account, "", after)},
			events.RegistrationRefused{Fact: about(account, "", after+time.Second, because("not-recognised"))},
			events.Locked{Fact: about(account, "", after+time.Second)}, events.Unlocked{Fact: about(account, "", after+time.Minute)},
			events.Registered{Fact: about(account, id, after+time.Hour, func(f *events.Fact) { f.Sequence, f.Properties.CodeAgeDays = 1, &age })},
			events.ActivationMailFailed{Fact: about(account, id, after+2*time.Hour, because("mail-rejected"))},
			events.EmailCorrected{Fact: about(account, id, after+3*time.Hour)}, events.ActivationResent{Fact: about(account, id, after+3*time.Hour)},
			events.ActivationMailed{Fact: about(account, id, after+4*time.Hour)},
			events.ActivationOpened{Fact: about(account, id, after+4*time.Hour), AutomationSuspected: true},
			events.ActivationOpened{Fact: about(account, id, after+4*time.Hour)},
			events.Activated{Fact: about(account, id, after+5*time.Hour)}, events.SignedIn{Fact: about(account, id, after+5*time.Hour)},
			events.InvoiceViewed{Fact: about(account, id, after+6*time.Hour+1)},
			events.Expired{Fact: about(account, enrollmentOf(account, 7), after+7*time.Hour, because("mail-not-confirmed"))},
			events.Cancelled{Fact: about(account, id, after+8*time.Hour, because("by-customer"))},
		}
		for _, m := range way[:1+random.IntN(len(way))] {
			n := uint64(len(all) + 1)
			all = append(all, told(t, tenant, fmt.Sprint("f", n), n, m))
		}
	}
	return all
}

func TestFactsInAnyOrderAndAnyNumberGiveTheSameJourneys(t *testing.T) {
	s := stage(t)
	facts := customers(t, 60)
	s.takesFacts(facts...)
	want, digest := s.dump(journeyRows), s.digest()
	wantFacts := s.dump(`SELECT * FROM analytics.facts`)
	if n := s.number(`SELECT count(*) FROM analytics.journeys`); n != 60 {
		t.Fatalf("%d journeys of 60 accounts", n)
	}
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			s := stage(t)
			random := rand.New(rand.NewPCG(seed, 7))
			doubled := slices.Concat(facts, facts)
			random.Shuffle(len(doubled), func(i, j int) { doubled[i], doubled[j] = doubled[j], doubled[i] })
			for i := range doubled { // a copy has a message of its own
				if random.IntN(2) == 0 {
					doubled[i].Sequence += 100_000
				}
			}
			doubled = append(doubled, facts...)
			for len(doubled) > 0 {
				n := min(1+random.IntN(100), len(doubled))
				s.takesFacts(doubled[:n]...)
				doubled = doubled[n:]
				ok(t, s.AdvanceWatermark(t.Context(), monday.Add(time.Duration(random.Int64N(int64(40*24*time.Hour)))), 1)) // many come late
			}
			if diff := cmp.Diff(want, s.dump(journeyRows)); diff != "" {
				t.Errorf("journeys (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(wantFacts, s.dump(`SELECT * FROM analytics.facts`)); diff != "" {
				t.Errorf("facts (-want +got):\n%s", diff)
			}
			if got := s.digest(); got != digest {
				t.Errorf("digest %s, want %s", got, digest)
			}
		})
	}
}

func (s *scene) digest() string {
	s.t.Helper()
	d, err := s.JourneysDigest(context.Background())
	ok(s.t, err)
	return d
}

func TestAJourneyIsReadAsItWasDerived(t *testing.T) {
	s := stage(t)
	facts := customers(t, 40)
	s.takesFacts(facts...)
	byUnit := map[journey.Unit][]journey.Told{}
	for _, u := range []struct{ tenant, prefix string }{{mongo, ""}, {zeros, ""}} {
		for i := range 40 {
			account := fmt.Sprint("ref-of-account", i)
			recorded, err := s.FactsOf(t.Context(), u.tenant, account)
			ok(t, err)
			for _, r := range recorded {
				unit := journey.Unit{Tenant: u.tenant, Account: account}
				byUnit[unit] = append(byUnit[unit], r.Told)
			}
		}
	}
	got, _ := s.journeys(0)
	if len(got) != 40 {
		t.Fatalf("%d journeys", len(got))
	}
	n := 0
	for _, j := range got {
		if diff := cmp.Diff(journey.Of(j.Unit, byUnit[j.Unit]), j); diff != "" {
			t.Errorf("%v (-derived +read):\n%s", j.Unit, diff)
		}
		n += len(j.Facts)
	}
	if n != len(facts) {
		t.Errorf("%d facts in journeys, want %d", n, len(facts))
	}
}

func TestAFactIsKeptAsItWasTold(t *testing.T) {
	s := stage(t)
	age, id := 12, enrollmentOf("a", 1)
	s.takesFacts(
		told(t, mongo, "2", 8, events.ActivationOpened{Fact: about("a", id, time.Nanosecond), AutomationSuspected: true}),
		told(t, mongo, "1", 7, events.RegistrationRefused{Fact: events.Fact{
			AccountRef: "ref-of-a", EnrollmentID: id, Sequence: 5, OccurredAt: monday, Reason: "code-expired",
			Properties: events.Properties{Locale: "de-DE", InvoiceMonth: "2026-10", CodeAgeDays: &age, MailDomainClass: "freemail"},
		}}),
	)
	got, err := s.FactsOf(t.Context(), mongo, "ref-of-a")
	ok(t, err)
	for i := range got {
		got[i].ID = ""
	}
	want := []journey.Recorded{
		{Name: "RegistrationRefused", StreamSequence: 7, Told: journey.Told{
			At: monday.UnixNano(), Sequence: 5, Enrollment: id, Kind: journey.RegistrationRefused, Reason: journey.ReasonOf("code-expired"),
			Properties: journey.Properties{Locale: "de-DE", InvoiceMonth: "2026-10", CodeAgeDays: "12", MailDomainClass: "freemail"},
		}},
		{Name: "ActivationOpened", StreamSequence: 8, Told: journey.Told{
			At: monday.UnixNano() + 1, Enrollment: id, Kind: journey.OpenedByMachine, Properties: journey.Properties{Locale: "en-US"},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	at := storetest.One[time.Time](t, s.Database, `SELECT first_at FROM analytics.journeys`)
	if !at.Equal(monday.Truncate(time.Microsecond)) {
		t.Errorf("analysts see %s, want the microseconds of %s", at.UTC(), monday)
	}
	if other, err := s.FactsOf(t.Context(), zeros, "ref-of-a"); err != nil || len(other) != 0 {
		t.Errorf("another tenant has facts of it: %v, %v", other, err)
	}
}

// The order of arrival must not decide: a rebuild sees another one.
func TestOfTwoFactsWithOneIdentityTheEarlierInTheStreamCounts(t *testing.T) {
	first, second := events.Invited{Fact: about("a", "", 0)}, events.Registered{Fact: about("b", enrollmentOf("b", 1), time.Hour)}
	for _, tt := range []struct {
		name  string
		order []int
	}{{"in order", []int{0, 1}}, {"late", []int{1, 0}}, {"again", []int{0, 1, 0, 1}}} {
		t.Run(tt.name, func(t *testing.T) {
			s := stage(t)
			both := []events.Received{told(t, mongo, "1", 10, first), told(t, mongo, "1", 20, second)}
			for _, i := range tt.order {
				s.takesFacts(both[i])
			}
			if got := s.dump(`SELECT fact, stream_sequence FROM analytics.facts`); got != "[\n \"{\\\"fact\\\": \\\"Invited\\\", \\\"stream_sequence\\\": 10}\"\n]" {
				t.Error(got)
			}
			// Nothing of the other is left, and whoever follows the revisions is told so.
			if got := s.dump(`SELECT account_ref, facts FROM analytics.journeys`); got != "[\n \"{\\\"facts\\\": 1, \\\"account_ref\\\": \\\"ref-of-a\\\"}\"\n]" {
				t.Error(got)
			}
			before := s.digest()
			ok(t, s.RebuildFunnel(t.Context(), stream(both)))
			if s.digest() != before {
				t.Error("a rebuild changed the journeys")
			}
		})
	}
	t.Run("in one batch", func(t *testing.T) {
		s := stage(t)
		s.takesFacts(told(t, mongo, "1", 20, second), told(t, mongo, "1", 10, first))
		if n := s.number(`SELECT count(*) FROM analytics.journeys WHERE invited_at IS NOT NULL`); n != 1 {
			t.Errorf("%d journeys of the earlier", n)
		}
	})
}

func TestAFactThatIsKnownChangesNothing(t *testing.T) {
	s := stage(t)
	facts := customers(t, 4)
	s.takesFacts(facts...)
	_, last := s.journeys(0)
	s.takesFacts(facts...)
	if again, _ := s.journeys(last); len(again) != 0 {
		t.Errorf("derived again: %v", again)
	}
	next := uint64(len(facts) + 1)
	s.takesFacts(told(t, mongo, "new", next, events.Locked{Fact: about("account0", "", time.Hour)}))
	changed, later := s.journeys(last)
	if len(changed) != 1 || changed[0].Account != "ref-of-account0" || later <= last {
		t.Errorf("after a fact about account0: %v, revision %d after %d", changed, later, last)
	}
}

// A reader that follows the revisions must not miss a journey that was committed after a later one.
func TestWhoFollowsTheRevisionsMissesNothing(t *testing.T) {
	s := stage(t)
	facts := customers(t, 300)
	done := make(chan []error, 1)
	go func() {
		done <- atOnce(4, func(worker int) error {
			for i := worker * 10; i < len(facts); i += 40 {
				if err := s.TakeFacts(context.Background(), facts[i:min(i+10, len(facts))]); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	seen, last := map[journey.Unit]journey.Journey{}, int64(0)
	follow := func() {
		changed, later := s.journeys(last)
		for _, j := range changed {
			seen[j.Unit] = j
		}
		last = later
	}
	for working := true; working; {
		select {
		case errs := <-done:
			ok(t, errors.Join(errs...))
			working = false
		default:
			follow()
		}
	}
	follow()
	all, _ := s.journeys(0)
	if len(all) != len(seen) {
		t.Errorf("followed %d journeys of %d", len(seen), len(all))
	}
	for _, j := range all {
		if diff := cmp.Diff(j, seen[j.Unit]); diff != "" {
			t.Errorf("%v (-is +seen):\n%s", j.Unit, diff)
		}
	}
}

func TestAVisitThatFailsEndsTheReading(t *testing.T) {
	s := stage(t)
	s.takesFacts(customers(t, 5)...)
	enough, visits := errors.New("enough"), 0
	if _, err := s.JourneysSince(t.Context(), 0, func(journey.Journey) error { visits++; return enough }); !errors.Is(err, enough) || visits != 1 {
		t.Errorf("%d visits, err = %v", visits, err)
	}
}

func TestWhatIsNoFactIsToldSo(t *testing.T) {
	s := stage(t)
	r := event(t, mongo, "//b", "1", 1, invoice("100482-7", "", monday))
	if fault, is := events.AsMalformed(s.TakeFacts(t.Context(), []events.Received{r})); !is || fault.Fault != events.NoHandler {
		t.Errorf("got %v", fault)
	}
}

// The way of the table has no window; a report has.
func TestWhatAnalystsSeeOfAJourney(t *testing.T) {
	s := stage(t)
	one, two := enrollmentOf("a", 1), enrollmentOf("a", 2)
	var sequence uint64
	take := func(m events.Message) {
		sequence++
		s.takesFacts(told(t, mongo, fmt.Sprint(sequence), sequence, m))
	}
	take(events.Registered{Fact: about("a", one, -time.Hour)}) // before the invitation: no part of the way
	take(events.Invited{Fact: about("a", "", 0)})
	take(events.Invited{Fact: about("a", "", 24*time.Hour)})
	take(events.Registered{Fact: about("a", one, time.Hour)})
	take(events.ActivationMailed{Fact: about("a", one, 2*time.Hour)})
	take(events.Registered{Fact: about("a", two, 3*time.Hour)})
	take(events.ActivationMailed{Fact: about("a", two, 3*time.Hour)})
	take(events.Activated{Fact: about("a", two, 4*time.Hour)})
	take(events.Locked{Fact: about("b", "", time.Hour)})
	got := s.dump(`SELECT account_ref, facts, first_at - $$2026-11-02 09:00:00.123456+00$$::timestamptz AS first, invited_at - first_at AS invited, registered_at - invited_at AS registered,
		mailed_at - registered_at AS mailed, activated_at - mailed_at AS activated, signed_in_at, locale FROM analytics.journeys`)
	want := `[
 "{\"facts\": 1, \"first\": \"01:00:00\", \"locale\": null, \"mailed\": null, \"invited\": null, \"activated\": null, \"registered\": null, \"account_ref\": \"ref-of-b\", \"signed_in_at\": null}",
 "{\"facts\": 8, \"first\": \"-01:00:00\", \"locale\": \"en-US\", \"mailed\": \"00:00:00\", \"invited\": \"01:00:00\", \"activated\": \"01:00:00\", \"registered\": \"03:00:00\", \"account_ref\": \"ref-of-a\", \"signed_in_at\": null}"
]`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
