package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// TakeBilling keeps a batch of billing's events, all or none, and says of each what became of it, in the batch's order.
// It only adds rows: the same events in any order, batched in any way, any number of times, leave the same state. An event
// whose id is known with other content is not kept, and told so in its receipt.
func (s *Store) TakeBilling(ctx context.Context, batch []events.Received) ([]events.Receipt, error) {
	var receipts []events.Receipt
	err := s.transact(ctx, "take billing's events", func(t *tx) error {
		take := taking{tx: t, store: s, items: make([]item, len(batch))}
		for i, r := range batch {
			take.items[i] = take.prepare(r)
		}
		for _, step := range []func(context.Context) error{take.claim, take.compare, take.accounts, take.invoices, take.closures, take.paymentMethods} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		receipts = make([]events.Receipt, len(batch))
		for i, it := range take.items {
			receipts[i] = it.receipt
		}
		return nil
	})
	return receipts, err
}

// item is an event while it is being kept.
type item struct {
	events.Received
	number      string // account number as billing wrote it
	key         string
	exactCode   string // the code's forms; empty: the mail had no box
	foldedCode  string
	identity    uuid.UUID
	fingerprint []byte
	row         int64 // in the inbox; 0: not (yet) kept by this transaction
	account     int64
	receipt     events.Receipt
}

// fresh reports whether this transaction keeps the event.
func (i *item) fresh() bool { return i.row != 0 }

type taking struct {
	*tx
	store *Store
	items []item
}

func (t *taking) prepare(r events.Received) item {
	it := item{Received: r}
	switch m := r.Message.(type) {
	case events.InvoiceEmailed:
		it.number = m.AccountNumber
	case events.AccountClosed:
		it.number = m.AccountNumber
	case events.PaymentMethodChanged:
		it.number = m.AccountNumber
	default:
		it.receipt.Fault = &events.Malformed{Fault: events.NoHandler, Field: "type", Why: "is not one of billing's"}
		return it
	}
	policy, ok := t.store.policy(r.Tenant)
	if !ok {
		it.receipt.Fault = &events.Malformed{Fault: events.TenantUnknown, Field: "subject", Why: "names a tenant that is not configured"}
		return it
	}
	key, err := enrollment.AccountKey(it.number, policy.LeadingZerosOptional)
	if err != nil {
		it.receipt.Fault = &events.Malformed{Fault: events.FieldInvalid, Field: "data.accountNumber", Why: "is not an account number: " + err.Error()}
		return it
	}
	it.key = key
	if m, ok := r.Message.(events.InvoiceEmailed); ok && m.RegistrationCode != "" {
		if it.exactCode, it.foldedCode, err = enrollment.CodeForms(enrollment.Secret(m.RegistrationCode)); err != nil {
			it.receipt.Fault = &events.Malformed{Fault: events.FieldInvalid, Field: "data.registrationCode", Why: "is not a registration code: " + err.Error()}
			return it
		}
	}
	it.identity, it.fingerprint = identity(r.Event), t.ring.Sign(fingerprint, content(r))
	return it
}

// identity is what an event is known by, (tenant, source, id), as one short key: half of a bill run's cost in the database
// was the index over the three texts. None of them can hold a line feed. Migration 2 computes the same.
func identity(e events.Event) uuid.UUID {
	sum := sha256.Sum256([]byte(e.Tenant + "\n" + e.Source + "\n" + e.ID))
	return uuid.UUID(sum[:16])
}

const fingerprint = "inbox fingerprint"

// content is what makes two events with one id the same: type and data.
func content(r events.Received) []byte {
	return append([]byte(string(r.Definition.Type)+"\n"), events.Compact(r.Data)...)
}

