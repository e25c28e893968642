package funnel_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

func TestMain(m *testing.M) {
	bustest.ServeIfChild()
	storetest.Main(m)
}

// scene is a broker and a database, with a worker between them.
type scene struct {
	*bustest.Broker
	t     testing.TB
	db    *storetest.Database
	store *watchedStore
}

func open(t testing.TB) *scene {
	s := &scene{Broker: bustest.StartConfig(t, bustest.Config{LazySync: true}), t: t, db: storetest.New(t)}
	s.store = &watchedStore{Store: s.db}
	return s
}

func isMongo(tenant string) bool { return tenant == storetest.Mongo }

func (s *scene) worker() *funnel.Worker {
	return &funnel.Worker{Bus: s.Bus, Store: s.store, Known: isMongo, MaxDelay: 50 * time.Millisecond, Log: slog.New(slog.DiscardHandler)}
}

// run starts a worker and returns how to stop it.
func (s *scene) run(w *funnel.Worker) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				s.t.Errorf("Run: %v", err)
			}
		case <-time.After(40 * time.Second):
			s.t.Error("the worker did not stop")
		}
	})
	s.t.Cleanup(stop)
	return stop
}

func (s *scene) publishes(out ...bus.Outgoing) {
	s.t.Helper()
	if err := s.Bus.Publish(s.t.Context(), out...); err != nil {
		s.t.Fatal(err)
	}
}

// pulls takes n messages from the stream, for one call of Take.
func (s *scene) pulls(n int) []*bus.Incoming {
	s.t.Helper()
	var all []*bus.Incoming
	for deadline := time.Now().Add(20 * time.Second); len(all) < n; {
		batch, err := s.Bus.Pull(s.t.Context(), bus.ConsumerFunnel, n-len(all), time.Second)
		if err != nil {
			s.t.Fatal(err)
		}
		if all = append(all, batch...); time.Now().After(deadline) {
			s.t.Fatalf("%d messages came, want %d", len(all), n)
		}
	}
	return all
}

// read reports whether the consumer has nothing left to do.
func (s *scene) read() bool {
	c, _, err := s.Bus.ConsumerStatus(s.t.Context(), bus.ConsumerFunnel)
	return err == nil && c.Pending == 0 && c.AckPending == 0
}

func (s *scene) deadLetters() map[uint64]events.Fault {
	s.t.Helper()
	dead := map[uint64]events.Fault{}
	for l, err := range s.Bus.DeadLetters(s.t.Context(), bus.DeadLetterFilter{}) {
		if err != nil {
			s.t.Fatal(err)
		}
		dead[l.Sequence] = events.Fault(l.Reason)
	}
	return dead
}

func (s *scene) count(query string, args ...any) int {
	s.t.Helper()
	return storetest.One[int](s.t, s.db, query, args...)
}

// rows are what analysts see of the journeys.
func (s *scene) rows() string {
	s.t.Helper()
	return storetest.One[string](s.t, s.db, `SELECT coalesce(string_agg(j::text, E'\n' ORDER BY tenant, account_ref), '') FROM analytics.journeys AS j`)
}

func (s *scene) digest() string {
	s.t.Helper()
	d, err := s.db.JourneysDigest(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *scene) watermark() time.Time {
	s.t.Helper()
	w, _, err := s.db.FunnelState(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if w == nil {
		return time.Time{}
	}
	return *w
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// published is a fact as it goes on the wire.
func published(t testing.TB, tenant, id string, m events.Message) bus.Outgoing {
	t.Helper()
	e, err := events.Encode(tenant, events.Envelope{ID: id, Source: events.Source(tenant, "test")}, m)
	if err != nil {
		t.Fatal(err)
	}
	return bus.Outgoing{Subject: e.Subject, ID: e.MsgID, Header: e.Header, Data: e.Body}
}

var firstInvited = time.Date(2026, 10, 5, 8, 0, 0, 1, time.UTC)

// crowd is n customers, each with one fact of every type there is, a minute apart.
func crowd(t testing.TB, n int) []bus.Outgoing {
	t.Helper()
	var all []bus.Outgoing
	for i := range n {
		account := fmt.Sprintf("ref-of-%05d", i)
		for step, d := range events.Catalog() {
			if d.Domain != events.Enrollment {
				continue
			}
			fact := map[string]any{
				"accountRef": account, "enrollmentId": uuid.NewSHA1(uuid.Nil, []byte(account)), "occurredAt": firstInvited.Add(time.Duration(i)*time.Hour + time.Duration(step)*time.Minute),
				"reason": "by-customer", "properties": map[string]any{"locale": []string{"en-US", "de-DE"}[i%2]},
			}
			text, err := json.Marshal(fact)
			if err != nil {
				t.Fatal(err)
			}
			m := d.New()
			if err := json.Unmarshal(text, m); err != nil {
				t.Fatal(err)
			}
			all = append(all, published(t, storetest.Mongo, fmt.Sprintf("%s-%s", account, d.Name), m))
		}
	}
	return all
}

// again is a message once more, as after a replay: the broker does not know it, consumers do.
func again(o bus.Outgoing, n int) bus.Outgoing {
	o.ID = fmt.Sprint(o.ID, "#again", n)
	return o
}

// watchedStore is the store, with a word before and after each batch.
type watchedStore struct {
	funnel.Store
	calls  atomic.Int64
	before func(call int64, batch []events.Received) error
	after  func(call int64) error // once the batch is committed
}

func (w *watchedStore) TakeFacts(ctx context.Context, batch []events.Received) error {
	call := w.calls.Add(1)
	if w.before != nil {
		if err := w.before(call, batch); err != nil {
			return err
		}
	}
	if err := w.Store.TakeFacts(ctx, batch); err != nil {
		return err
	}
	if w.after != nil {
		return w.after(call)
	}
	return nil
}

var errKilled = errors.New("killed")
