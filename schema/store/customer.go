package store

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// holding is an account that a user may see now.
type holding struct {
	Account int64 `db:"account"`
	accountFace
	ClosedAt *time.Time `db:"closed_at"`
}

// holdings are the accounts that a user may see now, the oldest membership first: what every page after the log-in asks
// before it shows anything.
func (s *Store) holdings(ctx context.Context, t *tx, tenant string, user int64) ([]holding, error) {
	policy, ok := s.policy(tenant)
	if !ok {
		return nil, fmt.Errorf("tenant %q: %w", tenant, enrollment.ErrUnknown)
	}
	var all, open []holding
	if err := t.SelectContext(ctx, &all, `
		SELECT m.account, f.account_number, f.company_name, f.billing_email, f.locale, c.closed_at
		FROM memberships AS m
		JOIN users AS u ON u.id = m.user_id
		CROSS JOIN LATERAL (
			SELECT e.account_number, e.company_name, e.billing_email, e.locale
			FROM invoice_emails AS e JOIN inbox AS i ON i.id = e.event WHERE e.account = m.account
			ORDER BY e.emailed_at DESC, i.source DESC, i.event_id DESC LIMIT 1) AS f
		LEFT JOIN LATERAL (SELECT min(closed_at) AS closed_at FROM account_closures WHERE account = m.account) AS c ON true
		WHERE u.id = $1 AND u.tenant = $2 ORDER BY m.since, m.account`, user, tenant); err != nil {
		return nil, fmt.Errorf("accounts of user %d: %w", user, err)
	}
	for _, h := range all {
		if h.ClosedAt == nil || t.now.Before(policy.AccessUntil(*h.ClosedAt)) {
			open = append(open, h)
		}
	}
	return open, nil
}

// Customer tells who is logged in and what they may see; ErrUnknown for a user of another tenant.
func (s *Store) Customer(ctx context.Context, tenant string, user int64) (enrollment.Customer, error) {
	var c enrollment.Customer
	err := s.transact(ctx, "look at a customer", func(t *tx) (err error) {
		c, err = s.customer(ctx, t, tenant, user)
		return err
	})
	return c, err
}

func (s *Store) customer(ctx context.Context, t *tx, tenant string, user int64) (enrollment.Customer, error) {
	var u struct {
		Username string             `db:"username"`
		Email    enrollment.Address `db:"email"`
	}
	err := t.GetContext(ctx, &u, `SELECT username, email FROM users WHERE id = $1 AND tenant = $2`, user, tenant)
	if noRows(err) {
		return enrollment.Customer{}, enrollment.ErrUnknown
	}
	if err != nil {
		return enrollment.Customer{}, fmt.Errorf("user %d: %w", user, err)
	}
	c := enrollment.Customer{Username: u.Username, Email: u.Email}
	open, err := s.holdings(ctx, t, tenant, user)
	if err != nil {
		return c, err
	}
	users, err := t.usersOf(ctx, open)
	if err != nil {
		return c, err
	}
	policy, _ := s.policy(tenant)
	for _, h := range open {
		shown := enrollment.Holding{AccountNumber: h.AccountNumber, CompanyName: h.CompanyName, Users: users[h.Account]}
		if h.ClosedAt != nil && !h.ClosedAt.After(t.now) {
			shown.ClosedAt, shown.AccessUntil = h.ClosedAt.UTC(), policy.AccessUntil(*h.ClosedAt).UTC()
		}
		c.Accounts = append(c.Accounts, shown)
	}
	return c, nil
}

// usersOf are those who may see each account, in the order in which they came.
func (t *tx) usersOf(ctx context.Context, open []holding) (map[int64][]enrollment.Member, error) {
	var rows []struct {
		Account int64 `db:"account"`
		enrollment.Member
	}
	if err := t.SelectContext(ctx, &rows, `
		SELECT m.account, u.username, u.email, m.since FROM memberships AS m JOIN users AS u ON u.id = m.user_id
		WHERE m.account = ANY ($1) ORDER BY m.since, u.id`,
		pq.Array(accountsOf(open))); err != nil {
		return nil, fmt.Errorf("users of accounts: %w", err)
	}
	users := make(map[int64][]enrollment.Member, len(open))
	for _, r := range rows {
		users[r.Account] = append(users[r.Account], r.Member)
	}
	return users, nil
}

func accountsOf(open []holding) []int64 {
	accounts := make([]int64, len(open))
	for i, h := range open {
		accounts[i] = h.Account
	}
	return accounts
}

