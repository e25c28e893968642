package funnel_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/schema/journey"
)

// population makes n journeys over a year that get as far as chance has it.
func population(n int) []*journey.Journey {
	random := rand.New(rand.NewPCG(1, 2))
	locales := []*journey.Properties{{Locale: "en-US"}, {Locale: "es-US"}, {Locale: "de-DE"}, {}}
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	all := make([]*journey.Journey, n)
	for i := range all {
		p := locales[random.IntN(len(locales))]
		j := &journey.Journey{Unit: journey.Unit{Tenant: "mongo"}}
		at := begin + random.Int64N(int64(365*24*time.Hour))
		j.Facts = append(j.Facts, journey.Fact{At: at, Kind: journey.Invited, Properties: p})
		for k := journey.Registered; k <= journey.InvoiceViewed && random.IntN(10) < 8; k++ {
			at += random.Int64N(int64(48 * time.Hour))
			j.Facts = append(j.Facts, journey.Fact{At: at, Kind: k, Enrollment: 1, Properties: p})
		}
		all[i] = j
	}
	return all
}

// BenchmarkReport is what opening the dashboard costs on a million journeys, besides the page itself.
func BenchmarkReport(b *testing.B) {
	journeys := population(1_000_000)
	utc := func(string) *time.Location { return time.UTC }
	asOf := time.Date(2026, 12, 20, 0, 0, 0, 0, time.UTC)
	for name, q := range map[string]funnel.Query{
		"default":         {},
		"trend":           {Trend: funnel.Weekly},
		"trend_breakdown": {Trend: funnel.Daily, Breakdown: "locale"},
		"strict":          {Order: funnel.Strict},
		"any_totals":      {Order: funnel.Any, Count: funnel.Totals},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := funnel.Count(q.Defaults(asOf), utc, slices.Values(journeys), nil, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	runtime.KeepAlive(journeys)
}
