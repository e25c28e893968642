package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/journey"
)

func TestTheWatermarkOnlyRises(t *testing.T) {
	s := stage(t)
	if w, restated, err := s.FunnelState(t.Context()); err != nil || w != nil || len(restated) != 0 {
		t.Fatalf("before any worker: %v, %v, %v", w, restated, err)
	}
	for _, to := range []time.Duration{time.Hour, 3 * time.Hour, 2 * time.Hour} {
		ok(t, s.AdvanceWatermark(t.Context(), monday.Add(to), uint64(to.Hours())))
	}
	w, _, err := s.FunnelState(t.Context())
	ok(t, err)
	if want := monday.Add(3 * time.Hour).Truncate(time.Microsecond); w == nil || !w.Equal(want) {
		t.Errorf("watermark %v, want %v", w, want)
	}
	if n := s.number(`SELECT last_sequence FROM analytics.freshness`); n != 3 {
		t.Errorf("last sequence %d", n)
	}
}

func TestALateFactRestatesTheEntriesThatItMayHaveChanged(t *testing.T) {
	id := enrollmentOf("a", 1)
	hour := func(n float64) time.Duration { return time.Duration(n * float64(time.Hour)) }
	for _, tt := range []struct {
		name   string
		before []events.Message
		late   []events.Message
		want   []float64 // hours after monday, of entries
	}{
		{"an invitation is an entry", nil, []events.Message{events.Invited{Fact: about("a", "", 0)}}, []float64{0}},
		{"a step changes every entry before it", []events.Message{
			events.Invited{Fact: about("a", "", 0)}, events.Invited{Fact: about("a", "", hour(5))}, events.Invited{Fact: about("a", "", hour(20))},
		}, []events.Message{events.Registered{Fact: about("a", id, hour(6))}}, []float64{0, 5}},
		{"what explains a drop-off does too", []events.Message{events.Invited{Fact: about("a", "", 0)}},
			[]events.Message{events.Locked{Fact: about("a", "", hour(6))}}, []float64{0}},
		{"an earlier invitation takes the place of a later one", []events.Message{events.Invited{Fact: about("a", "", hour(8))}},
			[]events.Message{events.Invited{Fact: about("a", "", hour(2))}}, []float64{2, 8}},
		{"an invitation between two may take the place of the later one", []events.Message{events.Invited{Fact: about("a", "", 0)}, events.Invited{Fact: about("a", "", hour(8))}},
			[]events.Message{events.Invited{Fact: about("a", "", hour(2))}}, []float64{0, 2, 8}},
		{"without an entry before it the fact stands for one", []events.Message{events.Activated{Fact: about("a", id, hour(4))}},
			[]events.Message{events.Registered{Fact: about("a", id, hour(3))}}, []float64{3, 4}},
		{"another account's entries are its own", []events.Message{events.Invited{Fact: about("b", "", 0)}},
			[]events.Message{events.Registered{Fact: about("a", id, hour(3))}}, []float64{3}},
		{"at the watermark is late", nil, []events.Message{events.Invited{Fact: about("a", "", hour(24)-789)}}, []float64{24}},
		{"after it is not", []events.Message{events.Invited{Fact: about("a", "", 0)}},
			[]events.Message{events.Registered{Fact: about("a", id, hour(24)+time.Microsecond)}}, nil},
		{"entries after the watermark are not final", []events.Message{events.Invited{Fact: about("a", "", hour(30))}},
			[]events.Message{events.Invited{Fact: about("a", "", hour(2))}}, []float64{2}},
		{"facts that come together restate once", []events.Message{events.Invited{Fact: about("a", "", 0)}},
			[]events.Message{events.Registered{Fact: about("a", id, hour(3))}, events.ActivationMailed{Fact: about("a", id, hour(3))}}, []float64{0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := stage(t)
			var sequence uint64
			batch := func(messages []events.Message) (all []events.Received) {
				for _, m := range messages {
					sequence++
					all = append(all, told(t, mongo, fmt.Sprint(sequence), sequence, m))
				}
				return all
			}
			s.takesFacts(batch(tt.before)...)
			watermark := monday.Add(hour(24)).Truncate(time.Microsecond)
			ok(t, s.AdvanceWatermark(t.Context(), watermark, sequence))
			late := batch(tt.late)
			s.takesFacts(late...)
			s.takesFacts(late...) // known by now

			_, restated, err := s.FunnelState(t.Context())
			ok(t, err)
			var want []journey.Restatement
			for _, h := range tt.want {
				want = append(want, journey.Restatement{Tenant: mongo, Entered: monday.Add(hour(h)).Truncate(15 * time.Minute), Watermark: watermark})
			}
			got := []journey.Restatement(nil)
			for i, r := range restated {
				if r.Batch != restated[0].Batch || time.Since(r.At) > time.Minute {
					t.Errorf("restatement %d: batch %d at %s", i, r.Batch, r.At)
				}
				r.Batch, r.At = 0, time.Time{}
				got = append(got, r)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("restatements (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNothingIsLateBeforeThereIsAWatermark(t *testing.T) {
	s := stage(t)
	s.takesFacts(customers(t, 10)...)
	if n := s.number(`SELECT count(*) FROM analytics.restatements`); n != 0 {
		t.Errorf("%d restatements", n)
	}
}

func TestRestatementsOfTwoBatchesAreToldApart(t *testing.T) {
	s := stage(t)
	ok(t, s.AdvanceWatermark(t.Context(), monday.Add(time.Hour), 1))
	s.takesFacts(told(t, mongo, "1", 1, events.Invited{Fact: about("a", "", 0)}))
	s.takesFacts(told(t, mongo, "2", 2, events.Invited{Fact: about("b", "", 0)}))
	_, restated, err := s.FunnelState(t.Context())
	ok(t, err)
	if len(restated) != 2 || restated[0].Batch >= restated[1].Batch || !restated[0].Entered.Equal(restated[1].Entered) {
		t.Errorf("%+v", restated)
	}
}
