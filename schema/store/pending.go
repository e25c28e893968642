package store

import (
	"context"
	"fmt"
	"time"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// Pending tells what became of an enrollment so far. The error is enrollment.ErrUnknown when the tenant has none by that id.
func (s *Store) Pending(ctx context.Context, tenant string, id enrollment.ID) (enrollment.Pending, error) {
	var p enrollment.Pending
	err := s.transact(ctx, "look at a pending enrollment", func(t *tx) error {
		e, err := t.enrollment(ctx, tenant, id, "")
		if err != nil {
			return err
		}
		face, err := t.face(ctx, e.Account)
		if err != nil {
			return err
		}
		p = enrollment.Pending{
			Enrollment: e.ID, State: e.State, Email: e.Email, Username: e.Username, CompanyName: face.CompanyName,
			ExpiresAt:       e.ExpiresAt,
			ResendAfter:     max(0, e.LastMailAt.Add(enrollment.MailSpacing).Sub(t.now)),
			MailsLeft:       enrollment.MaxMails - e.Resends,
			CorrectionsLeft: enrollment.MaxCorrections - e.Corrections,
		}
		if e.due(t.now) {
			p.State = enrollment.Expired
		}
		if e.MailedAt != nil {
			p.MailedAt = *e.MailedAt
		}
		if p.State != enrollment.Activated {
			p.Closed, err = t.closed(ctx, e.Account)
		}
		return err
	})
	return p, err
}

// Resend asks for the activation mail again: the same link. Refusals: TooSoon, TooManyMails, LinkUsed, LinkExpired.
// The same request again changes nothing.
func (s *Store) Resend(ctx context.Context, tenant string, id enrollment.ID, w enrollment.Wish) error {
	return s.answer(ctx, "send the activation mail again", func(t *tx) (*enrollment.Refusal, error) {
		return s.resend(ctx, t, tenant, id, w)
	})
}

func (s *Store) resend(ctx context.Context, t *tx, tenant string, id enrollment.ID, w enrollment.Wish) (*enrollment.Refusal, error) {
	p, err := s.pendingToChange(ctx, t, tenant, id, w.RequestID)
	if err != nil || p.no != nil || p.done {
		return p.no, err
	}
	if wait := p.LastMailAt.Add(enrollment.MailSpacing).Sub(t.now); wait > 0 {
		return &enrollment.Refusal{Reason: enrollment.TooSoon, RetryAfter: wait}, nil
	}
	if p.Resends >= enrollment.MaxMails {
		return &enrollment.Refusal{Reason: enrollment.TooManyMails}, nil
	}
	p.grant(w)
	if p.State == enrollment.Undeliverable { // the same address once more: it begins anew
		if no := p.correctable(); no != nil {
			return no, nil
		}
		return nil, t.correct(ctx, p.enrollmentRow, p.Email, p.ref, p.face, p.policy)
	}
	return nil, t.mailAgain(ctx, p.enrollmentRow, p.ref, p.face, p.policy)
}

// CorrectAddress sends the activation mail to another address; links that went to older ones are dead from now on.
// Refusals: TooManyCorrections, LinkUsed, LinkExpired. The same request again changes nothing.
func (s *Store) CorrectAddress(ctx context.Context, tenant string, id enrollment.ID, to enrollment.Address, w enrollment.Wish) error {
	return s.answer(ctx, "correct an address", func(t *tx) (*enrollment.Refusal, error) {
		return s.correctAddress(ctx, t, tenant, id, to, w)
	})
}

func (s *Store) correctAddress(ctx context.Context, t *tx, tenant string, id enrollment.ID, to enrollment.Address, w enrollment.Wish) (*enrollment.Refusal, error) {
	p, err := s.pendingToChange(ctx, t, tenant, id, w.RequestID)
	if err != nil || p.no != nil || p.done {
		return p.no, err
	}
	if p.Email == to && p.State != enrollment.Undeliverable {
		return nil, nil
	}
	if no := p.correctable(); no != nil {
		return no, nil
	}
	p.grant(w)
	return nil, t.correct(ctx, p.enrollmentRow, to, p.ref, p.face, p.policy)
}

// changeable is a pending enrollment that somebody wants to change, or why not.
type changeable struct {
	*enrollmentRow
	ref    string
	face   accountFace
	policy enrollment.Policy
	done   bool // the same request was carried out before
	no     *enrollment.Refusal
}

func (s *Store) pendingToChange(ctx context.Context, t *tx, tenant string, id enrollment.ID, requestID string) (changeable, error) {
	policy, ok := s.policy(tenant)
	if !ok {
		return changeable{}, fmt.Errorf("tenant %q: %w", tenant, enrollment.ErrUnknown)
	}
	e, err := t.lockEnrollment(ctx, tenant, id)
	if err != nil {
		return changeable{}, err
	}
	c := changeable{enrollmentRow: e, policy: policy}
	switch {
	case e.State == enrollment.Activated:
		c.no = &enrollment.Refusal{Reason: enrollment.LinkUsed}
	case e.State.Final() || e.due(t.now):
		c.no = &enrollment.Refusal{Reason: enrollment.LinkExpired}
	case requestID != "" && requestID == e.RequestID:
		c.done = true
	}
	if c.no != nil || c.done {
		return c, nil
	}
	if c.ref, err = t.accountRef(ctx, e.Account); err != nil {
		return c, err
	}
	c.face, err = t.face(ctx, e.Account)
	return c, err
}

// grant takes over what a wish says of itself; the caller saves it.
func (e *enrollmentRow) grant(w enrollment.Wish) {
	e.RequestID, e.Locale = w.RequestID, firstOf(w.Locale, e.Locale)
}

// mailAgain asks for one more mail with the same link.
func (t *tx) mailAgain(ctx context.Context, e *enrollmentRow, ref string, face accountFace, p enrollment.Policy) error {
	e.Resends++
	e.MailNumber++
	e.LastMailAt = t.now
	fact := e.fact(ref, t.now, "")
	if err := t.save(ctx, e, []enrollment.State{e.State}); err != nil {
		return err
	}
	if err := t.announce(e.Tenant, e.ID.String(), events.ActivationResent{Fact: fact}); err != nil {
		return err
	}
	return t.requestMail(ctx, e, ref, face, p.ActivationWindow)
}

// correctable refuses one correction too many.
func (e *enrollmentRow) correctable() *enrollment.Refusal {
	if e.Corrections >= enrollment.MaxCorrections {
		return &enrollment.Refusal{Reason: enrollment.TooManyCorrections, Field: enrollment.FieldEmail}
	}
	return nil
}

// correct starts the next generation: a new address, a new link, a new hold.
func (t *tx) correct(ctx context.Context, e *enrollmentRow, to enrollment.Address, ref string, face accountFace, p enrollment.Policy) error {
	e.Email, e.Generation, e.MailNumber = to, e.Generation+1, 1
	e.Corrections++
	e.LastMailAt, e.MailedAt, e.RefusedAt, e.OpenedAt, e.OpenedByBot = t.now, nil, nil, nil, nil
	e.ExpiresAt = t.now.Add(max(holdUnmailed, p.ActivationWindow))
	fact := e.fact(ref, t.now, "")
	if err := t.move(ctx, e, enrollment.CorrectAddress); err != nil {
		return err
	}
	if err := t.keepAddress(ctx, e); err != nil {
		return err
	}
	if err := t.announce(e.Tenant, e.ID.String(), events.EmailCorrected{Fact: fact}); err != nil {
		return err
	}
	return t.requestMail(ctx, e, ref, face, p.ActivationWindow)
}

// keepAddress remembers where a generation's link goes.
func (t *tx) keepAddress(ctx context.Context, e *enrollmentRow) error {
	if _, err := t.ExecContext(ctx, `INSERT INTO enrollment_addresses (enrollment, generation, address) VALUES ($1, $2, $3)`, e.ID, e.Generation, e.Email); err != nil {
		return fmt.Errorf("keep the address of enrollment %s: %w", e.ID, err)
	}
	return nil
}

// RecordMailAccepted moves an enrollment on when a provider took a mail to its present address; the activation window
// begins then. Older generations, later repeats and enrollments that have ended change nothing.
func (s *Store) RecordMailAccepted(ctx context.Context, tenant string, id enrollment.ID, generation uint32, at time.Time) error {
	return s.transact(ctx, "record an accepted mail", func(t *tx) error {
		policy, ok := s.policy(tenant)
		if !ok {
			return fmt.Errorf("tenant %q: %w", tenant, enrollment.ErrUnknown)
		}
		e, err := t.lockEnrollment(ctx, tenant, id)
		if err != nil {
			return err
		}
		if _, err := e.State.After(enrollment.AcceptMail); err != nil || e.Generation != generation {
			return nil
		}
		at = notAfter(at, t.now)
		if e.MailedAt != nil && !at.After(*e.MailedAt) || e.RefusedAt != nil && at.Before(*e.RefusedAt) {
			return nil
		}
		e.MailedAt, e.ExpiresAt = &at, at.Add(policy.ActivationWindow)
		if e.State == enrollment.Mailed {
			return t.save(ctx, e, []enrollment.State{enrollment.Mailed})
		}
		e.Sequence++
		return t.move(ctx, e, enrollment.AcceptMail)
	})
}

// RecordMailRefused moves an enrollment on when the mail to its present address was refused for good or given up, or came
// back after it was accepted. Of several outcomes of one address the latest tells, in whatever order they arrive. Older
// generations and enrollments that have ended change nothing.
func (s *Store) RecordMailRefused(ctx context.Context, tenant string, id enrollment.ID, generation uint32, at time.Time) error {
	return s.transact(ctx, "record a refused mail", func(t *tx) error {
		e, err := t.lockEnrollment(ctx, tenant, id)
		if err != nil {
			return err
		}
		at = notAfter(at, t.now)
		if !e.State.Live() || e.Generation != generation || e.MailedAt != nil && !at.After(*e.MailedAt) || e.RefusedAt != nil && !at.After(*e.RefusedAt) {
			return nil
		}
		e.RefusedAt = &at
		if e.State == enrollment.Undeliverable {
			return t.save(ctx, e, []enrollment.State{enrollment.Undeliverable})
		}
		e.Sequence++
		return t.move(ctx, e, enrollment.RefuseMail)
	})
}

// notAfter reads another machine's clock, which may be ahead: ours decides. The database keeps microseconds, and two instants
// must compare alike before and after they are stored.
func notAfter(at, now time.Time) time.Time {
	if at.After(now) {
		return now
	}
	return at.Truncate(time.Microsecond)
}

// ExpireDue ends at most limit enrollments whose time ran out and reports how many there were. Any number of workers may
// call it at once.
func (s *Store) ExpireDue(ctx context.Context, limit int) (int, error) {
	n := 0
	err := s.transact(ctx, "expire enrollments", func(t *tx) error {
		var due []enrollmentRow
		if err := t.SelectContext(ctx, &due, `
			SELECT `+enrollmentColumns+` FROM enrollments
			WHERE state IN ('registered', 'mailed', 'undeliverable') AND expires_at <= $1
			ORDER BY expires_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED`, t.now, limit); err != nil {
			return fmt.Errorf("what is due: %w", err)
		}
		n = len(due)
		for i := range due {
			if err := t.expire(ctx, &due[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// keepRefusals is how long the timeline remembers that somebody was refused or told: as long as the facts live.
const keepRefusals = 400 * 24 * time.Hour

// How long a link to reset a password is told from a damaged one, and how far a user looks back.
const (
	keepResets   = 30 * 24 * time.Hour
	keepActivity = 90 * 24 * time.Hour
)

// Forget deletes what is kept only for a while and is over: sessions, counts of tries, refusals, notices, resets, activity
// and views. It reports how many rows.
func (s *Store) Forget(ctx context.Context) (int, error) {
	n := 0
	err := s.transact(ctx, "forget what is over", func(t *tx) error {
		n = 0
		for _, q := range []struct {
			statement string
			before    time.Time
		}{
			{`DELETE FROM sessions WHERE expires_at <= $1`, t.now},
			{`DELETE FROM attempts WHERE scope <> 'code-account' AND touched_at <= $1`, t.now.Add(-rememberSource)},
			{`DELETE FROM attempts WHERE scope = 'code-account' AND touched_at <= $1`, t.now.Add(-rememberAccount)},
			{`DELETE FROM refusals WHERE at <= $1`, t.now.Add(-keepRefusals)},
			{`DELETE FROM security_notices WHERE requested_at <= $1`, t.now.Add(-keepRefusals)},
			{`DELETE FROM password_resets WHERE requested_at <= $1`, t.now.Add(-keepResets)},
			{`DELETE FROM user_activity WHERE at <= $1`, t.now.Add(-keepActivity)},
			{`DELETE FROM views WHERE ended_at <= $1`, t.now.Add(-keepActivity)},
		} {
			result, err := t.ExecContext(ctx, q.statement, q.before)
			if err != nil {
				return err
			}
			rows, err := result.RowsAffected()
			if err != nil {
				return err
			}
			n += int(rows)
		}
		return nil
	})
	return n, err
}
