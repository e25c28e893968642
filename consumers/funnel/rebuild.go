package funnel

import (
	"context"
	"fmt"
	"iter"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
)

// Stream reads what the broker has stored.
type Stream interface {
	Stored(ctx context.Context, stream, subject string, after uint64) iter.Seq2[bus.Stored, error]
}

// RebuildStore is the store as a rebuild needs it.
type RebuildStore interface {
	RebuildFunnel(ctx context.Context, read func(take func([]events.Received) error) error) error
	JourneysDigest(ctx context.Context) (string, error)
}

// Rebuilt says what a rebuild did. The digests are equal unless facts were missing, or a defect had spoiled journeys.
type Rebuilt struct {
	Facts   int    `json:"facts"`   // taken from the stream
	Skipped int    `json:"skipped"` // messages that are dead letters: malformed, or of a tenant that is not configured
	Before  string `json:"before"`  // digest of all journeys
	After   string `json:"after"`
}

// Rebuild takes all facts that the stream holds again, from its first message to its last, and derives every journey anew, in
// one transaction. Workers may run meanwhile: their batches wait.
func Rebuild(ctx context.Context, b Stream, s RebuildStore, known func(tenant string) bool) (Rebuilt, error) {
	var r Rebuilt
	var err error
	if r.Before, err = s.JourneysDigest(ctx); err != nil {
		return r, err
	}
	err = s.RebuildFunnel(ctx, func(take func([]events.Received) error) error {
		r.Facts, r.Skipped = 0, 0
		batch := make([]events.Received, 0, batchSize)
		for m, err := range b.Stored(ctx, bus.StreamEnrollment, ">", 0) {
			if err != nil {
				return err
			}
			fact, ok := readStored(m, known)
			if !ok {
				r.Skipped++
				continue
			}
			r.Facts++
			if batch = append(batch, fact); len(batch) == batchSize {
				if err := take(batch); err != nil {
					return err
				}
				batch = batch[:0]
			}
		}
		return take(batch)
	})
	if err != nil {
		return r, fmt.Errorf("stream %s: %w", bus.StreamEnrollment, err)
	}
	r.After, err = s.JourneysDigest(ctx)
	return r, err
}

func readStored(m bus.Stored, known func(tenant string) bool) (events.Received, bool) {
	e, err := consumers.Read(&bus.Incoming{Subject: m.Subject, Header: m.Header, Data: m.Data}, known)
	if err != nil {
		return events.Received{}, false
	}
	message, err := e.Read()
	return events.Received{Event: e, Message: message, Sequence: m.Sequence}, err == nil
}
