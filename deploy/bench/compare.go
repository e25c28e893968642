package main

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// variant is one way of doing a command's work.
type variant struct {
	name    string
	measure func(ctx context.Context, g *ground) (Result, error)
}

// compare measures the variants in turn, round after round, so that what changes on the machine meanwhile meets them all.
// The first is ours; the ratios compare it with each other one.
func compare(ctx context.Context, o options, command string, variants []variant, progress io.Writer) (_ *Report, err error) {
	g, err := newGround(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	report := &Report{Command: command, Variants: make([]Variant, len(variants))}
	if report.Machine, err = g.machine(ctx); err != nil {
		return nil, err
	}
	for round := range o.rounds {
		for i, v := range variants {
			fmt.Fprintf(progress, "round %d of %d: %s\n", round+1, o.rounds, v.name)
			r, err := v.measure(ctx, g)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", v.name, err)
			}
			report.Variants[i].Name = v.name
			report.Variants[i].add(r)
		}
	}
	for _, other := range report.Variants[1:] {
		report.Ratios = append(report.Ratios, ratio(report.Variants[0], other))
	}
	report.Machine.LoadAfter = loadAverage()
	return report, nil
}
