package progress_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/consumers/progress"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// store writes down what it was asked.
type store struct {
	mu    sync.Mutex
	calls []string
	err   error
}

func (s *store) RecordMailAccepted(_ context.Context, tenant string, id enrollment.ID, generation uint32, at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, fmt.Sprintf("%s %s accepted %d at %s", tenant, id, generation, at.UTC().Format(time.RFC3339)))
	return s.err
}

func (s *store) RecordMailRefused(_ context.Context, tenant string, id enrollment.ID, generation uint32, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, fmt.Sprintf("%s %s refused %d", tenant, id, generation))
	return s.err
}

func (s *store) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.calls...)
}

const id = "0191f3a0-0000-7000-8000-000000000001"

func fact(reason string) events.Fact {
	return events.Fact{AccountRef: "ref-of-the-account", EnrollmentID: id, OccurredAt: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC), Reason: reason}
}

func event(t *testing.T, m events.Message) events.Event {
	t.Helper()
	encoded, err := events.Encode("mongo", events.Envelope{ID: "1", Source: "//mongo.billcenter.net/mailer"}, m)
	if err != nil {
		t.Fatal(err)
	}
	e, err := events.Decode(encoded.Subject, encoded.Header, encoded.Body)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// handle gives a message to its route.
func handle(t *testing.T, p *progress.Progress, m events.Message) error {
	t.Helper()
	for _, r := range p.Routes() {
		if r.Type == m.EventType() {
			return r.Handle(t.Context(), event(t, m))
		}
	}
	t.Fatalf("no route for %s", m.EventType())
	return nil
}

func TestWhatAFactMovesAnEnrollmentTo(t *testing.T) {
	for _, tt := range []struct {
		name string
		fact events.Message
		want []string
	}{
		{"an accepted mail", events.ActivationMailed{Fact: fact(""), Generation: 2}, []string{"mongo " + id + " accepted 2 at 2026-11-20T08:00:00Z"}},
		{"one of a mail worker that knows no generations", events.ActivationMailed{Fact: fact("")}, []string{"mongo " + id + " accepted 1 at 2026-11-20T08:00:00Z"}},
		{"a rejected mail", events.ActivationMailFailed{Fact: fact("mail-rejected"), Generation: 3}, []string{"mongo " + id + " refused 3"}},
		{"a mail that was never accepted", events.ActivationMailFailed{Fact: fact("mail-never-accepted")}, []string{"mongo " + id + " refused 1"}},
		{"a mail that may have arrived moves nothing", events.ActivationMailFailed{Fact: fact("mail-outcome-unknown"), Generation: 1}, nil},
		{"a mail that another one replaced moves nothing", events.ActivationMailFailed{Fact: fact("mail-superseded"), Generation: 1}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &store{}
			if err := handle(t, progress.New(s, slog.New(slog.DiscardHandler)), tt.fact); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, s.all()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatTheStoreAnswers(t *testing.T) {
	down := errors.New("connection refused")
	for _, tt := range []struct {
		name   string
		answer error
		want   error
	}{
		{"the fact was recorded, or had been", nil, nil},
		{"the enrollment is not ours", enrollment.ErrUnknown, nil},
		{"somebody was quicker", fmt.Errorf("record: %w", &enrollment.ImpossibleMove{From: enrollment.Activated, Action: enrollment.RefuseMail}), nil},
		{"the database is down", down, down},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := progress.New(&store{err: tt.answer}, slog.New(slog.DiscardHandler))
			for _, m := range []events.Message{events.ActivationMailed{Fact: fact("")}, events.ActivationMailFailed{Fact: fact("mail-rejected")}} {
				if err := handle(t, p, m); !errors.Is(err, tt.want) {
					t.Errorf("%s: err = %v, want %v", m.EventType(), err, tt.want)
				}
			}
		})
	}
}

// A mail worker in another language sends no sequence, no generation, and whatever fields it likes.
func TestFactsOfAForeignMailWorkerComeOverTheWire(t *testing.T) {
	b := bustest.Start(t)
	s := &store{}
	p := progress.New(s, slog.New(slog.DiscardHandler))
	w := &consumers.Worker{
		Bus: b.Bus, Consumer: progress.Name, Routes: p.Routes(), Otherwise: consumers.Ignore,
		Known: func(string) bool { return true }, Log: slog.New(slog.DiscardHandler),
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	binary := map[string][]string{
		"ce-specversion": {"1.0"}, "ce-id": {"17"}, "ce-source": {"//mail.example/sender"}, "ce-type": {"net.billcenter.enrollment.activation-mailed.v1"},
	}
	err := b.Bus.Publish(t.Context(), bus.Outgoing{
		Subject: "enrollment.mongo.activation-mailed", ID: "17", Header: binary,
		Data: []byte(`{"accountRef":"ref-of-the-account","enrollmentId":"` + id + `","occurredAt":"2026-11-20T08:00:00Z","queue":"q-7"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"mongo " + id + " accepted 1 at 2026-11-20T08:00:00Z"}
	for deadline := time.Now().Add(20 * time.Second); cmp.Diff(want, s.all()) != ""; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("recorded %q, want %q", s.all(), want)
		}
	}
}
