package bus_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
)

func TestWhoeverLooksOnSeesWhatIsStoredAndTakesNothing(t *testing.T) {
	b := bustest.Start(t).Bus
	publish(t, b, invoices(0, 3)...)
	other := invoices(3, 1)[0]
	other.Subject = "billing.other.invoice.emailed"
	publish(t, b, other)
	publish(t, b, invoices(4, 1)...)

	for _, tt := range []struct {
		name, subject string
		after         uint64
		want          []uint64
	}{
		{"all of a subject, in order", "billing.mongo.>", 0, []uint64{1, 2, 3, 5}},
		{"only what is beyond the sequence", "billing.mongo.>", 2, []uint64{3, 5}},
		{"of every subject", ">", 3, []uint64{4, 5}},
		{"nothing beyond the last", "billing.mongo.>", 5, nil},
		{"nothing on a subject without messages", "billing.nobody.>", 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []uint64
			for m, err := range b.Stored(t.Context(), bus.StreamBilling, tt.subject, tt.after) {
				if err != nil {
					t.Fatal(err)
				}
				if id := (&bus.Incoming{Header: m.Header}).ID(); id != invoices(int(m.Sequence)-1, 1)[0].ID || len(m.Data) == 0 || m.StoredAt.IsZero() {
					t.Errorf("message %d came as %s", m.Sequence, fmt.Sprint(m.Header))
				}
				got = append(got, m.Sequence)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if s := streamStatus(t, b, bus.StreamBilling); s.Messages != 5 || s.Consumers[0].Pending != 5 {
		t.Errorf("looking on left %d messages, %d of them for the consumer", s.Messages, s.Consumers[0].Pending)
	}
	for _, err := range b.Stored(t.Context(), "NOWHERE", ">", 0) {
		if !errors.Is(err, bus.ErrNotMigrated) {
			t.Errorf("a stream that is not there: %v", err)
		}
	}
}
