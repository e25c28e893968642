package main

import (
	"context"
	"errors"
	"flag"
	"io"
)

type ingestOptions struct {
	options
	events      int
	peerEvents  int
	subscribers int
	alone       bool
}

func ingest(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o ingestOptions
	f := flag.NewFlagSet("ingest", flag.ContinueOnError)
	o.register(f)
	f.IntVar(&o.events, "n", 100_000, "events for the worker and the ceilings")
	f.IntVar(&o.peerEvents, "peer-n", 0, "events for each peer (default: a tenth of -n)")
	f.IntVar(&o.subscribers, "subscribers", 8, "also measure pkg/nats with so many subscribers, thus messages at once; 0: do not")
	f.BoolVar(&o.alone, "alone", false, "measure the worker only, to profile it")
	if err := o.parse(f, args, stderr); err != nil {
		return err
	}
	if o.peerEvents == 0 {
		o.peerEvents = max(1, o.events/10)
	}
	if o.events < 1 || o.peerEvents < 1 {
		return errors.New("-n and -peer-n must be at least 1")
	}
	report, err := o.measure(ctx, stderr)
	if err != nil {
		return err
	}
	return report.print(stdout, o.json)
}

func (o ingestOptions) measure(ctx context.Context, progress io.Writer) (*Report, error) {
	var worker []WorkerResult
	variants := []variant{{"codes.Worker", func(ctx context.Context, g *ground) (Result, error) {
		r, err := g.measureWorker(ctx, o.events)
		worker = append(worker, r)
		return r.Result, err
	}}}
	for _, p := range o.peers() {
		variants = append(variants, variant{p.name, func(ctx context.Context, g *ground) (Result, error) {
			return g.measurePeer(ctx, p, o.peerEvents)
		}})
	}
	for _, c := range o.ceilings() {
		variants = append(variants, variant{c.name, func(ctx context.Context, g *ground) (Result, error) {
			return g.measureCeiling(ctx, c, o.events)
		}})
	}
	report, err := compare(ctx, o.options, "ingest", variants, progress)
	if err != nil {
		return nil, err
	}
	report.Worker = worker
	return report, nil
}

func (o ingestOptions) peers() []peer {
	switch {
	case o.alone:
		return nil
	case o.subscribers > 1:
		return []peer{onNATS(1), onJetStream(), onNATS(o.subscribers)}
	default:
		return []peer{onNATS(1), onJetStream()}
	}
}

func (o ingestOptions) ceilings() []ceiling {
	if o.alone {
		return nil
	}
	return []ceiling{storeAlone, unnestAlone}
}
