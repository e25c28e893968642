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
	// Poll is the pause between two looks for rows that another process committed; 0: a tenth of a second.
	Poll time.Duration

	woken chan struct{}
}

const (
	batchSize = 1000 // the largest atomic batch
	poll      = 100 * time.Millisecond
	carryTime = 30 * time.Second

	// Between tries while the broker or the database is away: at first, doubling, and at most.
	shortest = 200 * time.Millisecond
	longest  = 5 * time.Second
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
	idle := r.Poll
	if idle <= 0 {
		idle = poll
	}
	var outage time.Duration // the pause after the last failure; 0: there was none
	for ctx.Err() == nil {
		carried, err := r.carry(ctx)
		pause, woken := idle, r.woken
		switch {
		case err != nil:
			outage = min(max(2*outage, shortest), longest)
			// Not woken meanwhile: a stream of commits must not turn an outage into a tight loop.
			pause, woken = outage, nil
			r.Log.WarnContext(ctx, "outbox not carried yet", "again in", pause, "error", err)
		case carried == batchSize: // there are more, most likely
			outage, pause = 0, 0
		default:
			outage = 0
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		case <-woken:
		}
	}
	return nil
}

func (r *Relay) carry(ctx context.Context) (int, error) {
	// A batch at hand is finished after ctx ends: it would only be published again otherwise.
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), carryTime)
	defer cancel()
	return r.Store.Carry(work, batchSize, func(ctx context.Context, batch []events.Encoded) error {
		return r.Publisher.Publish(ctx, batch...)
	})
}
