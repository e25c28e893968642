// Package progress moves an enrollment on when its activation mail went out or failed. It takes the facts of our mailer
// and of any other mail worker that keeps to the contract.
//
// It sends nothing, publishes nothing, and leaves to the store what a fact means for a state: one that comes late, twice
// or out of order changes nothing more.
package progress

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// Name is the durable consumer's.
const Name = "progress"

// Store is the part of the store that progress needs. Both methods take the same fact any number of times.
type Store interface {
	// RecordMailAccepted starts the time in which the link of that generation's address works.
	RecordMailAccepted(ctx context.Context, tenant string, id enrollment.ID, generation uint32, at time.Time) error
	// RecordMailRefused makes the enrollment undeliverable, if its address is still of that generation and no mail was
	// accepted later.
	RecordMailRefused(ctx context.Context, tenant string, id enrollment.ID, generation uint32, at time.Time) error
}

// Progress is safe for concurrent use.
type Progress struct {
	store Store
	log   *slog.Logger
}

func New(store Store, log *slog.Logger) *Progress { return &Progress{store, log} }

// Routes are the facts that move an enrollment. The others are for analytics; a worker gives them to consumers.Ignore.
func (p *Progress) Routes() []consumers.Route {
	return []consumers.Route{consumers.On(p.ActivationMailed), consumers.On(p.ActivationMailFailed)}
}

// ActivationMailed records that a provider took the mail.
func (p *Progress) ActivationMailed(ctx context.Context, e events.Event, f events.ActivationMailed) error {
	id, err := enrollmentID(f.Fact)
	if err != nil {
		return err
	}
	return p.moved(ctx, id, p.store.RecordMailAccepted(ctx, e.Tenant, id, generation(f.Generation), f.OccurredAt))
}

// ActivationMailFailed records a refusal. Two failures say nothing about the address and change nothing: with
// mail-outcome-unknown the mail may have arrived, and a customer who holds it must be able to use its link, or the window
// runs out like any other; with mail-superseded another mail has taken its place.
func (p *Progress) ActivationMailFailed(ctx context.Context, e events.Event, f events.ActivationMailFailed) error {
	id, err := enrollmentID(f.Fact)
	if err != nil {
		return err
	}
	switch f.Reason {
	case "mail-rejected", "mail-never-accepted":
		return p.moved(ctx, id, p.store.RecordMailRefused(ctx, e.Tenant, id, generation(f.Generation), f.OccurredAt))
	default:
		p.log.DebugContext(ctx, "failure that changes no enrollment", "enrollment", id, "reason", f.Reason)
		return nil
	}
}

// moved reads the store's answer. An enrollment that is not ours is no fault of the message: facts can come from a mail
// worker that serves others too, and from before a restored backup; waiting would not bring the enrollment. One that
// cannot move any more has moved on, which is how a race ends.
func (p *Progress) moved(ctx context.Context, id enrollment.ID, err error) error {
	if errors.Is(err, enrollment.ErrUnknown) {
		p.log.WarnContext(ctx, "fact about an unknown enrollment", "enrollment", id)
		return nil
	}
	if impossible, ok := errors.AsType[*enrollment.ImpossibleMove](err); ok {
		p.log.DebugContext(ctx, "fact came too late", "enrollment", id, "state", impossible.From)
		return nil
	}
	if err != nil {
		return fmt.Errorf("enrollment %s: %w", id, err)
	}
	return nil
}

func enrollmentID(f events.Fact) (enrollment.ID, error) {
	id, err := uuid.Parse(f.EnrollmentID)
	if err != nil {
		return id, &events.Malformed{Fault: events.FieldInvalid, Field: "data.enrollmentId", Why: "is not a UUID"}
	}
	return id, nil
}

// generation of a fact that names none is the first.
func generation(g uint32) uint32 { return max(g, 1) }
