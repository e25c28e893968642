package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/consumers/codes"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
)

// Phases say how the worker's pipelines spent their time, each as a share of all of it. A phase that waits for PostgreSQL
// or the broker is time too, so they are not shares of the processors.
type Phases struct {
	Pull    float64 `json:"pull"`
	Decode  float64 `json:"decode"`
	Store   float64 `json:"store"`
	Facts   float64 `json:"facts"` // making and encoding them
	Publish float64 `json:"publish"`
	Ack     float64 `json:"ack"`
	Batches int     `json:"batches"`
}

// watched stands between the worker and the store, the broker and the publisher. It notes when each is called, and tells
// when the last event has passed.
type watched struct {
	store     codes.Store
	broker    codes.Broker
	publisher consumers.Publisher

	mu        sync.Mutex
	pulls     []span
	stores    []span
	publishes []span
	stored    int // events
	published int // facts
	events    int // wanted
	facts     int // wanted
	all       chan struct{}
	purged    chan struct{}
	last      uint64 // sequence of the last event
}

// span is one call.
type span struct {
	start, end time.Time
	empty      bool
}

func watch(s *stage, l loaded, last uint64) *watched {
	return &watched{
		store: s.store, broker: s.bus, publisher: consumers.PublishOn(s.bus), events: l.events, facts: l.codes, last: last,
		all: make(chan struct{}), purged: make(chan struct{}),
	}
}

func (w *watched) Pull(ctx context.Context, consumer string, max int, wait time.Duration) ([]*bus.Incoming, error) {
	w.mu.Lock()
	at := len(w.pulls)
	w.pulls = append(w.pulls, span{start: time.Now()})
	w.mu.Unlock()
	batch, err := w.broker.Pull(ctx, consumer, max, wait)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pulls[at].end, w.pulls[at].empty = time.Now(), len(batch) == 0
	return batch, err
}

func (w *watched) TakeBilling(ctx context.Context, batch []events.Received) ([]events.Receipt, error) {
	start := time.Now()
	receipts, err := w.store.TakeBilling(ctx, batch)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stores = append(w.stores, span{start: start, end: time.Now()})
	if err == nil {
		w.stored += len(batch)
		w.passed()
	}
	return receipts, err
}

func (w *watched) Publish(ctx context.Context, out ...events.Encoded) error {
	start := time.Now()
	err := w.publisher.Publish(ctx, out...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.publishes = append(w.publishes, span{start: start, end: time.Now()})
	if err == nil {
		w.published += len(out)
		w.passed()
	}
	return err
}

// passed closes the channel when everything is stored and published.
func (w *watched) passed() {
	if w.stored >= w.events && w.published >= w.facts {
		select {
		case <-w.all:
		default:
			close(w.all)
		}
	}
}

func (w *watched) BuryAll(ctx context.Context, burials []bus.Burial) error {
	if len(burials) > 0 {
		return errors.New("the worker wants to bury an event that is valid")
	}
	return w.broker.BuryAll(ctx, burials)
}

func (w *watched) PurgeBelowAckFloor(ctx context.Context, consumer string) (uint64, error) {
	upTo, err := w.broker.PurgeBelowAckFloor(ctx, consumer)
	if err == nil && upTo >= w.last {
		select {
		case <-w.purged:
		default:
			close(w.purged) // one goroutine of the worker purges
		}
	}
	return upTo, err
}

// phases adds up the calls, once the worker waits for more and before it is stopped. Every batch passes every phase once,
// so sums of beginnings and ends are enough: which calls belong together need not be known. It returns nil where that does
// not hold, since batches were repeated or halved.
func (w *watched) phases() *Phases {
	w.mu.Lock()
	defer w.mu.Unlock()
	base := w.pulls[0].start
	var pull, store, publish phase
	var starts []time.Duration
	var afterEmpty time.Duration
	empty, open := 0, 0
	for _, p := range w.pulls {
		starts = append(starts, p.start.Sub(base))
		switch {
		case p.end.IsZero():
			open++
		case p.empty:
			empty++
			afterEmpty += p.end.Sub(base)
		default:
			pull.add(p, base)
		}
	}
	for _, s := range w.stores {
		store.add(s, base)
	}
	for _, p := range w.publishes {
		publish.add(p, base)
	}
	pipelines := len(w.pulls) - pull.n - empty
	if store.n != pull.n || publish.n != pull.n || open != pipelines {
		return nil
	}
	// A pull follows a batch, an empty pull, or nothing: those are the first of each pipeline.
	slices.Sort(starts)
	var followed time.Duration
	for _, s := range starts[pipelines:] {
		followed += s
	}
	followed -= afterEmpty

	p := [...]time.Duration{pull.ends - pull.starts, store.starts - pull.ends, store.ends - store.starts,
		publish.starts - store.ends, publish.ends - publish.starts, followed - publish.ends}
	var all time.Duration
	for _, d := range p {
		all += d
	}
	share := func(i int) float64 { return float64(p[i]) / float64(all) }
	return &Phases{Pull: share(0), Decode: share(1), Store: share(2), Facts: share(3), Publish: share(4), Ack: share(5), Batches: pull.n}
}

// phase is the sums over its calls.
type phase struct {
	n            int
	starts, ends time.Duration
}

func (p *phase) add(s span, base time.Time) {
	p.n++
	p.starts += s.start.Sub(base)
	p.ends += s.end.Sub(base)
}
