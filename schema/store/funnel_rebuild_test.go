package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/journey"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

// stream hands facts over as a reader of the stream does.
func stream(facts []events.Received) func(take func([]events.Received) error) error {
	return func(take func([]events.Received) error) error {
		for batch := range slices.Chunk(facts, 50) {
			if err := take(batch); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestARebuildGivesEqualRows(t *testing.T) {
	s := stage(t)
	facts := customers(t, 80)
	shuffled := slices.Clone(facts)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	ok(t, s.AdvanceWatermark(t.Context(), monday.Add(time.Hour), 1))
	for batch := range slices.Chunk(shuffled, 37) {
		s.takesFacts(batch...)
	}
	queries := []string{journeyRows, `SELECT * FROM analytics.facts`, `SELECT * FROM analytics.restatements`, `SELECT watermark FROM analytics.freshness`,
		`SELECT tenant, account_ref, kinds, at_ns, enrollments, reasons, property, properties FROM funnel_journeys`}
	before, digest := map[string]string{}, s.digest()
	for _, q := range queries {
		before[q] = s.dump(q)
	}
	// A journey that a defect spoiled, and one that has no facts.
	s.DB.MustExec(`UPDATE funnel_journeys SET invited_at = NULL, kinds[1] = 9 WHERE account_ref LIKE '%7'`)
	s.DB.MustExec(`UPDATE funnel_facts SET fact = 'Invited' WHERE account_ref LIKE '%3'`)
	if s.digest() == digest {
		t.Fatal("the digest does not see a spoiled journey")
	}
	for _, from := range []int{0, 120} { // the stream may have lost its beginning to age
		ok(t, s.RebuildFunnel(t.Context(), stream(facts[from:])))
		for _, q := range queries {
			if diff := cmp.Diff(before[q], s.dump(q)); diff != "" {
				t.Errorf("from %d, %s (-before +after):\n%s", from, q, diff)
			}
		}
		if got := s.digest(); got != digest {
			t.Errorf("digest %s, was %s", got, digest)
		}
	}
}

// An account's facts may lie on two pages of what is read at a time.
func TestARebuildReadsMoreFactsThanItHoldsAtOnce(t *testing.T) {
	s := stage(t)
	facts := customers(t, 2800)
	if len(facts) < 20_000 {
		t.Fatalf("%d facts", len(facts))
	}
	for batch := range slices.Chunk(facts, 1000) {
		s.takesFacts(batch...)
	}
	digest := s.digest()
	ok(t, s.RebuildFunnel(t.Context(), stream(facts[len(facts)-10:])))
	if s.digest() != digest {
		t.Error("the journeys differ")
	}
}

func TestARebuildForgetsWhatTheStreamNoLongerHolds(t *testing.T) {
	s := stage(t)
	facts := customers(t, 30)
	gone := journey.Unit{Tenant: facts[0].Tenant, Account: "ref-of-account0"}
	s.takesFacts(facts...)
	_, last := s.journeys(0)
	first := slices.IndexFunc(facts, func(r events.Received) bool { f, _ := events.FactOf(r.Message); return f.AccountRef != gone.Account })
	// Its first fact stands before account0's, so that account0's are not older than the stream.
	held := append([]events.Received{told(t, mongo, "older", 0, events.Locked{Fact: about("older", "", 0)})}, facts[first:]...)
	ok(t, s.RebuildFunnel(t.Context(), stream(held)))
	if n := s.number(`SELECT count(*) FROM analytics.journeys WHERE account_ref = $1`, gone.Account); n != 0 {
		t.Error("its row is still there")
	}
	changed, _ := s.journeys(last)
	i := slices.IndexFunc(changed, func(j journey.Journey) bool { return j.Unit == gone })
	if i < 0 || len(changed[i].Facts) != 0 {
		t.Errorf("a follower is not told that it is gone: %v", changed)
	}
	s.takesFacts(facts[:first]...)
	if n := s.number(`SELECT count(*) FROM analytics.journeys WHERE account_ref = $1`, gone.Account); n != 1 {
		t.Error("it did not come back")
	}
}

func TestARebuildBelievesNoStreamThatWasMadeAnew(t *testing.T) {
	s := stage(t)
	facts := customers(t, 20)
	s.takesFacts(facts...)
	digest := s.digest()
	anew := []events.Received{told(t, mongo, "1", 1, events.Invited{Fact: about("a", "", 0)})}
	if err := s.RebuildFunnel(t.Context(), stream(anew)); err == nil || !strings.Contains(err.Error(), "made anew") {
		t.Errorf("err = %v", err)
	}
	ok(t, s.RebuildFunnel(t.Context(), stream(nil))) // all has grown old: what is kept is derived again
	if got := s.digest(); got != digest {
		t.Error("the journeys changed")
	}
}

func TestARebuildKeepsTheFactsOfATenantThatIsNotConfigured(t *testing.T) {
	s := stage(t)
	s.takesFacts(told(t, "gone", "1", 5, events.Invited{Fact: about("a", "", 0)}), told(t, mongo, "2", 2, events.Invited{Fact: about("b", "", 0)}))
	digest := s.digest()
	ok(t, s.RebuildFunnel(t.Context(), stream([]events.Received{told(t, mongo, "2", 2, events.Invited{Fact: about("b", "", 0)})})))
	if got := s.digest(); got != digest {
		t.Error("the journeys changed")
	}
}

func TestARebuildThatFailsChangesNothing(t *testing.T) {
	s := stage(t)
	facts := customers(t, 20)
	s.takesFacts(facts...)
	digest := s.digest()
	err := s.RebuildFunnel(t.Context(), func(take func([]events.Received) error) error {
		if err := take(facts[:10]); err != nil {
			return err
		}
		return fmt.Errorf("the broker is away")
	})
	if err == nil || s.digest() != digest {
		t.Errorf("err = %v, the journeys are equal: %t", err, s.digest() == digest)
	}
}

// What comes while a rebuild reads waits for its end.
func TestARebuildAndAWorkerTakeTurns(t *testing.T) {
	s := stage(t)
	facts := customers(t, 40)
	half := len(facts) / 2
	s.takesFacts(facts[:half]...)
	worked := make(chan error, 1)
	ok(t, s.RebuildFunnel(t.Context(), func(take func([]events.Received) error) error {
		if len(worked) == 0 {
			go func() { worked <- s.TakeFacts(context.Background(), facts[half:]) }()
		}
		return stream(facts[:half])(take)
	}))
	ok(t, <-worked)
	other := &scene{Database: storetest.New(t), t: t}
	other.takesFacts(facts...)
	if diff := cmp.Diff(other.dump(journeyRows), s.dump(journeyRows)); diff != "" {
		t.Errorf("journeys (-want +got):\n%s", diff)
	}
}
