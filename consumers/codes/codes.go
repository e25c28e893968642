// Package codes keeps what billing says: InvoiceEmailed with its registration code, AccountClosed and PaymentMethodChanged.
// It works in batches, since a bill run sends a month of events in minutes. The order within a batch is the promise: kept
// in one transaction, facts published, dead letters written, then acknowledged, then purged from the broker, so that a kill
// at any moment loses nothing, and a code leaves the broker within two seconds of being stored.
//
// What an event does to an account is the store's and the rules' business; what becomes of a failed one is decided in
// package consumers.
package codes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// Store keeps a batch, all or none. A receipt may hold the fault of an event that is not kept.
type Store interface {
	TakeBilling(ctx context.Context, batch []events.Received) ([]events.Receipt, error)
}

// Broker is what codes needs of the bus.
type Broker interface {
	Pull(ctx context.Context, consumer string, max int, wait time.Duration) ([]*bus.Incoming, error)
	BuryAll(ctx context.Context, burials []bus.Burial) error
	PurgeBelowAckFloor(ctx context.Context, consumer string) (uint64, error)
}

// Worker reads the durable consumer `codes`. Any number of workers may.
type Worker struct {
	Bus     Broker
	Store   Store
	Facts   consumers.Publisher
	Known   func(tenant string) bool
	Metrics *consumers.Metrics
	Log     *slog.Logger
}

const (
	batchSize  = 1000 // the largest atomic batch of facts; more gains nothing (reference: 5000 rows are no faster)
	pullWait   = 5 * time.Second
	pipelines  = 2 // one reads and decodes while the other waits for the commit
	batchTime  = 20 * time.Second
	purgePause = 250 * time.Millisecond // lets acknowledgements of several batches settle into one purge
)

// Run works until ctx ends, then finishes the batches at hand. It returns an error only when going on is pointless.
func (w *Worker) Run(ctx context.Context) error {
	stored := make(chan struct{}, 1)
	g, ctx := errgroup.WithContext(ctx)
	for range pipelines {
		g.Go(func() error { return w.pipeline(ctx, stored) })
	}
	g.Go(func() error { return w.purge(ctx, stored) })
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("consumer %s: %w", bus.ConsumerCodes, err)
	}
	return nil
}

func (w *Worker) pipeline(ctx context.Context, stored chan<- struct{}) error {
	for {
		batch, err := w.Bus.Pull(ctx, bus.ConsumerCodes, batchSize, pullWait)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			continue
		}
		// A batch that was pulled is finished even when the worker is told to stop: it takes well under the drain time.
		work, cancel := context.WithTimeout(context.WithoutCancel(ctx), batchTime)
		err = w.Take(work, batch)
		cancel()
		if err != nil {
			w.Log.WarnContext(ctx, "batch not kept yet", "messages", len(batch), "error", err)
		}
		select {
		case stored <- struct{}{}:
		default:
		}
	}
}

// Take brings a batch to its end: every message is acknowledged, buried, or returned to come again. The error is why
// messages were returned.
func (w *Worker) Take(ctx context.Context, batch []*bus.Incoming) error {
	began := time.Now()
	received, burials := w.read(batch)
	facts, refused, err := w.keep(ctx, received)
	if err == nil && len(facts) > 0 {
		err = w.Facts.Publish(ctx, facts...)
	}
	if err == nil {
		burials = append(burials, refused...)
		err = w.Bus.BuryAll(ctx, burials)
	}
	if err != nil {
		decision := consumers.Judge(err, batch[0].Deliveries)
		w.observe(batch, decision, began)
		return errors.Join(err, bus.NakAll(batch, decision.Delay))
	}
	// Those that were buried are terminated already, and further answers to them do nothing.
	if err := bus.AckAll(ctx, batch); err != nil {
		return err
	}
	w.observe(batch[:len(batch)-len(burials)], consumers.Decision{Verdict: consumers.Done}, began)
	return nil
}

func (w *Worker) observe(batch []*bus.Incoming, d consumers.Decision, began time.Time) {
	each := time.Since(began) / time.Duration(max(1, len(batch)))
	for range batch {
		w.Metrics.Observe(bus.ConsumerCodes, "", d, each)
	}
}

// incoming is a message that may be kept, with the delivery behind it.
type incoming struct {
	events.Received
	in *bus.Incoming
}

// read decodes and validates; what can never be kept is for the dead letters.
func (w *Worker) read(batch []*bus.Incoming) ([]incoming, []bus.Burial) {
	good := make([]incoming, 0, len(batch))
	var burials []bus.Burial
	for _, in := range batch {
		e, m, err := w.decode(in)
		if err != nil {
			burials = append(burials, w.burial(in, e, err))
			continue
		}
		good = append(good, incoming{events.Received{Event: e, Message: m, Sequence: in.Sequence}, in})
	}
	return good, burials
}