// Invoices tells the invoices of all accounts that a user may see, newest first, each number of an account once as it was
// e-mailed last.
func (s *Store) Invoices(ctx context.Context, tenant string, user int64) ([]enrollment.Invoice, error) {
	var invoices []enrollment.Invoice
	err := s.transact(ctx, "show invoices", func(t *tx) error {
		open, err := s.holdings(ctx, t, tenant, user)
		if err != nil {
			return err
		}
		invoices, err = t.invoices(ctx, open)
		return err
	})
	return invoices, err
}

func (t *tx) invoices(ctx context.Context, open []holding) ([]enrollment.Invoice, error) {
	var rows []struct {
		Account   int64     `db:"account"`
		Number    string    `db:"invoice_number"`
		EmailedAt time.Time `db:"emailed_at"`
		IssuedOn  string    `db:"issued_on"`
		DueOn     string    `db:"due_on"`
		Currency  string    `db:"currency"`
		Amount    int64     `db:"amount_due_minor"`
		Document  string    `db:"document_url"`
	}
	if err := t.SelectContext(ctx, &rows, `
		SELECT * FROM (
			SELECT DISTINCT ON (m.account, m.invoice_number) m.account, m.invoice_number, m.emailed_at, coalesce(m.issued_on::text, '') AS issued_on,
				coalesce(m.due_on::text, '') AS due_on, coalesce(m.currency, '') AS currency,
				coalesce(m.amount_due_minor, 0) AS amount_due_minor, m.document_url
			FROM invoice_emails AS m JOIN inbox AS i ON i.id = m.event
			WHERE m.account = ANY ($1)
			ORDER BY m.account, m.invoice_number, m.emailed_at DESC, i.source DESC, i.event_id DESC) AS newest
		ORDER BY emailed_at DESC, invoice_number DESC, account`, pq.Array(accountsOf(open))); err != nil {
		return nil, fmt.Errorf("invoices: %w", err)
	}
	faces := make(map[int64]holding, len(open))
	for _, h := range open {
		faces[h.Account] = h
	}
	invoices := make([]enrollment.Invoice, len(rows))
	for i, r := range rows {
		invoices[i] = enrollment.Invoice{AccountNumber: faces[r.Account].AccountNumber, CompanyName: faces[r.Account].CompanyName,
			Number: r.Number, EmailedAt: r.EmailedAt, IssuedOn: r.IssuedOn, DueOn: r.DueOn,
			Currency: r.Currency, AmountDueMinor: r.Amount, DocumentURL: r.Document}
	}
	return invoices, nil
}

// Payments tells how each account that a user may see pays, as billing said with the latest time; of two at one time the
// event's id decides, so that arrival does not.
func (s *Store) Payments(ctx context.Context, tenant string, user int64) ([]enrollment.Payment, error) {
	var payments []enrollment.Payment
	err := s.transact(ctx, "show payment methods", func(t *tx) error {
		open, err := s.holdings(ctx, t, tenant, user)
		if err != nil {
			return err
		}
		var rows []struct {
			Account   int64     `db:"account"`
			Kind      string    `db:"kind"`
			Brand     string    `db:"brand"`
			LastFour  string    `db:"last_four"`
			ExpiresOn string    `db:"expires_on"`
			ChangedAt time.Time `db:"changed_at"`
		}
		if err := t.SelectContext(ctx, &rows, `
			SELECT DISTINCT ON (p.account) p.account, p.kind, p.brand, p.last_four, p.expires_on, p.changed_at
			FROM payment_methods AS p JOIN inbox AS i ON i.id = p.event
			WHERE p.account = ANY ($1) AND p.changed_at <= $2
			ORDER BY p.account, p.changed_at DESC, i.source DESC, i.event_id DESC`, pq.Array(accountsOf(open)), t.now); err != nil {
			return fmt.Errorf("payment methods: %w", err)
		}
		payments = make([]enrollment.Payment, len(open))
		for i, h := range open {
			payments[i] = enrollment.Payment{AccountNumber: h.AccountNumber, CompanyName: h.CompanyName}
			for _, r := range rows {
				if r.Account == h.Account {
					payments[i].Kind, payments[i].Brand, payments[i].LastFour, payments[i].ExpiresOn, payments[i].ChangedAt =
						r.Kind, r.Brand, r.LastFour, r.ExpiresOn, r.ChangedAt
				}
			}
		}
		return nil
	})
	return payments, err
}
