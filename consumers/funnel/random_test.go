package funnel_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/schema/journey"
)

// clocks are tenants whose clocks change at two in the morning, at midnight, and never.
var clocks = map[string]string{"mongo": "America/New_York", "sur": "America/Santiago", "tokyo": "Asia/Tokyo"}

func zones(tenant string) *time.Location {
	name, ok := clocks[tenant]
	if !ok {
		return nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return zone
}

// restless are moments around which days are long, short, or begin at one in the morning; and the turn of a year.
var restless = []time.Time{
	time.Date(2026, 3, 8, 7, 0, 0, 0, time.UTC),    // New York springs forward
	time.Date(2026, 11, 1, 4, 0, 0, 0, time.UTC),   // the day on which it falls back begins
	time.Date(2026, 9, 6, 4, 0, 0, 0, time.UTC),    // Santiago has no midnight
	time.Date(2026, 4, 5, 3, 0, 0, 0, time.UTC),    // Santiago has the hour before midnight twice
	time.Date(2026, 12, 31, 15, 0, 0, 0, time.UTC), // Tokyo's new year
}

// history is what a random case is about.
type history struct {
	units     []unit
	query     funnel.Query
	watermark *time.Time
	restated  []journey.Restatement
}

func (h history) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%+v\n", h.query)
	for _, j := range journeys(h.units) {
		fmt.Fprintf(&b, "%s:", j.Tenant)
		for _, f := range j.Facts {
			fmt.Fprintf(&b, " %s@%s/%d", f.Kind, f.Time().Format(time.RFC3339Nano), f.Enrollment)
		}
		b.WriteByte('\n')
	}
	for _, r := range h.restated {
		fmt.Fprintf(&b, "restated: %+v\n", r)
	}
	return b.String()
}

