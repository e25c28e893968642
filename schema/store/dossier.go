package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// Dossier tells everything about an account. The error is enrollment.ErrUnknown when billing never named it.
func (s *Store) Dossier(ctx context.Context, tenant, accountNumber string) (enrollment.Dossier, error) {
	var d enrollment.Dossier
	err := s.transact(ctx, "look an account up", func(t *tx) error {
		account, policy, err := s.account(ctx, t, tenant, accountNumber, "")
		if err != nil {
			return err
		}
		d = enrollment.Dossier{Tenant: tenant, AccountNumber: accountNumber}
		if face, err := t.face(ctx, account.ID); err == nil {
			d.AccountNumber, d.CompanyName, d.BillingEmail = face.AccountNumber, face.CompanyName, enrollment.Address(face.BillingEmail).Masked()
		} else if !noRows(err) {
			return err
		}
		if d.Timeline, err = t.timeline(ctx, account.ID); err != nil {
			return err
		}
		situation, err := t.situation(ctx, account, policy)
		if err != nil {
			return err
		}
		d.Diagnosis, d.Users = enrollment.Diagnose(situation), situation.Users
		pending, err := t.pendingOf(ctx, account.ID)
		if err == nil && pending != nil {
			d.Pending = pending.pendingCase(t.now)
		}
		return err
	})
	return d, err
}

// timeline gathers what happened from the tables that recorded it. Two mails with one code share its letter (A to Z, then A2),
// so that a repeated code is told apart from a new one without showing either.
func (t *tx) timeline(ctx context.Context, account int64) ([]enrollment.Happening, error) {
	var all []enrollment.Happening
	for _, q := range []string{
		`SELECT m.emailed_at AS at, 'invoice e-mailed' AS what,
			'invoice ' || m.invoice_number || CASE WHEN m.code_hash IS NULL THEN ', no registration code' ELSE
				', with code ' || chr(65 + ((n.nth - 1) % 26)::int) || CASE WHEN n.nth > 26 THEN ((n.nth - 1) / 26 + 1)::text ELSE '' END ||
				CASE WHEN m.code_expires_at IS NULL THEN '' ELSE ', good until ' || to_char(m.code_expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"') END END AS detail,
			'' AS enrollment
		FROM invoice_emails AS m
		LEFT JOIN (
			SELECT code_hash, row_number() OVER (ORDER BY min(emailed_at), code_hash) AS nth
			FROM invoice_emails WHERE account = $1 AND code_hash IS NOT NULL GROUP BY code_hash) AS n USING (code_hash)
		WHERE m.account = $1`,
		`SELECT closed_at AS at, 'account closed by billing' AS what, reason AS detail, '' AS enrollment FROM account_closures WHERE account = $1`,
		`SELECT changed_at AS at, 'payment method changed' AS what, kind AS detail, '' AS enrollment FROM payment_methods WHERE account = $1`,
		`SELECT codes_retired_at AS at, 'codes retired' AS what,
			CASE WHEN EXISTS (SELECT FROM audit WHERE account = $1 AND action = 'retire-code' AND at = codes_retired_at) THEN 'by staff' ELSE 'after too many wrong tries' END AS detail,
			'' AS enrollment
		FROM accounts WHERE id = $1 AND codes_retired_at IS NOT NULL`,
		`SELECT requested_at AS at, 'new code asked of billing' AS what, cause AS detail, '' AS enrollment FROM code_reissues WHERE account = $1`,
		`SELECT at, 'registration refused' AS what, reason AS detail, '' AS enrollment FROM refusals WHERE account = $1`,
		`SELECT m.at, 'enrollment: ' || m.action AS what, coalesce(m.from_state || ' → ', '') || m.to_state || CASE WHEN m.reason = '' THEN '' ELSE ', ' || m.reason END AS detail, e.id::text AS enrollment
		FROM enrollment_moves AS m JOIN enrollments AS e ON e.id = m.enrollment WHERE e.account = $1`,
		`SELECT m.last_try_at AS at, m.purpose || ' mail ' || m.state AS what,
			'mail ' || m.number || ' of address ' || m.generation || CASE WHEN m.failure = '' THEN '' ELSE ', ' || m.failure END ||
				CASE WHEN m.smtp_status = 0 THEN '' ELSE ', SMTP ' || m.smtp_status END || CASE WHEN m.reply = '' THEN '' ELSE ' ' || m.reply END AS detail,
			e.id::text AS enrollment
		FROM mails AS m JOIN enrollments AS e ON e.id = m.enrollment WHERE e.account = $1`,
		`SELECT m.last_try_at AS at, m.purpose || ' mail ' || m.state AS what,
			CASE WHEN u.username IS NOT NULL THEN 'to user ' || u.username WHEN m.purpose = 'enrollment-closed' THEN 'to who signed up' ELSE 'to the billing address' END ||
				CASE WHEN m.failure = '' THEN '' ELSE ', ' || m.failure END ||
				CASE WHEN m.smtp_status = 0 THEN '' ELSE ', SMTP ' || m.smtp_status END || CASE WHEN m.reply = '' THEN '' ELSE ' ' || m.reply END AS detail,
			'' AS enrollment
		FROM (
			SELECT id, kind, user_id FROM security_notices WHERE account = $1
			UNION ALL SELECT n.id, n.kind, n.user_id FROM memberships AS a JOIN security_notices AS n USING (user_id) WHERE a.account = $1 AND n.account IS NULL
			UNION ALL SELECT r.id, 'password-reset', r.user_id FROM memberships AS a JOIN password_resets AS r USING (user_id) WHERE a.account = $1) AS n
		JOIN mails AS m ON m.enrollment = n.id AND m.purpose = n.kind LEFT JOIN users AS u ON u.id = n.user_id`,
		`SELECT e.opened_at AS at, 'activation page opened' AS what, '' AS detail, e.id::text AS enrollment FROM enrollments AS e WHERE e.account = $1 AND e.opened_at IS NOT NULL`,
		`SELECT v.at, 'user ' || v.what AS what, u.username AS detail, '' AS enrollment
		FROM user_activity AS v JOIN users AS u ON u.id = v.user_id JOIN memberships AS m ON m.user_id = u.id WHERE m.account = $1`,
		`SELECT at, 'staff: ' || action AS what, concat_ws('; ', coalesce(nullif(actor_name, ''), actor) || ': ' || reason, nullif(detail, '')) AS detail,
			coalesce(enrollment::text, '') AS enrollment
		FROM audit WHERE account = $1`,
	} {
		var rows []struct {
			At         time.Time `db:"at"`
			What       string    `db:"what"`
			Detail     string    `db:"detail"`
			Enrollment string    `db:"enrollment"`
		}
		if err := t.SelectContext(ctx, &rows, q, account); err != nil {
			return nil, fmt.Errorf("timeline of account %d: %w", account, err)
		}
		for _, r := range rows {
			all = append(all, enrollment.Happening{At: r.At.UTC(), What: r.What, Detail: r.Detail, Enrollment: r.Enrollment})
		}
	}
	slices.SortStableFunc(all, func(a, b enrollment.Happening) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.What, b.What)) })
	return all, nil
}

