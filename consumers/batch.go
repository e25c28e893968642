package consumers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
)

// Delivery is a message on its way through its batch.
type Delivery struct {
	events.Received
	In    *bus.Incoming
	Facts []events.Encoded // owed once it is kept
	Err   error            // why it goes no further; nil: so far all is well

	decision Decision // what becomes of it, in the end
}

// BatchBroker is what a BatchWorker needs of the bus.
type BatchBroker interface {
	Pull(ctx context.Context, consumer string, max int, wait time.Duration) ([]*bus.Incoming, error)
	BuryAll(ctx context.Context, burials []bus.Burial) error
}

// BatchWorker reads one durable consumer in batches, for events that come by the hundred thousand. The order within a batch is
// the promise: kept in one transaction, facts published, dead letters written, then acknowledged, so that a kill at any moment
// loses nothing. What becomes of a message is Judge's decision, as for Worker.
type BatchWorker struct {
	Bus      BatchBroker
	Consumer string
	Size     int // messages in a batch, at most

	// Read decodes and validates an event's data.
	Read func(e events.Event) (events.Message, error)
	// Keep commits the effect of a batch, all or none. After that it may note on a delivery what went wrong with it alone, and
	// the facts that it owes.
	Keep func(ctx context.Context, batch []*Delivery) error
	// Facts takes what deliveries owe; nil where none ever does.
	Facts Publisher

	Known    func(tenant string) bool
	MaxDelay time.Duration // cuts the pause before the next try; 0: as Judge decides
	Metrics  *Metrics
	Log      *slog.Logger
}

const (
	pullWait  = 5 * time.Second
	batchTime = 20 * time.Second
)

// Pipeline pulls and takes batches, one after the other, until ctx ends, then finishes the one at hand. after is called for
// each that was brought to its end, and with none when for some seconds nothing came. Any number of pipelines may run. It
// returns an error only when going on is pointless.
func (w *BatchWorker) Pipeline(ctx context.Context, after func(ctx context.Context, batch []*bus.Incoming)) error {
	for {
		batch, err := w.Bus.Pull(ctx, w.Consumer, w.Size, pullWait)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		// A batch that was pulled is finished even when the worker is told to stop: it takes well under the drain time.
		work, cancel := context.WithTimeout(context.WithoutCancel(ctx), batchTime)
		if len(batch) > 0 {
			err = w.Take(work, batch)
		}
		cancel()
		if _, fatal := errors.AsType[*Fatal](err); fatal {
			return err
		}
		if err != nil {
			w.Log.WarnContext(ctx, "batch not settled", "consumer", w.Consumer, "messages", len(batch), "error", err)
		}
		after(ctx, batch)
	}
}

// Take brings a batch to its end: every message is acknowledged, buried, or returned to come again, each on its own account.
// The error is why messages were returned, or why the broker does not know yet what became of them.
func (w *BatchWorker) Take(ctx context.Context, batch []*bus.Incoming) error {
	began := time.Now()
	all := make([]*Delivery, len(batch))
	readable := make([]*Delivery, 0, len(batch))
	for i, in := range batch {
		all[i] = w.read(in)
		if all[i].Err == nil {
			readable = append(readable, all[i])
		}
	}
	w.keep(ctx, readable)
	w.publish(ctx, all)
	w.bury(ctx, all)
	return w.answer(ctx, all, began)
}

// read decodes and validates.
func (w *BatchWorker) read(in *bus.Incoming) *Delivery {
	d := &Delivery{Received: events.Received{Sequence: in.Sequence}, In: in}
	d.Err = Guard(func() (err error) {
		if d.Event, err = Read(in, w.Known); err == nil {
			d.Message, err = w.Read(d.Event)
		}
		return err
	})
	return d
}

// keep stores messages in one transaction. If that fails for what is in them, they are halved until those at fault stand
// alone and the others are kept.
func (w *BatchWorker) keep(ctx context.Context, batch []*Delivery) {
	if len(batch) == 0 {
		return
	}
	err := w.store(ctx, batch)
	switch {
	case err == nil:
	case len(batch) == 1 || !ofItsContent(err):
		for _, d := range batch {
			d.Err = err
		}
	default:
		w.Log.WarnContext(ctx, "batch halved to find the event at fault", "consumer", w.Consumer, "messages", len(batch), "error", err)
		half := len(batch) / 2
		w.keep(ctx, batch[:half])
		w.keep(ctx, batch[half:])
	}
}

