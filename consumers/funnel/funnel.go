// Package funnel shows where customers drop off, and why. Facts become histories, a history becomes a unit's journey
// (worker.go, rebuild.go, and the store), journeys become attempts (attempts.go), attempts become reports (count.go), and
// pages.go shows them.
//
// It reads no event but the facts on the bus, and holds no personal data: a unit is the reference that facts call an account by.
package funnel

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/mongotel/billcenter/schema/journey"
)

// Journeys is the store as reports need it.
type Journeys interface {
	// JourneysSince visits the journeys with a later revision, and returns the latest.
	JourneysSince(ctx context.Context, revision int64, visit func(journey.Journey) error) (int64, error)
	FunnelState(ctx context.Context) (watermark *time.Time, restatements []journey.Restatement, err error)
	FactsOf(ctx context.Context, tenant, account string) ([]journey.Recorded, error)
}

// Funnel answers queries from memory: it holds every journey (some 300 bytes each) and asks the store for those that changed
// since the query before. It is safe for concurrent use.
type Funnel struct {
	store Journeys
	zones Zones
	now   func() time.Time

	mu       sync.RWMutex
	revision int64
	places   map[journey.Unit]int
	journeys []*journey.Journey

	answered struct {
		sync.Mutex
		basis   basis
		reports map[Query]Report
	}
}

// basis is what a report was counted from: as long as it stays, the same query has the same answer.
type basis struct {
	revision     int64
	watermark    time.Time
	restatements int
}

const (
	// asOfSteps is how finely a query without an as-of takes now, so that those who open the dashboard at once share an answer.
	asOfSteps  = 10 * time.Second
	mostShared = 100
)

// New makes a Funnel that knows nothing yet.
func New(store Journeys, zones Zones) *Funnel {
	return &Funnel{store: store, zones: zones, now: time.Now, places: map[journey.Unit]int{}}
}

// Refresh learns what changed in the store.
func (f *Funnel) Refresh(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	last, err := f.store.JourneysSince(ctx, f.revision, func(j journey.Journey) error {
		if at, ok := f.places[j.Unit]; ok {
			f.journeys[at] = &j
			return nil
		}
		f.places[j.Unit] = len(f.journeys)
		f.journeys = append(f.journeys, &j)
		return nil
	})
	if err != nil {
		return err
	}
	f.revision = max(f.revision, last)
	return nil
}

// Size is how many journeys are in memory.
func (f *Funnel) Size() int {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return len(f.journeys)
}

// all visits what Refresh learned. The caller holds the lock.
func (f *Funnel) all() iter.Seq[*journey.Journey] { return slices.Values(f.journeys) }

