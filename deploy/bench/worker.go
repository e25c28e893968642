package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/consumers/codes"
	"github.com/mongotel/billcenter/events/bus"
)

// WorkerResult is a run of codes.Worker. The clock runs from its first pull until every event is a committed row, every fact
// is on the stream ENROLLMENT, every message is acknowledged and every code is purged from the broker.
type WorkerResult struct {
	Result
	SecondsToAcked float64 `json:"secondsToAcked"` // without the last purge, which waits for acknowledgements to settle
	Memory         Memory  `json:"memory"`
	Phases         *Phases `json:"phases,omitempty"` // absent when batches were repeated
	Counts         Counts  `json:"counts"`
}

// Counts is what stands where at the end, read from PostgreSQL and from the broker.
type Counts struct {
	Events      int    `json:"events"` // published before
	Codes       int    `json:"codes"`  // of them with a registration code
	InboxRows   int    `json:"inboxRows"`
	InvoiceRows int    `json:"invoiceRows"`
	CodeRows    int    `json:"codeRows"`
	Facts       uint64 `json:"facts"`
	LeftOnBus   uint64 `json:"leftOnBus"`
	DeadLetters uint64 `json:"deadLetters"`
}

func (c Counts) check() error {
	if c.InboxRows != c.Events || c.InvoiceRows != c.Events || c.CodeRows != c.Codes || c.Facts != uint64(c.Codes) || c.LeftOnBus != 0 || c.DeadLetters != 0 {
		return fmt.Errorf("the counts do not add up: %+v", c)
	}
	return nil
}

// finishTime bounds a measurement that hangs, generously: a loaded machine is slow too.
func finishTime(events int) time.Duration {
	return time.Minute + time.Duration(events)*10*time.Millisecond
}

// measureWorker runs the worker on n events.
func (g *ground) measureWorker(ctx context.Context, n int) (_ WorkerResult, err error) {
	s, err := g.newStage(ctx)
	if err != nil {
		return WorkerResult{}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	l, err := s.load(ctx, n)
	if err != nil {
		return WorkerResult{}, err
	}
	before, err := s.stream(ctx, bus.StreamBilling)
	if err != nil {
		return WorkerResult{}, err
	}
	if err := s.settle(ctx); err != nil {
		return WorkerResult{}, err
	}
	r, err := s.runWorker(ctx, l, before.LastSeq)
	if err != nil {
		return r, err
	}
	if r.Counts, err = s.counts(ctx, l); err != nil {
		return r, err
	}
	return r, r.Counts.check()
}

func (s *stage) runWorker(ctx context.Context, l loaded, last uint64) (WorkerResult, error) {
	ctx, cancel := context.WithTimeout(ctx, finishTime(l.events))
	defer cancel()
	var r WorkerResult
	w := watch(s, l, last)
	worker := &codes.Worker{
		Bus: w, Store: w, Facts: w, Known: func(t string) bool { return t == tenant },
		Metrics: consumers.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	memory := watchMemory(s.broker.pid())
	m, err := s.startMeter()
	if err != nil {
		return r, err
	}
	ended, stop := start(ctx, worker.Run)
	defer stop()
	if err := waitFor(ctx, w.all, ended); err != nil {
		return r, err
	}
	if err := s.awaitAcked(ctx, last); err != nil {
		return r, err
	}
	r.SecondsToAcked = time.Since(m.began).Seconds()
	if err := waitFor(ctx, w.purged, ended); err != nil {
		return r, err
	}
	if r.Result, err = m.stop(l.events); err != nil {
		return r, err
	}
	if r.Memory, err = memory(); err != nil {
		return r, err
	}
	r.Phases = w.phases()
	return r, stop()
}

// start runs what is measured until stop is called, which waits for its end and returns its error. ended is closed when it
// has ended.
func start(ctx context.Context, run func(context.Context) error) (ended <-chan struct{}, stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = run(ctx)
	}()
	return done, func() error {
		cancel()
		<-done
		return err
	}
}

// waitFor returns when done is closed. It is an error when what should close it has ended before.
func waitFor(ctx context.Context, done, ended <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("it did not finish: %w", ctx.Err())
	case <-ended:
		return errors.New("it ended before its work was done")
	}
}

// awaitAcked asks the broker until it knows everything as acknowledged. It is called when little is left to wait for.
func (s *stage) awaitAcked(ctx context.Context, last uint64) error {
	for {
		status, err := s.stream(ctx, bus.StreamBilling)
		if err != nil {
			return err
		}
		for _, c := range status.Consumers {
			if c.Name == bus.ConsumerCodes && c.AckFloor >= last {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func (s *stage) counts(ctx context.Context, l loaded) (c Counts, err error) {
	c.Events, c.Codes = l.events, l.codes
	for query, into := range map[string]*int{
		`SELECT count(*) FROM inbox`:                                      &c.InboxRows,
		`SELECT count(*) FROM invoice_emails`:                             &c.InvoiceRows,
		`SELECT count(*) FROM invoice_emails WHERE code_hash IS NOT NULL`: &c.CodeRows,
	} {
		if *into, err = s.count(ctx, query); err != nil {
			return c, err
		}
	}
	all, err := s.bus.Status(ctx)
	if err != nil {
		return c, err
	}
	for _, status := range all {
		switch status.Name {
		case bus.StreamEnrollment:
			c.Facts = status.Messages
		case bus.StreamBilling:
			c.LeftOnBus = status.Messages
		case bus.StreamDeadLetter:
			c.DeadLetters = status.Messages
		}
	}
	return c, nil
}
