// Package outbox puts on the wire what was committed. The store writes announcements with the change they announce; the
// relay here publishes each at least once, under the id it was written with, and deletes it after the broker's
// acknowledgement. It reads nothing of what it carries.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/mongotel/billcenter/events"
)

// Store hands out the oldest announcements, besides those of some queues, and deletes them once publish returns nil.
type Store interface {
	Carry(ctx context.Context, limit int, besides []string, publish func(context.Context, []events.Encoded) error) (int, error)
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
	waits map[string]wait // queues that the broker did not take from
}

// A wait keeps a queue from holding up the others: a stream that is full, or a right that is missing, is a matter of one stream
// and one tenant.
type wait struct {
	pause time.Duration
	until time.Time
}

// queue is what can be refused by itself: a stream's messages of a tenant.
func queue(subject string) string {
	stream, rest, _ := strings.Cut(subject, ".")
	tenant, _, _ := strings.Cut(rest, ".")
	return stream + "." + tenant
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
	return &Relay{Store: s, Publisher: p, Log: log, woken: make(chan struct{}, 1), waits: map[string]wait{}}
}

// Wake tells the relay that rows were committed in this process. It never blocks.
func (r *Relay) Wake() {
	select {
	case r.woken <- struct{}{}:
	default:
	}
}

// Run carries until ctx ends, then finishes what it is carrying. An outage is waited for, and so is a queue that the broker
// refuses; rows pile up in the database meanwhile and nothing is lost.
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
			outage = longer(outage)
			// Not woken meanwhile: a stream of commits must not turn an outage into a tight loop.
			pause, woken = outage, nil
			if errors.Is(err, errRefused) { // what was refused waits; the others go on at once
				outage, pause = 0, 0
			}
			r.Log.WarnContext(ctx, "outbox not carried yet", "error", err)
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

func longer(pause time.Duration) time.Duration { return min(max(2*pause, shortest), longest) }

// errRefused says that the broker did not take everything, and that the queues it did not take from wait.
var errRefused = errors.New("the broker did not take it")

func (r *Relay) carry(ctx context.Context) (int, error) {
	// A batch at hand is finished after ctx ends: it would only be published again otherwise.
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), carryTime)
	defer cancel()
	var besides []string
	for q, w := range r.waits {
		if time.Now().Before(w.until) {
			besides = append(besides, q)
		}
	}
	return r.Store.Carry(work, batchSize, besides, r.publish)
}

// publish gives the broker a batch. Where it does not take all of it, each queue is tried by itself, and those that fail wait. What
// the others had in the batch is published again with the next one, and known by its ids.
func (r *Relay) publish(ctx context.Context, batch []events.Encoded) error {
	parts := map[string][]events.Encoded{}
	for _, e := range batch {
		parts[queue(e.Subject)] = append(parts[queue(e.Subject)], e)
	}
	whole := r.Publisher.Publish(ctx, batch...)
	var refusals []error
	for q, part := range parts {
		err := whole
		if whole != nil && len(parts) > 1 {
			err = r.Publisher.Publish(ctx, part...)
		}
		if err == nil {
			delete(r.waits, q)
			continue
		}
		pause := longer(r.waits[q].pause)
		r.waits[q] = wait{pause, time.Now().Add(pause)}
		refusals = append(refusals, err)
	}
	if len(refusals) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", errRefused, errors.Join(refusals...))
}