// someHistory has few distinct instants, so that ties, repeats and exact ends of windows come often.
func someHistory(t *rapid.T) history {
	window := rapid.SampledFrom([]time.Duration{1, time.Hour, 24 * time.Hour, 36 * time.Hour, week, 30 * 24 * time.Hour}).Draw(t, "window")
	start := rapid.SampledFrom(restless).Draw(t, "start")
	moments := rapid.IntRange(1, 5).Draw(t, "moments")
	instant := rapid.Custom(func(t *rapid.T) time.Time {
		at := start.Add(time.Duration(rapid.IntRange(-1, moments).Draw(t, "half windows")) * (window / 2))
		return at.Add(rapid.SampledFrom([]time.Duration{0, 0, 0, 0, 0, 0, -1, 1}).Draw(t, "off by"))
	})
	steps := rapid.IntRange(2, journey.Steps).Draw(t, "steps that happen")
	enrollments := []string{"e1", "e2", "", "e3"}[:rapid.IntRange(1, 4).Draw(t, "enrollments")]
	kind := rapid.Custom(func(t *rapid.T) journey.Kind {
		if rapid.IntRange(0, 9).Draw(t, "explains") == 0 {
			return journey.Kind(rapid.IntRange(0, int(journey.Unlocked)).Draw(t, "kind"))
		}
		return journey.Kind(rapid.IntRange(1, steps).Draw(t, "step"))
	})
	properties := rapid.Custom(func(t *rapid.T) journey.Properties {
		return journey.Properties{
			Locale:       rapid.SampledFrom([]string{"", "en-US", "es-CL"}).Draw(t, "locale"),
			InvoiceMonth: rapid.SampledFrom([]string{"", "2026-09"}).Draw(t, "month"),
			CodeAgeDays:  rapid.SampledFrom([]string{"", "0", "31"}).Draw(t, "age"),
		}
	})
	maybe := func(g *rapid.Generator[time.Time], label string) *time.Time {
		if !rapid.Bool().Draw(t, label) {
			return nil
		}
		return new(g.Draw(t, label))
	}

	var h history
	tenants := rapid.SliceOfN(rapid.SampledFrom([]string{"mongo", "sur", "tokyo"}), 1, 3).Draw(t, "tenants")
	for i, tenant := range tenants {
		u := unit{Unit: journey.Unit{Tenant: tenant, Account: fmt.Sprint("account-", i)}}
		for n := range rapid.IntRange(0, 9).Draw(t, "facts") {
			f := journey.Told{
				ID: fmt.Sprint(i, "-", n), At: instant.Draw(t, "at").UnixNano(), Kind: kind.Draw(t, "kind"), Properties: properties.Draw(t, "properties"),
				Sequence: int64(rapid.IntRange(0, 2).Draw(t, "sequence")),
				Reason:   journey.Reason(rapid.IntRange(0, 19).Draw(t, "reason")),
			}
			if f.Kind != journey.Invited && f.Kind != journey.RegistrationRefused || rapid.IntRange(0, 9).Draw(t, "odd") == 0 {
				f.Enrollment = rapid.SampledFrom(enrollments).Draw(t, "enrollment")
			}
			u.told = append(u.told, f)
		}
		h.units = append(h.units, u)
	}
	h.watermark = maybe(instant, "watermark")
	for n := range rapid.IntRange(0, 3).Draw(t, "restated") {
		h.restated = append(h.restated, journey.Restatement{
			Tenant: rapid.SampledFrom(tenants).Draw(t, "whose"), Entered: instant.Draw(t, "entered"),
			Watermark: instant.Draw(t, "watermark then").Add(rapid.SampledFrom([]time.Duration{0, window}).Draw(t, "later")), Batch: int64(n / 2),
		})
	}
	h.query = funnel.Query{
		Tenant: rapid.SampledFrom([]string{"", tenants[0]}).Draw(t, "of"), Window: window,
		Order:     rapid.SampledFrom([]funnel.Order{funnel.Sequential, funnel.Strict, funnel.Any}).Draw(t, "order"),
		Count:     rapid.SampledFrom([]funnel.Counting{funnel.Uniques, funnel.Totals}).Draw(t, "count"),
		Steps:     rapid.IntRange(2, journey.Steps).Draw(t, "steps"),
		Breakdown: rapid.SampledFrom(append([]string{""}, funnel.Breakdowns...)).Draw(t, "breakdown"),
		Trend:     rapid.SampledFrom([]funnel.Trend{"", funnel.Daily, funnel.Weekly, funnel.Monthly}).Draw(t, "trend"),
		Zone:      rapid.SampledFrom([]string{"", "", "America/Havana", "Asia/Kolkata"}).Draw(t, "zone"),
		AsOf:      instant.Draw(t, "as of"),
	}
	if rapid.Bool().Draw(t, "as of the end") {
		h.query.AsOf = h.query.AsOf.Add(window)
	}
	bound := func(label string) string {
		at := instant.Draw(t, label)
		switch rapid.IntRange(0, 3).Draw(t, label+" is") {
		case 0:
			return at.In(zones(tenants[0])).Format(time.DateOnly)
		case 1:
			return at.Format(time.RFC3339Nano)
		}
		return ""
	}
	h.query.From, h.query.To = bound("from"), bound("to")
	for _, zone := range []string{h.query.Zone, clocks["mongo"], clocks["sur"], clocks["tokyo"]} {
		q := h.query
		if q.Zone = cmp.Or(q.Zone, zone); q.Check() != nil { // from is not before to everywhere
			h.query.From, h.query.To = "", ""
		}
	}
	return h
}

// journeys derives them as the store does: from each fact once, in whatever order they came.
func journeys(units []unit) []*journey.Journey {
	var all []*journey.Journey
	for _, u := range units {
		known := map[string]bool{}
		var first []journey.Told
		for _, f := range u.told {
			if !known[f.ID] {
				known[f.ID] = true
				first = append(first, f)
			}
		}
		j := journey.Of(u.Unit, first)
		all = append(all, &j)
	}
	return all
}