// claim adds the events to the inbox; those that it already had stay unclaimed. Rows go in in key order, so that two batches
// that overlap cannot deadlock.
func (t *taking) claim(ctx context.Context) error {
	var identities, tenants, sources, ids, types []string
	var prints [][]byte
	var sequences []int64
	bySequence := make(map[int64]*item, len(t.items))
	for i := range t.items {
		it := &t.items[i]
		if it.receipt.Fault != nil {
			continue
		}
		identities, tenants = append(identities, it.identity.String()), append(tenants, it.Tenant)
		sources, ids, types = append(sources, it.Source), append(ids, it.ID), append(types, string(it.Definition.Type))
		prints, sequences = append(prints, it.fingerprint), append(sequences, int64(it.Sequence))
		bySequence[int64(it.Sequence)] = it
	}
	if len(ids) == 0 {
		return nil
	}
	rows, err := t.QueryContext(ctx, `
		INSERT INTO inbox (identity, tenant, source, event_id, type, fingerprint, stream_sequence)
		SELECT *
		FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bigint[])
			AS e (identity, tenant, source, event_id, type, fingerprint, stream_sequence)
		ORDER BY identity, stream_sequence
		ON CONFLICT (identity) DO NOTHING
		RETURNING id, stream_sequence`,
		pq.Array(identities), pq.Array(tenants), pq.Array(sources), pq.Array(ids), pq.Array(types), pq.ByteaArray(prints), pq.Array(sequences))
	if err != nil {
		return fmt.Errorf("claim in the inbox: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, sequence int64
		if err := rows.Scan(&id, &sequence); err != nil {
			return fmt.Errorf("claim in the inbox: %w", err)
		}
		it := bySequence[sequence]
		it.row = id
		it.receipt.FactsDue = true
	}
	return rows.Err()
}

// compare tells duplicates from ids that were used again for something else.
func (t *taking) compare(ctx context.Context) error {
	var identities []string
	for _, it := range t.items {
		if !it.fresh() && it.receipt.Fault == nil {
			identities = append(identities, it.identity.String())
		}
	}
	if len(identities) == 0 {
		return nil
	}
	var known []struct {
		Identity    uuid.UUID `db:"identity"`
		Fingerprint []byte    `db:"fingerprint"`
		Sequence    int64     `db:"stream_sequence"`
	}
	if err := t.SelectContext(ctx, &known, `SELECT identity, fingerprint, stream_sequence FROM inbox WHERE identity = ANY ($1::uuid[])`,
		pq.Array(identities)); err != nil {
		return fmt.Errorf("compare with the inbox: %w", err)
	}
	index := make(map[uuid.UUID]int, len(known))
	for i, k := range known {
		index[k.Identity] = i
	}
	for i := range t.items {
		it := &t.items[i]
		if it.fresh() || it.receipt.Fault != nil {
			continue
		}
		at, ok := index[it.identity]
		if !ok {
			return fmt.Errorf("event at sequence %d is neither new nor known", it.Sequence)
		}
		k := known[at]
		if !slices.Equal(k.Fingerprint, it.fingerprint) && !t.ring.Verify(fingerprint, content(it.Received), k.Fingerprint) {
			it.receipt.Fault = &events.Malformed{Fault: events.IDReused, Field: "id", Why: "is known from this source with other content; give every event an id of its own"}
			continue
		}
		it.receipt.Duplicate = true
		it.receipt.FactsDue = k.Sequence == int64(it.Sequence)
	}
	return nil
}

type accountName struct{ tenant, key string }

// accounts finds the accounts of all events, and adds those that nobody named before.
func (t *taking) accounts(ctx context.Context) error {
	names := map[accountName]bool{}
	for _, it := range t.items {
		if it.receipt.Fault == nil {
			names[accountName{it.Tenant, it.key}] = true
		}
	}
	if len(names) == 0 {
		return nil
	}
	found, err := t.findAccounts(ctx, names)
	if err != nil {
		return err
	}
	if len(found) < len(names) {
		if err := t.addAccounts(ctx, names, found); err != nil {
			return err
		}
	}
	if len(found) < len(names) { // another batch added some meanwhile
		if found, err = t.findAccounts(ctx, names); err != nil {
			return err
		}
	}
	for i := range t.items {
		it := &t.items[i]
		if it.receipt.Fault != nil {
			continue
		}
		a := found[accountName{it.Tenant, it.key}]
		it.account, it.receipt.AccountRef = a.ID, a.Ref
	}
	return nil
}

type accountRow struct {
	ID             int64      `db:"id"`
	Tenant         string     `db:"tenant"`
	Key            string     `db:"account_key"`
	Ref            string     `db:"ref"`
	CodesRetiredAt *time.Time `db:"codes_retired_at"`
}

func (t *tx) findAccounts(ctx context.Context, names map[accountName]bool) (map[accountName]accountRow, error) {
	tenants, keys := columns(names)
	var rows []accountRow
	if err := t.SelectContext(ctx, &rows, `
		SELECT a.id, a.tenant, a.account_key, a.ref, a.codes_retired_at
		FROM accounts AS a JOIN unnest($1::text[], $2::text[]) AS n (tenant, account_key) USING (tenant, account_key)`,
		pq.Array(tenants), pq.Array(keys)); err != nil {
		return nil, fmt.Errorf("find accounts: %w", err)
	}
	found := make(map[accountName]accountRow, len(rows))
	for _, r := range rows {
		found[accountName{r.Tenant, r.Key}] = r
	}
	return found, nil
}

// addAccounts adds what is missing to the accounts that were found.
func (t *tx) addAccounts(ctx context.Context, names map[accountName]bool, found map[accountName]accountRow) error {
	missing := map[accountName]bool{}
	for n := range names {
		if _, ok := found[n]; !ok {
			missing[n] = true
		}
	}
	tenants, keys := columns(missing)
	refs := make([]string, len(keys))
	for i := range keys {
		refs[i] = t.ring.AccountRef(tenants[i], keys[i])
	}
	var added []accountRow
	if err := t.SelectContext(ctx, &added, `
		INSERT INTO accounts (tenant, account_key, ref)
		SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) AS n (tenant, account_key, ref)
		ON CONFLICT (tenant, account_key) DO NOTHING
		RETURNING id, tenant, account_key, ref, codes_retired_at`,
		pq.Array(tenants), pq.Array(keys), pq.Array(refs)); err != nil {
		return fmt.Errorf("add accounts: %w", err)
	}
	for _, r := range added {
		found[accountName{r.Tenant, r.Key}] = r
	}
	return nil
}

// columns turns names into two parallel arrays, in the order in which every transaction locks them.
func columns(names map[accountName]bool) (tenants, keys []string) {
	sorted := make([]accountName, 0, len(names))
	for n := range names {
		sorted = append(sorted, n)
	}
	slices.SortFunc(sorted, func(a, b accountName) int {
		return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.key, b.key))
	})
	for _, n := range sorted {
		tenants, keys = append(tenants, n.tenant), append(keys, n.key)
	}
	return tenants, keys
}

