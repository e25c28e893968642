package funnel_test

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/schema/journey"
)

// noon is hour 0 of the tables: a Wednesday in New York.
var noon = time.Date(2026, 6, 3, 16, 0, 0, 0, time.UTC)

// tell reads a history: "Invited 0h, Registered 1h a" is an Invited at hour 0 and a Registered of enrollment a an hour later;
// a number behind the enrollment is the sequence.
func tell(t *testing.T, history string) []journey.Told {
	t.Helper()
	var told []journey.Told
	for i, s := range strings.Split(history, ", ") {
		words := strings.Fields(s)
		after, err := time.ParseDuration(words[1])
		kind := journey.KindOf(words[0], false)
		if err != nil || kind == journey.Other {
			t.Fatalf("%q: %v", s, err)
		}
		f := journey.Told{ID: fmt.Sprintf("%02d", i), At: noon.Add(after).UnixNano(), Kind: kind}
		if len(words) > 2 {
			f.Enrollment = words[2]
		}
		if len(words) > 3 {
			if f.Sequence, err = strconv.ParseInt(words[3], 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		told = append(told, f)
	}
	return told
}

func later(hours time.Duration) string { return noon.Add(hours * time.Hour).Format(time.RFC3339Nano) }

// reached is how many attempts reached each step.
func reached(r funnel.Report) (entered []int) {
	for _, s := range r.Steps {
		entered = append(entered, s.Entered)
	}
	return entered
}

// Every sentence of the definitions; windows are of 48 hours unless said otherwise.
func TestTheDefinitions(t *testing.T) {
	type query = funnel.Query
	for _, tt := range []struct {
		name    string
		history string
		query   query
		want    []int // attempts that reached each step
	}{
		{"the entry is the first Invited", "Invited 0h, Invited 1h, Registered 2h", query{Steps: 2}, []int{1, 1}},
		{"who was never invited did not enter", "Registered 0h, ActivationMailed 1h", query{Steps: 3}, []int{0, 0, 0}},
		{"an entry at from counts", "Invited 0h", query{From: later(0), Steps: 2}, []int{1, 0}},
		{"an entry at to does not", "Invited 0h", query{To: later(0), Steps: 2}, []int{0, 0}},
		{"a nanosecond before to does", "Invited -1ns", query{To: later(0), Steps: 2}, []int{1, 0}},
		{"steps after to count", "Invited 0h, Registered 3h", query{To: later(1), Steps: 2}, []int{1, 1}},
		{"an attempt opened before from does not block", "Invited 0h, Invited 2h, Registered 3h", query{From: later(1), Steps: 2}, []int{1, 1}},
		{"a conversion before from does not block", "Invited 0h, Registered 1h, Invited 3h", query{From: later(2), Steps: 2}, []int{1, 0}},
		{"a date begins at the tenant's midnight", "Invited 12h", query{From: "2026-06-04", Steps: 2}, []int{1, 0}},
		{"a date ends at the tenant's midnight", "Invited 12h", query{To: "2026-06-04", Steps: 2}, []int{0, 0}},
		{"a date without a midnight begins at one", "Invited 2267h30m", query{From: "2026-09-06", Zone: "America/Santiago", Steps: 2}, []int{0, 0}},
		{"and not later", "Invited 2268h", query{From: "2026-09-06", Zone: "America/Santiago", Steps: 2}, []int{1, 0}},
		{"a zone of the query goes before the tenant's", "Invited 8h", query{From: "2026-06-04", Zone: "UTC", Steps: 2}, []int{1, 0}},

		{"the window's exact end is inside", "Invited 0h, Registered 48h", query{Steps: 2}, []int{1, 1}},
		{"a nanosecond later is outside", "Invited 0h, Registered 48h1ns", query{Steps: 2}, []int{1, 0}},
		{"the window runs from the entry, not from the step before", "Invited 0h, Registered 40h, ActivationMailed 50h", query{Steps: 3}, []int{1, 1, 0}},
		{"a repeat of the entry does not begin it anew", "Invited 0h, Invited 30h, Registered 50h", query{Steps: 2}, []int{1, 0}},
		{"the window is elapsed time, over a change of clocks too", "Invited 3623h, Registered 3647h", query{Window: 24 * time.Hour, Steps: 2}, []int{1, 1}},

		{"sequential: anything may lie between", "Invited 0h, SignedIn 1h, Registered 2h, Invited 3h, ActivationMailed 4h", query{Steps: 3}, []int{1, 1, 1}},
		{"sequential: a step left out stops the way", "Invited 0h, ActivationMailed 1h, Activated 2h", query{Steps: 4}, []int{1, 0, 0, 0}},
		{"sequential: too early is ignored, and later counts", "Registered -1h, Invited 0h, Registered 1h", query{Steps: 2}, []int{1, 1}},
		{"sequential: too early only does not count", "Registered -1h, Invited 0h", query{Steps: 2}, []int{1, 0}},
		{"sequential: a step repeated after a late one counts", "Invited 0h, ActivationMailed 1h, Registered 2h, ActivationMailed 3h", query{Steps: 3}, []int{1, 1, 1}},
		{"equal instants count in either order", "Registered 0h a 1, ActivationMailed 0h a 0, Invited 0h b 2", query{Steps: 3}, []int{1, 1, 1}},
		{"there is no grace for a nanosecond", "Registered -1ns, Invited 0h", query{Steps: 2}, []int{1, 0}},

		{"strict: one step after the other", "Invited 0h, Registered 1h, ActivationMailed 2h", query{Order: funnel.Strict, Steps: 3}, []int{1, 1, 1}},
		{"strict: another step breaks it", "Invited 0h, Activated 1h, Registered 2h", query{Order: funnel.Strict, Steps: 4}, []int{1, 0, 0, 0}},
		{"strict: a step beyond those asked for breaks it too", "Invited 0h, InvoiceViewed 1h, Registered 2h", query{Order: funnel.Strict, Steps: 2}, []int{1, 0}},
		{"strict: what is no step does not", "Invited 0h, RegistrationRefused 1h, Locked 1h, Registered 2h", query{Order: funnel.Strict, Steps: 2}, []int{1, 1}},
		{"strict: a repeat of the step just reached does not", "Invited 0h, Invited 1h, Registered 2h, Registered 3h, ActivationMailed 4h", query{Order: funnel.Strict, Steps: 3}, []int{1, 1, 1}},
		{"strict: a repeat of an earlier step does", "Invited 0h, Registered 1h, Invited 2h, ActivationMailed 3h", query{Order: funnel.Strict, Steps: 3}, []int{1, 1, 0}},
		{"strict: whoever has arrived cannot break it", "Invited 0h, Registered 1h, Invited 1h, InvoiceViewed 2h", query{Order: funnel.Strict, Steps: 2}, []int{1, 1}},
		{"strict: equal instants are taken in the order that helps", "Invited 0h, ActivationMailed 1h, Registered 1h", query{Order: funnel.Strict, Steps: 3}, []int{1, 1, 1}},
		{"strict: the next step is taken before what breaks it", "Invited 0h, InvoiceViewed 1h, Registered 1h, ActivationMailed 2h", query{Order: funnel.Strict, Steps: 3}, []int{1, 1, 0}},
		{"strict: what happened at the entry's instant may lie before it", "InvoiceViewed 0h, Invited 0h, Registered 1h", query{Order: funnel.Strict, Steps: 2}, []int{1, 1}},
		{"strict: and lies before it where that helps", "Invited 0h, Registered 0h, Invited 1h, Registered 2h, ActivationMailed 3h", query{Order: funnel.Strict, Steps: 3}, []int{1, 1, 1}},
		{"strict: a broken attempt blocks a new one until its window ends", "Invited 0h, Activated 1h, Invited 47h, Invited 48h, Registered 48h",
			query{Order: funnel.Strict, Count: funnel.Totals, Steps: 2}, []int{1, 0}},
		{"strict: and not longer", "Invited 0h, Activated 1h, Invited 48h1ns, Registered 49h", query{Order: funnel.Strict, Count: funnel.Totals, Steps: 2}, []int{2, 1}},
		{"strict: another enrollment's facts are not seen", "Invited 0h, Registered 1h a, Registered 2h b, Activated 3h b, ActivationMailed 4h a", query{Order: funnel.Strict, Steps: 3}, []int{1, 1, 1}},

		{"any: the sequence does not matter", "Activated 0h, Invited 1h, ActivationMailed 2h, Registered 3h", query{Order: funnel.Any, Steps: 4}, []int{1, 1, 1, 1}},
		{"any: the entry is the first fact of any step", "Registered 0h, Invited 2h", query{Order: funnel.Any, To: later(1), Steps: 2}, []int{1, 1}},
		{"any: of the steps asked for", "Activated 0h, Invited 2h", query{Order: funnel.Any, To: later(1), Steps: 2}, []int{0, 0}},
		{"any: rows count different steps", "Invited 0h, Invited 1h, InvoiceViewed 2h, InvoiceViewed 3h", query{Order: funnel.Any, Steps: 6}, []int{1, 1, 0, 0, 0, 0}},
		{"any: every step is inside the window", "Registered 0h, Invited 49h", query{Order: funnel.Any, Steps: 2}, []int{1, 0}},
		{"any: enrollments are not mixed", "Invited 0h, Registered 1h a, ActivationMailed 2h b", query{Order: funnel.Any, Steps: 3}, []int{1, 1, 0}},
		{"any: totals enter again with any step", "Registered 0h, Invited 1h, Registered 2h", query{Order: funnel.Any, Count: funnel.Totals, Steps: 2}, []int{2, 1}},

		{"uniques count the first entry only", "Invited 0h, Registered 1h, Invited 100h, Registered 101h", query{Steps: 2}, []int{1, 1}},
		{"totals enter again after converting", "Invited 0h, Registered 1h, Invited 2h, Registered 3h", query{Count: funnel.Totals, Steps: 2}, []int{2, 2}},
		{"totals: strictly after converting", "Invited 0h, Registered 1h, Invited 1h, Registered 3h", query{Count: funnel.Totals, Steps: 2}, []int{1, 1}},
		{"totals: converting is the last step asked for", "Invited 0h, Registered 1h, Invited 2h, ActivationMailed 3h, Invited 4h", query{Count: funnel.Totals, Steps: 3}, []int{2, 1, 1}},
		{"totals enter again after the window", "Invited 0h, Invited 48h1ns, Registered 49h", query{Count: funnel.Totals, Steps: 2}, []int{2, 1}},
		{"totals: strictly after the window", "Invited 0h, Invited 48h, Registered 49h", query{Count: funnel.Totals, Steps: 2}, []int{1, 0}},
		{"totals: every entry lies in the range", "Invited 0h, Registered 1h, Invited 2h, Registered 3h", query{Count: funnel.Totals, To: later(2), Steps: 2}, []int{1, 1}},

		{"an attempt's steps belong to one enrollment", "Invited 0h, Registered 1h a, ActivationMailed 2h b", query{Steps: 3}, []int{1, 1, 0}},
		{"the enrollment that gets furthest counts", "Invited 0h, Registered 1h a, Registered 2h b, ActivationMailed 3h b", query{Steps: 3}, []int{1, 1, 1}},
		{"facts without an enrollment belong to all", "Invited 0h, Registered 1h, ActivationMailed 2h a", query{Steps: 3}, []int{1, 1, 1}},
		{"an Invited that names an enrollment does too", "Invited 0h a, Registered 1h a, Invited 2h b, ActivationMailed 3h a", query{Order: funnel.Strict, Steps: 3}, []int{1, 1, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := history{query: tt.query, units: []unit{{journey.Unit{Tenant: "mongo", Account: "account"}, tell(t, tt.history)}}}
			if h.query.Window == 0 {
				h.query.Window = 48 * time.Hour
			}
			h.query = h.query.Defaults(noon)
			if diff := gocmp.Diff(tt.want, reached(count(t, h))); diff != "" {
				t.Errorf("(-want +engine):\n%s", diff)
			}
			if diff := gocmp.Diff(tt.want, reached(plain{Query: h.query, t: t, zone: zones}.report(h.units, nil, nil))); diff != "" {
				t.Errorf("(-want +plain):\n%s", diff)
			}
		})
	}
}

// as is a query of two steps and a window of 48 hours, as of some hours after noon.
func as(of time.Duration) funnel.Query {
	return funnel.Query{Window: 48 * time.Hour, Steps: 2, AsOf: noon.Add(of)}.Defaults(noon)
}

func TestInProgress(t *testing.T) {
	for _, tt := range []struct {
		name, history       string
		query               funnel.Query
		inProgress, dropped int
	}{
		{"inside the window", "Invited 0h", as(time.Hour), 1, 0},
		{"at the window's exact end", "Invited 0h", as(48 * time.Hour), 1, 0},
		{"a nanosecond later it is lost", "Invited 0h", as(48*time.Hour + 1), 0, 1},
		{"a fact after as-of still counts", "Invited 0h, Registered 2h", as(time.Hour), 0, 0},
		{"an entry after as-of is under way", "Invited 2h", as(time.Hour), 1, 0},
		{"a broken strict attempt is under way until its window ends", "Invited 0h, Activated 1h", func() funnel.Query {
			q := as(48 * time.Hour)
			q.Order = funnel.Strict
			return q
		}(), 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := history{query: tt.query, units: []unit{{journey.Unit{Tenant: "mongo", Account: "account"}, tell(t, tt.history)}}}
			if s := count(t, h).Steps[0]; s.InProgress != tt.inProgress || s.Dropped != tt.dropped {
				t.Errorf("%d in progress, %d dropped; want %d, %d", s.InProgress, s.Dropped, tt.inProgress, tt.dropped)
			}
		})
	}
}

// several gives each history to an account of its own.
func several(t *testing.T, q funnel.Query, histories ...string) funnel.Report {
	t.Helper()
	h := history{query: q}
	for i, s := range histories {
		h.units = append(h.units, unit{journey.Unit{Tenant: "mongo", Account: fmt.Sprint("account-", i)}, tell(t, s)})
	}
	return count(t, h)
}

func TestTimesToConvertAreOfAttemptsThatConvertedInsideTheWindow(t *testing.T) {
	r := several(t, as(0), "Invited 0h, Registered 1h", "Invited 0h, Registered 2h", "Invited 0h, Registered 3h", "Invited 0h, Registered 10h",
		"Invited 0h, Registered 60h", "Invited 0h")
	const hour = 3600.0
	got := r.Steps[0].TimeToConvert
	// percentile_cont over 1, 2, 3, 10: 0.5 lies midway between 2 and 3, 0.9 is at 2.7 of 0 to 3.
	if !near(*got.MedianSeconds, 2.5*hour) || !near(*got.P90Seconds, 7.9*hour) {
		t.Errorf("median %v h, p90 %v h", *got.MedianSeconds/hour, *got.P90Seconds/hour)
	}
	counts := map[float64]int{}
	for _, b := range got.Histogram {
		counts[b.UpToSeconds] += b.Count
	}
	if counts[hour] != 1 || counts[4*hour] != 2 || counts[12*hour] != 1 {
		t.Errorf("histogram %v", got.Histogram)
	}
	if r.Steps[1].MedianSeconds != nil {
		t.Error("the last step has a time to a next one")
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestTheLiveRateCensorsWhoIsOnTheWay(t *testing.T) {
	r := several(t, as(20*time.Hour), "Invited 0h, Registered 10h", "Invited 0h", "Invited 0h", "Invited -30h, Registered 0h", "Invited -60h")
	// Of five one converts at 10 h; two are watched for 20 h; of the two that are left one converts at 30 h, and one is lost.
	if want := 1 - 4.0/5*(1-1.0/2); !near(*r.Overall.LiveRate, want) {
		t.Errorf("live rate %v, want %v", *r.Overall.LiveRate, want)
	}
	if *r.Overall.Rate != 2.0/5 || *r.Overall.MatureRate != 1.0/2 {
		t.Errorf("rate %v, mature %v", *r.Overall.Rate, *r.Overall.MatureRate)
	}
}

func TestTheTrendShowsPeriodsWithoutEntriesAndWhatIsFinal(t *testing.T) {
	h := history{units: []unit{{journey.Unit{Tenant: "mongo", Account: "account"}, tell(t, "Invited 0h, Registered 1h")}}}
	h.query = as(0)
	h.query.Trend, h.query.From, h.query.To = funnel.Daily, "2026-06-02", "2026-06-05"
	midnight := time.Date(2026, 6, 4, 4, 0, 0, 0, time.UTC) // the end of June 3 in New York
	for _, tt := range []struct {
		name      string
		watermark time.Time
		want      []funnel.TrendPoint
	}{
		{"at the end of period and window it is not final", midnight.Add(48 * time.Hour),
			[]funnel.TrendPoint{{Period: "2026-06-02", Final: true}, {Period: "2026-06-03", Entered: 1, Converted: 1}, {Period: "2026-06-04"}}},
		{"a nanosecond later it is", midnight.Add(48*time.Hour + 1),
			[]funnel.TrendPoint{{Period: "2026-06-02", Final: true}, {Period: "2026-06-03", Entered: 1, Converted: 1, Final: true}, {Period: "2026-06-04"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.watermark = &tt.watermark
			if diff := gocmp.Diff(tt.want, count(t, h).Trend); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("facts that come later restate it, once a batch", func(t *testing.T) {
		final := midnight.Add(48*time.Hour + 1)
		h.watermark = &final
		for i, batch := range []int64{1, 1, 2} {
			h.restated = append(h.restated, journey.Restatement{Tenant: "mongo", Entered: noon.Add(time.Duration(i)), Watermark: final, Batch: batch})
		}
		h.restated = append(h.restated,
			journey.Restatement{Tenant: "mongo", Entered: noon, Watermark: final.Add(-1), Batch: 3},                  // it was not final then
			journey.Restatement{Tenant: "tokyo", Entered: noon, Watermark: final.Add(week), Batch: 4},                // nobody of this report
			journey.Restatement{Tenant: "mongo", Entered: noon.Add(-2 * week), Watermark: final.Add(week), Batch: 5}) // another period
		if got := count(t, h).Trend[1].Revision; got != 2 {
			t.Errorf("revision %d, want 2", got)
		}
	})
}

func TestATrendLosesNoEntryAtABoundThatIsATime(t *testing.T) {
	q := as(0)
	q.Trend = funnel.Daily
	for _, bounds := range [][2]string{{"2026-06-05T02:00:00Z", ""}, {"", "2026-06-04T22:00:00Z"}} { // of all tenants: in no zone of theirs
		q.From, q.To = bounds[0], bounds[1]
		h := history{query: q, units: []unit{
			{journey.Unit{Tenant: "mongo", Account: "account"}, tell(t, "Invited 35h")}, // June 4 in New York, and 5 by UTC
			{journey.Unit{Tenant: "tokyo", Account: "account"}, tell(t, "Invited 29h")}, // June 5 in Tokyo, and 4 by UTC
		}}
		r := count(t, h)
		entered := 0
		for _, p := range r.Trend {
			entered += p.Entered
		}
		if entered != 1 || r.Overall.Entered != 1 {
			t.Errorf("from %q to %q: %d in the trend, %d entered", q.From, q.To, entered, r.Overall.Entered)
		}
	}
}

func TestLateFactsAboutEntriesOutsideTheRangeDoNotRestateIt(t *testing.T) {
	h := history{query: as(0)}
	h.query.Trend, h.query.From, h.query.To = funnel.Daily, later(0), later(2)
	h.units = []unit{{journey.Unit{Tenant: "mongo", Account: "account"}, tell(t, "Invited 1h")}}
	for i, hour := range []time.Duration{-1, 0, 2} {
		h.restated = append(h.restated, journey.Restatement{Tenant: "mongo", Entered: noon.Add(hour * time.Hour), Watermark: noon.Add(week), Batch: int64(i)})
	}
	if got := count(t, h).Trend; len(got) != 1 || got[0].Revision != 1 {
		t.Errorf("%+v, want one point with revision 1", got)
	}
}

func TestPeriodsAreOfTheZone(t *testing.T) {
	for _, tt := range []struct {
		name, zone, history string
		trend               funnel.Trend
		want                []string
	}{
		{"a day is the tenant's", "", "Invited 11h, Invited 100h", funnel.Daily, []string{"2026-06-03"}},
		{"or the zone's that was asked for", "Europe/Berlin", "Invited 11h", funnel.Daily, []string{"2026-06-04"}},
		{"a week begins on Monday", "", "Invited 0h", funnel.Weekly, []string{"2026-06-01"}},
		{"a Sunday is the last day of one", "", "Invited 107h", funnel.Weekly, []string{"2026-06-01"}},
		{"a month is a month", "", "Invited 0h", funnel.Monthly, []string{"2026-06"}},
		{"the hour before a midnight that does not exist is of the day before", "America/Santiago", "Invited 2267h", funnel.Daily, []string{"2026-09-05"}},
		{"the hour after it is of the next", "America/Santiago", "Invited 2268h", funnel.Daily, []string{"2026-09-06"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := as(0)
			q.Trend, q.Zone = tt.trend, tt.zone
			var got []string
			for _, p := range several(t, q, tt.history).Trend {
				got = append(got, p.Period)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("periods %v, want %v", got, tt.want)
			}
		})
	}
}

func TestTheTwentyLargestSegmentsStandForThemselves(t *testing.T) {
	h := history{query: as(0)}
	h.query.Breakdown = "locale"
	add := func(value string, n int) {
		for range n {
			told := tell(t, "Invited 0h, Registered 1h")
			told[0].Properties.Locale = value
			told[1].Properties.Locale = "of-another-fact"
			h.units = append(h.units, unit{journey.Unit{Tenant: "mongo", Account: fmt.Sprint("account-", len(h.units))}, told})
		}
	}
	add("", 30)
	for i := range 22 {
		add(fmt.Sprintf("l-%02d", i), 25-i)
	}
	b := count(t, h).Breakdown
	var got []string
	for _, s := range b.Segments {
		value := "(none)"
		if s.Value != nil {
			value = *s.Value
		}
		got = append(got, fmt.Sprint(value, " ", s.Entered, " ", s.Other))
	}
	want := []string{"(none) 30 false"}
	for i := range 19 {
		want = append(want, fmt.Sprintf("l-%02d %d false", i, 25-i))
	}
	if want = append(want, "other 15 true"); !slices.Equal(got, want) { // 6 + 5 + 4
		t.Errorf("segments\n%v, want\n%v", got, want)
	}
}

func TestWindowsOfNothingAreRefused(t *testing.T) {
	for _, window := range []time.Duration{0, -1, -time.Hour} {
		q := as(0)
		q.Window = window
		if _, err := funnel.Count(q, zones, slices.Values([]*journey.Journey{}), nil, nil); err == nil {
			t.Errorf("a window of %s was taken", window)
		}
	}
}
