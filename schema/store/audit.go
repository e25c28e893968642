package store

import (
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// deed is what an audit row says.
type deed struct {
	what       enrollment.Deed
	by         enrollment.Staff
	reason     string
	tenant     string
	account    int64         // 0: none
	enrollment enrollment.ID // zero: none
	subject    string
	detail     string
}

// audit writes a deed down in the transaction that does it.
func (t *tx) audit(ctx context.Context, d deed) error {
	var account *int64
	if d.account != 0 {
		account = &d.account
	}
	if _, err := t.ExecContext(ctx, `
		INSERT INTO audit (at, actor, actor_name, action, tenant, account, enrollment, subject, reason, detail)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		t.now, d.by.Subject, d.by.Name, d.what, d.tenant, account, uuid.NullUUID{UUID: d.enrollment, Valid: d.enrollment != uuid.Nil}, d.subject, d.reason, d.detail); err != nil {
		return fmt.Errorf("audit %s: %w", d.what, err)
	}
	return nil
}

// reasoned refuses an errand without a reason that says something.
func reasoned(e enrollment.Errand) *enrollment.Refusal {
	switch n := utf8.RuneCountInString(e.Reason); {
	case n < enrollment.MinReason:
		return &enrollment.Refusal{Reason: enrollment.TooShort, Field: enrollment.FieldReason, Limit: enrollment.MinReason}
	case n > enrollment.MaxReason:
		return &enrollment.Refusal{Reason: enrollment.TooLong, Field: enrollment.FieldReason, Limit: enrollment.MaxReason}
	}
	return nil
}

// AuditLetter records what somebody of the staff does to a dead letter, which is the broker's: before it is done, so that
// nothing is done unrecorded. detail says what the letter was. Refusals: the reason's.
func (s *Store) AuditLetter(ctx context.Context, errand enrollment.Errand, what enrollment.Deed, tenant, letter, detail string) error {
	return s.answer(ctx, "audit a dead letter", func(t *tx) (*enrollment.Refusal, error) {
		if no := reasoned(errand); no != nil {
			return no, nil
		}
		return nil, t.audit(ctx, deed{what: what, by: errand.By, reason: errand.Reason, tenant: tenant, subject: letter, detail: detail})
	})
}

// Audit lists what staff did, the newest first, at most limit lines; actor and deed narrow it where they are not empty.
func (s *Store) Audit(ctx context.Context, actor string, what enrollment.Deed, limit int) ([]enrollment.AuditEntry, error) {
	var all []enrollment.AuditEntry
	err := s.transact(ctx, "read the audit trail", func(t *tx) error {
		all = nil
		return t.SelectContext(ctx, &all, `
			SELECT at, actor, actor_name, action, tenant, subject, reason, detail FROM audit
			WHERE ($1 = '' OR actor = $1) AND ($2 = '' OR action = $2) ORDER BY id DESC LIMIT $3`, actor, string(what), limit)
	})
	return all, err
}

// MailLog lists the newest mails of the ledger, at most limit; tenant and state narrow it where they are not empty.
func (s *Store) MailLog(ctx context.Context, tenant, state string, limit int) ([]enrollment.MailRecord, error) {
	var all []enrollment.MailRecord
	err := s.transact(ctx, "read the mail ledger", func(t *tx) error {
		all = nil
		return t.SelectContext(ctx, &all, `
			SELECT m.last_try_at, m.tenant, coalesce(f.account_number, '') AS account_number, m.purpose, m.generation, m.number, m.state,
				m.failure, m.smtp_status, m.reply, m.message_id
			FROM mails AS m LEFT JOIN enrollments AS e ON e.id = m.enrollment
			LEFT JOIN security_notices AS n ON n.id = m.enrollment LEFT JOIN password_resets AS r ON r.id = m.enrollment
			LEFT JOIN LATERAL (SELECT account FROM memberships WHERE user_id = coalesce(n.user_id, r.user_id) ORDER BY since, account LIMIT 1) AS a ON true
			LEFT JOIN LATERAL (SELECT account_number FROM invoice_emails WHERE account = coalesce(e.account, n.account, a.account) ORDER BY emailed_at DESC LIMIT 1) AS f ON true
			WHERE ($1 = '' OR m.tenant = $1) AND ($2 = '' OR m.state = $2) ORDER BY m.last_try_at DESC LIMIT $3`, tenant, state, limit)
	})
	return all, err
}
