package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
)

func TestPublishRefusesWhatCouldNotBeReadBack(t *testing.T) {
	b := bustest.Start(t).Bus
	good := invoices(0, 1)[0]
	for _, tt := range []struct {
		name   string
		change func(*bus.Outgoing)
	}{
		{"a wildcard for the tenant", func(m *bus.Outgoing) { m.Subject = "billing.*.invoice.emailed" }},
		{"a wildcard at the end", func(m *bus.Outgoing) { m.Subject = "billing.mongo.>" }},
		{"a wildcard within a token", func(m *bus.Outgoing) { m.Subject = "billing.mongo.inv*ice" }},
		{"an empty token", func(m *bus.Outgoing) { m.Subject = "billing.mongo..emailed" }},
		{"an empty subject", func(m *bus.Outgoing) { m.Subject = "" }},
		{"a blank in the subject", func(m *bus.Outgoing) { m.Subject = "billing.mongo.invoice emailed" }},
		{"a line end in the subject", func(m *bus.Outgoing) { m.Subject = "billing.mongo.invoice\r\nPUB x" }},
		{"letters beyond ASCII in the subject", func(m *bus.Outgoing) { m.Subject = "billing.mongo.fäktura" }},
		{"a subject without an event", func(m *bus.Outgoing) { m.Subject = "billing.mongo" }},
		{"a tenant in upper case", func(m *bus.Outgoing) { m.Subject = "billing.Mongo.invoice.emailed" }},
		{"a tenant of 33 characters", func(m *bus.Outgoing) { m.Subject = "billing." + strings.Repeat("a", 33) + ".invoice" }},
		{"a dead letter that was not buried", func(m *bus.Outgoing) { m.Subject = "deadletter.codes._" }},
		{"no id", func(m *bus.Outgoing) { m.ID = "" }},
		{"an id that a header would trim", func(m *bus.Outgoing) { m.ID = " 1" }},
		{"an id with a line end", func(m *bus.Outgoing) { m.ID = "1\r\nNats-Rollup: all" }},
		{"an id of 64 KiB", func(m *bus.Outgoing) { m.ID = strings.Repeat("1", 64<<10) }},
		{"a header key that is no token", func(m *bus.Outgoing) { m.Header = map[string][]string{"a: b\r\nc": {"d"}} }},
		{"headers of 64 KiB", func(m *bus.Outgoing) {
			m.Header = map[string][]string{"a": {strings.Repeat("b", 64<<10-100)}}
		}},
		{"more than the stream takes", func(m *bus.Outgoing) { m.Data = make([]byte, 512<<10-100) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bad := good
			tt.change(&bad)
			err := b.Publish(t.Context(), good, bad)
			var failed *bus.PublishError
			if !errors.Is(err, bus.ErrRefused) || !errors.As(err, &failed) || failed.Index != 1 {
				t.Errorf("got %v, want message 1 refused", err)
			}
		})
	}
	if got := streamStatus(t, b, bus.StreamBilling).Messages; got != 0 {
		t.Errorf("%d messages were stored beside a refused one", got)
	}
}

func TestPublishStoresEachIDOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		before, after []bus.Outgoing
		want          uint64
	}{
		{"the same message twice", invoices(0, 1), invoices(0, 1), 1},
		{"the same batch twice", invoices(0, 1000), invoices(0, 1000), 1000},
		{"a batch of 1000 with one known id", invoices(500, 1), invoices(0, 1000), 1000},
		{"a batch with one id twice", nil, append(invoices(0, 20), invoices(7, 1)...), 20},
		{"5000 of which 3 are known", invoices(2100, 3), invoices(0, 5000), 5000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bustest.StartConfig(t, bustest.Config{LazySync: true}).Bus
			publish(t, b, tt.before...)
			publish(t, b, tt.after...)
			if got := streamStatus(t, b, bus.StreamBilling).Messages; got != tt.want {
				t.Errorf("%d messages are stored, want %d", got, tt.want)
			}
		})
	}
}

