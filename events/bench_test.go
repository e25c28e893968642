package events_test

import (
	"testing"

	"github.com/mongotel/billcenter/events"
)

// One event as the consumer of billing reads it: envelope, strictness, data, validation.
func BenchmarkReadInvoiceEmailed(b *testing.B) {
	def, _ := events.DefinitionNamed("InvoiceEmailed")
	body := events.Compact(events.Sample(def))
	header := map[string][]string{events.HeaderContentType: {events.ContentType}}
	subject := def.Subject("mongo")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		e, err := events.Decode(subject, header, body)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := events.Data[events.InvoiceEmailed](e); err != nil {
			b.Fatal(err)
		}
	}
}
