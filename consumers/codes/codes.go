// Package codes keeps what billing says: InvoiceEmailed with its registration code, AccountClosed and PaymentMethodChanged.
// It works in batches, since a bill run sends a month of events in minutes. The order within a batch is the promise: kept
// in one transaction, facts published, dead letters written, then acknowledged, then purged from the broker, so that a kill
// at any moment loses nothing, and a code leaves the broker within two seconds of being stored (codes.go runs, batch.go is
// the way of one batch).
//
// What an event does to an account is the store's and the rules' business; what becomes of a failed one is decided in
// package consumers.
package codes

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
)

// Store keeps a batch, all or none. A receipt may hold the fault of an event that is not kept.
type Store interface {
	TakeBilling(ctx context.Context, batch []events.Received) ([]events.Receipt, error)
}

// Broker is what codes needs of the bus.
type Broker interface {
	consumers.BatchBroker
	PurgeBelowAckFloor(ctx context.Context, consumer string) (uint64, error)
}

// Worker reads the durable consumer `codes`. Any number of workers may.
type Worker struct {
	Bus      Broker
	Store    Store
	Facts    consumers.Publisher
	Known    func(tenant string) bool
	MaxDelay time.Duration // cuts the pause before the next try, where everything is on one machine; 0: as Judge decides
	Metrics  *consumers.Metrics
	Log      *slog.Logger
}

const (
	batchSize = 1000 // the largest atomic batch of facts; more gains nothing (reference: 5000 rows are no faster)
	pipelines = 4    // while one waits for the disk or the broker the others read, decode and store

	purgePause    = 250 * time.Millisecond // lets acknowledgements of several batches settle into one purge
	purgeLongest  = 2 * time.Second        // between tries while the broker is away
	lastPurgeTime = 2 * time.Second
)

// Run works until ctx ends, then finishes the batches at hand. It returns an error only when going on is pointless.
func (w *Worker) Run(ctx context.Context) error {
	stored := make(chan struct{}, 1)
	notify(stored) // a worker that was killed may have left behind what it stored
	purging, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	purged := make(chan struct{})
	go func() {
		defer close(purged)
		w.purge(purging, stored)
	}()

	g, pulling := errgroup.WithContext(ctx)
	for range pipelines {
		g.Go(func() error {
			return w.batches().Pipeline(pulling, func(_ context.Context, batch []*bus.Incoming) {
				if len(batch) > 0 {
					notify(stored)
				}
			})
		})
	}
	err := g.Wait()
	stop()
	<-purged
	w.lastPurge(ctx)
	if err != nil {
		return fmt.Errorf("consumer %s: %w", bus.ConsumerCodes, err)
	}
	return nil
}

func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// purge removes what is kept from the broker, soon after it was acknowledged. Until it succeeds it is tried again.
func (w *Worker) purge(ctx context.Context, stored chan struct{}) {
	for pause := purgePause; ; {
		select {
		case <-ctx.Done():
			return
		case <-stored:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if _, err := w.Bus.PurgeBelowAckFloor(ctx, bus.ConsumerCodes); err == nil {
			pause = purgePause
		} else if ctx.Err() == nil {
			w.Log.WarnContext(ctx, "stored codes not purged from the broker yet", "error", err)
			pause = min(2*pause, purgeLongest)
			notify(stored)
		}
	}
}

// lastPurge leaves nothing behind at the end of a bill run that a drain cuts short.
func (w *Worker) lastPurge(ctx context.Context) {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastPurgeTime)
	defer cancel()
	if _, err := w.Bus.PurgeBelowAckFloor(last, bus.ConsumerCodes); err != nil {
		w.Log.WarnContext(ctx, "stored codes not purged from the broker before the stop", "error", err)
	}
}