func TestPublishSortsByStream(t *testing.T) {
	b := bustest.Start(t).Bus
	var mixed []bus.Outgoing
	for i, m := range invoices(0, 60) {
		mixed = append(mixed, m)
		if i%3 == 0 {
			m.Subject = "mail.mongo.activation.requested"
			mixed = append(mixed, m)
		}
		if i%30 == 0 {
			m.Subject = "enrollment.mongo.registered"
			mixed = append(mixed, m)
		}
	}
	publish(t, b, mixed...)
	got := map[string]uint64{}
	for _, s := range []string{bus.StreamBilling, bus.StreamMail, bus.StreamEnrollment} {
		got[s] = streamStatus(t, b, s).Messages
	}
	want := map[string]uint64{bus.StreamBilling: 60, bus.StreamMail: 20, bus.StreamEnrollment: 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for i, in := range pull(t, b, bus.ConsumerCodes, 60) {
		if want := invoices(i, 1)[0].ID; in.ID() != want {
			t.Fatalf("message %d is %s, want %s", i, in.ID(), want)
		}
	}
}

func TestHeadersArriveAsSent(t *testing.T) {
	b := bustest.Start(t).Bus
	for _, tt := range []struct {
		name string
		n    int // of messages, to go both ways
	}{{"alone", 1}, {"in a batch", 20}} {
		t.Run(tt.name, func(t *testing.T) {
			messages := invoices(100*tt.n, tt.n)
			for i := range messages {
				messages[i].Header = map[string][]string{
					"ce-type":     {"net.billcenter.invoice.emailed.v1", "something else"},
					"traceparent": {"00-1-2-01"},
				}
			}
			publish(t, b, messages...)
			for _, in := range pull(t, b, bus.ConsumerCodes, tt.n) {
				for key, want := range messages[0].Header {
					if diff := cmp.Diff(want, in.Header[key]); diff != "" {
						t.Errorf("%s: %s", key, diff)
					}
				}
			}
		})
	}
}

func TestPublishLeavesOutOrdersToTheBroker(t *testing.T) {
	b := bustest.Start(t).Bus
	publish(t, b, invoices(0, 3)...)
	m := invoices(3, 1)[0]
	m.Header = map[string][]string{
		"Nats-Rollup":                 {"all"},
		"Nats-Expected-Last-Sequence": {"99"},
		"nats-batch-id":               {"copied"},
		"Nats-Msg-Id":                 {"another"},
	}
	publish(t, b, m)
	last := pull(t, b, bus.ConsumerCodes, 4)[3]
	if diff := cmp.Diff(map[string][]string{"Nats-Msg-Id": {m.ID}}, last.Header); diff != "" {
		t.Error(diff)
	}
}

func TestPublishSaysWhyNot(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		n       int
		disturb func(*testing.T, *bustest.Broker)
		want    error
	}{
		{"the broker is down", 1, func(_ *testing.T, b *bustest.Broker) { b.Kill() }, bus.ErrDisconnected},
		{"the broker is down for a batch", 20, func(_ *testing.T, b *bustest.Broker) { b.Kill() }, bus.ErrDisconnected},
		{"the stream is missing", 1, deleteStream, bus.ErrNoStream},
		{"the stream is missing for a batch", 20, deleteStream, bus.ErrNoStream},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broker := bustest.Start(t)
			tt.disturb(t, broker)
			if broker.Bus.Healthy() != nil == errors.Is(tt.want, bus.ErrNoStream) {
				t.Errorf("healthy says %v", broker.Bus.Healthy())
			}
			if err := broker.Bus.Publish(t.Context(), invoices(0, tt.n)...); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func deleteStream(t *testing.T, b *bustest.Broker) {
	_, js := b.Bus.Raw()
	if err := js.DeleteStream(t.Context(), bus.StreamBilling); err != nil {
		t.Fatal(err)
	}
}

func TestPublishStopsWithItsContext(t *testing.T) {
	b := bustest.Start(t).Bus
	for _, n := range []int{1, 20} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Publish(ctx, invoices(0, n)...); !errors.Is(err, context.Canceled) {
			t.Errorf("%d messages: got %v", n, err)
		}
	}
}

func TestAFullStreamRefusesAndKeeps(t *testing.T) {
	b := bustest.Start(t).Bus
	publish(t, b, invoices(0, 10)...)
	_, js := b.Raw()
	stream, err := js.Stream(t.Context(), bus.StreamBilling)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.MaxBytes = int64(stream.CachedInfo().State.Bytes) + 100
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if err := b.Verify(t.Context()); err != nil {
		t.Errorf("MaxBytes is the operator's: %v", err)
	}
	for _, n := range []int{10, 20} {
		if err := b.Publish(t.Context(), invoices(100, n)...); err == nil {
			t.Errorf("%d messages went into a full stream", n)
		}
	}
	if got := streamStatus(t, b, bus.StreamBilling); got.FirstSeq != 1 || got.Messages > 11 {
		t.Errorf("got %+v", got)
	}
}

func TestABatchThatIsNotCommittedLeavesNothing(t *testing.T) {
	b := bustest.Start(t).Bus
	if err := b.PublishWithoutCommit(t.Context(), invoices(0, 500)); err != nil {
		t.Fatal(err)
	}
	if got := streamStatus(t, b, bus.StreamBilling).Messages; got != 0 {
		t.Errorf("%d messages of an open batch are visible", got)
	}
	publish(t, b, invoices(0, 500)...)
	if got := streamStatus(t, b, bus.StreamBilling).Messages; got != 500 {
		t.Errorf("%d messages after publishing again, want 500", got)
	}
}

// endsAfter is a context that ends at its n-th look.
type endsAfter struct {
	context.Context
	left atomic.Int64
}

func (c *endsAfter) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// The broker holds 50 open batches per stream for ten seconds each.
func TestABatchGivenUpMakesRoomAtOnce(t *testing.T) {
	b := bustest.StartConfig(t, bustest.Config{LazySync: true}).Bus
	deadline, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := range 52 {
		ctx := &endsAfter{Context: deadline}
		ctx.left.Store(5)
		if err := b.PublishAtomically(ctx, invoices(0, 20)); !errors.Is(err, context.Canceled) {
			t.Fatalf("batch %d: got %v", i, err)
		}
	}
	if err := b.PublishAtomically(t.Context(), invoices(0, 20)); err != nil {
		t.Error(err)
	}
}

// Publishers work until the broker is killed; whatever was acknowledged must be
// there afterwards, and every batch as a whole or not at all.
func TestNothingAcknowledgedIsLostInAKill(t *testing.T) {
	t.Parallel()
	broker := bustest.StartConfig(t, bustest.Config{Process: true})
	const publishers = 4
	var acknowledged [publishers]int
	done := make(chan int, publishers)
	begun := make(chan struct{}, 1000)
	for p := range publishers {
		size := []int{1, 10, 100, 1000}[p]
		go func() {
			defer func() { done <- p }()
			for {
				messages := invoices(p*1_000_000+acknowledged[p], size)
				if err := broker.Bus.Publish(context.Background(), messages...); err != nil {
					return
				}
				acknowledged[p] += size
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		}()
	}
	for range 50 {
		<-begun
	}
	broker.Kill()
	for range publishers {
		<-done
	}
	broker.Restart()
	eventually(t, "connected again", func() bool { return broker.Bus.Healthy() == nil })

	stored := map[string]int{}
	for _, m := range readAll(t, broker.Bus, bus.StreamBilling) {
		stored[m.Header.Get(jetstream.MsgIDHeader)]++
	}
	for p, n := range acknowledged {
		for i := range n {
			if id := invoices(p*1_000_000+i, 1)[0].ID; stored[id] != 1 {
				t.Fatalf("publisher %d: acknowledged message %s is stored %d times", p, id, stored[id])
			}
		}
	}
	// The batch whose outcome is unknown.
	uncertain := 0
	for i := range 1000 {
		uncertain += stored[invoices(3*1_000_000+acknowledged[3]+i, 1)[0].ID]
	}
	if uncertain != 0 && uncertain != 1000 {
		t.Errorf("%d messages of a batch of 1000 are stored", uncertain)
	}
	// Repeating it settles it.
	publish(t, broker.Bus, invoices(3*1_000_000+acknowledged[3], 1000)...)
	if got := streamStatus(t, broker.Bus, bus.StreamBilling).Messages; got != uint64(len(stored)-uncertain+1000) {
		t.Errorf("%d messages, want %d", got, len(stored)-uncertain+1000)
	}
	t.Log("acknowledged:", fmt.Sprint(acknowledged), "of the uncertain batch stored:", uncertain)
}

// readAll reads a stream as an auditor would, past the durable consumers.
func readAll(t *testing.T, b *bus.Bus, name string) []*jetstream.RawStreamMsg {
	t.Helper()
	_, js := b.Raw()
	stream, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	state := stream.CachedInfo().State
	var all []*jetstream.RawStreamMsg
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}