// Report answers a query.
func (f *Funnel) Report(ctx context.Context, q Query) (Report, error) {
	q = q.Defaults(f.now().Truncate(asOfSteps))
	if err := q.Check(); err != nil {
		return Report{}, err
	}
	// The state first: a fact that arrives between the two is counted, and never claimed to be.
	watermark, restated, err := f.store.FunnelState(ctx)
	if err != nil {
		return Report{}, err
	}
	if err := f.Refresh(ctx); err != nil {
		return Report{}, err
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	on := basis{revision: f.revision, restatements: len(restated)}
	if watermark != nil {
		on.watermark = watermark.Truncate(asOfSteps)
	}
	if r, ok := f.shared(on, q); ok {
		return r, nil
	}
	r, err := Count(q, f.zones, f.all(), watermark, restated)
	if err == nil {
		f.share(on, q, r)
	}
	return r, err
}

func (f *Funnel) shared(on basis, q Query) (Report, bool) {
	f.answered.Lock()
	defer f.answered.Unlock()
	r, ok := f.answered.reports[q]
	return r, ok && f.answered.basis == on
}

func (f *Funnel) share(on basis, q Query, r Report) {
	f.answered.Lock()
	defer f.answered.Unlock()
	if f.answered.reports == nil || f.answered.basis != on || len(f.answered.reports) >= mostShared {
		f.answered.basis, f.answered.reports = on, map[Query]Report{}
	}
	f.answered.reports[q] = r
}

// Selection is a number of a report: which of its attempts to list.
type Selection struct {
	Step    string     // name of a step; empty: the whole way
	Outcome string     // entered, converted, in-progress or dropped, toward the next step or the whole way's end; empty: entered
	Reason  DropReason // empty: any
	Period  string     // of the query's trend, as the report writes it; empty: any
	Value   string     // of the query's breakdown; with Segmented, empty means that the entry's fact does not say
	Limit   int        // 0: all

	Segmented bool // Value selects
	Mature    bool // only attempts whose window is over

	// Of the converted, those that took longer than Over and up to UpTo, to the next step or for the whole way; UpTo 0: any.
	Over, UpTo time.Duration
}

// Traced is an attempt behind a number.
type Traced struct {
	journey.Unit
	Entered time.Time  `json:"entered"`
	Reached string     `json:"reached"` // the last step
	At      time.Time  `json:"at"`      // when
	Outcome string     `json:"outcome"` // from there toward the next
	Reason  DropReason `json:"reason,omitempty"`
}

// Check reports a selection that cannot be.
func (s Selection) check(q Query) (step int, err error) {
	step = 1
	if s.Step != "" {
		k := journey.KindOf(s.Step, false)
		if !k.Step() || int(k) > q.Steps {
			return 0, &InvalidQuery{"step", "is none of the steps asked for"}
		}
		step = int(k)
	}
	outcomes := []string{"", "entered", string(converted), string(inProgress), string(dropped)}
	if !slices.Contains(outcomes, s.Outcome) {
		return 0, &InvalidQuery{"outcome", "is none of entered, converted, in-progress, dropped"}
	}
	if s.Reason != "" && !slices.Contains(DropReasons, s.Reason) {
		return 0, &InvalidQuery{"reason", "is not one of the report's"}
	}
	if s.Period != "" && q.Trend == "" {
		return 0, &InvalidQuery{"period", "needs --trend"}
	}
	if s.UpTo > 0 && (s.Outcome != string(converted) || step == q.Steps) {
		return 0, &InvalidQuery{"up-to", "is for the converted of a step that has a next one"}
	}
	if s.Segmented && q.Breakdown == "" {
		return 0, &InvalidQuery{"value", "needs --breakdown"}
	}
	return step, nil
}

// Journeys lists the attempts behind a number, the latest entry first.
func (f *Funnel) Journeys(ctx context.Context, q Query, s Selection) ([]Traced, error) {
	q = q.Defaults(f.now())
	if err := q.Check(); err != nil {
		return nil, err
	}
	step, err := s.check(q)
	if err != nil {
		return nil, err
	}
	if err := f.Refresh(ctx); err != nil {
		return nil, err
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	c, err := newCounter(q, f.zones)
	if err != nil {
		return nil, err
	}
	traced := []Traced{}
	for j := range f.all() {
		if q.Tenant != "" && j.Tenant != q.Tenant {
			continue
		}
		p, err := c.place(j.Tenant)
		if err != nil {
			return nil, err
		}
		p.matcher.attempts(j, func(a *attempt) {
			if t, ok := s.trace(q, p, a, step); ok {
				traced = append(traced, t)
			}
		})
	}
	slices.SortFunc(traced, func(a, b Traced) int {
		return cmp.Or(b.Entered.Compare(a.Entered), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Account, b.Account))
	})
	if s.Limit > 0 && len(traced) > s.Limit {
		traced = traced[:s.Limit]
	}
	return traced, nil
}

func (s Selection) trace(q Query, p *place, a *attempt, step int) (Traced, bool) {
	if a.reached < step {
		return Traced{}, false
	}
	toward := p.matcher.toward(a, step)
	if s.Step == "" {
		toward = p.matcher.toward(a, a.reached)
	}
	if s.Outcome != "" && s.Outcome != "entered" && s.Outcome != string(toward) {
		return Traced{}, false
	}
	t := Traced{
		Unit: a.unit.Unit, Entered: a.entry.Time(), Reached: a.last.String(), At: time.Unix(0, a.at[a.reached-1]).UTC(),
		Outcome: string(p.matcher.toward(a, a.reached)),
	}
	if t.Outcome == string(dropped) {
		t.Reason = p.matcher.reason(a)
	}
	if s.Reason != "" && s.Reason != t.Reason {
		return Traced{}, false
	}
	if s.Mature && p.matcher.asOf <= a.end {
		return Traced{}, false
	}
	if s.UpTo > 0 {
		took := time.Duration(a.at[step] - a.at[step-1])
		if s.Step == "" {
			took = time.Duration(a.at[a.reached-1] - a.at[0])
		}
		if s.Over > 0 && took <= s.Over || took > s.UpTo {
			return Traced{}, false
		}
	}
	if s.Period != "" && s.Period != q.Trend.label(q.Trend.first(dayOf(a.entry.Time().In(p.zone)))) {
		return Traced{}, false
	}
	if s.Segmented && s.Value != segmentOf(q.Breakdown, a.unit.Tenant, a.entry.Properties).value {
		return Traced{}, false
	}
	return t, true
}

// Facts are a journey's, in order.
func (f *Funnel) Facts(ctx context.Context, u journey.Unit) ([]journey.Recorded, error) {
	return f.store.FactsOf(ctx, u.Tenant, u.Account)
}
