package funnel

import (
	"slices"
	"time"

	"github.com/mongotel/billcenter/schema/journey"
)

// day is a date: days since 1970-01-01, in whatever zone it was read.
type day int

func dayOf(t time.Time) day {
	y, m, d := t.Date()
	return day(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

func (d day) utc() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

// in is the moment at which the date begins in a zone.
func (d day) in(zone *time.Location) time.Time {
	return midnight(d.utc(), zone)
}

// midnight is when a date begins in a zone: at one in the morning where clocks spring forward at midnight, as in Chile.
func midnight(date time.Time, zone *time.Location) time.Time {
	y, m, d := date.Date()
	t := time.Date(y, m, d, 0, 0, 0, 0, zone)
	if t.Day() != d { // a time that does not exist was read by the clocks of before
		_, t = t.ZoneBounds()
	}
	return t
}

// first is the first day of the period that a day lies in.
func (t Trend) first(d day) day {
	switch t {
	case Weekly:
		return d - day((int(d.utc().Weekday())+6)%7)
	case Monthly:
		return d - day(d.utc().Day()-1)
	default:
		return d
	}
}

// next is the first day of the period after.
func (t Trend) next(first day) day {
	switch t {
	case Weekly:
		return first + 7
	case Monthly:
		return dayOf(first.utc().AddDate(0, 1, 0))
	default:
		return first + 1
	}
}

func (t Trend) label(first day) string {
	if t == Monthly {
		return first.utc().Format("2006-01")
	}
	return first.utc().Format(time.DateOnly)
}

func (c *counter) takeTrend(p *place, a *attempt) {
	d := dayOf(a.entry.Time().In(p.zone))
	first, monday := c.query.Trend.first(d), Weekly.first(d)
	if c.periods[first] == nil {
		c.periods[first] = &period{}
	}
	if c.weeks[monday] == nil {
		c.weeks[monday] = &week{within: map[int]int{}}
	}
	c.periods[first].entered++
	c.weeks[monday].entered++
	if a.reached == p.matcher.steps {
		c.periods[first].converted++
		took := time.Duration(a.at[a.reached-1] - a.at[0])
		c.weeks[monday].within[max(1, int((took+weekLong-1)/weekLong))]++
	}
}

const weekLong = 7 * 24 * time.Hour

func (c *counter) trend(watermark *time.Time, restated []journey.Restatement) []TrendPoint {
	points := []TrendPoint{}
	t := c.query.Trend
	for first, last := c.span(); first < last; first = t.next(first) {
		point := TrendPoint{Period: t.label(first)}
		if p := c.periods[first]; p != nil {
			point.Entered, point.Converted = p.entered, p.converted
		}
		over := c.over(t.next(first))
		point.Final = watermark != nil && watermark.After(over)
		point.Revision = c.revision(first, t.next(first), over, restated)
		points = append(points, point)
	}
	return points
}

// over is when the windows of all attempts that entered before a day are over, in the zones of all tenants that were counted.
func (c *counter) over(end day) time.Time {
	latest := end.in(time.UTC)
	if p, err := c.place(c.query.Tenant); err == nil { // the zone asked for, or the one tenant's
		latest = end.in(p.zone)
	}
	for _, p := range c.places {
		if at := end.in(p.zone); at.After(latest) {
			latest = at
		}
	}
	return latest.Add(c.query.Window)
}

// revision counts the batches of late facts that restated a period when it was final already.
func (c *counter) revision(first, next day, over time.Time, restated []journey.Restatement) int {
	batches := map[int64]bool{}
	for _, r := range restated {
		if c.query.Tenant != "" && r.Tenant != c.query.Tenant || !r.Watermark.After(over) {
			continue
		}
		p, ok := c.places[r.Tenant]
		if at := r.Entered.UnixNano(); !ok || at < p.matcher.from || at >= p.matcher.to {
			continue // no entry of this report
		}
		if d := dayOf(r.Entered.In(p.zone)); d >= first && d < next {
			batches[r.Batch] = true
		}
	}
	return len(batches)
}

// span is the first day of the trend's first period, and a day beyond its last: as asked, where bounds were given, else as
// the entries have it.
func (c *counter) span() (first, end day) {
	t := c.query.Trend
	var days []day
	for d := range c.periods {
		days = append(days, d)
	}
	if len(days) > 0 {
		first, end = slices.Min(days), t.next(slices.Max(days))
	}
	p, err := c.place(c.query.Tenant)
	if err != nil {
		return first, end
	}
	from, fromErr := bound(c.query.From, p.zone)
	to, toErr := bound(c.query.To, p.zone)
	if c.query.From != "" && fromErr == nil {
		first = t.first(dayOf(from.In(p.zone)))
		if len(days) == 0 && c.query.To == "" {
			end = first
		}
	}
	if c.query.To != "" && toErr == nil {
		end = dayOf(to.In(p.zone).Add(-time.Nanosecond)) + 1
		if len(days) == 0 && c.query.From == "" {
			first = end
		}
	}
	if len(days) > 0 { // a bound that is a time is yesterday for one tenant and today for another
		first, end = min(first, slices.Min(days)), max(end, t.next(slices.Max(days)))
	}
	return first, end
}

// cohorts follow the entries of each week. A week's column is there once it is over for everybody who entered.
func (c *counter) cohorts() []Cohort {
	cohorts := []Cohort{}
	longest := int((c.query.Window + weekLong - 1) / weekLong)
	var mondays []day
	for m := range c.weeks {
		mondays = append(mondays, m)
	}
	slices.Sort(mondays)
	for _, monday := range mondays {
		w := c.weeks[monday]
		over := c.over(monday + 7).Add(-c.query.Window)
		cohort := Cohort{Week: Weekly.label(monday), Entered: w.entered, Converted: []int{}}
		sum := 0
		for n := 1; n <= longest && c.query.AsOf.After(over.Add(time.Duration(n)*weekLong)); n++ {
			sum += w.within[n]
			cohort.Converted = append(cohort.Converted, sum)
		}
		cohorts = append(cohorts, cohort)
	}
	return cohorts
}
