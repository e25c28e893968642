package store

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// byHelpdesk is the reason of an enrollment that staff ended.
const byHelpdesk = "by-helpdesk"

// account finds an account as people write its number; ErrUnknown, or what AccountKey says of the number.
func (s *Store) account(ctx context.Context, t *tx, tenant, number, lock string) (accountRow, enrollment.Policy, error) {
	var a accountRow
	policy, ok := s.policy(tenant)
	if !ok {
		return a, policy, fmt.Errorf("tenant %q: %w", tenant, enrollment.ErrUnknown)
	}
	key, err := enrollment.AccountKey(number, policy.LeadingZerosOptional)
	if err != nil {
		return a, policy, err
	}
	err = t.GetContext(ctx, &a, `SELECT id, tenant, account_key, ref, codes_retired_at FROM accounts WHERE tenant = $1 AND account_key = $2 `+lock, tenant, key)
	if noRows(err) {
		return a, policy, enrollment.ErrUnknown
	}
	if err != nil {
		return a, policy, fmt.Errorf("find the account: %w", err)
	}
	return a, policy, nil
}

// FindAccounts looks for a tenant's accounts by what a caller can name: the account number, a username, an e-mail address
// that somebody signed up with, or an invoice number. At most limit, the surest finds first; none is no error.
func (s *Store) FindAccounts(ctx context.Context, tenant, wanted string, limit int) ([]enrollment.Found, error) {
	policy, ok := s.policy(tenant)
	if !ok {
		return nil, fmt.Errorf("tenant %q: %w", tenant, enrollment.ErrUnknown)
	}
	wanted = strings.TrimSpace(wanted)
	if !utf8.ValidString(wanted) || strings.ContainsRune(wanted, 0) { // Postgres would not take it as text
		return nil, nil
	}
	accountKey, err := enrollment.AccountKey(wanted, policy.LeadingZerosOptional)
	if err != nil {
		accountKey = "" // which no account has
	}
	usernameKey, _ := enrollment.UsernameKey(wanted) // empty, which nobody has, for what can be none
	address, err := enrollment.ParseAddress(wanted)
	if err != nil {
		address = ""
	}
	var all []enrollment.Found
	err = s.transact(ctx, "find accounts", func(t *tx) error {
		all = nil
		return t.SelectContext(ctx, &all, `
			WITH found (account, rank, found_by) AS (
				SELECT id, 1, 'account number' FROM accounts WHERE tenant = $1 AND account_key = $2
				UNION ALL SELECT m.account, 2, 'username' FROM users AS u JOIN memberships AS m ON m.user_id = u.id WHERE u.tenant = $1 AND u.username_key = $3
				UNION ALL SELECT account, 3, 'username given at sign-up' FROM enrollments WHERE tenant = $1 AND username_key = $3
				UNION ALL SELECT m.account, 4, 'e-mail address of a user' FROM users AS u JOIN memberships AS m ON m.user_id = u.id WHERE u.tenant = $1 AND lower(u.email) = lower($4) AND $4 <> ''
				UNION ALL SELECT account, 5, 'e-mail address given at sign-up' FROM enrollments WHERE tenant = $1 AND lower(email) = lower($4) AND $4 <> ''
				UNION ALL SELECT i.account, 6, 'invoice' FROM invoice_emails AS i JOIN accounts AS a ON a.id = i.account WHERE a.tenant = $1 AND i.invoice_number = $5
			), first AS (SELECT DISTINCT ON (account) account, rank, found_by FROM found ORDER BY account, rank)
			SELECT $1 AS tenant, coalesce(f.account_number, a.account_key) AS account_number, coalesce(f.company_name, '') AS company_name, first.found_by
			FROM first JOIN accounts AS a ON a.id = first.account
			LEFT JOIN LATERAL (
				SELECT m.account_number, m.company_name FROM invoice_emails AS m JOIN inbox AS i ON i.id = m.event WHERE m.account = a.id
				ORDER BY m.emailed_at DESC, i.source DESC, i.event_id DESC LIMIT 1) AS f ON true
			ORDER BY first.rank, a.account_key LIMIT $6`, tenant, accountKey, usernameKey, string(address), wanted, limit)
	})
	return all, err
}

// SendAgain is Resend at a customer's request by staff; the limits are the same.
func (s *Store) SendAgain(ctx context.Context, errand enrollment.Errand, tenant string, id enrollment.ID) error {
	return s.onEnrollment(ctx, "send the activation mail again for a customer", errand, enrollment.SentAgain, tenant, id,
		func(t *tx) (*enrollment.Refusal, error) { return s.resend(ctx, t, tenant, id, staffsWish()) })
}

