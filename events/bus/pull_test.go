package bus_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
)

// A wait that no test may come near to: the message must have ended it.
const long = time.Minute

func TestPullWaitsForTheFirstMessageOnly(t *testing.T) {
	b := bustest.Start(t).Bus
	got := make(chan []*bus.Incoming)
	go func() {
		batch, err := b.Pull(context.Background(), bus.ConsumerCodes, 1000, long)
		if err != nil {
			t.Error(err)
		}
		got <- batch
	}()
	eventually(t, "waiting", func() bool {
		return streamStatus(t, b, bus.StreamBilling).Consumers[0].Waiting == 1
	})
	publish(t, b, invoices(0, 20)...) // one batch, so all of it is there at once
	batch := <-got
	if len(batch) == 0 {
		t.Fatal("no message")
	}
	rest := pull(t, b, bus.ConsumerCodes, 20-len(batch))
	if err := bus.AckAll(t.Context(), append(batch, rest...)); err != nil {
		t.Fatal(err)
	}
	if got := streamStatus(t, b, bus.StreamBilling).Consumers[0]; got.AckFloor != 20 || got.AckPending != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestPullOfAnEmptyStreamIsNoError(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t).Bus
	for _, wait := range []time.Duration{0, 10 * time.Millisecond, 2 * time.Second} {
		if batch, err := b.Pull(t.Context(), bus.ConsumerCodes, 10, wait); err != nil || len(batch) != 0 {
			t.Errorf("wait %s: got %d messages, %v", wait, len(batch), err)
		}
	}
}

func TestPullOfAMissingConsumerSaysSo(t *testing.T) {
	b := bustest.Start(t).Bus
	_, js := b.Raw()
	waiting := make(chan error)
	go func() {
		_, err := b.Pull(context.Background(), bus.ConsumerCodes, 10, long)
		waiting <- err
	}()
	eventually(t, "waiting", func() bool {
		return streamStatus(t, b, bus.StreamBilling).Consumers[0].Waiting == 1
	})
	if err := js.DeleteConsumer(t.Context(), bus.StreamBilling, bus.ConsumerCodes); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; !errors.Is(err, bus.ErrNotMigrated) {
		t.Errorf("deleted while waiting: got %v", err)
	}
	if _, err := b.Pull(t.Context(), bus.ConsumerCodes, 10, long); !errors.Is(err, bus.ErrNotMigrated) {
		t.Errorf("deleted before: got %v", err)
	}
	if _, err := b.Pull(t.Context(), "codez", 10, long); err == nil {
		t.Error("a consumer that is not in the topology was read")
	}
}

// The consumer's AckWait is 30 s: a message that a cancelled Pull left behind
// would not be back in time.
func TestACancelledPullLeavesNothingBehind(t *testing.T) {
	b := bustest.StartConfig(t, bustest.Config{LazySync: true}).Bus
	status := func() bus.ConsumerStatus { return streamStatus(t, b, bus.StreamBilling).Consumers[0] }
	returned := 0
	for i := range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan []*bus.Incoming)
		go func() {
			batch, err := b.Pull(ctx, bus.ConsumerCodes, 10, long)
			if err != nil && (len(batch) > 0 || !errors.Is(err, context.Canceled)) {
				t.Errorf("got %d messages, %v", len(batch), err)
			}
			done <- batch
		}()
		eventually(t, "waiting", func() bool { return status().Waiting == 1 })
		publish(t, b, invoices(i, 1)...)
		cancel() // with the message on its way
		batch := <-done
		if len(batch) == 0 {
			returned++
			batch = pull(t, b, bus.ConsumerCodes, 1)
		}
		if err := bus.AckAll(t.Context(), batch); err != nil {
			t.Error(err)
		}
		if got := status().AckFloor; got != uint64(i+1) {
			t.Fatalf("round %d: acknowledged up to %d", i, got)
		}
	}
	t.Logf("%d of 50 messages were returned", returned)
}

