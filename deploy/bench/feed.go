package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/producers/billing"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/keyring"
)

// Every measurement of every run gets the same events: one bill run with its oddities, as package billing makes them up.
const seed = 7

var until = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

// generate returns a reader of n events as NDJSON. They exist a few at a time, so that they are not counted as memory.
func generate(n int) *io.PipeReader {
	out, in := io.Pipe()
	go func() { in.CloseWithError(billing.Generate(in, n, seed, until)) }()
	return out
}

// loaded is what stands on a stream before the clock runs.
type loaded struct {
	events int
	codes  int // events with a registration code, each of which owes a fact
}

// load publishes n events to the stream BILLING in atomic batches, as `billcenter publish` does.
func (s *stage) load(ctx context.Context, n int) (loaded, error) {
	var l loaded
	publisher := consumers.PublishOn(s.bus)
	publish := func(ctx context.Context, batch []events.Encoded) error {
		if err := publisher.Publish(ctx, batch...); err != nil {
			return err
		}
		for _, e := range batch {
			if bytes.Contains(e.Body, []byte(`"registrationCode":`)) {
				l.codes++
			}
		}
		return nil
	}
	in := generate(n)
	defer in.Close()
	summary, err := billing.Publish(ctx, in, publish, billing.Options{Origin: origin, SkipInvalid: true})
	if err != nil {
		return l, fmt.Errorf("load the stream: %w", err)
	}
	if summary.Invalid > 0 || summary.Published != n {
		return l, fmt.Errorf("load the stream: of %d events %d were invalid and %d published", n, summary.Invalid, summary.Published)
	}
	l.events = summary.Published
	return l, nil
}

var origin = billing.Origin{Tenant: tenant, Source: source, Format: billing.NDJSON}

// read returns the same n events decoded, in batches as they would be pulled: for measurements without a bus.
func read(n, size int) (batches [][]events.Received, err error) {
	in := generate(n)
	defer in.Close()
	sequence := uint64(0)
	for record, err := range billing.Read(in, origin) {
		if err != nil {
			return nil, err
		}
		e, err := events.Decode(record.Event.Subject, record.Event.Header, record.Event.Body)
		if err != nil {
			return nil, err
		}
		m, err := events.Data[events.InvoiceEmailed](e)
		if err != nil {
			return nil, err
		}
		if sequence%uint64(size) == 0 {
			batches = append(batches, make([]events.Received, 0, size))
		}
		sequence++
		last := &batches[len(batches)-1]
		*last = append(*last, events.Received{Event: e, Message: m, Sequence: sequence})
	}
	return batches, nil
}

// row is what a straightforward consumer would keep of an InvoiceEmailed: everything, the code as a keyed hash.
type row struct {
	EventID        string     `db:"event_id"`
	Tenant         string     `db:"tenant"`
	AccountNumber  string     `db:"account_number"`
	CompanyName    string     `db:"company_name"`
	BillingEmail   string     `db:"billing_email"`
	Locale         string     `db:"locale"`
	EmailedAt      time.Time  `db:"emailed_at"`
	CodeHash       []byte     `db:"code_hash"`
	CodeExpiresAt  *time.Time `db:"code_expires_at"`
	InvoiceNumber  string     `db:"invoice_number"`
	IssuedOn       *string    `db:"issued_on"`
	DueOn          *string    `db:"due_on"`
	Currency       string     `db:"currency"`
	AmountDueMinor *int64     `db:"amount_due_minor"`
	DocumentURL    string     `db:"document_url"`
}

// rowOf decodes an event as one would without package events: by encoding/json, which takes what it can.
func rowOf(body []byte, ring *keyring.Ring) (row, error) {
	var e struct {
		ID   string                `json:"id"`
		Data events.InvoiceEmailed `json:"data"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return row{}, err
	}
	if e.Data.Invoice == nil {
		return row{}, errors.New("the event has no invoice")
	}
	return newRow(e.ID, e.Data, ring)
}

func newRow(id string, m events.InvoiceEmailed, ring *keyring.Ring) (row, error) {
	r := row{
		EventID: id, Tenant: tenant, AccountNumber: m.AccountNumber, CompanyName: m.CompanyName, BillingEmail: m.BillingEmail,
		Locale: m.Locale, EmailedAt: m.EmailedAt, CodeExpiresAt: m.RegistrationCodeExpiresAt, InvoiceNumber: m.Invoice.Number,
		IssuedOn: day(m.Invoice.IssuedOn), DueOn: day(m.Invoice.DueOn), Currency: m.Invoice.Currency,
		AmountDueMinor: m.Invoice.AmountDueMinor, DocumentURL: m.Invoice.DocumentURL,
	}
	if m.RegistrationCode != "" {
		key, err := enrollment.AccountKey(m.AccountNumber, false)
		if err != nil {
			return row{}, err
		}
		r.CodeHash = ring.CodeHash(tenant, key, m.RegistrationCode).Sum
	}
	return r, nil
}

func day(d events.Date) *string {
	if d == "" {
		return nil
	}
	return new(string(d))
}

// makePlainTable makes the one table of such a consumer.
func (s *stage) makePlainTable(ctx context.Context) error {
	_, err := s.db.ExecContext(ctx, `
		CREATE TABLE plain_invoice_emails (
			event_id         text        PRIMARY KEY,
			tenant           text        NOT NULL,
			account_number   text        NOT NULL,
			company_name     text        NOT NULL,
			billing_email    text        NOT NULL,
			locale           text        NOT NULL,
			emailed_at       timestamptz NOT NULL,
			code_hash        bytea,
			code_expires_at  timestamptz,
			invoice_number   text        NOT NULL,
			issued_on        date,
			due_on           date,
			currency         text        NOT NULL,
			amount_due_minor bigint,
			document_url     text        NOT NULL
		)`)
	if err != nil {
		return fmt.Errorf("make the plain table: %w", err)
	}
	return nil
}
