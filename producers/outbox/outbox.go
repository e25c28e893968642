// Package outbox puts on the wire what was committed. The store writes announcements with the change they announce; the
// relay here publishes each at least once, under the id it was written with, and deletes it after the broker's
// acknowledgement. It reads nothing of what it carries.
package outbox

import (
	"context"
	"log/slog"
	"time"

	"github.com/mongotel/billcenter/events"
)

// Store hands out the oldest announcements and deletes them once publish returns nil.
type Store interface {
	Carry(ctx context.Context, limit int, publish func(context.Context, []events.Encoded) error) (int, error)
}

// Publisher returns nil once everything is stored by the broker.
type Publisher interface {
	Publish(ctx context.Context, out ...events.Encoded) error
}

// Relay carries the outbox to the broker. Any number of relays may run: each takes rows that no other holds. Order is not
// kept between relays nor between transactions that commit out of order; consumers do not rely on it.
type Relay struct {
	Store     Store
	Publisher Publisher
	Log       *slog.Logger

	woken chan struct{}
}

const (
	batchSize = 1000                   // the largest atomic batch
	poll      = 100 * time.Millisecond // for rows that another process committed
	carryTime = 30 * time.Second
	longest   = 5 * time.Second // between tries while the broker or the database is away
)

// New makes a relay.
func New(s Store, p Publisher, log *slog.Logger) *Relay {
	return &Relay{Store: s, Publisher: p, Log: log, woken: make(chan struct{}, 1)}
}

// Wake tells the relay that rows were committed in this process. It never blocks.
func (r *Relay) Wake() {
	select {
	case r.woken <- struct{}{}:
	default:
	}
}

// Run carries until ctx ends, then finishes what it is carrying. An outage is waited for; rows pile up in the database
// meanwhile and nothing is lost.
func (r *Relay) Run(ctx context.Context) error {
	pause := poll
	for {
		carried, err := r.carry(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			pause = min(2*pause, longest)
			r.Log.WarnContext(ctx, "outbox not carried yet", "again in", pause, "error", err)
		case carried == batchSize:
			pause = 0
		default:
			pause = poll
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		case <-r.unlessFailed(err):
		}
	}
}

// unlessFailed listens for Wake only while things work: a stream of commits must not turn an outage into a tight loop.
func (r *Relay) unlessFailed(err error) <-chan struct{} {
	if err != nil {
		return nil
	}
	return r.woken
}

func (r *Relay) carry(ctx context.Context) (int, error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	// A batch at hand is finished after ctx ends: it would only be published again otherwise.
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), carryTime)
	defer cancel()
	return r.Store.Carry(work, batchSize, func(ctx context.Context, batch []events.Encoded) error {
		return r.Publisher.Publish(ctx, batch...)
	})
}
