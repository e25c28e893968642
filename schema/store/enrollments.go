package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// enrollmentRow is an enrollment as it is stored.
type enrollmentRow struct {
	ID           enrollment.ID      `db:"id"`
	Tenant       string             `db:"tenant"`
	Account      int64              `db:"account"`
	CodeHash     []byte             `db:"code_hash"`
	State        enrollment.State   `db:"state"`
	Username     string             `db:"username"`
	UsernameKey  string             `db:"username_key"`
	Email        enrollment.Address `db:"email"`
	Locale       string             `db:"locale"`
	Generation   uint32             `db:"generation"`
	MailNumber   uint32             `db:"mail_number"`
	Corrections  int                `db:"corrections"`
	Resends      int                `db:"resends"`
	RequestID    string             `db:"request_id"`
	Sequence     int64              `db:"sequence"`
	InvoiceMonth string             `db:"invoice_month"`
	CodeAgeDays  int                `db:"code_age_days"`
	LastMailAt   time.Time          `db:"last_mail_at"`
	MailedAt     *time.Time         `db:"mailed_at"`
	RefusedAt    *time.Time         `db:"refused_at"`
	OpenedAt     *time.Time         `db:"opened_at"`
	OpenedByBot  *time.Time         `db:"opened_by_machine_at"`
	ExpiresAt    time.Time          `db:"expires_at"`
	SignedUpAt   time.Time          `db:"signed_up_at"`
	SignedUpWith string             `db:"signed_up_with"`
}

const enrollmentColumns = `id, tenant, account, code_hash, state, username, username_key, email, locale, generation, mail_number,
	corrections, resends, request_id, sequence, invoice_month, code_age_days, last_mail_at, mailed_at, refused_at, opened_at,
	opened_by_machine_at, expires_at, signed_up_at, signed_up_with`

// newEnrollment is one for the code, and what its first fact says.
func (r *registration) newEnrollment(code matched, face accountFace) (*enrollmentRow, events.Fact) {
	e := &enrollmentRow{
		ID: uuid.New(), Tenant: r.Tenant, Account: r.account.ID, CodeHash: code.newest.Hash, State: enrollment.Registered,
		Username: r.Username.Display, UsernameKey: r.Username.Key, Email: r.Email, Locale: firstOf(r.Locale, face.Locale),
		Generation: 1, MailNumber: 1, RequestID: r.RequestID, LastMailAt: r.now, ExpiresAt: r.now.Add(max(holdUnmailed, r.policy.ActivationWindow)),
		InvoiceMonth: code.newest.month(), CodeAgeDays: max(0, int(r.now.Sub(code.newest.EmailedAt)/(24*time.Hour))),
		SignedUpAt: r.now, SignedUpWith: r.Browser,
	}
	fact := e.fact(r.ref, r.now, "")
	return e, fact
}

func (r *registration) insert(ctx context.Context, e *enrollmentRow) error {
	if _, err := r.ExecContext(ctx, `
		INSERT INTO enrollments (id, tenant, account, code_hash, state, username, username_key, email, locale, generation,
			mail_number, request_id, sequence, invoice_month, code_age_days, registered_at, last_mail_at, signed_up_at, expires_at,
			signed_up_with)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16, $16, $17, $18)`,
		e.ID, e.Tenant, e.Account, e.CodeHash, e.State, e.Username, e.UsernameKey, e.Email, e.Locale, e.Generation,
		e.MailNumber, e.RequestID, e.Sequence, e.InvoiceMonth, e.CodeAgeDays, r.now, e.ExpiresAt, e.SignedUpWith); err != nil {
		return fmt.Errorf("begin an enrollment: %w", err)
	}
	return nil
}

// began writes down how an enrollment began: to which address, and when.
func (r *registration) began(ctx context.Context, e *enrollmentRow) error {
	if err := r.keepAddress(ctx, e); err != nil {
		return err
	}
	if _, err := r.ExecContext(ctx, `INSERT INTO enrollment_moves (enrollment, sequence, action, to_state, at) VALUES ($1, $2, 'register', $3, $4)`,
		e.ID, e.Sequence, e.State, r.now); err != nil {
		return fmt.Errorf("record that enrollment %s began: %w", e.ID, err)
	}
	return nil
}

// due reports whether the time ran out, whether or not the deadline's worker has come by yet.
func (e *enrollmentRow) due(now time.Time) bool { return e.State.Live() && !now.Before(e.ExpiresAt) }

// lockEnrollment finds an enrollment of a tenant and holds it until the transaction ends.
func (t *tx) lockEnrollment(ctx context.Context, tenant string, id enrollment.ID) (*enrollmentRow, error) {
	return t.enrollment(ctx, tenant, id, `FOR NO KEY UPDATE`)
}

func (t *tx) enrollment(ctx context.Context, tenant string, id enrollment.ID, lock string) (*enrollmentRow, error) {
	var e enrollmentRow
	err := t.GetContext(ctx, &e, `SELECT `+enrollmentColumns+` FROM enrollments WHERE id = $1 AND tenant = $2 `+lock, id, tenant)
	if noRows(err) {
		return nil, enrollment.ErrUnknown
	}
	if err != nil {
		return nil, fmt.Errorf("enrollment %s: %w", id, err)
	}
	return &e, nil
}

