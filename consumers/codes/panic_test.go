package codes_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
)

// panicsFor makes the store panic in the middle of a transaction that stands in the way of all others.
func (s *scene) panicsFor(id string) {
	s.store.before = func(ctx context.Context, _ int64, batch []events.Received) error {
		if !slices.ContainsFunc(batch, func(r events.Received) bool { return r.ID == id }) {
			return nil
		}
		tx := s.db.Aside.MustBeginTx(ctx, nil)
		tx.MustExec(`LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE`)
		panic("a value that must not be told")
	}
}

func TestAnEventThatMakesTheStorePanicIsBuriedAndTheOthersAreKept(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.Config{})
	s.panicsFor("poison")
	run := &billRun{facts: map[string]int{}, dead: map[uint64]events.Fault{}}
	for i := range 20 {
		if i == 7 {
			run.buries(said(t, tenant, "poison", invoice("ACC-poison", "QX4T88ZK")), events.Undeliverable)
		}
		run.mailed(t, fmt.Sprint("good", i), "QX4T88ZK")
	}
	s.publishes(run.out...)
	registry := prometheus.NewRegistry()
	w := s.worker()
	w.Metrics = consumers.NewMetrics(registry)

	if err := w.Take(t.Context(), s.pulls(len(run.out))); err == nil {
		t.Error("no error, though a message is not kept")
	}
	if n := s.count(`SELECT count(*) FROM inbox`); n != 20 {
		t.Errorf("%d of the others are kept at once, want 20", n)
	}
	if b, ok := s.stream(); !ok || b.Consumers[0].AckPending != 1 || len(s.deadLetters()) != 0 {
		t.Errorf("after the first delivery: %+v", b)
	}

	s.run(w)
	eventually(t, "nothing is left on the broker", s.emptied)
	s.came(run)
	letters := s.deadLetters()
	want := bus.DeadLetter{ID: 1, Consumer: bus.ConsumerCodes, Stream: bus.StreamBilling, Sequence: 8, Subject: run.out[7].Subject,
		Tenant: tenant, EventID: "poison", Source: events.Source(tenant, "billing"), Type: string(events.InvoiceEmailed{}.EventType()),
		Reason: string(events.Undeliverable), Deliveries: consumers.MaxPanics}
	if diff := cmp.Diff([]bus.DeadLetter{want}, letters, cmpopts.IgnoreFields(bus.DeadLetter{}, "Detail", "StoredAt", "DeadAt")); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
	if !strings.Contains(s.log.String(), "panic_test.go") {
		t.Error("the log does not say where it panicked")
	}
	if strings.Contains(s.log.String()+fmt.Sprint(letters), "must not be told") {
		t.Error("what the panic said is repeated")
	}
	const counted = `
# HELP billcenter_consumer_dead_letters_total Messages given up, by reason.
# TYPE billcenter_consumer_dead_letters_total counter
billcenter_consumer_dead_letters_total{consumer="codes",reason="undeliverable"} 1
# HELP billcenter_consumer_deliveries_total Messages by what became of them: done, retry, bury, park, stop.
# TYPE billcenter_consumer_deliveries_total counter
billcenter_consumer_deliveries_total{consumer="codes",event="InvoiceEmailed",verdict="bury"} 1
billcenter_consumer_deliveries_total{consumer="codes",event="InvoiceEmailed",verdict="done"} 20
billcenter_consumer_deliveries_total{consumer="codes",event="InvoiceEmailed",verdict="retry"} 4
# HELP billcenter_consumer_panics_total Panics of handlers, each a defect to be mended.
# TYPE billcenter_consumer_panics_total counter
billcenter_consumer_panics_total{consumer="codes"} 5
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(counted), "billcenter_consumer_dead_letters_total",
		"billcenter_consumer_deliveries_total", "billcenter_consumer_panics_total"); err != nil {
		t.Error(err)
	}
}

func TestAnEventThatPanicsWhileItIsReadIsBuriedAndTheOthersAreKept(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.Config{})
	w := s.worker()
	w.Known = func(name string) bool {
		if name == "poison" {
			panic("a value that must not be told")
		}
		return true
	}
	run := &billRun{facts: map[string]int{}, dead: map[uint64]events.Fault{}}
	run.mailed(t, "before", "QX4T88ZK")
	run.buries(said(t, "poison", "1", invoice("100482-7", "QX4T88ZK")), events.Undeliverable)
	run.mailed(t, "after", "QX4T88ZK")
	s.publishes(run.out...)
	s.run(w)
	eventually(t, "nothing is left on the broker", s.emptied)
	s.came(run)
	if strings.Contains(s.log.String(), "must not be told") {
		t.Error("what the panic said is repeated")
	}
}

// A fact that cannot be is a defect of ours. It must hold back neither the other facts nor the purge.
func TestAnEventWhoseFactIsNotValidIsBuriedAndTheOthersAreKept(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.Config{})
	s.store.after = func(_ int64, receipts []events.Receipt) error {
		receipts[1].AccountRef = ""
		return nil
	}
	s.publishes(said(t, tenant, "1", invoice("100482-1", "QX4T88ZK")), said(t, tenant, "2", invoice("100482-2", "QX4T88ZK")), said(t, tenant, "3", invoice("100482-3", "QX4T88ZK")))
	if err := s.worker().Take(t.Context(), s.pulls(3)); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]int{invitedID("1"): 1, invitedID("3"): 1}, s.invitations()); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	letters := s.deadLetters()
	if len(letters) != 1 || letters[0].EventID != "2" || letters[0].Reason != string(events.Undeliverable) || !strings.Contains(letters[0].Detail, "accountRef") {
		t.Errorf("dead letters: %+v", letters)
	}
}