// ofItsContent reports whether an error comes from what is in a batch, and not from an outage.
func ofItsContent(err error) bool {
	if _, ok := events.AsMalformed(err); ok {
		return true
	}
	_, ok := errors.AsType[*Panic](err)
	return ok
}

func (w *BatchWorker) store(ctx context.Context, batch []*Delivery) error {
	// Ends the transaction of a store that panicked: its locks would stand in the way of the halves.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return Guard(func() error { return w.Keep(ctx, batch) })
}

// publish puts the facts on the wire. Without them the messages that owe them are not done.
func (w *BatchWorker) publish(ctx context.Context, all []*Delivery) {
	var facts []events.Encoded
	for _, d := range all {
		facts = append(facts, d.Facts...)
	}
	if len(facts) == 0 {
		return
	}
	if err := w.Facts.Publish(ctx, facts...); err != nil {
		for _, d := range all {
			if len(d.Facts) > 0 {
				d.Err = err
			}
		}
	}
}

// bury decides what becomes of each message and writes the dead letters among them.
func (w *BatchWorker) bury(ctx context.Context, all []*Delivery) {
	var dead []*Delivery
	var burials []bus.Burial
	for _, d := range all {
		d.decision = Judge(d.Err, d.In.Deliveries)
		if d.decision.Fault != nil {
			dead, burials = append(dead, d), append(burials, d.decision.Burial(d.In, d.Event))
		}
	}
	if len(burials) == 0 {
		return
	}
	if lost := w.Bus.BuryAll(ctx, burials); lost != nil {
		for _, d := range dead {
			d.decision, d.Err = Judge(lost, d.In.Deliveries), errors.Join(d.Err, lost)
		}
	}
}

// answer carries out what was decided. Those that were buried are terminated already.
func (w *BatchWorker) answer(ctx context.Context, all []*Delivery, began time.Time) error {
	var kept []*bus.Incoming
	var returned []*Delivery
	for _, d := range all {
		switch d.decision.Verdict {
		case Done:
			kept = append(kept, d.In)
		case Retry, Stop:
			returned = append(returned, d)
		}
	}
	err := errors.Join(bus.AckAll(ctx, kept), w.giveBack(returned))
	took := time.Since(began)
	for _, d := range all {
		w.Metrics.Observe(w.Consumer, d.Definition.Name, d.decision, took)
		w.tell(ctx, d)
	}
	return err
}

// giveBack returns messages to the broker, all after the shortest pause, so that they come again as a batch.
func (w *BatchWorker) giveBack(returned []*Delivery) error {
	if len(returned) == 0 {
		return nil
	}
	pause, why := returned[0].decision.Delay, returned[0].Err
	batch := make([]*bus.Incoming, len(returned))
	for i, d := range returned {
		batch[i], pause = d.In, min(pause, d.decision.Delay)
		if d.decision.Verdict == Stop {
			why = d.Err
		}
	}
	if w.MaxDelay > 0 {
		pause = min(pause, w.MaxDelay)
	}
	return errors.Join(fmt.Errorf("%d messages come again in %s: %w", len(returned), pause, why), bus.NakAll(batch, pause))
}

// tell counts and logs what a person should know of a single message.
func (w *BatchWorker) tell(ctx context.Context, d *Delivery) {
	panicked, hasPanicked := errors.AsType[*Panic](d.Err)
	dead := d.decision.Verdict == Bury || d.decision.Verdict == Park
	if !hasPanicked && !dead {
		return
	}
	log := w.Log.With("consumer", w.Consumer, "event", d.Definition.Name, "tenant", d.Tenant, "id", d.ID,
		"stream", d.In.Stream, "sequence", d.In.Sequence, "delivery", d.In.Deliveries)
	if hasPanicked {
		w.Metrics.Panicked(w.Consumer)
		log.ErrorContext(ctx, "handler panicked", "error", panicked, "stack", string(panicked.Stack))
	}
	if dead {
		log.ErrorContext(ctx, "dead letter", "verdict", d.decision.Verdict, "reason", d.decision.Fault.Fault, "error", d.Err)
	}
}
