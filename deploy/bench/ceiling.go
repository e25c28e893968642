package main

import (
	"context"
	"errors"
	"time"

	"github.com/lib/pq"
	"golang.org/x/sync/errgroup"

	"github.com/mongotel/billcenter/events"
)

const (
	ceilingBatch       = 1000
	ceilingConnections = 2
)

// ceiling is a measurement without a bus: events decoded before the clock runs, written by two connections at once.
type ceiling struct {
	name  string
	write func(s *stage, batch []events.Received) (func(context.Context) error, error) // prepares a batch
}

// storeAlone is the worker's own transaction without all that is around it.
var storeAlone = ceiling{
	name: "store alone: TakeBilling without a bus",
	write: func(s *stage, batch []events.Received) (func(context.Context) error, error) {
		return func(ctx context.Context) error {
			_, err := s.store.TakeBilling(ctx, batch)
			return err
		}, nil
	},
}

// unnestAlone inserts the peer's one plain row for each event, a thousand by a statement: what PostgreSQL takes at most.
var unnestAlone = ceiling{
	name: "unnest alone: the plain rows, 1000 by a statement",
	write: func(s *stage, batch []events.Received) (func(context.Context) error, error) {
		var c plainColumns
		for _, r := range batch {
			row, err := newRow(r.ID, r.Message.(events.InvoiceEmailed), s.ground.ring)
			if err != nil {
				return nil, err
			}
			c.add(row)
		}
		return func(ctx context.Context) error { return s.insertPlain(ctx, c) }, nil
	},
}

func (g *ground) measureCeiling(ctx context.Context, c ceiling, n int) (_ Result, err error) {
	s, err := g.newStage(ctx)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.makePlainTable(ctx); err != nil {
		return Result{}, err
	}
	batches, err := read(n, ceilingBatch)
	if err != nil {
		return Result{}, err
	}
	writes := make(chan func(context.Context) error, len(batches))
	for _, b := range batches {
		write, err := c.write(s, b)
		if err != nil {
			return Result{}, err
		}
		writes <- write
	}
	close(writes)
	if err := s.settle(ctx); err != nil {
		return Result{}, err
	}

	m, err := s.startMeter()
	if err != nil {
		return Result{}, err
	}
	group, ctx := errgroup.WithContext(ctx)
	for range ceilingConnections {
		group.Go(func() error {
			for write := range writes {
				if err := write(ctx); err != nil {
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

// plainColumns are rows as one array a column.
type plainColumns struct {
	ids, tenants, numbers, companies, addresses, locales []string
	emailed                                              []time.Time
	hashes                                               [][]byte
	ends                                                 []*string
	invoices                                             []string
	issued, due                                          []*string
	currencies                                           []string
	amounts                                              []*int64
	documents                                            []string
}

func (c *plainColumns) add(r row) {
	c.ids, c.tenants, c.numbers = append(c.ids, r.EventID), append(c.tenants, r.Tenant), append(c.numbers, r.AccountNumber)
	c.companies, c.addresses, c.locales = append(c.companies, r.CompanyName), append(c.addresses, r.BillingEmail), append(c.locales, r.Locale)
	c.emailed, c.hashes = append(c.emailed, r.EmailedAt), append(c.hashes, r.CodeHash)
	var ends *string
	if r.CodeExpiresAt != nil {
		ends = new(r.CodeExpiresAt.Format(time.RFC3339Nano))
	}
	c.ends, c.invoices = append(c.ends, ends), append(c.invoices, r.InvoiceNumber)
	c.issued, c.due, c.currencies = append(c.issued, r.IssuedOn), append(c.due, r.DueOn), append(c.currencies, r.Currency)
	c.amounts, c.documents = append(c.amounts, r.AmountDueMinor), append(c.documents, r.DocumentURL)
}

func (s *stage) insertPlain(ctx context.Context, c plainColumns) error {
	_, err := s.db.ExecContext(ctx, `
		INSERT INTO plain_invoice_emails (event_id, tenant, account_number, company_name, billing_email, locale, emailed_at, code_hash,
			code_expires_at, invoice_number, issued_on, due_on, currency, amount_due_minor, document_url)
		SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::bytea[],
			$9::timestamptz[], $10::text[], $11::date[], $12::date[], $13::text[], $14::bigint[], $15::text[])
		ON CONFLICT (event_id) DO NOTHING`,
		pq.Array(c.ids), pq.Array(c.tenants), pq.Array(c.numbers), pq.Array(c.companies), pq.Array(c.addresses), pq.Array(c.locales),
		pq.Array(c.emailed), pq.ByteaArray(c.hashes), pq.Array(c.ends), pq.Array(c.invoices), pq.Array(c.issued), pq.Array(c.due),
		pq.Array(c.currencies), pq.Array(c.amounts), pq.Array(c.documents))
	return err
}
