package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/producers/outbox"
	"github.com/mongotel/billcenter/schema/enrollment"
)

func relay(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	f := flag.NewFlagSet("relay", flag.ContinueOnError)
	o.register(f)
	rows := f.Int("n", 50_000, "rows for the relay")
	peerRows := f.Int("peer-n", 0, "rows for its peer (default: a fifth of -n)")
	if err := o.parse(f, args, stderr); err != nil {
		return err
	}
	if *peerRows == 0 {
		*peerRows = max(2, *rows/5)
	}
	if *rows < 2 || *peerRows < 2 {
		return errors.New("-n and -peer-n must be at least 2")
	}
	report, err := compare(ctx, o, "relay", []variant{
		{"outbox.Relay, atomic batches", func(ctx context.Context, g *ground) (Result, error) {
			return g.measureRelay(ctx, *rows, func(s *stage) (outbox.Publisher, error) { return consumers.PublishOn(s.bus), nil })
		}},
		{"the same with PublishMsgAsync for each row", func(ctx context.Context, g *ground) (Result, error) {
			return g.measureRelay(ctx, *peerRows, func(s *stage) (outbox.Publisher, error) { return publishEach(s.broker.url) })
		}},
	}, stderr)
	if err != nil {
		return err
	}
	return report.print(stdout, o.json)
}

// measureRelay carries n rows. The clock runs until all are on their streams and gone from the outbox.
func (g *ground) measureRelay(ctx context.Context, n int, publisher func(*stage) (outbox.Publisher, error)) (_ Result, err error) {
	n -= n % 2 // a registration leaves two rows
	s, err := g.newStage(ctx)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.fillOutbox(ctx, n); err != nil {
		return Result{}, err
	}
	p, err := publisher(s)
	if err != nil {
		return Result{}, err
	}
	if c, ok := p.(io.Closer); ok {
		defer c.Close()
	}
	if err := s.settle(ctx); err != nil {
		return Result{}, err
	}

	ctx, cancel := context.WithTimeout(ctx, finishTime(n))
	defer cancel()
	counted := &counting{Publisher: p, wanted: int64(n), all: make(chan struct{})}
	m, err := s.startMeter()
	if err != nil {
		return Result{}, err
	}
	ended, stop := start(ctx, outbox.New(s.store, counted, slog.New(slog.DiscardHandler)).Run)
	defer stop()
	if err := waitFor(ctx, counted.all, ended); err != nil {
		return Result{}, err
	}
	for left := 1; left > 0; { // the last batch commits after it was published
		if left, err = s.count(ctx, `SELECT count(*) FROM outbox`); err != nil {
			return Result{}, err
		}
	}
	r, err := m.stop(n)
	if err != nil {
		return r, err
	}
	if err := stop(); err != nil {
		return r, err
	}
	return r, s.checkRelayed(ctx, n)
}

func (s *stage) checkRelayed(ctx context.Context, n int) error {
	for _, name := range []string{bus.StreamMail, bus.StreamEnrollment} {
		status, err := s.stream(ctx, name)
		if err != nil {
			return err
		}
		if status.Messages != uint64(n/2) {
			return fmt.Errorf("stream %s has %d messages, want %d", name, status.Messages, n/2)
		}
	}
	return nil
}

// fillOutbox writes what n/2 registrations leave: a mail to send and a fact each.
func (s *stage) fillOutbox(ctx context.Context, n int) error {
	at := until
	for done := 0; done < n; {
		var subjects, ids, bodies []string
		for ; done < n && len(ids) < 1000; done += 2 {
			id := uuid.NewString()
			for _, m := range []events.Message{
				events.ActivationRequested{
					EnrollmentID: id, Generation: 1, Number: 1, To: fmt.Sprintf("customer-%d@customer.example", done),
					Username: fmt.Sprintf("customer-%d", done), CompanyName: "Bob's Building", AccountNumber: fmt.Sprintf("%06d-1", done),
					Locale: "en-US", RequestedAt: at, ValidForSeconds: 259200,
				},
				events.Registered{Fact: events.Fact{
					AccountRef: "0123456789abcdef0123456789abcdef", EnrollmentID: id, Sequence: 1, OccurredAt: at,
					Properties: events.Properties{Locale: "en-US", InvoiceMonth: "2026-11", CodeAgeDays: new(3), MailDomainClass: enrollment.CompanyMail},
				}},
			} {
				e, err := events.Encode(tenant, events.Envelope{ID: uuid.NewString(), Source: events.Source(tenant, "portal"), Subject: id, Time: at}, m)
				if err != nil {
					return err
				}
				subjects, ids, bodies = append(subjects, e.Subject), append(ids, e.MsgID), append(bodies, string(e.Body))
			}
		}
		if _, err := s.db.ExecContext(ctx, `
			INSERT INTO outbox (subject, msg_id, body) SELECT * FROM unnest($1::text[], $2::text[], $3::text[])`,
			pq.Array(subjects), pq.Array(ids), pq.Array(bodies)); err != nil {
			return fmt.Errorf("fill the outbox: %w", err)
		}
	}
	return nil
}

// counting tells when everything is published.
type counting struct {
	outbox.Publisher
	published atomic.Int64
	wanted    int64
	all       chan struct{}
}

func (c *counting) Publish(ctx context.Context, out ...events.Encoded) error {
	if err := c.Publisher.Publish(ctx, out...); err != nil {
		return err
	}
	if c.published.Add(int64(len(out))) == c.wanted {
		close(c.all)
	}
	return nil
}

// eachPublisher publishes every message for itself, as quickly as JetStream takes them, and waits for all.
type eachPublisher struct {
	conn *nats.Conn
	js   jetstream.JetStream
}

func publishEach(url string) (*eachPublisher, error) {
	conn, err := nats.Connect(url)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(4000))
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &eachPublisher{conn, js}, nil
}

func (p *eachPublisher) Close() error {
	p.conn.Close()
	return nil
}

func (p *eachPublisher) Publish(ctx context.Context, out ...events.Encoded) error {
	futures := make([]jetstream.PubAckFuture, len(out))
	for i, e := range out {
		msg := &nats.Msg{Subject: e.Subject, Header: nats.Header(e.Header), Data: e.Body}
		var err error
		if futures[i], err = p.js.PublishMsgAsync(msg, jetstream.WithMsgID(e.MsgID), jetstream.WithStallWait(30*time.Second)); err != nil {
			return err
		}
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
