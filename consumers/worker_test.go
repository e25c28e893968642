package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
)

func TestAnEventIsHandledOnce(t *testing.T) {
	b := bustest.Start(t)
	h := &handling{}
	for i := range 50 {
		publish(t, b, encode(t, "mongo", fmt.Sprint(i), mailed("a")))
	}
	run(t, worker(b, h))
	eventually(t, "50 events are handled", func() bool { return settled(t, b) })
	seen := h.all()
	if n := len(slices.Compact(slices.Clone(seen))); n != 50 || len(seen) != 50 {
		t.Errorf("%d events were handled %d times, want 50 once", n, len(seen))
	}
}

func TestWhatFailsIsTriedAgainUntilItSucceeds(t *testing.T) {
	b := bustest.Start(t)
	h := &handling{answer: func(_ string, times int) error {
		if times < 8 { // more often than a panic is forgiven
			return errors.New("the database is down")
		}
		return nil
	}}
	publish(t, b, encode(t, "mongo", "1", mailed("a")))
	run(t, worker(b, h))
	eventually(t, "the event is handled", func() bool { return h.count("1") == 8 && settled(t, b) })
	if l := deadLetters(t, b); len(l) != 0 {
		t.Errorf("dead letters: %+v", l)
	}
}

func TestWhatCannotBeTakenBecomesADeadLetter(t *testing.T) {
	failed := encode(t, "mongo", "failed", events.ActivationMailFailed{Fact: events.Fact{
		AccountRef: "ref-of-account", EnrollmentID: mailed("").EnrollmentID, OccurredAt: occurred, Reason: "mail-rejected"}})
	future := encode(t, "mongo", "future", mailed("a"))
	future.Data = []byte(strings.ReplaceAll(string(future.Data), "activation-mailed.v1", "activation-mailed.v7"))
	lacking := encode(t, "mongo", "lacking", mailed("a"))
	lacking.Data = []byte(strings.ReplaceAll(string(lacking.Data), "accountRef", "accountref2"))
	twice := encode(t, "mongo", "twice", mailed("a"))
	twice.Header["Content-Type"] = []string{"application/cloudevents+json", "text/plain"}

	for _, tt := range []struct {
		name    string
		message bus.Outgoing
		want    bus.DeadLetter
	}{
		{"no JSON", bus.Outgoing{Subject: "enrollment.mongo.activation-mailed", ID: "x", Data: []byte("hello")},
			bus.DeadLetter{Tenant: "mongo", Reason: "not-json"}},
		{"nothing at all", bus.Outgoing{Subject: "enrollment.mongo.activation-mailed", ID: "x"},
			bus.DeadLetter{Tenant: "mongo", Reason: "not-json"}},
		{"a header with two values", twice,
			bus.DeadLetter{Tenant: "mongo", Reason: "not-a-cloudevent"}},
		{"a field that is missing", lacking,
			bus.DeadLetter{Tenant: "mongo", Reason: "field-missing", EventID: "lacking", Source: "//mongo.billcenter.net/mailer", Type: "net.billcenter.enrollment.activation-mailed.v1"}},
		{"a type that this consumer does not handle", failed,
			bus.DeadLetter{Tenant: "mongo", Reason: "no-handler", EventID: "failed", Source: "//mongo.billcenter.net/mailer", Type: "net.billcenter.enrollment.activation-mail-failed.v1"}},
		{"a version of the future, parked", future,
			bus.DeadLetter{Tenant: "mongo", Reason: "version-unknown", Parked: true}},
		{"a tenant that does not exist, parked", encode(t, "nobody", "n", mailed("a")),
			bus.DeadLetter{Tenant: "nobody", Reason: "tenant-unknown", Parked: true, EventID: "n", Source: "//nobody.billcenter.net/mailer", Type: "net.billcenter.enrollment.activation-mailed.v1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := bustest.Start(t)
			h := &handling{}
			publish(t, b, tt.message, encode(t, "mongo", "good", mailed("b")))
			run(t, worker(b, h))
			eventually(t, "both are settled", func() bool { return settled(t, b) })

			tt.want.Consumer, tt.want.Stream, tt.want.Sequence, tt.want.Deliveries = durable, "ENROLLMENT", 1, 1
			tt.want.ID, tt.want.Subject = 1, tt.message.Subject
			ignored := cmpopts.IgnoreFields(bus.DeadLetter{}, "StoredAt", "DeadAt", "Detail")
			optional := cmp.FilterPath(func(p cmp.Path) bool { // what of a broken event can be read is up to the decoder
				s := p.Last().String()
				return tt.want.EventID == "" && (s == ".EventID" || s == ".Source" || s == ".Type")
			}, cmp.Ignore())
			if diff := cmp.Diff([]bus.DeadLetter{tt.want}, deadLetters(t, b), ignored, optional); diff != "" {
				t.Errorf("dead letters (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"good"}, h.all()); diff != "" {
				t.Errorf("handled (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatAnotherPartHandlesCanBeIgnored(t *testing.T) {
	b := bustest.Start(t)
	h := &handling{}
	w := worker(b, h)
	w.Otherwise = consumers.Ignore
	publish(t, b, encode(t, "mongo", "1", events.ActivationMailFailed{Fact: events.Fact{
		AccountRef: "ref-of-account", EnrollmentID: mailed("").EnrollmentID, OccurredAt: occurred, Reason: "mail-rejected"}}))
	run(t, w)
	eventually(t, "it is acknowledged", func() bool { return settled(t, b) })
	if l := deadLetters(t, b); len(l) != 0 {
		t.Errorf("dead letters: %+v", l)
	}
}

func TestAPoisonedEventIsBuriedAndTheQueueMovesOn(t *testing.T) {
	b := bustest.Start(t)
	h := &handling{answer: func(id string, _ int) error {
		if id == "poison" {
			panic("a value that must not be told")
		}
		return nil
	}}
	var log strings.Builder
	registry := prometheus.NewRegistry()
	w := worker(b, h)
	w.MaxInFlight = 1
	w.Metrics = consumers.NewMetrics(registry)
	w.Log = slog.New(slog.NewTextHandler(&log, nil))
	publish(t, b, encode(t, "mongo", "poison", mailed("a")), encode(t, "mongo", "good", mailed("b")))
	stop := run(t, w)
	eventually(t, "both are settled", func() bool { return settled(t, b) })
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	if h.count("poison") != consumers.MaxPanics || h.count("good") != 1 {
		t.Errorf("handled: %q", h.all())
	}
	letters := deadLetters(t, b)
	if len(letters) != 1 || letters[0].Reason != "undeliverable" || letters[0].EventID != "poison" || letters[0].Deliveries != consumers.MaxPanics {
		t.Fatalf("dead letters: %+v", letters)
	}
	if !strings.Contains(log.String(), "worker_test.go") {
		t.Error("the log does not say where it panicked")
	}
	if strings.Contains(log.String()+letters[0].Detail, "must not be told") {
		t.Error("what the panic said is repeated")
	}
	expected := `
# HELP billcenter_consumer_dead_letters_total Messages given up, by reason.
# TYPE billcenter_consumer_dead_letters_total counter
billcenter_consumer_dead_letters_total{consumer="progress",reason="undeliverable"} 1
# HELP billcenter_consumer_deliveries_total Messages by what became of them: done, retry, bury, park, stop.
# TYPE billcenter_consumer_deliveries_total counter
billcenter_consumer_deliveries_total{consumer="progress",event="ActivationMailed",verdict="bury"} 1
billcenter_consumer_deliveries_total{consumer="progress",event="ActivationMailed",verdict="done"} 1
billcenter_consumer_deliveries_total{consumer="progress",event="ActivationMailed",verdict="retry"} 4
# HELP billcenter_consumer_panics_total Panics of handlers, each a defect to be mended.
# TYPE billcenter_consumer_panics_total counter
billcenter_consumer_panics_total{consumer="progress"} 5
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(expected), "billcenter_consumer_dead_letters_total",
		"billcenter_consumer_deliveries_total", "billcenter_consumer_panics_total"); err != nil {
		t.Error(err)
	}
}

func TestAFatalErrorEndsTheWorkerAndLosesNothing(t *testing.T) {
	b := bustest.Start(t)
	broken := errors.New("the password is wrong, as expected")
	h := &handling{answer: func(string, int) error { return fmt.Errorf("send: %w", &consumers.Fatal{Err: broken}) }}
	publish(t, b, encode(t, "mongo", "1", mailed("a")))
	ended := make(chan error, 1)
	w := worker(b, h)
	go func() { ended <- w.Run(context.Background()) }()
	select {
	case err := <-ended:
		if !errors.Is(err, broken) {
			t.Fatalf("Run = %v, want %v", err, broken)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the worker goes on")
	}

	mended := &handling{}
	run(t, worker(b, mended))
	eventually(t, "the event is handled by a worker that can", func() bool { return mended.count("1") == 1 && settled(t, b) })
	if l := deadLetters(t, b); len(l) != 0 {
		t.Errorf("dead letters: %+v", l)
	}
}

func TestStoppingFinishesWhatIsInFlight(t *testing.T) {
	b := bustest.Start(t)
	begun, finish := make(chan struct{}), make(chan struct{})
	h := &handling{answer: func(id string, _ int) error {
		if id == "slow" {
			close(begun)
			<-finish
		}
		return nil
	}}
	publish(t, b, encode(t, "mongo", "slow", mailed("a")))
	stop := run(t, worker(b, h))
	<-begun
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	eventually(t, "the worker pulls no more", func() bool { return status(t, b).Waiting == 0 })
	publish(t, b, encode(t, "mongo", "after", mailed("b")))
	close(finish)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if h.count("slow") != 1 || h.count("after") != 0 {
		t.Errorf("handled: %q", h.all())
	}

	next := &handling{}
	run(t, worker(b, next))
	eventually(t, "the next worker handles the rest", func() bool { return next.count("after") == 1 && settled(t, b) })
	if next.count("slow") != 0 {
		t.Error("what was finished while stopping is handled again")
	}
}

func TestAHandlingHasADeadline(t *testing.T) {
	b := bustest.Start(t)
	w := worker(b, &handling{})
	w.Timeout = 10 * time.Millisecond
	hung := make(chan error, 100)
	w.Routes = []consumers.Route{consumers.On(func(ctx context.Context, _ events.Event, _ events.ActivationMailed) error {
		<-ctx.Done()
		hung <- ctx.Err()
		if len(hung) < 3 {
			return ctx.Err()
		}
		return nil
	})}
	publish(t, b, encode(t, "mongo", "1", mailed("a")))
	run(t, w)
	eventually(t, "it is handled the third time", func() bool { return len(hung) == 3 && settled(t, b) })
	if err := <-hung; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
}

func TestAConsumerThatDoesNotExistIsAnError(t *testing.T) {
	b := bustest.Start(t)
	w := worker(b, &handling{})
	w.Consumer = "nobody"
	if err := w.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("Run = %v", err)
	}
}
