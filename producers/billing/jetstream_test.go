package billing_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
	"github.com/mongotel/billcenter/producers/billing"
)

// onto publishes on a bus, as the command does.
func onto(b *bus.Bus) billing.Publisher {
	return func(ctx context.Context, batch []events.Encoded) error {
		messages := make([]bus.Outgoing, len(batch))
		for i, e := range batch {
			messages[i] = bus.Outgoing{Subject: e.Subject, ID: e.MsgID, Header: e.Header, Data: e.Body}
		}
		return b.Publish(ctx, messages...)
	}
}

// A file that was published in part is published again: on the stream stands each record once, in the file's order.
func TestAFileIsOnTheStreamOnce(t *testing.T) {
	broker := bustest.Start(t)
	content := generated(t, 3_500)

	ctx, cancel := context.WithCancel(t.Context())
	interrupted := onto(broker.Bus)
	_, err := billing.Publish(ctx, strings.NewReader(content), func(ctx context.Context, batch []events.Encoded) error {
		err := interrupted(ctx, batch)
		cancel() // after the first thousand was stored, before anybody knows
		return errors.Join(err, ctx.Err())
	}, billing.Options{Origin: mongo})
	if stopped, ok := errors.AsType[*billing.StoppedError](err); !ok || stopped.Published != 0 {
		t.Fatalf("%v", err)
	}
	for range 2 {
		summary, err := billing.Publish(t.Context(), strings.NewReader(content), onto(broker.Bus), billing.Options{Origin: mongo})
		if err != nil || summary.Published != 3_500 {
			t.Fatalf("%+v %v", summary, err)
		}
	}

	want := readAll(t, content)
	var got int
	for deadline := time.Now().Add(30 * time.Second); got < len(want); {
		batch, err := broker.Bus.Pull(t.Context(), bus.ConsumerCodes, 1000, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range batch {
			e, err := events.Decode(in.Subject, in.Header, in.Data)
			if err != nil {
				t.Fatal(err)
			}
			if e.MsgID() != want[got].Event.MsgID {
				t.Fatalf("record %d is out of its place", got)
			}
			got++
			if err := in.Ack(); err != nil {
				t.Fatal(err)
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d records came", got, len(want))
		}
	}
	rest, err := broker.Bus.Pull(t.Context(), bus.ConsumerCodes, 1, 100*time.Millisecond)
	if err != nil || len(rest) > 0 {
		t.Errorf("%d more messages, %v", len(rest), err)
	}
}

// A broker that goes away in the middle costs time only.
func TestPublishOutlivesARestartOfTheBroker(t *testing.T) {
	broker := bustest.Start(t)
	publish, calls, retries := onto(broker.Bus), 0, 0
	restarted := make(chan struct{})
	summary, err := billing.Publish(t.Context(), strings.NewReader(generated(t, 3_000)), func(ctx context.Context, batch []events.Encoded) error {
		if calls++; calls == 2 {
			broker.Kill()
		}
		return publish(ctx, batch)
	}, billing.Options{Origin: mongo, OnRetry: func(error, time.Duration) {
		if retries++; retries == 1 {
			go func() { broker.Restart(); close(restarted) }()
		}
	}})
	if err != nil || summary.Published != 3_000 || retries == 0 {
		t.Errorf("%+v after %d retries, %v", summary, retries, err)
	}
	<-restarted
}

// Everything that the file format takes is small enough for the stream.
func TestTheLargestEventFitsTheStream(t *testing.T) {
	broker := bustest.Start(t)
	padded := func(n int) string {
		return strings.Replace(bob, `"locale"`, `"notes":"`+strings.Repeat("n", n)+`","locale"`, 1)
	}
	envelope := len(readAll(t, padded(1))[0].Event.Body) - 1
	most := 500<<10 - envelope
	if _, faults, err := read(padded(most+1), mongo); err != nil || len(faults) != 1 {
		t.Errorf("one byte more is no fault: %v", err)
	}
	if summary, err := billing.Publish(t.Context(), strings.NewReader(padded(most)), onto(broker.Bus), billing.Options{Origin: mongo}); err != nil || summary.Published != 1 {
		t.Errorf("%+v %v", summary, err)
	}
}
