package outbox_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
	"github.com/mongotel/billcenter/producers/outbox"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// never is a poll that no test waits for.
const never = time.Hour

// scene is a database, a broker, and what is to go from the one to the other.
type scene struct {
	*bustest.Broker
	t    testing.TB
	db   *storetest.Database
	wire *wire
	log  *buffer
}

func open(t testing.TB) *scene {
	b := bustest.StartConfig(t, bustest.Config{LazySync: true})
	return &scene{Broker: b, t: t, db: storetest.New(t), wire: &wire{Publisher: consumers.PublishOn(b.Bus)}, log: &buffer{}}
}

func (s *scene) relay() *outbox.Relay {
	r := outbox.New(s.db, s.wire, slog.New(slog.NewTextHandler(s.log, nil)))
	r.Poll = 10 * time.Millisecond
	return r
}

// run starts a relay that is stopped with the test, or before.
func (s *scene) run(r *outbox.Relay) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				s.t.Errorf("Run: %v", err)
			}
		case <-time.After(40 * time.Second):
			s.t.Error("the relay did not stop")
		}
	})
	s.t.Cleanup(stop)
	return stop
}

// fills commits n rows, as another process would, and returns their ids in order.
func (s *scene) fills(n int) (ids []string) {
	s.t.Helper()
	if err := s.db.Aside.Select(&ids, `
		WITH filled AS (
			INSERT INTO outbox (subject, msg_id, body)
			SELECT 'enrollment.mongo.registered', gen_random_uuid(), '{}' FROM generate_series(1, $1) RETURNING id, msg_id)
		SELECT msg_id FROM filled ORDER BY id`, n); err != nil {
		s.t.Fatal(err)
	}
	return ids
}

func (s *scene) waiting() []string {
	s.t.Helper()
	ids := []string{}
	if err := s.db.Aside.Select(&ids, `SELECT msg_id FROM outbox ORDER BY id`); err != nil {
		s.t.Fatal(err)
	}
	return ids
}

func (s *scene) emptied() bool { return len(s.waiting()) == 0 }

// stored are the ids of the messages that the stream of a consumer holds, in order.
func (s *scene) stored(consumer string) []string {
	s.t.Helper()
	ids := []string{}
	for _, in := range s.messages(consumer) {
		ids = append(ids, in.ID())
	}
	return ids
}

func (s *scene) messages(consumer string) (all []*bus.Incoming) {
	s.t.Helper()
	for {
		batch, err := s.Bus.Pull(s.t.Context(), consumer, 1000, 0)
		if err != nil {
			s.t.Fatal(err)
		}
		if len(batch) == 0 {
			return all
		}
		all = append(all, batch...)
	}
}

// registers brings a customer as far as the outbox.
func (s *scene) registers() {
	s.t.Helper()
	mail := events.InvoiceEmailed{
		AccountNumber: "100482-7", BillingEmail: "ap@bobsbuilding.example", EmailedAt: time.Now().Add(-time.Hour), RegistrationCode: "QX4T88ZK",
		Invoice: &events.Invoice{Number: "INV-1"},
	}
	received := events.Received{Message: mail, Sequence: 1}
	received.Tenant, received.ID, received.Source = storetest.Mongo, "1", events.Source(storetest.Mongo, "billing")
	received.Data = []byte(`{}`)
	if _, err := s.db.TakeBilling(s.t.Context(), []events.Received{received}); err != nil {
		s.t.Fatal(err)
	}
	name, err := enrollment.ParseUsername("ada")
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.db.Register(s.t.Context(), enrollment.Application{
		Tenant: storetest.Mongo, AccountNumber: "100482-7", Code: "QX4T88ZK", Email: "ada@bobsbuilding.example", Username: name,
		RequestID: "form-1", Source: netip.MustParseAddr("198.51.100.7"),
	}); err != nil {
		s.t.Fatal(err)
	}
}

// wire publishes, remembers what it was given and when, and does what it is told before and after.
type wire struct {
	outbox.Publisher
	mu     sync.Mutex
	tries  [][]string
	times  []time.Time
	before func(try int) error
	after  func(try int)
}

func (w *wire) Publish(ctx context.Context, out ...events.Encoded) error {
	ids := make([]string, len(out))
	for i, e := range out {
		ids[i] = e.MsgID
	}
	w.mu.Lock()
	w.tries, w.times = append(w.tries, ids), append(w.times, time.Now())
	try := len(w.tries)
	w.mu.Unlock()
	if w.before != nil {
		if err := w.before(try); err != nil {
			return err
		}
	}
	err := w.Publisher.Publish(ctx, out...)
	if err == nil && w.after != nil {
		w.after(try)
	}
	return err
}

// tried are the ids of each try.
func (w *wire) tried() [][]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.tries)
}

// pause is how long after a try the next one came.
func (w *wire) pause(try int) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.times[try].Sub(w.times[try-1])
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

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func same(t testing.TB, what string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestWhatACommitAnnouncedGoesOnTheWireAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	r := s.relay()
	r.Poll = never
	s.db.OnOutbox(r.Wake)
	s.run(r)
	s.registers()
	eventually(t, "the outbox is empty", s.emptied)
	facts, mails := s.messages(bus.ConsumerFunnel), s.messages(bus.ConsumerMailer)
	if len(facts) != 1 || len(mails) != 1 {
		t.Fatalf("%d facts and %d mails, want one of each", len(facts), len(mails))
	}
	for i, want := range []string{"Registered", "ActivationRequested"} {
		in := [][]*bus.Incoming{facts, mails}[i][0]
		e, err := events.Decode(in.Subject, in.Header, in.Data)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Check(); err != nil || e.Definition.Name != want || e.MsgID() != in.ID() {
			t.Errorf("message %s is a %s with id %s, want a %s: %v", in.ID(), e.Definition.Name, e.MsgID(), want, err)
		}
	}
	same(t, "published", s.wire.tried()[0], []string{facts[0].ID(), mails[0].ID()})
}