func (t *tx) situation(ctx context.Context, account accountRow, policy enrollment.Policy) (enrollment.Situation, error) {
	s := enrollment.Situation{Now: t.now, Policy: policy}
	if account.CodesRetiredAt != nil {
		s.RetiredAt = *account.CodesRetiredAt
	}
	var mailings []mailing
	if err := t.SelectContext(ctx, &mailings, `
		SELECT code_hash, code_folded_hash, emailed_at, code_expires_at, issued_on FROM invoice_emails
		WHERE account = $1 AND code_hash IS NOT NULL ORDER BY emailed_at, code_hash`, account.ID); err != nil {
		return s, fmt.Errorf("codes of account %d: %w", account.ID, err)
	}
	for _, m := range mailings {
		s.Codes = append(s.Codes, m.history())
	}
	if n := len(mailings); n > 0 {
		var err error
		if s.DisownedUntil, err = t.disownedUntil(ctx, account.ID, mailings[n-1].Hash); err != nil {
			return s, err
		}
	}
	if err := t.GetContext(ctx, &s.Closed, `SELECT EXISTS (SELECT FROM account_closures WHERE account = $1)`, account.ID); err != nil {
		return s, fmt.Errorf("closures of account %d: %w", account.ID, err)
	}
	var used [][]byte
	if err := t.SelectContext(ctx, &used, `SELECT code_hash FROM enrollments WHERE account = $1 AND state = 'activated'`, account.ID); err != nil {
		return s, fmt.Errorf("used codes of account %d: %w", account.ID, err)
	}
	for _, u := range used {
		s.UsedCodes = append(s.UsedCodes, string(u))
	}
	if err := t.SelectContext(ctx, &s.Users, `
		SELECT u.username FROM users AS u JOIN memberships AS m ON m.user_id = u.id WHERE m.account = $1 ORDER BY u.id`, account.ID); err != nil {
		return s, fmt.Errorf("users of account %d: %w", account.ID, err)
	}
	live, err := t.pendingOf(ctx, account.ID)
	if err != nil {
		return s, err
	}
	if live != nil {
		s.Live = &enrollment.LiveEnrollment{State: live.State, ExpiresAt: live.ExpiresAt}
	}
	var wait *time.Time
	if err := t.GetContext(ctx, &wait, `
		SELECT max(wait_until) FROM attempts
		WHERE tenant = $1 AND scope = 'code-source-account' AND split_part(key, ' ', 2) = $2 AND wait_until > $3`, account.Tenant, account.Key, t.now); err != nil {
		return s, fmt.Errorf("waits on account %d: %w", account.ID, err)
	}
	if wait != nil {
		s.WaitUntil = *wait
	}
	var refusals []struct {
		Reason enrollment.Reason `db:"reason"`
		At     time.Time         `db:"at"`
	}
	if err := t.SelectContext(ctx, &refusals, `SELECT reason, at FROM refusals WHERE account = $1 ORDER BY at DESC LIMIT 1`, account.ID); err != nil {
		return s, fmt.Errorf("refusals of account %d: %w", account.ID, err)
	}
	for _, r := range refusals {
		s.LastRefusal, s.RefusedAt = r.Reason, r.At
	}
	return s, nil
}

// pendingOf is an account's newest enrollment that is neither finished nor due; nil: there is none.
func (t *tx) pendingOf(ctx context.Context, account int64) (*enrollmentRow, error) {
	var live []enrollmentRow
	if err := t.SelectContext(ctx, &live, `
		SELECT `+enrollmentColumns+` FROM enrollments
		WHERE account = $1 AND state IN ('registered', 'mailed', 'undeliverable') AND expires_at > $2 ORDER BY registered_at DESC LIMIT 1`, account, t.now); err != nil {
		return nil, fmt.Errorf("pending enrollments of account %d: %w", account, err)
	}
	if len(live) == 0 {
		return nil, nil
	}
	return &live[0], nil
}
