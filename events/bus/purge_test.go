package bus_test

import (
	"testing"
	"time"

	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
)

func TestPurgeStopsAtTheFirstMessageThatIsNotDone(t *testing.T) {
	b := bustest.Start(t).Bus
	purge := func(want uint64) {
		t.Helper()
		if got, err := b.PurgeBelowAckFloor(t.Context(), bus.ConsumerCodes); err != nil || got != want {
			t.Errorf("purged up to %d, %v; want %d", got, err, want)
		}
	}
	purge(0) // nothing there
	publish(t, b, invoices(0, 100)...)
	purge(0) // nothing read
	batch := pull(t, b, bus.ConsumerCodes, 60)
	if err := bus.AckAll(t.Context(), append(batch[:40:40], batch[41:]...)); err != nil {
		t.Fatal(err)
	}
	purge(40) // message 41 is with a handler
	purge(40)
	if got := streamStatus(t, b, bus.StreamBilling); got.FirstSeq != 41 || got.Messages != 60 {
		t.Errorf("got %+v", got)
	}
	if err := bus.AckAll(t.Context(), batch[40:41]); err != nil {
		t.Fatal(err)
	}
	purge(60)
	if err := bus.AckAll(t.Context(), pull(t, b, bus.ConsumerCodes, 40)); err != nil {
		t.Fatal(err)
	}
	purge(100)
	publish(t, b, invoices(100, 1)...)
	purge(100)
	if in := pull(t, b, bus.ConsumerCodes, 1)[0]; in.Sequence != 101 {
		t.Errorf("got message %d", in.Sequence)
	}
}

func TestPurgeWaitsForEveryConsumerOfTheStream(t *testing.T) {
	for _, tt := range []struct {
		name        string
		ahead, slow string
	}{
		// progress skips what its filter leaves out, and has message 5 to do.
		{"a consumer with a filter", bus.ConsumerFunnel, bus.ConsumerProgress},
		{"a consumer without", bus.ConsumerProgress, bus.ConsumerFunnel},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bustest.Start(t).Bus
			facts := invoices(0, 10)
			for i := range facts {
				facts[i].Subject = "enrollment.mongo.registered"
			}
			facts[4].Subject = "enrollment.mongo.activation-mailed"
			publish(t, b, facts...)
			n := map[string]int{bus.ConsumerFunnel: 10, bus.ConsumerProgress: 1}
			if err := bus.AckAll(t.Context(), pull(t, b, bus.ConsumerAnalytics, 10)); err != nil {
				t.Fatal(err)
			}
			if err := bus.AckAll(t.Context(), pull(t, b, tt.ahead, n[tt.ahead])); err != nil {
				t.Fatal(err)
			}
			late := pull(t, b, tt.slow, n[tt.slow])
			if got, err := b.PurgeBelowAckFloor(t.Context(), tt.ahead); err != nil || got > 4 {
				t.Errorf("purged up to %d, %v; want at most 4", got, err)
			}
			if err := bus.AckAll(t.Context(), late); err != nil {
				t.Fatal(err)
			}
			if got, err := b.PurgeBelowAckFloor(t.Context(), tt.ahead); err != nil || got < 5 {
				t.Errorf("purged up to %d, %v; want at least 5", got, err)
			}
		})
	}
}

// The broker writes a consumer's state only ten times a second. Killed right
// after a purge it comes back with a consumer that is behind the first message
// of its stream, or that waits for acknowledgements of messages that are gone.
func TestAKillAfterAPurgeNeitherLosesNorStalls(t *testing.T) {
	t.Parallel()
	topology := bus.DefaultTopology()[:1]
	topology[0].Consumers[0].AckWait = 2 * time.Second
	broker := bustest.StartConfig(t, bustest.Config{Process: true, Topology: topology})
	b := broker.Bus
	next := 0
	more := func(n int) {
		t.Helper()
		publish(t, b, invoices(next, n)...)
		next += n
	}
	for round := range 3 {
		more(500)
		batch := pull(t, b, bus.ConsumerCodes, 500)
		// In the last round some are with a handler when the broker dies.
		if round == 2 {
			batch = batch[:300]
		}
		if err := bus.AckAll(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		want := batch[len(batch)-1].Sequence
		if got, err := b.PurgeBelowAckFloor(t.Context(), bus.ConsumerCodes); err != nil || got != want {
			t.Fatalf("purged up to %d, %v; want %d", got, err, want)
		}
		broker.Restart()
		eventually(t, "connected again", func() bool { return b.Healthy() == nil })
		if err := b.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		if round < 2 {
			more(1)
			again := pull(t, b, bus.ConsumerCodes, 1)
			if again[0].Sequence != want+1 {
				t.Errorf("round %d: got message %d, want %d", round, again[0].Sequence, want+1)
			}
			if err := bus.AckAll(t.Context(), again); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The 200 that were out come again, and then nothing holds the floor.
	left := pull(t, b, bus.ConsumerCodes, 200)
	if first := left[0].Sequence; first != uint64(next-200+1) {
		t.Errorf("the first to come again is %d, want %d", first, next-200+1)
	}
	if err := bus.AckAll(t.Context(), left); err != nil {
		t.Fatal(err)
	}
	eventually(t, "everything purged", func() bool {
		got, err := b.PurgeBelowAckFloor(t.Context(), bus.ConsumerCodes)
		return err == nil && got == uint64(next)
	})
	if got := streamStatus(t, b, bus.StreamBilling); got.Messages != 0 || got.Consumers[0].AckPending != 0 {
		t.Errorf("got %+v", got)
	}
}
