package funnel

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
)

// Store keeps facts. TakeFacts takes the same ones any number of times.
type Store interface {
	TakeFacts(ctx context.Context, batch []events.Received) error
	AdvanceWatermark(ctx context.Context, to time.Time, sequence uint64) error
}

// Broker is what the worker needs of the bus.
type Broker interface {
	consumers.BatchBroker
	ConsumerStatus(ctx context.Context, consumer string) (status bus.ConsumerStatus, at time.Time, err error)
}

// Worker reads the durable consumer `funnel`: facts become journeys. It tells how far it has come by the watermark. Any number
// of workers may run; their batches take turns in the store.
type Worker struct {
	Bus      Broker
	Store    Store
	Known    func(tenant string) bool
	MaxDelay time.Duration // cuts the pause before the next try, where everything is on one machine; 0: as Judge decides
	Metrics  *consumers.Metrics
	Log      *slog.Logger

	reached reached
}

const (
	batchSize = 1000
	pipelines = 2 // while one waits for its turn in the store or for the broker, the other decodes

	// lateness is how long a fact may take from happening to being stored by the broker before it counts as late.
	lateness = time.Minute

	// watermarkPause is the least time between two looks at how far the consumer has come.
	watermarkPause = time.Second
	watermarkTime  = 10 * time.Second
)

// Run works until ctx ends, then finishes the batches at hand. It returns an error only when going on is pointless.
func (w *Worker) Run(ctx context.Context) error {
	g, pulling := errgroup.WithContext(ctx)
	for range pipelines {
		g.Go(func() error { return w.batches().Pipeline(pulling, w.advance) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("consumer %s: %w", bus.ConsumerFunnel, err)
	}
	return nil
}

// Take brings a batch to its end, as consumers.BatchWorker says.
func (w *Worker) Take(ctx context.Context, batch []*bus.Incoming) error {
	err := w.batches().Take(ctx, batch)
	w.advance(ctx, batch)
	return err
}

func (w *Worker) batches() *consumers.BatchWorker {
	return &consumers.BatchWorker{
		Bus: w.Bus, Consumer: bus.ConsumerFunnel, Size: batchSize, Read: events.Event.Read, Keep: w.keep,
		Known: w.Known, MaxDelay: w.MaxDelay, Metrics: w.Metrics, Log: w.Log,
	}
}

func (w *Worker) keep(ctx context.Context, batch []*consumers.Delivery) error {
	received := make([]events.Received, len(batch))
	for i, d := range batch {
		received[i] = d.Received
	}
	return w.Store.TakeFacts(ctx, received)
}

// advance moves the watermark to where everything before is counted: with nothing left, to the time of the look, so that a
// period becomes final though nobody does anything; else to the last message of the newest batch before which none is missing.
// A message that waits for its next try holds the watermark back.
func (w *Worker) advance(ctx context.Context, batch []*bus.Incoming) {
	if !w.reached.add(batch, time.Now()) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), watermarkTime)
	defer cancel()
	status, at, err := w.Bus.ConsumerStatus(ctx, bus.ConsumerFunnel)
	if err == nil {
		if status.Pending > 0 || status.AckPending > 0 {
			at = w.reached.upTo(status.AckFloor)
		}
		if at.IsZero() {
			return
		}
		err = w.Store.AdvanceWatermark(ctx, at.Add(-lateness), status.AckFloor)
	}
	if err != nil {
		w.Log.WarnContext(ctx, "watermark not advanced", "consumer", bus.ConsumerFunnel, "error", err)
	}
}

// reached remembers the ends of batches until everything before them is done too.
type reached struct {
	mu     sync.Mutex
	ends   []end
	looked time.Time
}

type end struct {
	sequence uint64
	storedAt time.Time
}

// mostEnds bounds what is remembered while a message holds everything back. What is forgotten costs only exactness.
const mostEnds = 1000

// add remembers a batch, and reports whether it is time to look at the consumer again.
func (r *reached) add(batch []*bus.Incoming, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var last end
	for _, in := range batch {
		if in.Sequence > last.sequence {
			last = end{in.Sequence, in.StoredAt}
		}
	}
	if len(batch) > 0 {
		if len(r.ends) == mostEnds {
			r.ends = r.ends[1:]
		}
		r.ends = append(r.ends, last)
	}
	if now.Sub(r.looked) < watermarkPause {
		return false
	}
	r.looked = now
	return true
}

// upTo is when the broker stored the last message of the newest batch up to a sequence; zero: there is none.
func (r *reached) upTo(floor uint64) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	var newest end
	ahead := r.ends[:0]
	for _, e := range r.ends {
		switch {
		case e.sequence > floor:
			ahead = append(ahead, e)
		case e.sequence > newest.sequence:
			newest = e
		}
	}
	r.ends = ahead
	return newest.storedAt
}
