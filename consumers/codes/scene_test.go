package codes_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/consumers/codes"
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
	store *watched
	facts *announcer
	log   *buffer
}

// open starts a scene. The broker's topology is everything, unless c says otherwise.
func open(t testing.TB, c bustest.Config) *scene {
	c.LazySync = !c.Process // only a broker that is killed needs what it wrote
	s := &scene{Broker: bustest.StartConfig(t, c), t: t, db: storetest.New(t), log: &buffer{}}
	s.store = &watched{Store: s.db}
	s.facts = &announcer{Publisher: consumers.PublishOn(s.Bus)}
	return s
}

func (s *scene) worker() *codes.Worker {
	return &codes.Worker{
		Bus: s.Bus, Store: s.store, Facts: s.facts, Known: func(name string) bool { return name == tenant },
		MaxDelay: 50 * time.Millisecond, Log: slog.New(slog.NewTextHandler(s.log, nil)),
	}
}

// run starts a worker and returns how to stop it, which gives Run's error.
func (s *scene) run(w *codes.Worker) (stop func() error) {
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
	s.t.Cleanup(func() {
		if err := stop(); err != nil {
			s.t.Errorf("Run: %v", err)
		}
	})
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
		batch, err := s.Bus.Pull(s.t.Context(), bus.ConsumerCodes, n-len(all), time.Second)
		if err != nil {
			s.t.Fatal(err)
		}
		if all = append(all, batch...); time.Now().After(deadline) {
			s.t.Fatalf("%d messages came, want %d", len(all), n)
		}
	}
	return all
}

// stream is the state of BILLING and of its consumer; false while the broker is away.
func (s *scene) stream() (bus.StreamStatus, bool) {
	all, err := s.Bus.Status(s.t.Context())
	if err != nil || all[0].Name != bus.StreamBilling || len(all[0].Consumers) != 1 {
		return bus.StreamStatus{}, false
	}
	return all[0], true
}

// emptied reports whether nothing is left on the broker and nothing is with a worker.
func (s *scene) emptied() bool {
	b, ok := s.stream()
	return ok && b.Messages == 0 && b.Consumers[0].Pending == 0 && b.Consumers[0].AckPending == 0
}

func (s *scene) count(query string, args ...any) int {
	s.t.Helper()
	return storetest.One[int](s.t, s.db, query, args...)
}

// invitations are the ids of the facts on the stream, each with how often it is there.
func (s *scene) invitations() map[string]int {
	s.t.Helper()
	all := map[string]int{}
	for _, e := range s.announced() {
		if _, err := events.Data[events.Invited](e); err != nil {
			s.t.Errorf("fact %s: %v", e.ID, err)
		}
		all[e.ID]++
	}
	return all
}

func (s *scene) announced() []events.Event {
	s.t.Helper()
	reader := s.Dial(bus.Options{Topology: bus.DefaultTopology()})
	var all []events.Event
	for {
		batch, err := reader.Pull(s.t.Context(), bus.ConsumerFunnel, 1000, 0)
		if err != nil {
			s.t.Fatal(err)
		}
		if len(batch) == 0 {
			return all
		}
		for _, in := range batch {
			e, err := events.Decode(in.Subject, in.Header, in.Data)
			if err != nil {
				s.t.Fatal(err)
			}
			all = append(all, e)
		}
	}
}

func (s *scene) deadLetters() []bus.DeadLetter {
	s.t.Helper()
	var letters []bus.DeadLetter
	for l, err := range s.Bus.DeadLetters(s.t.Context(), bus.DeadLetterFilter{}) {
		if err != nil {
			s.t.Fatal(err)
		}
		letters = append(letters, l)
	}
	return letters
}

// came checks that all of a bill run is where it belongs, once.
func (s *scene) came(r *billRun) {
	s.t.Helper()
	type kept struct{ Events, Mails, Coded, Closures, Methods int }
	want := kept{r.mails + r.closures + r.methods, r.mails, len(r.facts), r.closures, r.methods}
	got := kept{
		s.count(`SELECT count(*) FROM inbox`), s.count(`SELECT count(*) FROM invoice_emails`),
		s.count(`SELECT count(*) FROM invoice_emails WHERE code_hash IS NOT NULL`),
		s.count(`SELECT count(*) FROM account_closures`), s.count(`SELECT count(*) FROM payment_methods`),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("kept (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(r.facts, s.invitations()); diff != "" {
		s.t.Errorf("facts (-want +got):\n%s", diff)
	}
	dead := map[uint64]events.Fault{}
	for _, l := range s.deadLetters() {
		if _, twice := dead[l.Sequence]; twice {
			s.t.Errorf("two dead letters of message %d", l.Sequence)
		}
		dead[l.Sequence] = events.Fault(l.Reason)
	}
	if diff := cmp.Diff(r.dead, dead); diff != "" {
		s.t.Errorf("dead letters (-want +got):\n%s", diff)
	}
}

// eventually polls. It does not end a test for being slow, only for never coming to it.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// watched is the store, with a word before and after each batch.
type watched struct {
	codes.Store
	calls  atomic.Int64
	before func(ctx context.Context, call int64, batch []events.Received) error
	after  func(call int64, receipts []events.Receipt) error // once the batch is committed
}

func (w *watched) TakeBilling(ctx context.Context, batch []events.Received) ([]events.Receipt, error) {
	call := w.calls.Add(1)
	if w.before != nil {
		if err := w.before(ctx, call, batch); err != nil {
			return nil, err
		}
	}
	receipts, err := w.Store.TakeBilling(ctx, batch)
	if err == nil && w.after != nil {
		err = w.after(call, receipts)
	}
	return receipts, err
}

// announcer publishes facts, remembers them, and fails as told.
type announcer struct {
	consumers.Publisher
	mu    sync.Mutex
	calls [][]events.Encoded
	fail  func(call int) error
}

func (a *announcer) Publish(ctx context.Context, out ...events.Encoded) error {
	a.mu.Lock()
	a.calls = append(a.calls, out)
	call := len(a.calls)
	a.mu.Unlock()
	if a.fail != nil {
		if err := a.fail(call); err != nil {
			return err
		}
	}
	return a.Publisher.Publish(ctx, out...)
}

// tried is how many facts were handed to it, repetitions included.
func (a *announcer) tried() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.calls {
		n += len(c)
	}
	return n
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