// move changes a locked enrollment's state by the rules' machine and saves the whole row. The UPDATE names the states that
// the action is allowed in, so that a bug in locking cannot make an impossible move.
func (t *tx) move(ctx context.Context, e *enrollmentRow, a enrollment.Action) error {
	return t.moveBecause(ctx, e, a, "")
}

func (t *tx) moveBecause(ctx context.Context, e *enrollmentRow, a enrollment.Action, reason string) error {
	from := e.State
	next, err := from.After(a)
	if err != nil {
		return err
	}
	e.State = next
	if err := t.save(ctx, e, enrollment.From(a)); err != nil {
		return err
	}
	if _, err := t.ExecContext(ctx, `
		INSERT INTO enrollment_moves (enrollment, sequence, action, from_state, to_state, at, reason) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		e.ID, e.Sequence, a, from, next, t.now, reason); err != nil {
		return fmt.Errorf("record that enrollment %s moved: %w", e.ID, err)
	}
	return nil
}

// save writes what may change in an enrollment's life. from are the states it may be in before.
func (t *tx) save(ctx context.Context, e *enrollmentRow, from []enrollment.State) error {
	result, err := t.ExecContext(ctx, `
		UPDATE enrollments SET state = $3, username = $4, username_key = $5, email = $6, generation = $7, mail_number = $8,
			corrections = $9, resends = $10, request_id = $11, sequence = $12, last_mail_at = $13, mailed_at = $14,
			opened_at = $15, opened_by_machine_at = $16, expires_at = $17,
			refused_at = $19, locale = $20, signed_up_at = $21, signed_up_with = $22,
			activated_at = coalesce(activated_at, CASE WHEN $3 = 'activated' THEN $18::timestamptz END),
			ended_at = coalesce(ended_at, CASE WHEN $3 IN ('expired', 'cancelled') THEN $18::timestamptz END)
		WHERE id = $1 AND state = ANY ($2)`,
		e.ID, pq.Array(from), e.State, e.Username, e.UsernameKey, e.Email, e.Generation, e.MailNumber,
		e.Corrections, e.Resends, e.RequestID, e.Sequence, e.LastMailAt, e.MailedAt,
		e.OpenedAt, e.OpenedByBot, e.ExpiresAt, t.now, e.RefusedAt, e.Locale, e.SignedUpAt, e.SignedUpWith)
	if err != nil {
		return fmt.Errorf("save enrollment %s: %w", e.ID, err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("save enrollment %s: %d rows changed, want 1: %w", e.ID, n, err)
	}
	return nil
}

// end expires or cancels a locked enrollment: its code is free at once, since only live and activated ones hold one, and
// so is its username.
func (t *tx) end(ctx context.Context, e *enrollmentRow, a enrollment.Action, reason string) error {
	ref, err := t.accountRef(ctx, e.Account)
	if err != nil {
		return err
	}
	fact := e.fact(ref, t.now, enrollment.Reason(reason))
	if err := t.moveBecause(ctx, e, a, reason); err != nil {
		return err
	}
	if _, err := t.ExecContext(ctx, `DELETE FROM usernames WHERE enrollment = $1`, e.ID); err != nil {
		return fmt.Errorf("release the username of enrollment %s: %w", e.ID, err)
	}
	if a == enrollment.Expire {
		return t.announce(e.Tenant, e.ID.String(), events.Expired{Fact: fact})
	}
	return t.announce(e.Tenant, e.ID.String(), events.Cancelled{Fact: fact})
}

// expire ends an enrollment whose time ran out, and says why it got no further.
func (t *tx) expire(ctx context.Context, e *enrollmentRow) error {
	reason := "mail-not-confirmed"
	switch e.State {
	case enrollment.Registered:
		reason = "mail-never-accepted"
	case enrollment.Undeliverable:
		reason = "undeliverable"
	}
	return t.end(ctx, e, enrollment.Expire, reason)
}

// accountFace is what an account's newest invoice mail calls it.
type accountFace struct {
	AccountNumber string `db:"account_number"`
	CompanyName   string `db:"company_name"`
	BillingEmail  string `db:"billing_email"`
	Locale        string `db:"locale"`
}

// face reads what an account is called now. Ties are broken by the event's id, so that arrival decides nothing.
func (t *tx) face(ctx context.Context, account int64) (accountFace, error) {
	var f accountFace
	err := t.GetContext(ctx, &f, `
		SELECT m.account_number, m.company_name, m.billing_email, m.locale
		FROM invoice_emails AS m JOIN inbox AS i ON i.id = m.event
		WHERE m.account = $1
		ORDER BY m.emailed_at DESC, i.source DESC, i.event_id DESC LIMIT 1`, account)
	if err != nil {
		return f, fmt.Errorf("newest invoice mail of account %d: %w", account, err)
	}
	return f, nil
}
