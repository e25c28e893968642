package funnel_test

import (
	"cmp"
	"slices"
	"time"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/schema/journey"
)

// report counts attempts. Reasons it leaves out.
func (p plain) report(units []unit, watermark *time.Time, restated []journey.Restatement) funnel.Report {
	var all []attempt
	zones := []*time.Location{p.zoneOf(p.Tenant)}
	for _, u := range units {
		if p.Tenant == "" || p.Tenant == u.Tenant {
			zones = append(zones, p.zoneOf(u.Tenant))
			all = append(all, p.attempts(u)...)
		}
	}
	r := funnel.Report{
		AsOf: p.AsOf, From: p.From, To: p.To, Tenant: p.Tenant, Zone: p.Zone, Window: p.Window.String(), Order: p.Order, Count: p.Count,
		Steps: p.steps(all), Overall: p.overall(all), Watermark: watermark,
	}
	if p.Trend != "" {
		r.Trend, r.Cohorts = p.trend(all, zones, watermark, restated), p.cohorts(all, zones)
	}
	if p.Breakdown != "" {
		r.Breakdown = p.segments(all)
	}
	return r
}

func (p plain) open(a attempt) bool { return p.AsOf.UnixNano() <= a.entry.At+int64(p.Window) }

func (p plain) steps(all []attempt) []funnel.StepReport {
	steps := make([]funnel.StepReport, p.Steps)
	for k := range steps {
		s := &steps[k]
		s.Step = journey.Kind(k + 1).String()
		var took []float64
		before := 0
		for _, a := range all {
			if len(a.reached) >= max(k, 1) {
				before++
			}
			if len(a.reached) <= k {
				continue
			}
			s.Entered++
			switch {
			case k == p.Steps-1:
				s.Converted++
			case len(a.reached) > k+1:
				s.Converted++
				took = append(took, float64(a.reached[k+1]-a.reached[k])/1e9)
			case p.open(a):
				s.InProgress++
			default:
				s.Dropped++
			}
		}
		s.RateOverall, s.RateFromPrevious = share(s.Entered, len(all)), share(s.Entered, before)
		s.TimeToConvert = timeToConvert(took)
	}
	return steps
}

func share(part, whole int) *float64 {
	if whole == 0 {
		return nil
	}
	return new(float64(part) / float64(whole))
}

func timeToConvert(took []float64) funnel.TimeToConvert {
	t := funnel.TimeToConvert{MedianSeconds: percentile(took, 0.5), P90Seconds: percentile(took, 0.9)}
	const hour, day = 3600, 86400
	before, counted := -1.0, 0
	for _, end := range []float64{60, 300, 900, hour, 4 * hour, 12 * hour, day, 2 * day, 3 * day, 7 * day, 14 * day, 30 * day, 60 * day, 120 * day, 400 * day} {
		if counted == len(took) {
			break // no buckets beyond the longest time
		}
		b := funnel.Bucket{UpToSeconds: end}
		for _, d := range took {
			if d > before && d <= end {
				b.Count++
			}
		}
		before, counted = end, counted+b.Count
		t.Histogram = append(t.Histogram, b)
	}
	return t
}

// percentile is PostgreSQL's percentile_cont.
func percentile(values []float64, fraction float64) *float64 {
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	place := fraction * float64(len(values)-1)
	low := int(place)
	if low == len(values)-1 {
		return &values[low]
	}
	return new(values[low] + (place-float64(low))*(values[low+1]-values[low]))
}

func (p plain) overall(all []attempt) funnel.Overall {
	var o funnel.Overall
	var took []float64
	for _, a := range all {
		o.Entered++
		converted := len(a.reached) == p.Steps
		switch {
		case converted:
			o.Converted++
			took = append(took, float64(a.reached[p.Steps-1]-a.reached[0])/1e9)
		case p.open(a):
			o.InProgress++
		default:
			o.Dropped++
		}
		if !p.open(a) {
			o.MatureEntered++
			if converted {
				o.MatureConverted++
			}
		}
	}
	o.Rate, o.MatureRate = share(o.Converted, o.Entered), share(o.MatureConverted, o.MatureEntered)
	o.LiveRate = p.kaplanMeier(all)
	o.TimeToConvert = timeToConvert(took)
	return o
}

// kaplanMeier follows every attempt until it converts, or as long as it was watched: until as-of, or its window's end.
func (p plain) kaplanMeier(all []attempt) *float64 {
	if len(all) == 0 {
		return nil
	}
	watched := func(a attempt) int64 {
		switch {
		case len(a.reached) == p.Steps:
			return a.reached[p.Steps-1] - a.entry.At
		case p.open(a):
			return max(0, p.AsOf.UnixNano()-a.entry.At)
		}
		return int64(p.Window)
	}
	var moments []int64
	for _, a := range all {
		if len(a.reached) == p.Steps && !slices.Contains(moments, watched(a)) {
			moments = append(moments, watched(a))
		}
	}
	left := 1.0
	for _, at := range moments {
		risk, converted := 0, 0
		for _, a := range all {
			if watched(a) >= at {
				risk++
			}
			if len(a.reached) == p.Steps && watched(a) == at {
				converted++
			}
		}
		left *= 1 - float64(converted)/float64(risk)
	}
	return new(1 - left)
}

// day is a date without a zone; noon keeps it away from every change of clocks.
func day(s string) time.Time {
	d, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return d.Add(12 * time.Hour)
}

