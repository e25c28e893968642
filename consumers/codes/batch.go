package codes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// delivery is a message on its way through its batch.
type delivery struct {
	events.Received
	in       *bus.Incoming
	facts    []events.Encoded   // owed once it is kept
	err      error              // why it goes no further; nil: so far all is well
	decision consumers.Decision // what becomes of it, in the end
}

// Take brings a batch to its end: every message is acknowledged, buried, or returned to come again, each on its own account.
// The error is why messages were returned, or why the broker does not know yet what became of them.
func (w *Worker) Take(ctx context.Context, batch []*bus.Incoming) error {
	began := time.Now()
	all := make([]*delivery, len(batch))
	readable := make([]*delivery, 0, len(batch))
	for i, in := range batch {
		all[i] = w.read(in)
		if all[i].err == nil {
			readable = append(readable, all[i])
		}
	}
	w.keep(ctx, readable)
	w.publish(ctx, all)
	w.bury(ctx, all)
	return w.answer(ctx, all, began)
}

// read decodes and validates.
func (w *Worker) read(in *bus.Incoming) *delivery {
	d := &delivery{Received: events.Received{Sequence: in.Sequence}, in: in}
	d.err = consumers.Guard(func() (err error) {
		if d.Event, err = consumers.Read(in, w.Known); err == nil {
			d.Message, err = message(d.Event)
		}
		return err
	})
	return d
}

func message(e events.Event) (events.Message, error) {
	switch e.Definition.Name {
	case "InvoiceEmailed":
		return events.Data[events.InvoiceEmailed](e)
	case "AccountClosed":
		return events.Data[events.AccountClosed](e)
	case "PaymentMethodChanged":
		return events.Data[events.PaymentMethodChanged](e)
	}
	return nil, &events.Malformed{Fault: events.NoHandler, Field: "type", Why: "is not one of billing's events"}
}

