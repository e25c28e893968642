package funnel

import (
	"cmp"
	"fmt"
	"strconv"
	"time"
)

// number is a count and the list of the attempts behind it.
type number struct {
	N  int
	To string // empty: there is nothing to list
}

// links lead from numbers to journeys. They hold the report's own time, so that the list is as long as the number.
type links struct{ query Query }

func (l links) to(n int, s Selection) number {
	if n == 0 {
		return number{}
	}
	return number{n, withQuery("/funnel/journeys", settings{asked: l.query, selection: s}.values())}
}

// reportView is a report as report.html shows it.
type reportView struct {
	Settings                               []term
	AsOf                                   time.Time
	Watermark                              *time.Time
	Any                                    bool // a step is a number of different steps
	Steps                                  []stepView
	Chart                                  chart
	Overall                                overallView
	Trend                                  *trendView
	Cohorts                                *cohortsView
	Breakdown                              *breakdownView
	JSON, CSV, JourneysCSV, JourneysNDJSON string
	StepTerms, ReasonTerms, Glossary       []term
}

type stepView struct {
	ID                                      string // of what else is said of it
	Name, Next                              string // Next is empty at the last
	Defined                                 string // id of its definition
	Entered, Converted, InProgress, Dropped number
	RateOverall, RateFromPrevious           *float64
	Times                                   timesView
	Reasons                                 []reasonView
}

type timesView struct {
	MedianSeconds, P90Seconds *float64
	Buckets                   []bucketView
	Chart                     chart
}

type bucketView struct {
	UpTo  *float64 // seconds
	Count number
}

type reasonView struct {
	Reason DropReason
	Count  number
	Share  *float64
}

type overallView struct {
	Entered, Converted, InProgress, Dropped, MatureEntered, MatureConverted number
	Rate, MatureRate, LiveRate                                              *float64
	Times                                                                   timesView
}

func newReportView(s settings, r Report) *reportView {
	pinned := s.asked
	pinned.AsOf = r.AsOf
	link := links{pinned}
	exported, traced := s.report(), valuesOf(pinned)
	exported.Del("compare_from")
	exported.Del("compare_to")
	v := &reportView{
		Settings: s.told(), AsOf: r.AsOf, Watermark: r.Watermark, Any: s.query.Order == Any,
		JSON: withQuery("/funnel.json", exported), CSV: withQuery("/funnel.csv", exported),
		JourneysCSV: withQuery("/funnel/journeys.csv", traced), JourneysNDJSON: withQuery("/funnel/journeys.ndjson", traced),
		Glossary: glossary,
	}
	for i, step := range r.Steps {
		v.Steps = append(v.Steps, newStepView(link, r, i, v.Any))
		v.StepTerms = append(v.StepTerms, term{"means-" + step.Step, step.Step, stepSays[i+1]})
	}
	for _, reason := range DropReasons {
		v.ReasonTerms = append(v.ReasonTerms, term{"means-" + string(reason), string(reason), reasonsSay[reason]})
	}
	v.Chart = funnelChart(v.Steps)
	v.Overall = newOverallView(link, r.Overall)
	if s.query.Trend != "" {
		v.Trend = newTrendView(link, s.query.Trend, r.Trend)
		v.Cohorts = newCohortsView(link, s.query, r.Cohorts)
	}
	if r.Breakdown != nil {
		v.Breakdown = newBreakdownView(link, r)
	}
	return v
}

func newStepView(link links, r Report, i int, any bool) stepView {
	step := r.Steps[i]
	name := func(i int) string {
		switch {
		case !any:
			return r.Steps[i].Step
		case i == 0:
			return "One step"
		default:
			return fmt.Sprintf("%d different steps", i+1)
		}
	}
	v := stepView{
		ID: "means-" + step.Step, Name: name(i), Defined: "means-" + step.Step,
		Entered:     link.to(step.Entered, Selection{Step: step.Step}),
		Converted:   link.to(step.Converted, Selection{Step: step.Step, Outcome: string(converted)}),
		InProgress:  link.to(step.InProgress, Selection{Step: step.Step, Outcome: string(inProgress)}),
		Dropped:     link.to(step.Dropped, Selection{Step: step.Step, Outcome: string(dropped)}),
		RateOverall: step.RateOverall, RateFromPrevious: step.RateFromPrevious,
	}
	if i+1 < len(r.Steps) {
		v.Next = name(i + 1)
		v.ID = "step-" + step.Step
		v.Times = newTimesView(link, step.Step, fmt.Sprintf("from %s to %s", v.Name, v.Next), step.TimeToConvert)
	}
	for _, reason := range step.Reasons {
		v.Reasons = append(v.Reasons, reasonView{
			reason.Reason, link.to(reason.Count, Selection{Step: step.Step, Outcome: string(dropped), Reason: reason.Reason}), rate(reason.Count, step.Dropped),
		})
	}
	return v
}