func count(t testing.TB, h history) funnel.Report {
	t.Helper()
	r, err := funnel.Count(h.query, zones, slices.Values(journeys(h.units)), h.watermark, h.restated)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sameNumbers compares all but the reasons, of which the plain telling knows nothing.
var sameNumbers = gocmp.Options{
	cmpopts.EquateEmpty(), cmpopts.EquateApprox(1e-12, 1e-12), cmpopts.IgnoreFields(funnel.StepReport{}, "Reasons"),
}

func TestBothTellingsOfTheDefinitionsAgree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		h := someHistory(rt)
		for _, h.query.Order = range []funnel.Order{funnel.Sequential, funnel.Strict, funnel.Any} {
			for _, h.query.Count = range []funnel.Counting{funnel.Uniques, funnel.Totals} {
				for h.query.Steps = 2; h.query.Steps <= journey.Steps; h.query.Steps++ {
					got := count(t, h)
					want := plain{Query: h.query, t: t, zone: zones}.report(h.units, h.watermark, h.restated)
					if diff := gocmp.Diff(want, got, sameNumbers); diff != "" {
						rt.Fatalf("%s(-plain +engine):\n%s", h, diff)
					}
					addsUp(rt, got)
				}
			}
		}
	})
}

// addsUp checks what must hold inside every report.
func addsUp(t *rapid.T, r funnel.Report) {
	steps := func(steps []funnel.StepReport, o funnel.Overall) {
		dropped, inProgress := 0, 0
		for i, s := range steps {
			if s.Converted+s.InProgress+s.Dropped != s.Entered {
				t.Errorf("%s: %d + %d + %d is not %d", s.Step, s.Converted, s.InProgress, s.Dropped, s.Entered)
			}
			if i+1 < len(steps) && s.Converted != steps[i+1].Entered {
				t.Errorf("%s: %d converted, and %d entered the next", s.Step, s.Converted, steps[i+1].Entered)
			}
			sum, place := 0, -1
			for _, r := range s.Reasons {
				sum += r.Count
				next := slices.Index(funnel.DropReasons, r.Reason)
				if next <= place || r.Count < 1 {
					t.Errorf("%s: %v is out of order or empty", s.Step, s.Reasons)
				}
				place = next
			}
			if sum != s.Dropped {
				t.Errorf("%s: reasons for %d of %d", s.Step, sum, s.Dropped)
			}
			dropped, inProgress = dropped+s.Dropped, inProgress+s.InProgress
		}
		if o.Dropped != dropped || o.InProgress != inProgress || o.Entered != steps[0].Entered || o.Converted != steps[len(steps)-1].Entered {
			t.Errorf("the steps do not add up to %+v", o)
		}
	}
	steps(r.Steps, r.Overall)
	if r.Breakdown != nil {
		entered := 0
		for _, s := range r.Breakdown.Segments {
			steps(s.Steps, s.Overall)
			entered += s.Entered
		}
		if entered != r.Overall.Entered {
			t.Errorf("segments of %d, of %d that entered", entered, r.Overall.Entered)
		}
	}
	entered, converted := 0, 0
	for _, p := range r.Trend {
		entered, converted = entered+p.Entered, converted+p.Converted
	}
	if len(r.Trend) > 0 && (entered != r.Overall.Entered || converted != r.Overall.Converted) {
		t.Errorf("the trend has %d of %d that entered, %d of %d that converted", entered, r.Overall.Entered, converted, r.Overall.Converted)
	}
}

func TestTheOrderAndRepetitionOfFactsDoNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := someHistory(rt)
		want := count(t, h)
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		for i := range h.units {
			told := slices.Concat(h.units[i].told, h.units[i].told)
			random.Shuffle(len(told), func(a, b int) { told[a], told[b] = told[b], told[a] })
			h.units[i].told = told
		}
		random.Shuffle(len(h.units), func(a, b int) { h.units[a], h.units[b] = h.units[b], h.units[a] })
		random.Shuffle(len(h.restated), func(a, b int) { h.restated[a], h.restated[b] = h.restated[b], h.restated[a] })
		if diff := gocmp.Diff(want, count(t, h)); diff != "" {
			rt.Fatalf("(-in order +shuffled and doubled):\n%s", diff)
		}
	})
}

// A later as-of loses nobody that had converted, and finds nobody back that had dropped.
func TestTimeOnlyTurnsWaitingIntoDropped(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := someHistory(rt)
		before := count(t, h)
		h.query.AsOf = h.query.AsOf.Add(h.query.Window / 2)
		after := count(t, h)
		for i, b := range before.Steps {
			a := after.Steps[i]
			if a.Entered != b.Entered || a.Converted != b.Converted || a.InProgress > b.InProgress {
				rt.Fatalf("%s: %+v, later %+v", b.Step, b, a)
			}
		}
	})
}
