package bus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
)

func subscribe(t *testing.T, b *bus.Bus, o bus.SubscriberOptions) (*bus.Subscriber, <-chan *message.Message) {
	t.Helper()
	sub := bus.NewSubscriber(b, o)
	t.Cleanup(func() { _ = sub.Close() })
	messages, err := sub.Subscribe(t.Context(), bus.ConsumerCodes)
	if err != nil {
		t.Fatal(err)
	}
	return sub, messages
}

func receive(t *testing.T, messages <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case msg, ok := <-messages:
		if !ok {
			t.Fatal("the channel is closed")
		}
		return msg
	case <-time.After(20 * time.Second):
		t.Fatal("no message")
	}
	return nil
}

func TestAMessageCarriesItsDelivery(t *testing.T) {
	b := bustest.Start(t).Bus
	sent := poison(0)
	sent.Header["bus-retry-after"] = []string{"1h"} // not the sender's business
	sent.Header["bus-sequence"] = []string{"99"}
	publish(t, b, sent)
	_, messages := subscribe(t, b, bus.SubscriberOptions{RetryDelay: func(uint64) time.Duration { return 0 }})
	receive(t, messages).Nack()
	msg := receive(t, messages)
	defer msg.Ack()

	in := bus.IncomingFrom(msg.Context())
	if in == nil || in.Sequence != 1 || in.Deliveries != 2 {
		t.Errorf("got the delivery %+v", in)
	}
	want := message.Metadata{
		"ce-type": "a, b", "Content-Type": "application/cloudevents+json",
		"bus-subject": sent.Subject, "bus-stream": "BILLING", "bus-sequence": "1", "bus-deliveries": "2",
		"bus-stored-at": in.StoredAt.Format(time.RFC3339Nano),
	}
	if diff := cmp.Diff(want, msg.Metadata); diff != "" {
		t.Error(diff)
	}
	if msg.UUID != sent.ID || string(msg.Payload) != string(sent.Data) {
		t.Errorf("got %s: %s", msg.UUID, msg.Payload)
	}
}

func TestThePublisherSendsUUIDAndMetadata(t *testing.T) {
	b := bustest.Start(t).Bus
	pub := bus.NewPublisher(b)
	msg := message.NewMessage("an-id", []byte("x"))
	msg.Metadata = message.Metadata{"traceparent": "00-1-2-01", "bus-sequence": "7"}
	if err := pub.Publish("billing.mongo.invoice.emailed", msg); err != nil {
		t.Fatal(err)
	}
	if err := pub.Close(); err != nil || b.Healthy() != nil {
		t.Errorf("closing a publisher: %v, then %v", err, b.Healthy())
	}
	in := pull(t, b, bus.ConsumerCodes, 1)[0]
	if diff := cmp.Diff(map[string][]string{"Nats-Msg-Id": {"an-id"}, "traceparent": {"00-1-2-01"}}, in.Header); diff != "" {
		t.Error(diff)
	}
	if err := pub.Publish("billing.>", msg); !errors.Is(err, bus.ErrRefused) {
		t.Errorf("got %v", err)
	}
}

func TestAHandlerMayAskForADelay(t *testing.T) {
	b := bustest.Start(t).Bus
	publish(t, b, invoices(0, 2)...)
	asked := make(chan uint64, 2)
	_, messages := subscribe(t, b, bus.SubscriberOptions{MaxInFlight: 2, RetryDelay: func(deliveries uint64) time.Duration {
		asked <- deliveries
		return 0
	}})
	first, second := receive(t, messages), receive(t, messages)
	bus.RetryAfter(first, time.Hour)
	first.Nack()
	second.Nack()
	again := receive(t, messages)
	if again.UUID != second.UUID {
		t.Errorf("%s is back before its hour", again.UUID)
	}
	again.Ack()
	if deliveries := <-asked; deliveries != 1 || len(asked) != 0 {
		t.Errorf("asked for the delay after %d deliveries, and %d times more", deliveries, len(asked))
	}
}

func TestTheRetryDelayGrowsAndEnds(t *testing.T) {
	for _, tt := range []struct {
		deliveries uint64
		most       time.Duration
	}{{0, time.Second}, {1, time.Second}, {2, 2 * time.Second}, {5, 16 * time.Second}, {9, 256 * time.Second}, {10, 5 * time.Minute}, {1 << 40, 5 * time.Minute}} {
		if got := bus.DefaultRetryDelay(tt.deliveries); got > tt.most || got < tt.most*3/4 {
			t.Errorf("after %d deliveries: %s, want up to a quarter less than %s", tt.deliveries, got, tt.most)
		}
	}
}