// CorrectAddressFor is CorrectAddress at a customer's request by staff; the limits are the same.
func (s *Store) CorrectAddressFor(ctx context.Context, errand enrollment.Errand, tenant string, id enrollment.ID, to enrollment.Address) error {
	return s.onEnrollment(ctx, "correct an address for a customer", errand, enrollment.CorrectedAddress, tenant, id,
		func(t *tx) (*enrollment.Refusal, error) {
			return s.correctAddress(ctx, t, tenant, id, to, staffsWish())
		})
}

// staffsWish says no locale: the mail is in the language that the customer read last.
func staffsWish() enrollment.Wish { return enrollment.Wish{RequestID: uuid.NewString()} }

// CancelFor ends a pending enrollment: its code and username are free at once. Refusals: LinkUsed, LinkExpired.
func (s *Store) CancelFor(ctx context.Context, errand enrollment.Errand, tenant string, id enrollment.ID) error {
	return s.onEnrollment(ctx, "cancel an enrollment for a customer", errand, enrollment.CancelledEnrollment, tenant, id,
		func(t *tx) (*enrollment.Refusal, error) {
			p, err := s.pendingToChange(ctx, t, tenant, id, "")
			if err != nil || p.no != nil {
				return p.no, err
			}
			return nil, t.end(ctx, p.enrollmentRow, enrollment.Cancel, byHelpdesk)
		})
}

// onEnrollment does something to a pending enrollment and writes it down; what is refused was not done.
func (s *Store) onEnrollment(ctx context.Context, verb string, errand enrollment.Errand, what enrollment.Deed, tenant string, id enrollment.ID, do func(*tx) (*enrollment.Refusal, error)) error {
	return s.answer(ctx, verb, func(t *tx) (*enrollment.Refusal, error) {
		if no := reasoned(errand); no != nil {
			return no, nil
		}
		if no, err := do(t); err != nil || no != nil {
			return no, err
		}
		e, err := t.enrollment(ctx, tenant, id, "")
		if err != nil {
			return nil, err
		}
		face, err := t.face(ctx, e.Account)
		if err != nil {
			return nil, err
		}
		return nil, t.audit(ctx, deed{
			what: what, by: errand.By, reason: errand.Reason, tenant: tenant, account: e.Account, enrollment: id, subject: face.AccountNumber,
			detail: string(e.State) + ", address " + e.Email.Masked(),
		})
	})
}

// Unlock lifts the waits on an account's codes and on its users' log-ins, and reports how many. It leaves two counts as they
// are: what a source does on the whole tenant, and the account's hundred guesses, of which a guesser must not get a second
// hundred by calling.
func (s *Store) Unlock(ctx context.Context, errand enrollment.Errand, tenant, accountNumber string) (int, error) {
	lifted := 0
	err := s.answer(ctx, "unlock an account", func(t *tx) (*enrollment.Refusal, error) {
		lifted = 0
		if no := reasoned(errand); no != nil {
			return no, nil
		}
		a, _, err := s.account(ctx, t, tenant, accountNumber, "")
		if err != nil {
			return nil, err
		}
		var users pq.StringArray
		if err := t.SelectContext(ctx, &users, `
			SELECT u.username_key FROM users AS u JOIN memberships AS m ON m.user_id = u.id WHERE m.account = $1`, a.ID); err != nil {
			return nil, fmt.Errorf("users of account %d: %w", a.ID, err)
		}
		var waits []bool
		if err := t.SelectContext(ctx, &waits, `
			DELETE FROM attempts WHERE tenant = $1 AND (
				scope = 'code-source-account' AND split_part(key, ' ', 2) = $2 OR scope = 'login-source-user' AND split_part(key, ' ', 2) = ANY ($3))
			RETURNING coalesce(wait_until > $4, false)`, tenant, a.Key, users, t.now); err != nil {
			return nil, fmt.Errorf("lift the waits on account %d: %w", a.ID, err)
		}
		for _, w := range waits {
			if w {
				lifted++
			}
		}
		if lifted > 0 {
			if err := t.announce(tenant, a.Ref, events.Unlocked{Fact: events.Fact{AccountRef: a.Ref, OccurredAt: t.now.UTC()}}); err != nil {
				return nil, err
			}
		}
		return nil, t.auditAccount(ctx, errand, enrollment.Unlocked, a, fmt.Sprintf("%d waits lifted", lifted))
	})
	return lifted, err
}

