package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/mongotel/billcenter/events/bus"
)

type deadlettersCommand struct {
	List   deadlettersListCommand   `cmd:"" help:"List dead letters, oldest first."`
	Show   deadlettersShowCommand   `cmd:"" help:"Show everything about one; what it carried stays sealed."`
	Replay deadlettersReplayCommand `cmd:"" help:"Publish the originals once more, then delete the letters."`
	Drop   deadlettersDropCommand   `cmd:"" help:"Delete letters and what they carried, for good."`
}

// letterFilter are the flags that select dead letters.
type letterFilter struct {
	Consumer string `help:"Only those of this consumer."`
	Tenant   string `help:"Only those of this tenant; _ for letters without a valid one."`
	Reason   string `help:"Only those with this reason."`
}

func (f letterFilter) filter() bus.DeadLetterFilter {
	return bus.DeadLetterFilter{Consumer: f.Consumer, Tenant: f.Tenant, Reason: f.Reason}
}

// letters opens the bus on which dead letters are read and replayed.
func (s *services) letters(in *invocation) (*bus.Bus, error) {
	if err := s.complete(); err != nil {
		return nil, err
	}
	ring, err := s.ring()
	if err != nil {
		return nil, err
	}
	return s.broker(in, "deadletters", false, ring.DeadLetters(), slog.New(slog.DiscardHandler))
}

type deadlettersListCommand struct {
	services
	letterFilter
	JSON bool `help:"Print for programs: an array." name:"json"`
}

func (c *deadlettersListCommand) Run(in *invocation) error {
	b, err := c.letters(in)
	if err != nil {
		return err
	}
	defer b.Close()
	letters := []bus.DeadLetter{}
	for l, err := range b.DeadLetters(in, c.filter()) {
		if err != nil {
			return err
		}
		letters = append(letters, l)
	}
	if c.JSON {
		return printJSON(in.stdout, letters)
	}
	w := tabwriter.NewWriter(in.stdout, 0, 0, 2, ' ', 0)
	if len(letters) > 0 {
		fmt.Fprintln(w, "ID\tDEAD SINCE\tCONSUMER\tTENANT\tREASON\tDETAIL")
	}
	for _, l := range letters {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", l.ID, l.DeadAt.UTC().Format(time.RFC3339), l.Consumer, l.Tenant, l.Reason, l.Detail)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(in.stdout, "%d dead letters\n", len(letters))
	return nil
}

type deadlettersShowCommand struct {
	services
	ID   uint64 `arg:"" help:"Number of the dead letter, as listed."`
	JSON bool   `help:"Print for programs." name:"json"`
}

func (c *deadlettersShowCommand) Run(in *invocation) error {
	b, err := c.letters(in)
	if err != nil {
		return err
	}
	defer b.Close()
	l, err := b.DeadLetter(in, c.ID)
	if err != nil {
		return fmt.Errorf("dead letter %d: %w", c.ID, err)
	}
	if c.JSON {
		return printJSON(in.stdout, l)
	}
	w := tabwriter.NewWriter(in.stdout, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"Dead letter", fmt.Sprint(l.ID)}, {"Reason", l.Reason}, {"Detail", l.Detail}, {"Parked", fmt.Sprint(l.Parked)},
		{"Consumer", l.Consumer}, {"Tenant", l.Tenant}, {"Subject", l.Subject},
		{"Event", l.Source + "#" + l.EventID}, {"Type", l.Type},
		{"Message", fmt.Sprintf("%s, sequence %d, delivered %d times", l.Stream, l.Sequence, l.Deliveries)},
		{"Stored at", l.StoredAt.UTC().Format(time.RFC3339)}, {"Dead at", l.DeadAt.UTC().Format(time.RFC3339)},
	} {
		fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
	}
	return w.Flush()
}

type deadlettersReplayCommand struct {
	services
	letterFilter
	IDs  []uint64 `arg:"" optional:"" name:"id" help:"Numbers of dead letters, as listed."`
	All  bool     `help:"All of them, or all that the other flags select."`
	JSON bool     `help:"Print for programs." name:"json"`
}

func (c *deadlettersReplayCommand) Run(in *invocation) error {
	return c.each(in, c.letterFilter, c.IDs, c.All, c.JSON, "replayed", (*bus.Bus).Replay)
}

type deadlettersDropCommand struct {
	services
	letterFilter
	IDs  []uint64 `arg:"" optional:"" name:"id" help:"Numbers of dead letters, as listed."`
	All  bool     `help:"All of them, or all that the other flags select."`
	JSON bool     `help:"Print for programs." name:"json"`
}

func (c *deadlettersDropCommand) Run(in *invocation) error {
	return c.each(in, c.letterFilter, c.IDs, c.All, c.JSON, "dropped", (*bus.Bus).Drop)
}

// each does one thing to every selected letter and goes on after a failure, so that one letter does not keep the others.
func (s *services) each(in *invocation, f letterFilter, ids []uint64, all, asJSON bool, done string, do func(*bus.Bus, context.Context, uint64) error) error {
	if all == (len(ids) > 0) {
		return &usageError{errors.New("give numbers of dead letters, or --all (with --consumer, --tenant, --reason to select)")}
	}
	b, err := s.letters(in)
	if err != nil {
		return err
	}
	defer b.Close()
	if all {
		for l, err := range b.DeadLetters(in, f.filter()) {
			if err != nil {
				return err
			}
			ids = append(ids, l.ID)
		}
	}
	n, failed := 0, []string{}
	for _, id := range ids {
		if err := do(b, in, id); err != nil {
			failed = append(failed, fmt.Sprintf("dead letter %d: %v", id, err))
			continue
		}
		n++
	}
	if asJSON {
		if err := printJSON(in.stdout, map[string]any{done: n, "failed": failed}); err != nil {
			return err
		}
	} else {
		for _, line := range failed {
			fmt.Fprintln(in.stderr, line)
		}
		fmt.Fprintf(in.stdout, "%d %s, %d failed\n", n, done, len(failed))
	}
	if len(failed) > 0 {
		return &exit{exitFailed}
	}
	return nil
}