// keep stores messages in one transaction. If that fails for what is in them, they are halved until those at fault stand
// alone and the others are kept.
func (w *Worker) keep(ctx context.Context, batch []*delivery) {
	if len(batch) == 0 {
		return
	}
	receipts, err := w.store(ctx, batch)
	switch {
	case err == nil:
		for i, r := range receipts {
			batch[i].take(r)
		}
	case len(batch) == 1 || !ofItsContent(err):
		for _, d := range batch {
			d.err = err
		}
	default:
		w.Log.WarnContext(ctx, "batch halved to find the event at fault", "consumer", bus.ConsumerCodes, "messages", len(batch), "error", err)
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
	_, ok := errors.AsType[*consumers.Panic](err)
	return ok
}

func (w *Worker) store(ctx context.Context, batch []*delivery) (receipts []events.Receipt, err error) {
	// Ends the transaction of a store that panicked: its locks would stand in the way of the halves.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	received := make([]events.Received, len(batch))
	for i, d := range batch {
		received[i] = d.Received
	}
	err = consumers.Guard(func() (err error) {
		receipts, err = w.Store.TakeBilling(ctx, received)
		return err
	})
	return receipts, err
}

// take notes what became of the event in the store.
func (d *delivery) take(r events.Receipt) {
	if r.Fault != nil {
		d.err = r.Fault
		return
	}
	m, ok := d.Message.(events.InvoiceEmailed)
	if !ok || m.RegistrationCode == "" || !r.FactsDue {
		return
	}
	d.err = consumers.Guard(func() error {
		fact, err := invited(d.Event, m, r.AccountRef)
		if err != nil {
			// Not the event's fault, but it would hold back what comes after it for ever.
			return &events.Malformed{Fault: events.Undeliverable, Why: "is kept, but the fact about it is not valid: " + err.Error()}
		}
		d.facts = []events.Encoded{fact}
		return nil
	})
}

// invited is the fact that a code was e-mailed. It is made of the event alone, so that a redelivery repeats it word by word.
func invited(e events.Event, m events.InvoiceEmailed, accountRef string) (events.Encoded, error) {
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
	return events.Encode(e.Tenant, consumers.Following(e, "invited", events.Source(e.Tenant, "codes"), accountRef, m.EmailedAt), fact)
}

// publish puts the facts on the wire. Without them the messages that owe them are not done.
func (w *Worker) publish(ctx context.Context, all []*delivery) {
	var facts []events.Encoded
	for _, d := range all {
		facts = append(facts, d.facts...)
	}
	if len(facts) == 0 {
		return
	}
	if err := w.Facts.Publish(ctx, facts...); err != nil {
		for _, d := range all {
			if len(d.facts) > 0 {
				d.err = err
			}
		}
	}
}

// bury decides what becomes of each message and writes the dead letters among them.
func (w *Worker) bury(ctx context.Context, all []*delivery) {
	var dead []*delivery
	var burials []bus.Burial
	for _, d := range all {
		d.decision = consumers.Judge(d.err, d.in.Deliveries)
		if d.decision.Fault != nil {
			dead, burials = append(dead, d), append(burials, d.decision.Burial(d.in, d.Event))
		}
	}
	if len(burials) == 0 {
		return
	}
	if lost := w.Bus.BuryAll(ctx, burials); lost != nil {
		for _, d := range dead {
			d.decision, d.err = consumers.Judge(lost, d.in.Deliveries), errors.Join(d.err, lost)
		}
	}
}

// answer carries out what was decided. Those that were buried are terminated already.
func (w *Worker) answer(ctx context.Context, all []*delivery, began time.Time) error {
	var kept []*bus.Incoming
	var returned []*delivery
	for _, d := range all {
		switch d.decision.Verdict {
		case consumers.Done:
			kept = append(kept, d.in)
		case consumers.Retry, consumers.Stop:
			returned = append(returned, d)
		}
	}
	err := errors.Join(bus.AckAll(ctx, kept), w.giveBack(returned))
	took := time.Since(began)
	for _, d := range all {
		w.Metrics.Observe(bus.ConsumerCodes, d.Definition.Name, d.decision, took)
		w.tell(ctx, d)
	}
	return err
}

// giveBack returns messages to the broker, all after the shortest pause, so that they come again as a batch.
func (w *Worker) giveBack(returned []*delivery) error {
	if len(returned) == 0 {
		return nil
	}
	pause, why := returned[0].decision.Delay, returned[0].err
	batch := make([]*bus.Incoming, len(returned))
	for i, d := range returned {
		batch[i], pause = d.in, min(pause, d.decision.Delay)
		if d.decision.Verdict == consumers.Stop {
			why = d.err
		}
	}
	if w.MaxDelay > 0 {
		pause = min(pause, w.MaxDelay)
	}
	return errors.Join(fmt.Errorf("%d messages come again in %s: %w", len(returned), pause, why), bus.NakAll(batch, pause))
}

// tell counts and logs what a person should know of a single message.
func (w *Worker) tell(ctx context.Context, d *delivery) {
	panicked, hasPanicked := errors.AsType[*consumers.Panic](d.err)
	dead := d.decision.Verdict == consumers.Bury || d.decision.Verdict == consumers.Park
	if !hasPanicked && !dead {
		return
	}
	log := w.Log.With("consumer", bus.ConsumerCodes, "event", d.Definition.Name, "tenant", d.Tenant, "id", d.ID,
		"stream", d.in.Stream, "sequence", d.in.Sequence, "delivery", d.in.Deliveries)
	if hasPanicked {
		w.Metrics.Panicked(bus.ConsumerCodes)
		log.ErrorContext(ctx, "handler panicked", "error", panicked, "stack", string(panicked.Stack))
	}
	if dead {
		log.ErrorContext(ctx, "dead letter", "verdict", d.decision.Verdict, "reason", d.decision.Fault.Fault, "error", d.err)
	}
}