// RetireCode makes every code that was e-mailed so far worthless and asks billing for a new one, to the address of record.
// asked is false when the account had its share of new codes: billing was asked a short while ago. Refusal: AccountClosed.
func (s *Store) RetireCode(ctx context.Context, errand enrollment.Errand, tenant, accountNumber string) (asked bool, err error) {
	err = s.answer(ctx, "retire a code", func(t *tx) (*enrollment.Refusal, error) {
		if no := reasoned(errand); no != nil {
			return no, nil
		}
		a, _, err := s.account(ctx, t, tenant, accountNumber, "FOR NO KEY UPDATE")
		if err != nil {
			return nil, err
		}
		if closed, err := t.closed(ctx, a.ID); err != nil || closed {
			return &enrollment.Refusal{Reason: enrollment.AccountClosed}, err
		}
		if _, err := t.ExecContext(ctx, `UPDATE accounts SET codes_retired_at = $2 WHERE id = $1`, a.ID, t.now); err != nil {
			return nil, fmt.Errorf("retire the codes of account %d: %w", a.ID, err)
		}
		before := len(t.out)
		if err := t.askForNewCode(ctx, tenant, a.ID, events.HelpdeskAsked); noRows(err) { // billing never e-mailed it
			return nil, enrollment.ErrUnknown
		} else if err != nil {
			return nil, err
		}
		detail := "billing was asked for a new code"
		if asked = len(t.out) > before; !asked {
			detail = "billing was not asked: the account had its share of new codes"
		}
		return nil, t.auditAccount(ctx, errand, enrollment.RetiredCode, a, detail)
	})
	return asked, err
}

// SignOutFor ends all sessions of a user by the username; ErrUnknown.
func (s *Store) SignOutFor(ctx context.Context, errand enrollment.Errand, tenant, accountNumber, username string) error {
	return s.answer(ctx, "sign a customer out everywhere", func(t *tx) (*enrollment.Refusal, error) {
		if no := reasoned(errand); no != nil {
			return no, nil
		}
		a, _, err := s.account(ctx, t, tenant, accountNumber, "")
		if err != nil {
			return nil, err
		}
		user, err := t.userOf(ctx, a, username)
		if err != nil {
			return nil, err
		}
		if _, err := t.endSessions(ctx, tenant, user); err != nil {
			return nil, err
		}
		if _, err := t.ExecContext(ctx, `INSERT INTO user_activity (user_id, what, source, at) VALUES ($1, 'signed-out-everywhere', 'helpdesk', $2)`, user, t.now); err != nil {
			return nil, fmt.Errorf("note that user %d was signed out: %w", user, err)
		}
		return nil, t.auditAccount(ctx, errand, enrollment.SignedOutEverywhere, a, "user "+username)
	})
}

// userOf finds a user of an account by the username as the account's page shows it; ErrUnknown.
func (t *tx) userOf(ctx context.Context, a accountRow, username string) (user int64, err error) {
	err = t.GetContext(ctx, &user, `
		SELECT u.id FROM users AS u JOIN memberships AS m ON m.user_id = u.id WHERE m.account = $1 AND u.tenant = $2 AND u.username = $3`, a.ID, a.Tenant, username)
	if noRows(err) {
		return 0, enrollment.ErrUnknown
	}
	if err != nil {
		return 0, fmt.Errorf("user of account %d: %w", a.ID, err)
	}
	return user, nil
}

func (t *tx) auditAccount(ctx context.Context, errand enrollment.Errand, what enrollment.Deed, a accountRow, detail string) error {
	number := a.Key
	if face, err := t.face(ctx, a.ID); err == nil {
		number = face.AccountNumber
	}
	return t.audit(ctx, deed{what: what, by: errand.By, reason: errand.Reason, tenant: a.Tenant, account: a.ID, subject: number, detail: detail})
}

// pendingCase is what staff see of an account's pending enrollment.
func (e *enrollmentRow) pendingCase(now time.Time) *enrollment.PendingCase {
	return &enrollment.PendingCase{
		Enrollment: e.ID, State: e.State, Email: e.Email.Masked(), Username: e.Username, ExpiresAt: e.ExpiresAt.UTC(),
		ResendAfter: max(0, e.LastMailAt.Add(enrollment.MailSpacing).Sub(now)),
		MailsLeft:   enrollment.MaxMails - e.Resends, CorrectionsLeft: enrollment.MaxCorrections - e.Corrections,
	}
}
