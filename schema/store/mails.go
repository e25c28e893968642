package store

import (
	"context"
	"fmt"
	"time"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// lease is how long a claimed mail is the claimer's alone: longer than the slowest send, which is cut off after 30 s, and
// shorter than a customer's patience.
const lease = 45 * time.Second

const (
	mailNeverAccepted  = "mail-never-accepted"  // the reason of a mail that is given up
	mailOutcomeUnknown = "mail-outcome-unknown" // of one that was sent, and no answer ever came
)

// mailRow is a mail in the ledger.
type mailRow struct {
	State        string     `db:"state"`
	Uncertain    int        `db:"uncertain"`
	ClaimedUntil time.Time  `db:"claimed_until"`
	SettledAt    *time.Time `db:"settled_at"`
	Failure      string     `db:"failure"`
	SMTPStatus   int        `db:"smtp_status"`
	Sequence     int64      `db:"sequence"`
	Tenant       string     `db:"tenant"` // where it is asked for
}

const mailColumns = `state, uncertain, claimed_until, settled_at, failure, smtp_status, sequence`

// ClaimMail says whether to send a mail, and with SendNow reserves it for the caller. A claim that was neither settled nor
// released means that the provider's answer is unknown: the mail may be sent again, enrollment.MaxUncertainSends times in
// all, and is settled as failed after that.
func (s *Store) ClaimMail(ctx context.Context, m enrollment.Mail) (enrollment.Claim, error) {
	var c enrollment.Claim
	err := s.transact(ctx, "claim a mail", func(t *tx) error {
		row, err := t.lockMail(ctx, m)
		if err != nil {
			return err
		}
		switch {
		case row.SettledAt != nil:
			c.Verdict = enrollment.Settled
		case row.State == "sending" && row.ClaimedUntil.After(t.now):
			c = enrollment.Claim{Verdict: enrollment.HeldByOther, RetryAfter: row.ClaimedUntil.Sub(t.now)}
			return nil
		case row.Uncertain >= enrollment.MaxUncertainSends:
			c.Verdict = enrollment.Settled
			err = t.settle(ctx, m, &row, "failed", enrollment.MailFailure{Reason: mailOutcomeUnknown})
		case !t.now.Before(m.GiveUpAt):
			c.Verdict = enrollment.Settled
			err = t.settle(ctx, m, &row, "failed", enrollment.MailFailure{Reason: mailNeverAccepted})
		default:
			var moot bool
			if moot, err = t.moot(ctx, m); err != nil {
				return err
			}
			if moot {
				c.Verdict = enrollment.Moot
				return nil
			}
			c.Verdict = enrollment.SendNow
			_, err = t.ExecContext(ctx, `
				UPDATE mails SET state = 'sending', uncertain = uncertain + 1, claimed_until = $5, last_try_at = $6
				WHERE enrollment = $1 AND purpose = $2 AND generation = $3 AND number = $4`,
				m.Enrollment, m.Purpose, m.Generation, m.Number, t.now.Add(lease), t.now)
		}
		if err != nil || c.Verdict != enrollment.Settled {
			return err
		}
		c.Outcome, err = s.outcome(ctx, t, m, row)
		return err
	})
	return c, err
}

// lockMail finds or begins a mail's row and holds it.
func (t *tx) lockMail(ctx context.Context, m enrollment.Mail) (mailRow, error) {
	var row mailRow
	err := t.GetContext(ctx, &row, `
		INSERT INTO mails AS m (tenant, enrollment, purpose, generation, number, state, message_id, claimed_until)
		VALUES ($1, $2, $3, $4, $5, 'waiting', $6, $7)
		ON CONFLICT (enrollment, purpose, generation, number) DO UPDATE SET message_id = m.message_id
		RETURNING `+mailColumns,
		m.Tenant, m.Enrollment, m.Purpose, m.Generation, m.Number, m.MessageID, t.now)
	if err != nil {
		return row, fmt.Errorf("mail of enrollment %s: %w", m.Enrollment, err)
	}
	return row, nil
}

// moot reports whether a mail would reach somebody who cannot use its link: the address was corrected since, or the enrollment
// has ended; the password was set, or the reset's hour is over. An enrollment or a reset that is not here is mailed: the bus may be ahead of a restored database.
func (t *tx) moot(ctx context.Context, m enrollment.Mail) (bool, error) {
	switch m.Purpose {
	case enrollment.ResetMail:
		var moot bool
		err := t.GetContext(ctx, &moot, `
			SELECT EXISTS (SELECT FROM password_resets WHERE id = $1 AND tenant = $2 AND (used_at IS NOT NULL OR voided_at IS NOT NULL OR expires_at <= $3))`,
			m.Enrollment, m.Tenant, t.now)
		return moot, err
	case enrollment.ActivationMail:
	default:
		return false, nil
	}
	e, err := t.enrollment(ctx, m.Tenant, m.Enrollment, "")
	if err == enrollment.ErrUnknown {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return !e.State.Live() || e.due(t.now) || e.Generation != m.Generation, nil
}

// MailAccepted settles a claimed mail: a provider took it. A settled mail stays as it is.
func (s *Store) MailAccepted(ctx context.Context, m enrollment.Mail) (enrollment.MailOutcome, error) {
	return s.settleMail(ctx, m, "accepted", enrollment.MailFailure{})
}

// MailRefused settles a claimed mail: a provider refused it for good, or it is given up. A settled mail stays as it is.
func (s *Store) MailRefused(ctx context.Context, m enrollment.Mail, f enrollment.MailFailure) (enrollment.MailOutcome, error) {
	return s.settleMail(ctx, m, "failed", f)
}

func (s *Store) settleMail(ctx context.Context, m enrollment.Mail, state string, f enrollment.MailFailure) (enrollment.MailOutcome, error) {
	var o enrollment.MailOutcome
	err := s.transact(ctx, "settle a mail", func(t *tx) error {
		row, err := t.lockMail(ctx, m)
		if err != nil {
			return err
		}
		if row.SettledAt == nil {
			if err := t.settle(ctx, m, &row, state, f); err != nil {
				return err
			}
		}
		o, err = s.outcome(ctx, t, m, row)
		return err
	})
	return o, err
}

// MailCameBack records that a mail failed for good after a provider had taken it: the ledger says so from now on, and of an activation
// mail the saga is told, as of one that was refused at once. A mail that failed before stays as it is, so the same report can be
// read any number of times; it reports whether anything changed. ErrUnknown: no such mail.
func (s *Store) MailCameBack(ctx context.Context, m enrollment.Mail, f enrollment.MailFailure) (changed bool, err error) {
	err = s.transact(ctx, "record a mail that came back", func(t *tx) error {
		changed = false
		var row mailRow
		err := t.GetContext(ctx, &row, `
			SELECT `+mailColumns+`, tenant FROM mails WHERE enrollment = $1 AND purpose = $2 AND generation = $3 AND number = $4 FOR UPDATE`,
			m.Enrollment, m.Purpose, m.Generation, m.Number)
		if noRows(err) {
			return enrollment.ErrUnknown
		}
		if err != nil {
			return fmt.Errorf("mail of enrollment %s: %w", m.Enrollment, err)
		}
		if row.State != "accepted" && row.Failure != mailOutcomeUnknown { // which it had been, as is seen now
			return nil
		}
		m.Tenant, changed = row.Tenant, true
		if err := t.settle(ctx, m, &row, "failed", f); err != nil || m.Purpose != enrollment.ActivationMail {
			return err
		}
		o, err := s.outcome(ctx, t, m, row)
		if err != nil {
			return err
		}
		return t.announce(m.Tenant, m.Enrollment.String(), events.ActivationMailFailed{
			Fact: events.Fact{
				AccountRef: o.AccountRef, EnrollmentID: m.Enrollment.String(), Sequence: o.Sequence, OccurredAt: o.At, Reason: o.Failure,
				Properties: events.Properties{Locale: o.Locale, InvoiceMonth: o.InvoiceMonth, CodeAgeDays: o.CodeAgeDays, MailDomainClass: o.MailDomainClass},
			},
			Generation: m.Generation, SMTPStatus: o.SMTPStatus,
		})
	})
	return changed, err
}

// settle writes a mail's end once, with the sequence of the fact about it, so that the fact can be told again word by word.
func (t *tx) settle(ctx context.Context, m enrollment.Mail, row *mailRow, state string, f enrollment.MailFailure) error {
	if m.Purpose == enrollment.ActivationMail {
		err := t.GetContext(ctx, &row.Sequence, `UPDATE enrollments SET sequence = sequence + 1 WHERE id = $1 AND tenant = $2 RETURNING sequence`, m.Enrollment, m.Tenant)
		if err != nil && !noRows(err) {
			return fmt.Errorf("sequence of enrollment %s: %w", m.Enrollment, err)
		}
	}
	if f.Reason != mailNeverAccepted { // which leaves the last temporary refusal as the explanation
		row.SMTPStatus = f.SMTPStatus
	}
	row.State, row.SettledAt, row.Failure = state, &t.now, f.Reason
	if _, err := t.ExecContext(ctx, `
		UPDATE mails SET state = $5, settled_at = $6, failure = $7, smtp_status = $8, reply = $9, sequence = $10
		WHERE enrollment = $1 AND purpose = $2 AND generation = $3 AND number = $4`,
		m.Enrollment, m.Purpose, m.Generation, m.Number, state, t.now, f.Reason, row.SMTPStatus, f.Reply, row.Sequence); err != nil {
		return fmt.Errorf("settle the mail of enrollment %s: %w", m.Enrollment, err)
	}
	return nil
}

// ReleaseMail gives a claim back after a definite "not now": the send does not count as uncertain.
func (s *Store) ReleaseMail(ctx context.Context, m enrollment.Mail, f enrollment.MailFailure) error {
	return s.transact(ctx, "release a mail", func(t *tx) error {
		_, err := t.ExecContext(ctx, `
			UPDATE mails SET state = 'waiting', uncertain = greatest(uncertain - 1, 0), claimed_until = $5, smtp_status = $6, reply = $7
			WHERE enrollment = $1 AND purpose = $2 AND generation = $3 AND number = $4 AND state = 'sending'`,
			m.Enrollment, m.Purpose, m.Generation, m.Number, t.now, f.SMTPStatus, f.Reply)
		return err
	})
}

// outcome is what the fact about a settled mail says, the same each time it is read.
func (s *Store) outcome(ctx context.Context, t *tx, m enrollment.Mail, row mailRow) (enrollment.MailOutcome, error) {
	o := enrollment.MailOutcome{
		Accepted: row.State == "accepted", Failure: row.Failure, SMTPStatus: row.SMTPStatus, At: row.SettledAt.UTC(), Sequence: row.Sequence,
	}
	e, err := t.enrollment(ctx, m.Tenant, m.Enrollment, "")
	if err == enrollment.ErrUnknown {
		o.AccountRef = s.refOf(m)
		return o, nil
	}
	if err != nil {
		return o, err
	}
	if o.AccountRef, err = t.accountRef(ctx, e.Account); err != nil {
		return o, err
	}
	var address enrollment.Address // of the mail's generation, which a later correction does not change
	err = t.GetContext(ctx, &address, `SELECT address FROM enrollment_addresses WHERE enrollment = $1 AND generation = $2`, e.ID, m.Generation)
	if err != nil && !noRows(err) {
		return o, fmt.Errorf("address of enrollment %s: %w", e.ID, err)
	}
	e.Email = address
	p := e.properties()
	o.Locale, o.InvoiceMonth, o.CodeAgeDays, o.MailDomainClass = p.Locale, p.InvoiceMonth, p.CodeAgeDays, p.MailDomainClass
	return o, nil
}

// refOf calls an account that is not here by what its number hashes to.
func (s *Store) refOf(m enrollment.Mail) string {
	policy, _ := s.policy(m.Tenant)
	key, err := enrollment.AccountKey(m.AccountNumber, policy.LeadingZerosOptional)
	if err != nil {
		key = m.AccountNumber
	}
	return s.ring.AccountRef(m.Tenant, key)
}
