package store_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/journey"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

// BenchmarkJourneysSince reads a million journeys, as a report does after a start.
func BenchmarkJourneysSince(b *testing.B) {
	d := storetest.New(b)
	d.Aside.MustExec(`
		INSERT INTO funnel_journeys (tenant, account_ref, kinds, at_ns, enrollments, reasons, property, properties, facts, revision)
		SELECT 'mongo', md5(i::text), '{1,2,3,4,5,6}', ARRAY(SELECT 1793610000000000000 + i * 1000000000 + s::bigint * 3600000000000 FROM generate_series(0, 5) AS s),
			'{0,1,1,1,1,1}', '{"","","","","",""}', '{1,2,2,2,2,2}',
			jsonb_build_array(jsonb_build_object('locale', 'en-US', 'invoiceMonth', '2026-' || 10 + i % 3), jsonb_build_object('locale', 'en-US', 'codeAgeDays', (i % 40)::text)),
			6, i / 1000 + 1
		FROM generate_series(1, 1000000::bigint) AS i`)
	d.Aside.MustExec(`ANALYZE funnel_journeys`)
	var journeys []journey.Journey
	var before, after runtime.MemStats
	for b.Loop() {
		journeys = nil
		runtime.GC()
		runtime.ReadMemStats(&before)
		if _, err := d.JourneysSince(b.Context(), 0, func(j journey.Journey) error { journeys = append(journeys, j); return nil }); err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
	}
	b.ReportMetric(float64(len(journeys)), "journeys")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(journeys)), "B/journey")
}

// BenchmarkTakeFacts takes facts in batches of a thousand, six about each account, as they come when many enroll at a time.
func BenchmarkTakeFacts(b *testing.B) {
	d := storetest.New(b)
	const size = 1000
	n := 0
	for b.Loop() {
		b.StopTimer()
		batch := make([]events.Received, size)
		for i := range batch {
			account := fmt.Sprint("a", n%(n/6+1)) // some older, some new
			id := fmt.Sprintf("00000000-0000-4000-8000-%012d", n)
			batch[i] = told(b, mongo, fmt.Sprint("b", n), uint64(n+1), events.Registered{Fact: about(account, id, time.Duration(n)*time.Second)})
			n++
		}
		b.StartTimer()
		if err := d.TakeFacts(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "facts/s")
}

// BenchmarkRebuildFunnel derives 200,000 journeys of five facts again, as many as three weeks of a large tenant.
func BenchmarkRebuildFunnel(b *testing.B) {
	d := storetest.New(b)
	const accounts = 200_000
	batch := make([]events.Received, 0, 1000)
	read := func(take func([]events.Received) error) error {
		for n := range 5 * accounts {
			account := fmt.Sprint("a", n/5)
			id := fmt.Sprintf("00000000-0000-4000-8000-%012d", n/5)
			batch = append(batch, told(b, mongo, fmt.Sprint("b", n), uint64(n+1), events.Registered{Fact: about(account, id, time.Duration(n)*time.Second)}))
			if len(batch) == cap(batch) {
				if err := take(batch); err != nil {
					return err
				}
				batch = batch[:0]
			}
		}
		return nil
	}
	for b.Loop() {
		if err := d.RebuildFunnel(b.Context(), read); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(5*accounts/b.Elapsed().Seconds()*float64(b.N), "facts/s")
}
