package consumers_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
)

// The worker under test reads `progress`: two facts, one to be handled and one for what has no handler.
const durable = "progress"

var occurred = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

func mailed(id string) events.ActivationMailed {
	return events.ActivationMailed{Fact: events.Fact{AccountRef: "ref-" + id + "-of-account", EnrollmentID: "0191f3a0-0000-7000-8000-000000000001", OccurredAt: occurred}}
}

func encode(t *testing.T, tenant, id string, m events.Message) bus.Outgoing {
	t.Helper()
	e, err := events.Encode(tenant, events.Envelope{ID: id, Source: "//" + tenant + ".billcenter.net/mailer"}, m)
	if err != nil {
		t.Fatal(err)
	}
	return bus.Outgoing{Subject: e.Subject, ID: e.MsgID, Header: e.Header, Data: e.Body}
}

func publish(t *testing.T, b *bustest.Broker, out ...bus.Outgoing) {
	t.Helper()
	if err := b.Bus.Publish(t.Context(), out...); err != nil {
		t.Fatal(err)
	}
}

// handling records the ids that a handler was given and answers as told.
type handling struct {
	mu     sync.Mutex
	seen   []string
	answer func(id string, times int) error
}

func (h *handling) ActivationMailed(_ context.Context, e events.Event, _ events.ActivationMailed) error {
	h.mu.Lock()
	h.seen = append(h.seen, e.ID)
	times := h.countLocked(e.ID)
	h.mu.Unlock()
	if h.answer == nil {
		return nil
	}
	return h.answer(e.ID, times)
}

func (h *handling) countLocked(id string) (n int) {
	for _, s := range h.seen {
		if s == id {
			n++
		}
	}
	return n
}

// all returns the ids in order.
func (h *handling) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(slices.Values(h.seen))
}

func (h *handling) count(id string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.countLocked(id)
}

func worker(b *bustest.Broker, h *handling) *consumers.Worker {
	return &consumers.Worker{
		Bus:         b.Bus,
		Consumer:    durable,
		Routes:      []consumers.Route{consumers.On(h.ActivationMailed)},
		Known:       func(tenant string) bool { return tenant == "mongo" },
		MaxInFlight: 4,
		MaxDelay:    20 * time.Millisecond,
		Log:         slog.New(slog.DiscardHandler),
	}
}

// run starts a worker and returns how to stop it; stopping gives Run's error.
func run(t *testing.T, w *consumers.Worker) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(40 * time.Second):
			return errors.New("the worker did not stop")
		}
	})
	t.Cleanup(func() {
		if err := stop(); err != nil && !t.Failed() && !strings.Contains(err.Error(), "expected") {
			t.Errorf("Run: %v", err)
		}
	})
	return stop
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// settled reports whether nothing is waiting for the consumer and nothing is with it.
func settled(t *testing.T, b *bustest.Broker) bool {
	t.Helper()
	c := status(t, b)
	return c.Pending == 0 && c.AckPending == 0
}

func status(t *testing.T, b *bustest.Broker) bus.ConsumerStatus {
	t.Helper()
	streams, err := b.Bus.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range streams {
		for _, c := range s.Consumers {
			if c.Name == durable {
				return c
			}
		}
	}
	t.Fatalf("no consumer %s", durable)
	return bus.ConsumerStatus{}
}

func deadLetters(t *testing.T, b *bustest.Broker) (letters []bus.DeadLetter) {
	t.Helper()
	for l, err := range b.Bus.DeadLetters(t.Context(), bus.DeadLetterFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		letters = append(letters, l)
	}
	return letters
}
