// Package consumers runs the handlers of events under one policy: how a message is decoded, when it is tried again, when
// it becomes a dead letter, when the worker stops, and how it drains (worker.go, judge.go), and batches
// of events under the same (batch.go).
//
// A handler is a method (ctx, event) error that has never heard of the broker. nil means that its effect is committed.
// Delivery is at least once, so it must take the same event twice. The handlers live in the packages below.
package consumers

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
)

// Handler has the effect of one event. The event's envelope and its tenant are checked; its data is for On.
type Handler func(ctx context.Context, e events.Event) error

// Route leads one type of event to its handler.
type Route struct {
	Type   events.Type
	Handle Handler
}

// On makes a route of a method that takes the event's data, decoded and valid.
func On[M any, P interface {
	*M
	events.Message
}](handle func(ctx context.Context, e events.Event, data M) error) Route {
	return Route{
		Type: P(new(M)).EventType(),
		Handle: func(ctx context.Context, e events.Event) error {
			data, err := events.Data[M, P](e)
			if err != nil {
				return err
			}
			return handle(ctx, e, data)
		},
	}
}

// Ignore is a handler for events that are somebody else's business.
func Ignore(context.Context, events.Event) error { return nil }

// Publisher puts events on the wire and returns nil once all of them are stored. A handler publishes after its effect is
// committed and before it returns, so that a redelivery repeats what may have been lost.
type Publisher interface {
	Publish(ctx context.Context, out ...events.Encoded) error
}

// PublishOn returns a Publisher on a connection.
func PublishOn(b *bus.Bus) Publisher { return publisher{b} }

type publisher struct{ bus *bus.Bus }

func (p publisher) Publish(ctx context.Context, out ...events.Encoded) error {
	messages := make([]bus.Outgoing, len(out))
	for i, e := range out {
		messages[i] = bus.Outgoing{Subject: e.Subject, ID: e.MsgID, Header: e.Header, Data: e.Body}
	}
	return p.bus.Publish(ctx, messages...)
}

// outcomes is the UUID namespace of Following.
var outcomes = uuid.MustParse("6f1d3c0e-8f5b-5d6a-9a52-3a1c27d0b7e4")

// Following returns the envelope of an event that follows from another one. Its id is derived (UUID version 5) from the
// cause's identity and the purpose, so that handling the cause again publishes the same event again. The source is the
// publisher's; subject and time are the effect's.
func Following(cause events.Event, purpose, source, subject string, at time.Time) events.Envelope {
	identity := cause.Tenant + "\n" + cause.MsgID() + "\n" + purpose // none of them can hold a line break
	return events.Envelope{
		ID:          uuid.NewSHA1(outcomes, []byte(identity)).String(),
		Source:      source,
		Subject:     subject,
		Time:        at,
		TraceParent: cause.TraceParent,
	}
}