// newTimesView shows the times of a step, or of the whole way.
func newTimesView(link links, step, of string, t TimeToConvert) timesView {
	v := timesView{MedianSeconds: t.MedianSeconds, P90Seconds: t.P90Seconds, Chart: timesChart("chart-times-"+step, of, t.Histogram)}
	over := time.Duration(0)
	for _, b := range t.Histogram {
		upTo := time.Duration(b.UpToSeconds * float64(time.Second))
		v.Buckets = append(v.Buckets, bucketView{&b.UpToSeconds, link.to(b.Count, Selection{Step: step, Outcome: string(converted), Over: over, UpTo: upTo})})
		over = upTo
	}
	return v
}

func newOverallView(link links, o Overall) overallView {
	return overallView{
		Entered:         link.to(o.Entered, Selection{}),
		Converted:       link.to(o.Converted, Selection{Outcome: string(converted)}),
		InProgress:      link.to(o.InProgress, Selection{Outcome: string(inProgress)}),
		Dropped:         link.to(o.Dropped, Selection{Outcome: string(dropped)}),
		MatureEntered:   link.to(o.MatureEntered, Selection{Mature: true}),
		MatureConverted: link.to(o.MatureConverted, Selection{Mature: true, Outcome: string(converted)}),
		Rate:            o.Rate, MatureRate: o.MatureRate, LiveRate: o.LiveRate,
		Times: newTimesView(link, "", "from the entry to the last step", o.TimeToConvert),
	}
}

type trendView struct {
	By     Trend
	Chart  chart
	Points []pointView
}

type pointView struct {
	Period             string
	Entered, Converted number
	Rate               *float64
	Final              bool
	Revision           int
}

func newTrendView(link links, by Trend, points []TrendPoint) *trendView {
	v := &trendView{By: by, Chart: trendChart(points)}
	for _, p := range points {
		v.Points = append(v.Points, pointView{
			p.Period, link.to(p.Entered, Selection{Period: p.Period}), link.to(p.Converted, Selection{Period: p.Period, Outcome: string(converted)}),
			rate(p.Converted, p.Entered), p.Final, p.Revision,
		})
	}
	return v
}

type cohortsView struct {
	Weeks []int // 1, 2, ... since the entry
	Rows  []cohortView
}

type cohortView struct {
	Week    string
	Entered number
	Within  []cellView // shorter than Weeks where they are not over
	Open    []int      // the other weeks
}

type cellView struct {
	Converted number
	Rate      *float64
}

func newCohortsView(link links, q Query, cohorts []Cohort) *cohortsView {
	link.query.Trend = Weekly // a cohort is a week, whatever the trend's periods are
	v := &cohortsView{}
	for n := 1; n <= int((q.Window+weekLong-1)/weekLong); n++ {
		v.Weeks = append(v.Weeks, n)
	}
	for _, c := range cohorts {
		row := cohortView{Week: c.Week, Entered: link.to(c.Entered, Selection{Period: c.Week}), Open: v.Weeks[min(len(c.Converted), len(v.Weeks)):]}
		for i, n := range c.Converted {
			cell := cellView{number{N: n}, rate(n, c.Entered)}
			if q.Count == Uniques { // a shorter window finds them; with totals it would let units in again earlier
				shorter := link
				shorter.query.Window = min(q.Window, time.Duration(i+1)*weekLong)
				cell.Converted = shorter.to(n, Selection{Period: c.Week, Outcome: string(converted)})
			}
			row.Within = append(row.Within, cell)
		}
		v.Rows = append(v.Rows, row)
	}
	return v
}

type breakdownView struct {
	Property string
	Steps    []string
	Segments []segmentView
}

