package codes

import (
	"context"
	"fmt"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// Take brings a batch to its end, as consumers.BatchWorker says.
func (w *Worker) Take(ctx context.Context, batch []*bus.Incoming) error {
	return w.batches().Take(ctx, batch)
}

func (w *Worker) batches() *consumers.BatchWorker {
	return &consumers.BatchWorker{
		Bus: w.Bus, Consumer: bus.ConsumerCodes, Size: batchSize, Read: message, Keep: w.keep, Facts: w.Facts,
		Known: w.Known, MaxDelay: w.MaxDelay, Metrics: w.Metrics, Log: w.Log,
	}
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

func (w *Worker) keep(ctx context.Context, batch []*consumers.Delivery) error {
	received := make([]events.Received, len(batch))
	for i, d := range batch {
		received[i] = d.Received
	}
	receipts, err := w.Store.TakeBilling(ctx, received)
	if err != nil {
		return err
	}
	for i, r := range receipts {
		note(batch[i], r)
	}
	return nil
}

// note is what became of an event in the store.
func note(d *consumers.Delivery, r events.Receipt) {
	if r.Fault != nil {
		d.Err = r.Fault
		return
	}
	m, ok := d.Message.(events.InvoiceEmailed)
	if !ok || m.RegistrationCode == "" || !r.FactsDue {
		return
	}
	d.Err = consumers.Guard(func() error {
		fact, err := invited(d.Event, m, r.AccountRef)
		if err != nil {
			// Not the event's fault, but it would hold back what comes after it for ever.
			return &events.Malformed{Fault: events.Undeliverable, Why: fmt.Sprintf("is kept, but the fact about it is not valid: %s", err)}
		}
		d.Facts = []events.Encoded{fact}
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