func TestAHandlerThatBuriesNeedsNotNack(t *testing.T) {
	b := bustest.Start(t).Bus
	publish(t, b, poison(0))
	_, messages := subscribe(t, b, bus.SubscriberOptions{})
	msg := receive(t, messages)
	if err := b.Bury(msg.Context(), bus.IncomingFrom(msg.Context()), malformed); err != nil {
		t.Fatal(err)
	}
	msg.Ack()
	eventually(t, "done", func() bool {
		c := streamStatus(t, b, bus.StreamBilling).Consumers[0]
		return c.AckFloor == 1 && c.AckPending == 0
	})
}

// AckWait is a second; the handler takes three times as long.
func TestALongHandlerKeepsItsMessage(t *testing.T) {
	t.Parallel()
	topology := bus.DefaultTopology()[:1]
	topology[0].Consumers[0].AckWait = time.Second
	b := bustest.StartConfig(t, bustest.Config{Topology: topology}).Bus
	publish(t, b, invoices(0, 3)...)
	_, messages := subscribe(t, b, bus.SubscriberOptions{MaxInFlight: 3})
	slow := receive(t, messages) // the two others wait to be handed out
	if stolen, err := b.Pull(t.Context(), bus.ConsumerCodes, 3, 3*time.Second); err != nil || len(stolen) > 0 {
		t.Errorf("%d messages went to someone else, %v", len(stolen), err)
	}
	slow.Ack()
	receive(t, messages).Ack()
	receive(t, messages).Ack()
}

func TestClosingLetsHandlersFinish(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*bus.Subscriber, context.CancelFunc) // runs on its own
	}{
		{"by Close", func(s *bus.Subscriber, _ context.CancelFunc) { _ = s.Close() }},
		{"by the context, as the Router does", func(_ *bus.Subscriber, cancel context.CancelFunc) { cancel() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bustest.Start(t).Bus
			publish(t, b, invoices(0, 10)...)
			sub := bus.NewSubscriber(b, bus.SubscriberOptions{MaxInFlight: 5})
			defer sub.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			messages, err := sub.Subscribe(ctx, bus.ConsumerCodes)
			if err != nil {
				t.Fatal(err)
			}
			running := receive(t, messages)
			go tt.end(sub, cancel)
			// The other four were with us, not with a handler. AckWait is 30 s.
			back := pull(t, b, bus.ConsumerCodes, 9)
			if running.Context().Err() != nil {
				t.Error("the running handler's context ended")
			}
			select {
			case msg, open := <-messages:
				t.Errorf("got %v, %v while a handler is running", msg, open)
			default:
			}
			running.Ack()
			if _, open := <-messages; open {
				t.Error("another message after the end")
			}
			if err := bus.AckAll(t.Context(), back); err != nil {
				t.Fatal(err)
			}
			if c := streamStatus(t, b, bus.StreamBilling).Consumers[0]; c.AckFloor != 10 {
				t.Errorf("got %+v", c)
			}
		})
	}
}

func TestAHandlerThatDoesNotFinishIsGivenUp(t *testing.T) {
	b := bustest.Start(t).Bus
	publish(t, b, invoices(0, 1)...)
	sub, messages := subscribe(t, b, bus.SubscriberOptions{DrainTimeout: 50 * time.Millisecond})
	stuck := receive(t, messages)
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	if stuck.Context().Err() == nil {
		t.Error("its context goes on")
	}
	if again := pull(t, b, bus.ConsumerCodes, 1)[0]; again.Deliveries != 2 {
		t.Errorf("delivered %d times", again.Deliveries)
	}
	stuck.Ack() // too late, and harmless
	if _, err := sub.Subscribe(t.Context(), bus.ConsumerCodes); err == nil {
		t.Error("subscribed to a closed subscriber")
	}
	if b.Healthy() != nil {
		t.Error("closing a subscriber closed the connection")
	}
}

func TestSubscribingToWhatDoesNotExist(t *testing.T) {
	b := bustest.StartConfig(t, bustest.Config{Topology: bus.Topology{}}).Bus.WithTopology(bus.DefaultTopology())
	sub := bus.NewSubscriber(b, bus.SubscriberOptions{})
	defer sub.Close()
	if _, err := sub.Subscribe(t.Context(), bus.ConsumerCodes); !errors.Is(err, bus.ErrNotMigrated) {
		t.Errorf("got %v", err)
	}
	if _, err := sub.Subscribe(t.Context(), "codez"); err == nil || !strings.Contains(err.Error(), "codez") {
		t.Errorf("got %v", err)
	}
}