type segmentView struct {
	Name                string
	Steps               []number // entered; of the last, all have converted
	InProgress, Dropped number
	Rate, MatureRate    *float64
}

func newBreakdownView(link links, r Report) *breakdownView {
	v := &breakdownView{Property: labelOfProperty(r.Breakdown.Property)}
	for _, s := range r.Steps {
		v.Steps = append(v.Steps, s.Step)
	}
	for _, s := range r.Breakdown.Segments {
		of := Selection{Segmented: true}
		row := segmentView{Name: "not said", Rate: s.Rate, MatureRate: s.MatureRate}
		if s.Value != nil {
			row.Name, of.Value = *s.Value, *s.Value
		}
		to := func(n int, step, outcome string) number {
			if s.Other { // it is no value that could be asked for
				return number{N: n}
			}
			selection := of
			selection.Step, selection.Outcome = step, outcome
			return link.to(n, selection)
		}
		if s.Other {
			row.Name = "all others"
		}
		for _, step := range s.Steps {
			row.Steps = append(row.Steps, to(step.Entered, step.Step, ""))
		}
		row.InProgress, row.Dropped = to(s.InProgress, "", string(inProgress)), to(s.Overall.Dropped, "", string(dropped))
		v.Segments = append(v.Segments, row)
	}
	return v
}

type comparisonView struct {
	Sides            []sideView
	Verdict, Because string
}

type sideView struct {
	Range, To          string // To is its report
	Entered, Converted number
	Rate               *float64
}

func newComparisonView(this, other Query, c Comparison) *comparisonView {
	side := func(name string, q Query, sample Sample) sideView {
		link := links{q}
		return sideView{
			name + ": " + rangeOf(q.From, q.To), withQuery("/funnel", valuesOf(q)),
			link.to(sample.Entered, Selection{Mature: true}), link.to(sample.Converted, Selection{Mature: true, Outcome: string(converted)}), sample.Rate,
		}
	}
	v := &comparisonView{Sides: []sideView{side("This range", this, c.A), side("Other range", other, c.B)}}
	switch {
	case !c.Enough:
		v.Verdict, v.Because = "Too few to tell.", fmt.Sprintf("Each range needs %d mature attempts.", enough)
	case c.Significant:
		v.Verdict = "The rates differ significantly."
	default:
		v.Verdict = "No significant difference."
	}
	if c.PValue != nil && c.Difference != nil {
		v.Because = fmt.Sprintf("The other range’s rate is %+.1f percentage points from this one’s; p = %s.", *c.Difference*100, strconv.FormatFloat(*c.PValue, 'g', 2, 64))
	}
	return v
}

func rangeOf(from, to string) string {
	switch {
	case from == "" && to == "":
		return "all"
	case from == "":
		return "before " + to
	case to == "":
		return "from " + from
	default:
		return from + " to before " + to
	}
}

// told are the settings in words, for who reads a print.
func (s settings) told() []term {
	q := s.query
	return []term{
		{Word: "Tenant", Says: cmp.Or(q.Tenant, "all")}, {Word: "Entered", Says: rangeOf(q.From, q.To)}, {Word: "Zone", Says: cmp.Or(q.Zone, "the tenant’s")},
		{Word: "Window", Says: brief(q.Window)}, {Word: "Order", Says: string(q.Order)}, {Word: "Counted", Says: string(q.Count)},
	}
}

// chosen is what a list of journeys was narrowed down to, in words.
func (s settings) chosen() []term {
	terms := s.told()
	add := func(word, says string) {
		if says != "" {
			terms = append(terms, term{Word: word, Says: says})
		}
	}
	add("As of", instant(s.query.AsOf))
	add("Reached", s.selection.Step)
	add("Outcome", s.selection.Outcome)
	add("Reason", string(s.selection.Reason))
	if s.selection.Period != "" {
		add("Entered in the "+string(s.query.Trend), s.selection.Period)
	}
	if s.selection.Mature {
		add("Window", "over")
	}
	if s.selection.UpTo > 0 {
		add("Took", fmt.Sprintf("longer than %s, up to %s", brief(s.selection.Over), brief(s.selection.UpTo)))
	}
	if s.selection.Segmented {
		add(labelOfProperty(s.query.Breakdown), cmp.Or(s.selection.Value, "not said"))
	}
	return terms
}
