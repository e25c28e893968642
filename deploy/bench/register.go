package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

func register(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	f := flag.NewFlagSet("register", flag.ContinueOnError)
	o.register(f)
	n := f.Int("n", 10_000, "registrations, each of another account and from another address")
	clients := f.Int("clients", 8, "customers at once")
	if err := o.parse(f, args, stderr); err != nil {
		return err
	}
	if *n < 1 || *clients < 1 {
		return errors.New("-n and -clients must be at least 1")
	}
	report, err := compare(ctx, o, "register", []variant{
		{"store.Register", func(ctx context.Context, g *ground) (Result, error) { return g.measureRegister(ctx, *n, *clients) }},
		{"one row inserted and committed", func(ctx context.Context, g *ground) (Result, error) { return g.measureInsert(ctx, *n, *clients) }},
	}, stderr)
	if err != nil {
		return err
	}
	return report.print(stdout, o.json)
}

// measureRegister registers n customers whose codes are stored. The clock runs until the last one is admitted.
func (g *ground) measureRegister(ctx context.Context, n, clients int) (_ Result, err error) {
	s, err := g.newStage(ctx)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	applications, err := s.mailCodes(ctx, n)
	if err != nil {
		return Result{}, err
	}
	r, err := s.concurrently(ctx, n, clients, func(ctx context.Context, i int) error {
		_, err := s.store.Register(ctx, applications[i])
		return err
	})
	if err != nil {
		return r, err
	}
	enrolled, err := s.count(ctx, `SELECT count(*) FROM enrollments`)
	if err != nil {
		return r, err
	}
	announced, err := s.count(ctx, `SELECT count(*) FROM outbox`)
	if err == nil && (enrolled != n || announced != 2*n) {
		err = fmt.Errorf("%d registrations made %d enrollments and %d announcements", n, enrolled, announced)
	}
	return r, err
}

// measureInsert is the least that a registration can cost: one round trip and one commit.
func (g *ground) measureInsert(ctx context.Context, n, clients int) (_ Result, err error) {
	s, err := g.newStage(ctx)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if _, err := s.db.ExecContext(ctx, `CREATE TABLE plain (id bigint PRIMARY KEY, body text NOT NULL)`); err != nil {
		return Result{}, err
	}
	insert, err := s.db.PrepareContext(ctx, `INSERT INTO plain (id, body) VALUES ($1, $2)`)
	if err != nil {
		return Result{}, err
	}
	defer insert.Close()
	return s.concurrently(ctx, n, clients, func(ctx context.Context, i int) error {
		_, err := insert.ExecContext(ctx, i, "one customer")
		return err
	})
}

// concurrently measures do for 0 to n-1 by so many clients at once.
func (s *stage) concurrently(ctx context.Context, n, clients int, do func(ctx context.Context, i int) error) (Result, error) {
	if err := s.settle(ctx); err != nil {
		return Result{}, err
	}
	work := make(chan int, n)
	for i := range n {
		work <- i
	}
	close(work)
	m, err := s.startMeter()
	if err != nil {
		return Result{}, err
	}
	group, ctx := errgroup.WithContext(ctx)
	for range clients {
		group.Go(func() error {
			for i := range work {
				if err := do(ctx, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return Result{}, err
	}
	return m.stop(n)
}

// mailCodes stores n codes of as many accounts, and returns the applications of those who got them.
func (s *stage) mailCodes(ctx context.Context, n int) ([]enrollment.Application, error) {
	at := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	applications := make([]enrollment.Application, n)
	batch := make([]events.Received, 0, ceilingBatch)
	for i := range n {
		m := events.InvoiceEmailed{
			AccountNumber: fmt.Sprintf("%06d-1", i), CompanyName: "Bob's Building", BillingEmail: fmt.Sprintf("ap@customer-%d.example", i),
			EmailedAt: at, RegistrationCode: fmt.Sprintf("%04d-7F3K-%04d", i%10_000, i/10_000), Locale: "en-US",
			Invoice: &events.Invoice{Number: fmt.Sprintf("INV-%d", i)},
		}
		received, err := deliver(m, i)
		if err != nil {
			return nil, err
		}
		batch = append(batch, received)
		if len(batch) == ceilingBatch || i == n-1 {
			if _, err := s.store.TakeBilling(ctx, batch); err != nil {
				return nil, err
			}
			batch = batch[:0]
		}
		username, err := enrollment.ParseUsername(fmt.Sprintf("customer-%d", i))
		if err != nil {
			return nil, err
		}
		applications[i] = enrollment.Application{
			Tenant: tenant, AccountNumber: m.AccountNumber, Code: enrollment.Secret(m.RegistrationCode),
			Email: enrollment.Address(fmt.Sprintf("person@customer-%d.example", i)), Username: username, Locale: "en-US",
			RequestID: fmt.Sprintf("request-%d", i), Source: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}),
		}
	}
	return applications, nil
}

// deliver makes a message what it is once it has come over the bus.
func deliver(m events.InvoiceEmailed, number int) (events.Received, error) {
	encoded, err := events.Encode(tenant, events.Envelope{ID: fmt.Sprint(number), Source: source, Subject: m.AccountNumber, Time: m.EmailedAt}, m)
	if err != nil {
		return events.Received{}, err
	}
	e, err := events.Decode(encoded.Subject, encoded.Header, encoded.Body)
	return events.Received{Event: e, Message: m, Sequence: uint64(number + 1)}, err
}
