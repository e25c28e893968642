package consumers_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/events"
)

func TestTheIDOfAnOutcomeIsThatOfItsCauseAndPurpose(t *testing.T) {
	at := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	cause := events.Event{Tenant: "mongo", Envelope: events.Envelope{ID: "1", Source: "//mongo.billcenter.net/relay", TraceParent: "00-a-b-01"}}
	id := func(e events.Event, purpose string) string {
		return consumers.Following(e, purpose, "//x/mailer", "e-1", at).ID
	}
	want := events.Envelope{ID: id(cause, "outcome"), Source: "//x/mailer", Subject: "e-1", Time: at, TraceParent: "00-a-b-01"}
	if diff := cmp.Diff(want, consumers.Following(cause, "outcome", "//x/mailer", "e-1", at)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Pinned: another value would make every event that is delivered again tell its outcome anew.
	if got, want := id(cause, "outcome"), "c22d55a0-00eb-5efa-975e-0e97a9be3e37"; got != want {
		t.Errorf("id = %s, want %s", got, want)
	}
	for _, tt := range []struct {
		name   string
		change func(*events.Event)
	}{
		{"another tenant", func(e *events.Event) { e.Tenant = "other" }},
		{"another source", func(e *events.Event) { e.Source += "2" }},
		{"another id", func(e *events.Event) { e.ID = "2" }},
	} {
		other := cause
		tt.change(&other)
		if id(other, "outcome") == id(cause, "outcome") {
			t.Errorf("%s has the same id", tt.name)
		}
	}
	if id(cause, "another outcome") == id(cause, "outcome") {
		t.Error("another purpose has the same id")
	}
}

func TestARouteDecodesAndValidates(t *testing.T) {
	var got []events.AccountClosed
	route := consumers.On(func(_ context.Context, _ events.Event, c events.AccountClosed) error {
		got = append(got, c)
		return nil
	})
	def, _ := events.DefinitionNamed("AccountClosed")
	if route.Type != def.Type {
		t.Errorf("type = %s, want %s", route.Type, def.Type)
	}
	for _, tt := range []struct {
		name, data string
		fault      events.Fault
	}{
		{"a whole one is handled", `{"accountNumber":"1-7","closedAt":"2026-11-20T08:00:00Z"}`, ""},
		{"one without its account is malformed", `{"closedAt":"2026-11-20T08:00:00Z"}`, events.FieldMissing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := route.Handle(t.Context(), events.Event{Definition: def, Data: []byte(tt.data)})
			m, malformed := events.AsMalformed(err)
			if malformed != (tt.fault != "") || malformed && m.Fault != tt.fault {
				t.Errorf("err = %v, want fault %q", err, tt.fault)
			}
		})
	}
	want := []events.AccountClosed{{AccountNumber: "1-7", ClosedAt: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