func TestPullSurvivesARestartOfTheBroker(t *testing.T) {
	broker := bustest.Start(t)
	b := broker.Bus
	got := make(chan []*bus.Incoming)
	go func() {
		batch, err := b.Pull(context.Background(), bus.ConsumerCodes, 10, long)
		if err != nil {
			t.Error(err)
		}
		got <- batch
	}()
	eventually(t, "waiting", func() bool {
		return streamStatus(t, b, bus.StreamBilling).Consumers[0].Waiting == 1
	})
	broker.Restart()
	publish(t, broker.Dial(bus.Options{}), invoices(0, 1)...)
	if batch := <-got; len(batch) != 1 {
		t.Errorf("got %d messages", len(batch))
	}
}

// nats.go's own fetch would take these for answers of the broker, end, and never
// deliver them.
func TestMessagesThatLookLikeAnswersOfTheBroker(t *testing.T) {
	b := bustest.Start(t).Bus
	conn, _ := b.Raw()
	for _, status := range []string{"100", "404", "408", "409", "503"} {
		_, err := conn.RequestMsg(&nats.Msg{
			Subject: "billing.mongo.invoice.emailed",
			Header:  nats.Header{"Status": {status}, "Description": {"Consumer Deleted"}},
		}, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
	}
	publish(t, b, invoices(0, 1)...)
	batch := pull(t, b, bus.ConsumerCodes, 6)
	if err := bus.AckAll(t.Context(), batch); err != nil {
		t.Error(err)
	}
	if last := batch[5].ID(); last != invoices(0, 1)[0].ID {
		t.Errorf("the last is %s", last)
	}
	if first := batch[0].ID(); first != "BILLING#1" {
		t.Errorf("a message without an id is %s", first)
	}
}

func TestReturnedMessagesWait(t *testing.T) {
	b := bustest.Start(t).Bus
	publish(t, b, invoices(0, 2)...)
	batch := pull(t, b, bus.ConsumerCodes, 2)
	if err := batch[0].Nak(time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := batch[1].Nak(0); err != nil {
		t.Fatal(err)
	}
	if again := pull(t, b, bus.ConsumerCodes, 1)[0]; again.Sequence != 2 {
		t.Errorf("message %d is back first", again.Sequence)
	}
	if early, err := b.Pull(t.Context(), bus.ConsumerCodes, 1, 100*time.Millisecond); err != nil || len(early) != 0 {
		t.Errorf("got %d messages, %v", len(early), err)
	}
}

func TestASettledMessageStaysSettled(t *testing.T) {
	b := bustest.Start(t).Bus
	publish(t, b, invoices(0, 1)...)
	in := pull(t, b, bus.ConsumerCodes, 1)[0]
	for _, settle := range []func() error{in.Ack, func() error { return in.Nak(0) }, in.Term, in.InProgress} {
		if err := settle(); err != nil {
			t.Error(err)
		}
	}
	if again, err := b.Pull(t.Context(), bus.ConsumerCodes, 1, 100*time.Millisecond); err != nil || len(again) != 0 {
		t.Errorf("got %d messages, %v", len(again), err)
	}
	if err := new(bus.Incoming).Ack(); !errors.Is(err, bus.ErrUnbound) {
		t.Errorf("a message made by hand: got %v", err)
	}
}

func TestASilentReaderLosesItsMessageUnlessItReportsProgress(t *testing.T) {
	t.Parallel()
	topology := bus.DefaultTopology()[:1]
	topology[0].Consumers[0].AckWait = time.Second
	b := bustest.StartConfig(t, bustest.Config{Topology: topology}).Bus
	publish(t, b, invoices(0, 2)...)
	batch := pull(t, b, bus.ConsumerCodes, 2)
	stop := make(chan struct{})
	var working sync.WaitGroup
	working.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
				if err := batch[0].InProgress(); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range 2 { // two rounds of AckWait
		if again := pull(t, b, bus.ConsumerCodes, 1)[0]; again.Sequence != 2 {
			t.Errorf("message %d came again", again.Sequence)
		}
	}
	close(stop)
	working.Wait()
}
