package funnel_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

// inOrder are the journeys of messages that a worker took in order, each once.
func inOrder(t *testing.T, out []bus.Outgoing) (rows, digest string) {
	t.Helper()
	s := open(t)
	s.publishes(out...)
	s.run(s.worker())
	eventually(t, "all is taken", s.read)
	return s.rows(), s.digest()
}

func TestEveryTypeOfFactIsTaken(t *testing.T) {
	t.Parallel()
	s := open(t)
	all := crowd(t, 100)
	s.publishes(all...)
	s.run(s.worker())
	eventually(t, "all is taken", s.read)
	if n := s.count(`SELECT count(*) FROM analytics.journeys WHERE facts = 15 AND invoice_viewed_at > invited_at`); n != 100 {
		t.Errorf("%d journeys, want 100", n)
	}
	if n := s.count(`SELECT count(DISTINCT fact) FROM analytics.facts`); n != 15 || len(s.deadLetters()) != 0 {
		t.Errorf("%d types of facts, dead letters %v", n, s.deadLetters())
	}
}

func TestFactsShuffledDoubledAndRedeliveredGiveTheSameJourneys(t *testing.T) {
	t.Parallel()
	all := crowd(t, 60)
	want, digest := inOrder(t, all)
	s := open(t)
	random := rand.New(rand.NewPCG(9, 9))
	doubled := slices.Clone(all)
	for i, o := range all {
		doubled = append(doubled, again(o, i))
	}
	random.Shuffle(len(doubled), func(i, j int) { doubled[i], doubled[j] = doubled[j], doubled[i] })
	// Every third batch is committed, and then its worker is killed before it says so.
	s.store.after = func(call int64) error {
		if call%3 == 0 {
			return errKilled
		}
		return nil
	}
	s.run(s.worker())
	s.run(s.worker())
	for batch := range slices.Chunk(doubled, 90) {
		s.publishes(batch...)
	}
	eventually(t, "all is taken", s.read)
	if diff := cmp.Diff(want, s.rows()); diff != "" {
		t.Errorf("journeys (-want +got):\n%s", diff)
	}
	if s.digest() != digest {
		t.Error("the journeys' facts differ")
	}
	if n := s.count(`SELECT count(*) FROM analytics.facts`); n != len(all) {
		t.Errorf("%d facts of %d", n, len(all))
	}
}

func TestWhatCannotBeTakenBecomesADeadLetterAndTheRestIsTaken(t *testing.T) {
	t.Parallel()
	s := open(t)
	all := crowd(t, 2)
	spoil := func(i int, old, with string) bus.Outgoing {
		o := again(all[i], i)
		o.Data = bytes.ReplaceAll(o.Data, []byte(old), []byte(with))
		return o
	}
	s.store.before = func(_ int64, batch []events.Received) error {
		if slices.ContainsFunc(batch, func(r events.Received) bool { return r.ID == "refused-by-database" }) {
			return &events.Malformed{Fault: events.RejectedByDatabase, Why: "SQLSTATE 22021"}
		}
		return nil
	}
	bad := []bus.Outgoing{
		spoil(1, `"accountRef"`, `"accountref"`), spoil(2, `.v1"`, `.v2"`), spoil(3, `{`, `[`),
		published(t, "nobody", "1", events.Invited{Fact: events.Fact{AccountRef: "ref-of-1", OccurredAt: firstInvited}}),
		published(t, storetest.Mongo, "refused-by-database", events.Invited{Fact: events.Fact{AccountRef: "ref-of-1", OccurredAt: firstInvited}}),
	}
	s.publishes(slices.Concat(all[:15], bad, all[15:])...)
	s.run(s.worker())
	eventually(t, "all is taken", s.read)
	want := map[uint64]events.Fault{16: events.FieldMissing, 17: events.VersionUnknown, 18: events.NotJSON, 19: events.TenantUnknown, 20: events.RejectedByDatabase}
	got := s.deadLetters()
	want[16] = got[16] // which of its faults is told first is the contract's business
	if diff := cmp.Diff(want, got); diff != "" || got[16] == "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
	if n := s.count(`SELECT count(*) FROM analytics.facts`); n != len(all) {
		t.Errorf("%d facts of %d", n, len(all))
	}
}

func TestAnOutageOfTheDatabaseDelaysFactsAndLosesNone(t *testing.T) {
	t.Parallel()
	s := open(t)
	all := crowd(t, 40)
	s.run(s.worker())
	s.publishes(all[:300]...)
	eventually(t, "some are taken", func() bool { return s.count(`SELECT count(*) FROM funnel_facts`) > 0 })
	s.db.Down(t)
	s.publishes(all[300:]...)
	calls := s.store.calls.Load()
	eventually(t, "the worker tries", func() bool { return s.store.calls.Load() > calls })
	s.db.Up(t)
	eventually(t, "all is taken", s.read)
	if n := s.count(`SELECT count(*) FROM analytics.facts`); n != len(all) || len(s.deadLetters()) != 0 {
		t.Errorf("%d facts of %d, dead letters %v", n, len(all), s.deadLetters())
	}
}

// A period must become final though nobody does anything.
func TestTheWatermarkRisesWhileNothingHappens(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.run(s.worker())
	near := func() bool { w := s.watermark(); return !w.IsZero() && time.Since(w) < time.Minute+10*time.Second }
	eventually(t, "the watermark is a minute behind", near)
	first := s.watermark()
	if ahead := time.Now().Add(-time.Minute); first.After(ahead) {
		t.Errorf("watermark %s, not a minute behind %s", first, ahead)
	}
	eventually(t, "it rises", func() bool { return s.watermark().After(first) })
}

// What is promised by the watermark must be counted: a message that is not done holds it back, though those after it are taken.
func TestAFactThatIsNotTakenYetHoldsTheWatermarkBack(t *testing.T) {
	t.Parallel()
	s := open(t)
	all := crowd(t, 1)
	w := s.worker()
	take := func(batch []*bus.Incoming) time.Time {
		time.Sleep(1050 * time.Millisecond) // it is looked at once a second
		if err := w.Take(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		return s.watermark()
	}
	counts := func(in *bus.Incoming) time.Time { return in.StoredAt.Add(-time.Minute).Truncate(time.Microsecond) }

	s.publishes(all[:5]...)
	batch := s.pulls(5)
	first, held, later := batch[0], batch[1], batch[2:]
	if got := take([]*bus.Incoming{first}); !got.Equal(counts(first)) {
		t.Errorf("watermark %s, want %s: something is left", got, counts(first))
	}
	if got := take(later); !got.Equal(counts(first)) {
		t.Errorf("watermark %s, though a message of %s is not taken", got, held.StoredAt)
	}
	s.publishes(all[5:7]...)
	next := s.pulls(2)
	if got := take([]*bus.Incoming{held}); !got.Equal(counts(later[2])) {
		t.Errorf("watermark %s, want %s: everything up to there is taken", got, counts(later[2]))
	}
	if got := take(next); got.Before(counts(next[1]).Add(time.Second)) || time.Since(got) < time.Minute {
		t.Errorf("watermark %s, want a minute ago: nothing is left", got)
	}
}