func (w *Worker) decode(in *bus.Incoming) (events.Event, events.Message, error) {
	e, err := consumers.Read(in, w.Known)
	if err != nil {
		return e, nil, err
	}
	switch e.Definition.Name {
	case "InvoiceEmailed":
		m, err := events.Data[events.InvoiceEmailed](e)
		return e, m, err
	case "AccountClosed":
		m, err := events.Data[events.AccountClosed](e)
		return e, m, err
	case "PaymentMethodChanged":
		m, err := events.Data[events.PaymentMethodChanged](e)
		return e, m, err
	}
	return e, nil, &events.Malformed{Fault: events.NoHandler, Field: "type", Why: "is not one of billing's events"}
}

func (w *Worker) burial(in *bus.Incoming, e events.Event, err error) bus.Burial {
	d := consumers.Judge(err, in.Deliveries)
	w.Log.Error("dead letter", "consumer", bus.ConsumerCodes, "verdict", d.Verdict, "reason", d.Fault.Fault, "tenant", e.Tenant,
		"id", e.ID, "stream", in.Stream, "sequence", in.Sequence, "error", err)
	w.Metrics.Observe(bus.ConsumerCodes, e.Definition.Name, d, 0)
	return d.Burial(in, e)
}

// keep stores a batch in one transaction. If the database refuses it for what is in it, it is halved until the events at
// fault stand alone: they are buried, the others kept.
func (w *Worker) keep(ctx context.Context, batch []incoming) (facts []events.Encoded, refused []bus.Burial, err error) {
	if len(batch) == 0 {
		return nil, nil, nil
	}
	received := make([]events.Received, len(batch))
	for i, b := range batch {
		received[i] = b.Received
	}
	receipts, err := w.Store.TakeBilling(ctx, received)
	if m, ok := events.AsMalformed(err); ok {
		if len(batch) == 1 {
			return nil, []bus.Burial{w.burial(batch[0].in, batch[0].Event, m)}, nil
		}
		half := len(batch) / 2
		for _, part := range [][]incoming{batch[:half], batch[half:]} {
			f, r, err := w.keep(ctx, part)
			if err != nil {
				return nil, nil, err
			}
			facts, refused = append(facts, f...), append(refused, r...)
		}
		return facts, refused, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for i, r := range receipts {
		if r.Fault != nil {
			refused = append(refused, w.burial(batch[i].in, batch[i].Event, r.Fault))
			continue
		}
		if !r.FactsDue {
			continue
		}
		if fact, due, err := invited(batch[i].Received, r.AccountRef); err != nil {
			return nil, nil, err
		} else if due {
			facts = append(facts, fact)
		}
	}
	return facts, refused, nil
}

// invited is the fact that a code was e-mailed. It is made of the event alone, so that a redelivery repeats it word by word.
func invited(r events.Received, accountRef string) (events.Encoded, bool, error) {
	m, ok := r.Message.(events.InvoiceEmailed)
	if !ok || m.RegistrationCode == "" {
		return events.Encoded{}, false, nil
	}
	month := m.EmailedAt.UTC().Format("2006-01")
	if m.Invoice.IssuedOn != "" {
		month = string(m.Invoice.IssuedOn)[:len("2006-01")]
	}
	fact := events.Invited{Fact: events.Fact{
		AccountRef: accountRef,
		OccurredAt: m.EmailedAt.UTC(),
		Properties: events.Properties{
			Locale: m.Locale, InvoiceMonth: month, MailDomainClass: enrollment.Address(m.BillingEmail).DomainClass(),
		},
	}}
	e, err := events.Encode(r.Tenant, consumers.Following(r.Event, "invited", events.Source(r.Tenant, "codes"), accountRef, m.EmailedAt), fact)
	return e, true, err
}

// purge removes what is kept from the broker, soon after it was acknowledged. Until it succeeds it is tried again.
func (w *Worker) purge(ctx context.Context, stored <-chan struct{}) error {
	for {
		select {
		case <-ctx.Done():
			return w.lastPurge(ctx)
		case <-stored:
		}
		for {
			select {
			case <-ctx.Done():
				return w.lastPurge(ctx)
			case <-time.After(purgePause):
			}
			if _, err := w.Bus.PurgeBelowAckFloor(ctx, bus.ConsumerCodes); err == nil {
				break
			} else if ctx.Err() == nil {
				w.Log.WarnContext(ctx, "stored codes not purged from the broker yet", "error", err)
			}
		}
	}
}

// lastPurge leaves nothing behind at the end of a bill run that a drain cuts short.
func (w *Worker) lastPurge(ctx context.Context) error {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if _, err := w.Bus.PurgeBelowAckFloor(last, bus.ConsumerCodes); err != nil {
		w.Log.WarnContext(ctx, "stored codes not purged from the broker before the stop", "error", err)
	}
	return nil
}