// invoices are copied: a third of the cost of an INSERT from arrays, and these rows meet no conflict.
func (t *taking) invoices(ctx context.Context) (err error) {
	var into *sql.Stmt
	for i := range t.items {
		it := &t.items[i]
		m, ok := it.Message.(events.InvoiceEmailed)
		if !ok || !it.fresh() {
			continue
		}
		if into == nil {
			if into, err = t.PrepareContext(ctx, `
				COPY invoice_emails (event, account, account_number, company_name, billing_email, locale, emailed_at,
					code_hash, code_folded_hash, code_key, code_expires_at,
					invoice_number, issued_on, due_on, currency, amount_due_minor, document_url, extra)
				FROM STDIN`); err != nil {
				return fmt.Errorf("keep invoice mails: %w", err)
			}
		}
		exact, folded, keyID := t.codeHashes(it)
		if _, err := into.ExecContext(ctx, it.row, it.account, m.AccountNumber, m.CompanyName, m.BillingEmail, m.Locale, m.EmailedAt,
			exact, folded, keyID, m.RegistrationCodeExpiresAt,
			m.Invoice.Number, known(string(m.Invoice.IssuedOn)), known(string(m.Invoice.DueOn)), known(m.Invoice.Currency),
			m.Invoice.AmountDueMinor, m.Invoice.DocumentURL, t.extra(it)); err != nil {
			return fmt.Errorf("keep invoice mails: %w", err)
		}
	}
	if into == nil {
		return nil
	}
	if _, err := into.ExecContext(ctx); err != nil { // what was copied is checked now at the latest
		return fmt.Errorf("keep invoice mails: %w", err)
	}
	return into.Close()
}

// codeHashes are what is kept of a code: under the newest key, exact and folded; all NULL when the mail had no box (a
// nil []byte would be an empty one).
func (t *taking) codeHashes(it *item) (exact, folded, keyID any) {
	if it.exactCode == "" {
		return nil, nil, nil
	}
	h := t.ring.CodeHash(it.Tenant, it.key, it.exactCode)
	if it.foldedCode != it.exactCode {
		folded = t.ring.CodeHash(it.Tenant, it.key, it.foldedCode).Sum
	}
	return h.Sum, folded, h.KeyID
}

func (t *taking) closures(ctx context.Context) error {
	for i := range t.items {
		it := &t.items[i]
		m, ok := it.Message.(events.AccountClosed)
		if !ok || !it.fresh() {
			continue
		}
		if _, err := t.ExecContext(ctx, `INSERT INTO account_closures (event, account, closed_at, reason, extra) VALUES ($1, $2, $3, $4, $5)`,
			it.row, it.account, m.ClosedAt, m.Reason, t.extra(it)); err != nil {
			return fmt.Errorf("keep a closed account: %w", err)
		}
	}
	return nil
}

func (t *taking) paymentMethods(ctx context.Context) error {
	for i := range t.items {
		it := &t.items[i]
		m, ok := it.Message.(events.PaymentMethodChanged)
		if !ok || !it.fresh() {
			continue
		}
		if _, err := t.ExecContext(ctx, `
			INSERT INTO payment_methods (event, account, changed_at, kind, brand, last_four, expires_on, extra) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			it.row, it.account, m.ChangedAt, m.Kind, m.Brand, m.LastFour, m.ExpiresOn, t.extra(it)); err != nil {
			return fmt.Errorf("keep a payment method: %w", err)
		}
	}
	return nil
}

// extra is what the event says beyond the contract that this build knows: unknown fields and extensions; nil for none.
func (t *taking) extra(it *item) *string {
	unknown := it.Unknown()
	if len(unknown) == 0 && len(it.Extensions) == 0 {
		return nil
	}
	b, err := json.Marshal(struct {
		Data       map[string]json.RawMessage `json:"data,omitempty"`
		Extensions map[string]string          `json:"extensions,omitempty"`
	}{unknown, it.Extensions})
	if err != nil {
		return nil // cannot be: both were strict JSON a moment ago
	}
	return new(string(b))
}

// known is NULL for what an event does not say.
func known(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