func TestWhatAnotherProcessCommittedIsFoundByPolling(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.run(s.relay())
	for range 3 {
		ids := s.fills(2)
		eventually(t, "the outbox is empty", s.emptied)
		same(t, "stored", ids, s.stored(bus.ConsumerFunnel))
	}
}

func TestABacklogIsCarriedInOrderWithoutWaitingForThePoll(t *testing.T) {
	t.Parallel()
	s := open(t)
	ids := s.fills(2300)
	r := s.relay()
	r.Poll = never
	s.run(r)
	eventually(t, "the outbox is empty", s.emptied)
	same(t, "stored", ids, s.stored(bus.ConsumerFunnel))
	if n := len(s.wire.tried()); n != 3 {
		t.Errorf("published in %d batches, want 3", n)
	}
}

// The rows stay while the broker is away, and commits do not make the relay try more often.
func TestABrokerThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := open(t)
	ids := s.fills(1500)
	s.wire.after = func(try int) {
		if try == 1 {
			s.Kill() // after a whole batch, when the relay is in haste
		}
	}
	r := s.relay()
	s.run(r)
	eventually(t, "it was tried three times in vain", func() bool { r.Wake(); return len(s.wire.tried()) >= 4 })
	if left := s.waiting(); len(left) != 500 {
		t.Errorf("%d rows are left, want 500", len(left))
	}
	for try, atLeast := range map[int]time.Duration{2: 200 * time.Millisecond, 3: 400 * time.Millisecond} {
		if pause := s.wire.pause(try); pause < atLeast {
			t.Errorf("the pause after try %d was %s, want at least %s", try, pause, atLeast)
		}
	}
	s.Restart()
	eventually(t, "the outbox is empty", s.emptied)
	same(t, "stored", ids, s.stored(bus.ConsumerFunnel))
}

func TestADatabaseThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.run(s.relay())
	ids := s.fills(1)
	eventually(t, "the outbox is empty", s.emptied)
	s.db.Down(t)
	eventually(t, "the relay told of it", func() bool { return strings.Contains(s.log.String(), "outbox not carried yet") })
	s.db.Up(t)
	ids = append(ids, s.fills(1)...)
	eventually(t, "the outbox is empty", s.emptied)
	same(t, "stored", ids, s.stored(bus.ConsumerFunnel))
}

func TestTwoRelaysCarryDifferentRows(t *testing.T) {
	t.Parallel()
	s := open(t)
	ids := s.fills(2000)
	var both sync.WaitGroup // each holds a batch
	both.Add(2)
	s.wire.before = func(try int) error {
		if try <= 2 {
			both.Done()
			both.Wait()
		}
		return nil
	}
	s.run(s.relay())
	s.run(s.relay())
	eventually(t, "the outbox is empty", s.emptied)
	if n := len(s.wire.tried()); n != 2 {
		t.Fatalf("published %d batches, want 2", n)
	}
	same(t, "taken", slices.Sorted(slices.Values(ids)), slices.Sorted(slices.Values(slices.Concat(s.wire.tried()...))))
	if n := len(s.stored(bus.ConsumerFunnel)); n != len(ids) {
		t.Errorf("%d messages are stored, want %d", n, len(ids))
	}
}

func TestARelayKilledBetweenPublishingAndCommitting(t *testing.T) {
	t.Parallel()
	s := open(t)
	ids := s.fills(20)
	s.wire.after = func(try int) {
		if try == 1 {
			s.db.Disconnect(t)
		}
	}
	s.run(s.relay())
	eventually(t, "the outbox is empty", s.emptied)
	if n := len(s.wire.tried()); n != 2 {
		t.Fatalf("published %d times, want 2", n)
	}
	same(t, "published again", s.wire.tried()[0], s.wire.tried()[1])
	same(t, "stored", ids, s.stored(bus.ConsumerFunnel))
}

func TestStoppingFinishesTheBatchAtHand(t *testing.T) {
	t.Parallel()
	s := open(t)
	ids := s.fills(3)
	ctx, cancel := context.WithCancel(t.Context())
	s.wire.before = func(int) error { cancel(); return nil }
	if err := s.relay().Run(ctx); err != nil {
		t.Fatal(err)
	}
	same(t, "left", []string{}, s.waiting())
	same(t, "stored", ids, s.stored(bus.ConsumerFunnel))
}

// A stream that takes nothing more, for one tenant or for all, holds up its own messages only, however many they are.
func TestAQueueThatIsRefusedHoldsUpNoOther(t *testing.T) {
	s := open(t)
	s.db.Aside.MustExec(`
		INSERT INTO outbox (subject, msg_id, body)
		SELECT 'mail.mongo.activation requested', gen_random_uuid(), '{}' FROM generate_series(1, 2500)`)
	s.db.Aside.MustExec(`INSERT INTO outbox (subject, msg_id, body) SELECT 'mail.zeros.activation.requested', gen_random_uuid(), '{}' FROM generate_series(1, 3)`)
	s.fills(5)
	s.run(s.relay())
	eventually(t, "the others", func() bool { return len(s.waiting()) == 2500 })
	if n := len(s.stored(bus.ConsumerFunnel)); n != 5 {
		t.Errorf("%d facts, want 5", n)
	}
	if n := len(s.stored(bus.ConsumerMailer)); n != 3 {
		t.Errorf("%d mails, want 3", n)
	}

	s.db.Aside.MustExec(`UPDATE outbox SET subject = 'mail.mongo.activation.requested'`)
	eventually(t, "what was refused", s.emptied)
}
