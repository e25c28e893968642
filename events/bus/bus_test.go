package bus_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
)

func TestMain(m *testing.M) { bustest.Main(m) }

// invoices are n events of billing, with ids from start on.
func invoices(start, n int) []bus.Outgoing {
	all := make([]bus.Outgoing, n)
	for i := range all {
		all[i] = bus.Outgoing{
			Subject: "billing.mongo.invoice.emailed",
			ID:      fmt.Sprintf("//mongo.billcenter.net/billing#%d", start+i),
			Header:  map[string][]string{"Content-Type": {"application/cloudevents+json"}},
			Data:    fmt.Appendf(nil, `{"id":"%d"}`, start+i),
		}
	}
	return all
}

func publish(t *testing.T, b *bus.Bus, messages ...bus.Outgoing) {
	t.Helper()
	if err := b.Publish(t.Context(), messages...); err != nil {
		t.Fatal(err)
	}
}

// pull fails the test unless exactly n messages come.
func pull(t *testing.T, b *bus.Bus, consumer string, n int) []*bus.Incoming {
	t.Helper()
	var all []*bus.Incoming
	for deadline := time.Now().Add(20 * time.Second); len(all) < n; {
		batch, err := b.Pull(t.Context(), consumer, n-len(all), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, batch...); time.Now().After(deadline) {
			t.Fatalf("%s got %d messages, want %d", consumer, len(all), n)
		}
	}
	return all
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func streamStatus(t *testing.T, b *bus.Bus, name string) bus.StreamStatus {
	t.Helper()
	all, err := b.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no stream %s", name)
	return bus.StreamStatus{}
}

func TestPublishPullAck(t *testing.T) {
	b := bustest.Start(t).Bus
	publish(t, b, invoices(0, 5000)...)
	batch := pull(t, b, bus.ConsumerCodes, 5000)
	for i, in := range batch {
		if want := fmt.Sprintf("//mongo.billcenter.net/billing#%d", i); in.ID() != want {
			t.Fatalf("message %d has id %s, want %s", i, in.ID(), want)
		}
	}
	if err := bus.AckAll(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	upTo, err := b.PurgeBelowAckFloor(t.Context(), bus.ConsumerCodes)
	if err != nil || upTo != 5000 {
		t.Fatalf("purged up to %d, %v; want 5000", upTo, err)
	}
	if got := streamStatus(t, b, bus.StreamBilling); got.Messages != 0 {
		t.Errorf("%d messages are left", got.Messages)
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