// periodOf a moment, from the date that the zone's clocks show.
func periodOf(trend funnel.Trend, at time.Time, zone *time.Location) string {
	date := day(at.In(zone).Format(time.DateOnly))
	switch trend {
	case funnel.Weekly:
		for date.Weekday() != time.Monday {
			date = date.AddDate(0, 0, -1)
		}
	case funnel.Monthly:
		return date.Format("2006-01")
	}
	return date.Format(time.DateOnly)
}

func (p plain) following(period string) string {
	switch p.Trend {
	case funnel.Weekly:
		return day(period).AddDate(0, 0, 7).Format(time.DateOnly)
	case funnel.Monthly:
		return day(period+"-01").AddDate(0, 1, 0).Format("2006-01")
	}
	return day(period).AddDate(0, 0, 1).Format(time.DateOnly)
}

// passed reports whether a moment lies beyond a period and so much more, wherever its clocks are.
func passed(trend funnel.Trend, period string, more time.Duration, moment time.Time, zones []*time.Location) bool {
	for _, zone := range zones {
		if periodOf(trend, moment.Add(-more-1), zone) <= period {
			return false
		}
	}
	return true
}

func (p plain) trend(all []attempt, zones []*time.Location, watermark *time.Time, restated []journey.Restatement) []funnel.TrendPoint {
	in := func(a attempt) string { return periodOf(p.Trend, a.entered(), a.zone) }
	var first, last string
	for _, a := range all {
		if first == "" || in(a) < first {
			first = in(a)
		}
		last = max(last, in(a))
	}
	if first == "" && (p.From == "" || p.To == "") {
		return nil
	}
	if p.From != "" {
		asked := periodOf(p.Trend, p.bound(p.From, zones[0]), zones[0])
		if first == "" || asked < first {
			first = asked
		}
	}
	if p.To != "" {
		last = max(last, periodOf(p.Trend, p.bound(p.To, zones[0]).Add(-1), zones[0]))
	}
	var points []funnel.TrendPoint
	for period := first; period <= last; period = p.following(period) {
		point := funnel.TrendPoint{Period: period, Final: watermark != nil && passed(p.Trend, period, p.Window, *watermark, zones)}
		for _, a := range all {
			if in(a) == period {
				point.Entered++
				if len(a.reached) == p.Steps {
					point.Converted++
				}
			}
		}
		var batches []int64
		for _, r := range restated {
			zone := p.zoneOf(r.Tenant)
			if (p.Tenant == "" || r.Tenant == p.Tenant) && p.inRange(r.Entered.UnixNano(), zone) && periodOf(p.Trend, r.Entered, zone) == period &&
				passed(p.Trend, period, p.Window, r.Watermark, zones) && !slices.Contains(batches, r.Batch) {
				batches = append(batches, r.Batch)
			}
		}
		point.Revision = len(batches)
		points = append(points, point)
	}
	return points
}

const week = 7 * 24 * time.Hour

func (p plain) cohorts(all []attempt, zones []*time.Location) []funnel.Cohort {
	var cohorts []funnel.Cohort
	var mondays []string
	for _, a := range all {
		mondays = append(mondays, periodOf(funnel.Weekly, a.entered(), a.zone))
	}
	slices.Sort(mondays)
	for _, monday := range slices.Compact(mondays) {
		c := funnel.Cohort{Week: monday}
		for n := time.Duration(1); (n-1)*week < p.Window && passed(funnel.Weekly, monday, n*week, p.AsOf, zones); n++ {
			c.Converted = append(c.Converted, 0)
		}
		for _, a := range all {
			if periodOf(funnel.Weekly, a.entered(), a.zone) != monday {
				continue
			}
			c.Entered++
			for i := range c.Converted {
				if len(a.reached) == p.Steps && time.Duration(a.reached[p.Steps-1]-a.entry.At) <= time.Duration(i+1)*week {
					c.Converted[i]++
				}
			}
		}
		cohorts = append(cohorts, c)
	}
	return cohorts
}

// bound is a moment of the day of a date, or the time: near enough for the period it lies in.
func (p plain) bound(s string, zone *time.Location) time.Time {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t
	}
	at := day(s).Add(-40 * time.Hour)
	for at.In(zone).Format(time.DateOnly) < s {
		at = at.Add(time.Minute)
	}
	return at
}

func (p plain) segments(all []attempt) *funnel.Breakdown {
	value := func(a attempt) string {
		switch p.Breakdown {
		case "tenant":
			return a.unit.Tenant
		case "locale":
			return a.entry.Properties.Locale
		case "invoiceMonth":
			return a.entry.Properties.InvoiceMonth
		case "codeAgeDays":
			return a.entry.Properties.CodeAgeDays
		}
		return a.entry.Properties.MailDomainClass
	}
	by := map[string][]attempt{}
	for _, a := range all {
		by[value(a)] = append(by[value(a)], a)
	}
	b := &funnel.Breakdown{Property: p.Breakdown}
	for v, some := range by {
		s := funnel.Segment{Steps: p.steps(some), Overall: p.overall(some)}
		if v != "" {
			s.Value = &v
		}
		b.Segments = append(b.Segments, s)
	}
	slices.SortFunc(b.Segments, bySize)
	return b
}

// bySize is the order of segments: the largest first; of one size by value, what does not say first.
func bySize(a, b funnel.Segment) int {
	value := func(s funnel.Segment) string {
		if s.Value == nil {
			return ""
		}
		return *s.Value
	}
	return cmp.Or(cmp.Compare(b.Entered, a.Entered), cmp.Compare(value(a), value(b)))
}
