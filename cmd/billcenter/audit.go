package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/schema/store"
)

type auditCommand struct {
	services
	JSON bool `help:"Print for programs." name:"json"`
}

// kept is what the audit says of one promise.
type kept struct {
	Promise string   `json:"promise"`
	Kept    bool     `json:"kept"`
	Broken  []string `json:"broken"` // what breaks it, the first twenty
}

// Run checks the promises on live data, while everything runs. It changes nothing.
func (c *auditCommand) Run(in *invocation) error {
	if err := c.complete(); err != nil {
		return err
	}
	s, done, err := c.store(in)
	if err != nil {
		return err
	}
	defer done()
	b, err := c.broker(in, "audit", false, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer b.Close()
	found, err := audit(in, s, b)
	if err != nil {
		return err
	}
	broken := 0
	for _, k := range found {
		if !k.Kept {
			broken++
		}
	}
	if c.JSON {
		if err := printJSON(in.stdout, map[string]any{"kept": broken == 0, "promises": found}); err != nil {
			return err
		}
	} else if err := c.print(in, found); err != nil {
		return err
	}
	if broken > 0 {
		return &exit{exitFailed}
	}
	return nil
}

func (c *auditCommand) print(in *invocation, found []kept) error {
	w := tabwriter.NewWriter(in.stdout, 0, 0, 2, ' ', 0)
	for _, k := range found {
		verdict := "kept"
		if !k.Kept {
			verdict = "BROKEN"
		}
		fmt.Fprintf(w, "%s\t%s\n", verdict, k.Promise)
		for _, b := range k.Broken {
			fmt.Fprintf(w, "\t→ %s\n", b)
		}
	}
	return w.Flush()
}

// evidence gathers what breaks a promise.
type evidence []string

const enoughEvidence = 20

func (e *evidence) add(format string, args ...any) {
	if len(*e) < enoughEvidence {
		*e = append(*e, fmt.Sprintf(format, args...))
	}
}

func (e evidence) about(promise string) kept {
	return kept{Promise: promise, Kept: len(e) == 0, Broken: append([]string{}, e...)}
}

func audit(ctx context.Context, s *store.Store, b *bus.Bus) ([]kept, error) {
	var found []kept
	promises, err := s.Promises(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range promises {
		found = append(found, evidence(p.Broken).about(p.Name))
	}
	codes, err := codesLeaveTheBroker(ctx, b)
	if err != nil {
		return nil, err
	}
	facts, err := factsOnTheBus(ctx, s, b)
	return append(append(found, codes), facts...), err
}

// codesLeave is the time in which a code leaves the broker once it is stored, and some more for a worker that just started.
const codesLeave = 5 * time.Second

// codesLeaveTheBroker looks whether a message that the codes' worker has done with is still there after a while.
func codesLeaveTheBroker(ctx context.Context, b *bus.Bus) (kept, error) {
	var e evidence
	worker, _, err := b.ConsumerStatus(ctx, bus.ConsumerCodes)
	if err != nil {
		return kept{}, err
	}
	left := func() (first, messages uint64, err error) {
		for m, err := range b.Stored(ctx, bus.StreamBilling, ">", 0) {
			if err != nil || m.Sequence > worker.AckFloor {
				return first, messages, err
			}
			if messages++; messages == 1 {
				first = m.Sequence
			}
		}
		return first, messages, nil
	}
	for end := time.Now().Add(codesLeave); ; {
		first, messages, err := left()
		if err != nil {
			return kept{}, err
		}
		if messages == 0 {
			break
		}
		if time.Now().After(end) {
			e.add("stream %s still holds %d messages from sequence %d on that are stored", bus.StreamBilling, messages, first)
			break
		}
		select {
		case <-ctx.Done():
			return kept{}, ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
	return e.about("a code leaves the broker once it is stored"), nil
}

// factsOnTheBus reads the stream of facts once, from its first message to its last.
func factsOnTheBus(ctx context.Context, s *store.Store, b *bus.Bus) ([]kept, error) {
	type told struct {
		enrollment uuid.UUID
		sequence   int64
	}
	var malformed, personal, untold evidence
	moves := map[told]bool{}
	var since time.Time // of the moves whose facts must be there
	first := true
	for m, err := range b.Stored(ctx, bus.StreamEnrollment, ">", 0) {
		if err != nil {
			return nil, err
		}
		if first && m.Sequence > 1 { // older ones have left the stream
			since = m.StoredAt
		}
		first = false
		if bytes.ContainsRune(m.Data, '@') {
			personal.add("message %d on %s holds what looks like an e-mail address", m.Sequence, m.Subject)
		}
		e, err := events.Decode(m.Subject, m.Header, m.Data)
		if err != nil {
			malformed.add("message %d on %s: %v", m.Sequence, m.Subject, err)
			continue
		}
		message, err := e.Read()
		if err != nil {
			malformed.add("message %d on %s: %v", m.Sequence, m.Subject, err)
			continue
		}
		if fact, ok := events.FactOf(message); ok {
			if enrollment, err := uuid.Parse(fact.EnrollmentID); err == nil {
				moves[told{enrollment, fact.Sequence}] = true
			}
		}
	}
	made, err := s.SettledMoves(ctx, since)
	if err != nil {
		return nil, err
	}
	for _, m := range made {
		if !moves[told{m.Enrollment, m.Sequence}] {
			untold.add("enrollment %s, %s at %s: no fact %d", m.Enrollment, m.Action, m.At.UTC().Format(time.RFC3339), m.Sequence)
		}
	}
	return []kept{
		malformed.about("every fact on the bus follows the contract"),
		personal.about("facts carry no personal data"),
		untold.about("every move of an enrollment became a fact"),
	}, nil
}
