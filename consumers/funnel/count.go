package funnel

import (
	"cmp"
	"iter"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mongotel/billcenter/schema/journey"
)

// Zones tells the time zone of a tenant.
type Zones func(tenant string) *time.Location

// Count answers a query, for which Check has nothing to say, from journeys in any order.
func Count(q Query, zones Zones, journeys iter.Seq[*journey.Journey], watermark *time.Time, restated []journey.Restatement) (Report, error) {
	all := slices.Collect(journeys)
	shares := runtime.GOMAXPROCS(0)
	counters := make([]*counter, shares)
	var g errgroup.Group
	for i := range shares {
		g.Go(func() (err error) {
			counters[i], err = countSome(q, zones, all[len(all)*i/shares:len(all)*(i+1)/shares])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return Report{}, err
	}
	for _, c := range counters[1:] {
		counters[0].add(c)
	}
	return counters[0].report(watermark, restated), nil
}

func countSome(q Query, zones Zones, journeys []*journey.Journey) (*counter, error) {
	c, err := newCounter(q, zones)
	if err != nil {
		return nil, err
	}
	for _, j := range journeys {
		if q.Tenant != "" && j.Tenant != q.Tenant {
			continue
		}
		if err := c.take(j); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// counter adds attempts up.
type counter struct {
	query    Query
	zones    Zones
	places   map[string]*place // by tenant
	all      *tally
	segments map[segment]*tally
	periods  map[day]*period
	weeks    map[day]*week
}

// place is a tenant's zone and what the query means there.
type place struct {
	zone    *time.Location
	matcher *matcher
}

// segment is a value of the breakdown's property; an absent one is not the empty text.
type segment struct {
	value  string
	absent bool
}

type period struct{ entered, converted int }

type week struct {
	entered int
	within  map[int]int // converted, by how many weeks it took, begun ones included
}

func newCounter(q Query, zones Zones) (*counter, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	return &counter{
		query: q, zones: zones, places: map[string]*place{}, all: newTally(q.Steps),
		segments: map[segment]*tally{}, periods: map[day]*period{}, weeks: map[day]*week{},
	}, nil
}

func (c *counter) place(tenant string) (*place, error) {
	if p, ok := c.places[tenant]; ok {
		return p, nil
	}
	zone, err := c.query.zone(tenant, c.zones)
	if err != nil {
		return nil, err
	}
	m, err := c.query.matcher(zone)
	if err != nil {
		return nil, err
	}
	p := &place{zone, m}
	c.places[tenant] = p
	return p, nil
}

func (q Query) zone(tenant string, zones Zones) (*time.Location, error) {
	if q.Zone != "" {
		return time.LoadLocation(q.Zone)
	}
	if zone := zones(tenant); zone != nil {
		return zone, nil
	}
	return time.UTC, nil
}

func (c *counter) take(j *journey.Journey) error {
	p, err := c.place(j.Tenant)
	if err != nil {
		return err
	}
	p.matcher.attempts(j, func(a *attempt) {
		c.all.take(p.matcher, a)
		if c.query.Breakdown != "" {
			s := segmentOf(c.query.Breakdown, j.Tenant, a.entry.Properties)
			if c.segments[s] == nil {
				c.segments[s] = newTally(c.query.Steps)
			}
			c.segments[s].take(p.matcher, a)
		}
		if c.query.Trend != "" {
			c.takeTrend(p, a)
		}
	})
	return nil
}

// add takes over what another counter of the same query has counted.
func (c *counter) add(o *counter) {
	c.all.add(o.all)
	for s, t := range o.segments {
		if c.segments[s] == nil {
			c.segments[s] = newTally(c.query.Steps)
		}
		c.segments[s].add(t)
	}
	for d, p := range o.periods {
		if c.periods[d] == nil {
			c.periods[d] = &period{}
		}
		c.periods[d].entered += p.entered
		c.periods[d].converted += p.converted
	}
	for d, w := range o.weeks {
		if c.weeks[d] == nil {
			c.weeks[d] = &week{within: map[int]int{}}
		}
		c.weeks[d].entered += w.entered
		for n, converted := range w.within {
			c.weeks[d].within[n] += converted
		}
	}
	maps.Copy(c.places, o.places)
}

func segmentOf(property, tenant string, p *journey.Properties) segment {
	var v string
	switch property {
	case "tenant":
		v = tenant
	case "locale":
		v = p.Locale
	case "invoiceMonth":
		v = p.InvoiceMonth
	case "codeAgeDays":
		v = p.CodeAgeDays
	case "mailDomainClass":
		v = p.MailDomainClass
	}
	return segment{v, v == ""}
}

// most is how many segments stand for themselves.
const most = 20

func (c *counter) breakdown() *Breakdown {
	if c.query.Breakdown == "" {
		return nil
	}
	values := make([]segment, 0, len(c.segments))
	for s := range c.segments {
		values = append(values, s)
	}
	slices.SortFunc(values, func(a, b segment) int {
		return cmp.Or(-cmp.Compare(c.segments[a].entered[0], c.segments[b].entered[0]), cmp.Compare(a.value, b.value))
	})
	b := &Breakdown{Property: c.query.Breakdown, Segments: []Segment{}}
	rest := newTally(c.query.Steps)
	for i, s := range values {
		if i >= most {
			rest.add(c.segments[s])
			continue
		}
		steps, overall := c.segments[s].steps()
		value := &s.value
		if s.absent {
			value = nil
		}
		b.Segments = append(b.Segments, Segment{Value: value, Steps: steps, Overall: overall})
	}
	if len(values) > most {
		steps, overall := rest.steps()
		b.Segments = append(b.Segments, Segment{Value: new("other"), Other: true, Steps: steps, Overall: overall})
	}
	return b
}

func (c *counter) report(watermark *time.Time, restated []journey.Restatement) Report {
	q := c.query
	r := Report{
		AsOf: q.AsOf.UTC(), From: q.From, To: q.To, Tenant: q.Tenant, Zone: q.Zone, Window: q.Window.String(), Order: q.Order, Count: q.Count,
		Trend: []TrendPoint{}, Cohorts: []Cohort{}, Watermark: watermark,
	}
	r.Steps, r.Overall = c.all.steps()
	r.Breakdown = c.breakdown()
	if q.Trend != "" {
		r.Trend, r.Cohorts = c.trend(watermark, restated), c.cohorts()
	}
	return r
}

// tally is the sum of some attempts.
type tally struct {
	n                           int // steps
	entered, open, lost         [journey.Steps]int
	times                       [journey.Steps][]int64 // nanoseconds from a step to the next
	reasons                     [journey.Steps]map[DropReason]int
	overall                     []int64 // from the entry to the last step
	waiting                     []int64 // how old the attempts in progress are
	matureEntered, matureGotAll int
}

func newTally(steps int) *tally { return &tally{n: steps} }

func (t *tally) take(m *matcher, a *attempt) {
	for i := range a.reached {
		t.entered[i]++
		if i+1 < a.reached {
			t.times[i] = append(t.times[i], a.at[i+1]-a.at[i])
		}
	}
	mature := m.asOf > a.end
	if mature {
		t.matureEntered++
	}
	switch last := a.reached - 1; m.toward(a, a.reached) {
	case converted:
		t.overall = append(t.overall, a.at[last]-a.at[0])
		if mature {
			t.matureGotAll++
		}
	case inProgress:
		t.open[last]++
		t.waiting = append(t.waiting, max(0, m.asOf-a.at[0]))
	case dropped:
		t.lost[last]++
		if t.reasons[last] == nil {
			t.reasons[last] = map[DropReason]int{}
		}
		t.reasons[last][m.reason(a)]++
	}
}

func (t *tally) add(o *tally) {
	for i := range t.n {
		t.entered[i] += o.entered[i]
		t.open[i] += o.open[i]
		t.lost[i] += o.lost[i]
		t.times[i] = append(t.times[i], o.times[i]...)
		for r, n := range o.reasons[i] {
			if t.reasons[i] == nil {
				t.reasons[i] = map[DropReason]int{}
			}
			t.reasons[i][r] += n
		}
	}
	t.overall, t.waiting = append(t.overall, o.overall...), append(t.waiting, o.waiting...)
	t.matureEntered += o.matureEntered
	t.matureGotAll += o.matureGotAll
}

func (t *tally) steps() ([]StepReport, Overall) {
	steps := make([]StepReport, t.n)
	o := Overall{Entered: t.entered[0], Converted: len(t.overall), InProgress: len(t.waiting), MatureEntered: t.matureEntered, MatureConverted: t.matureGotAll}
	var g sync.WaitGroup // of a million attempts, what follows costs as much as counting them
	for i := range t.n {
		g.Go(func() { steps[i] = t.step(i) })
	}
	g.Go(func() { o.LiveRate = kaplanMeier(t.overall, t.waiting, o.Entered-o.Converted-o.InProgress) })
	g.Wait()
	o.Dropped = o.Entered - o.Converted - o.InProgress
	o.Rate, o.MatureRate = rate(o.Converted, o.Entered), rate(t.matureGotAll, t.matureEntered)
	o.TimeToConvert = timeToConvert(t.overall)
	return steps, o
}

func (t *tally) step(i int) StepReport {
	s := StepReport{
		Step: journey.Kind(i + 1).String(), Entered: t.entered[i], InProgress: t.open[i], Dropped: t.lost[i],
		Converted:   t.entered[i] - t.open[i] - t.lost[i],
		RateOverall: rate(t.entered[i], t.entered[0]), RateFromPrevious: rate(t.entered[i], t.entered[max(0, i-1)]),
		TimeToConvert: timeToConvert(t.times[i]), Reasons: []ReasonCount{},
	}
	for _, reason := range DropReasons {
		if n := t.reasons[i][reason]; n > 0 {
			s.Reasons = append(s.Reasons, ReasonCount{reason, n})
		}
	}
	return s
}

// rate is part/whole; null where there is no whole.
func rate(part, whole int) *float64 {
	if whole == 0 {
		return nil
	}
	return new(float64(part) / float64(whole))
}
