package store

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// AskForReset asks for the mail that brings somebody back in, to the address on record of each user who is meant, never to
// what was typed. Nobody learns whether there is one: the answer is the same, and so is the work. Refusal: TooManyTries, for
// a source that asks by the dozen.
func (s *Store) AskForReset(ctx context.Context, f enrollment.Forgotten) error {
	return s.answer(ctx, "ask for a password reset", func(t *tx) (*enrollment.Refusal, error) {
		if wait, err := t.askingAgain(ctx, f.Tenant, "forgot-source", f.Source); err != nil || wait != nil {
			return wait, err
		}
		var users []resetUser
		if err := t.SelectContext(ctx, &users, `
			SELECT u.id, u.username, u.email, coalesce(nullif($4, ''), e.locale) AS locale
			FROM users AS u JOIN enrollments AS e ON e.id = u.enrollment
			WHERE u.tenant = $1 AND (u.username_key = nullif($2, '') OR lower(u.email) = nullif(lower($3), ''))
			ORDER BY u.id LIMIT $5`, f.Tenant, f.UsernameKey, f.Address, f.Locale, enrollment.MaxReminded); err != nil {
			return nil, fmt.Errorf("who is meant: %w", err)
		}
		if len(users) == 0 {
			users = append(users, resetUser{}) // nobody
		}
		for _, u := range users {
			if err := t.requestReset(ctx, f.Tenant, u); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
}

// askingAgain counts a wish for a mail that anybody may utter, whatever comes of it.
func (t *tx) askingAgain(ctx context.Context, tenant, scope string, source netip.Addr) (*enrollment.Refusal, error) {
	counts, wait, err := t.pass(ctx, tenant, []gate{{
		scope: scope, key: enrollment.SourceKey(source), limit: enrollment.WrongTriesOnTenant, window: enrollment.WrongTriesWindow, memory: rememberSource,
	}})
	if err != nil || wait != nil {
		return wait, err
	}
	_, err = t.wrong(ctx, tenant, counts[0], true)
	return nil, err
}

// resetUser is whom a reset is for; ID 0: nobody.
type resetUser struct {
	ID       int64              `db:"id"`
	Username string             `db:"username"`
	Email    enrollment.Address `db:"email"`
	Locale   string             `db:"locale"`
}

// requestReset writes a reset down and asks for its mail. A user who had a mail a moment ago, or many today, gets none.
func (t *tx) requestReset(ctx context.Context, tenant string, u resetUser) error {
	var had struct {
		Lately int `db:"lately"`
		Today  int `db:"today"`
	}
	if err := t.GetContext(ctx, &had, `
		SELECT count(*) FILTER (WHERE requested_at > $2::timestamptz - make_interval(secs => $3)) AS lately, count(*) AS today
		FROM password_resets WHERE user_id = $1 AND requested_at > $2::timestamptz - make_interval(secs => $4)`,
		u.ID, t.now, enrollment.ResetSpacing.Seconds(), enrollment.ResetsWindow.Seconds()); err != nil {
		return fmt.Errorf("resets of user %d: %w", u.ID, err)
	}
	if had.Lately > 0 || had.Today >= enrollment.MaxResets {
		u = resetUser{}
	}
	id := uuid.New()
	if _, err := t.ExecContext(ctx, `
		INSERT INTO password_resets (id, tenant, user_id, address, requested_at, expires_at) VALUES ($1, $2, nullif($3::bigint, 0), $4, $5, $6)`,
		id, tenant, u.ID, u.Email, t.now, t.now.Add(enrollment.RecoveryLinkLifespan)); err != nil {
		return fmt.Errorf("write a reset down: %w", err)
	}
	if u.ID == 0 {
		return t.announceNothing(ctx)
	}
	return t.announce(tenant, id.String(), events.PasswordResetRequested{
		ResetID: id.String(), To: string(u.Email), Username: u.Username, Locale: u.Locale,
		RequestedAt: t.now.UTC(), ValidForSeconds: int64(enrollment.RecoveryLinkLifespan / time.Second),
	})
}

// announceNothing costs what an announcement costs, for an answer that must take as long.
func (t *tx) announceNothing(ctx context.Context) error {
	_, err := t.ExecContext(ctx, `INSERT INTO outbox (subject, msg_id, body) SELECT $1, $2, $3 WHERE false`, "", "", "")
	return err
}

// resetRow is a reset that somebody is known for.
type resetRow struct {
	ID        enrollment.ID      `db:"id"`
	User      int64              `db:"user_id"`
	Address   enrollment.Address `db:"address"`
	ExpiresAt time.Time          `db:"expires_at"`
	UsedAt    *time.Time         `db:"used_at"`
	VoidedAt  *time.Time         `db:"voided_at"`
}

// followReset finds and holds the reset of a link, or says which dead end the link is.
func (t *tx) followReset(ctx context.Context, tenant string, link enrollment.Signed) (*resetRow, *enrollment.Refusal, error) {
	var r resetRow
	err := t.GetContext(ctx, &r, `
		SELECT id, user_id, address, expires_at, used_at, voided_at FROM password_resets
		WHERE id = $1 AND tenant = $2 AND user_id IS NOT NULL FOR NO KEY UPDATE`, link.Enrollment, tenant)
	if err != nil && !noRows(err) {
		return nil, nil, fmt.Errorf("reset %s: %w", link.Enrollment, err)
	}
	genuine := false
	for _, key := range t.ring.LinkKeys() {
		genuine = genuine || link.GenuineRecovery(key, tenant, r.Address)
	}
	switch {
	case err != nil || !genuine:
		return nil, &enrollment.Refusal{Reason: enrollment.LinkDamaged}, nil
	case r.UsedAt != nil:
		return nil, &enrollment.Refusal{Reason: enrollment.LinkUsed}, nil
	case r.VoidedAt != nil:
		return nil, &enrollment.Refusal{Reason: enrollment.LinkSuperseded}, nil
	case !t.now.Before(r.ExpiresAt):
		return nil, &enrollment.Refusal{Reason: enrollment.LinkExpired}, nil
	}
	return &r, nil, nil
}

// OpenReset tells whose password a link sets, and changes nothing. Refusals: LinkDamaged, LinkUsed, LinkSuperseded (the
// password was set in another way meanwhile), LinkExpired.
func (s *Store) OpenReset(ctx context.Context, tenant string, link enrollment.Signed) (enrollment.Recovery, error) {
	var r enrollment.Recovery
	err := s.answer(ctx, "open a reset link", func(t *tx) (*enrollment.Refusal, error) {
		row, no, err := t.followReset(ctx, tenant, link)
		if err != nil || no != nil {
			return no, err
		}
		c, err := s.customer(ctx, t, tenant, row.User)
		if err != nil {
			return nil, err
		}
		r = enrollment.Recovery{Username: c.Username, Email: c.Email, ExpiresAt: row.ExpiresAt}
		for _, a := range c.Accounts {
			r.AccountNumbers = append(r.AccountNumbers, a.AccountNumber)
		}
		return nil, nil
	})
	return r, err
}

// ResetPassword consumes a link with the hash of the chosen password, once, ends all sessions of the user, forgets the
// wrong tries at the old password and tells the user by mail. It returns the username to log in with. Refusals as for OpenReset.
func (s *Store) ResetPassword(ctx context.Context, tenant string, link enrollment.Signed, passwordHash string, source netip.Addr) (string, error) {
	username := ""
	err := s.answer(ctx, "reset a password", func(t *tx) (*enrollment.Refusal, error) {
		r, no, err := t.followReset(ctx, tenant, link)
		if err != nil || no != nil {
			return no, err
		}
		result, err := t.ExecContext(ctx, `UPDATE password_resets SET used_at = $2 WHERE id = $1 AND used_at IS NULL AND voided_at IS NULL`, r.ID, t.now)
		if err != nil {
			return nil, fmt.Errorf("use reset %s: %w", r.ID, err)
		}
		if n, err := result.RowsAffected(); err != nil || n != 1 {
			return nil, fmt.Errorf("use reset %s: %d rows changed, want 1: %w", r.ID, n, err)
		}
		if username, _, err = t.setPassword(ctx, tenant, r.User, passwordHash); err != nil {
			return nil, err
		}
		if err := t.forgetLogIns(ctx, tenant, username); err != nil {
			return nil, err
		}
		if err := t.tellPasswordChanged(ctx, tenant, r.User); err != nil {
			return nil, err
		}
		return nil, t.note(ctx, r.User, "password-reset", source)
	})
	return username, err
}

// forgetLogIns clears every source's tries at a username: who reached its mailbox is not a guesser.
func (t *tx) forgetLogIns(ctx context.Context, tenant, username string) error {
	key, _ := enrollment.UsernameKey(username)
	if _, err := t.ExecContext(ctx, `
		DELETE FROM attempts WHERE tenant = $1 AND scope = 'login-source-user' AND split_part(key, ' ', 2) = $2`, tenant, key); err != nil {
		return fmt.Errorf("forget tries at a username: %w", err)
	}
	return nil
}
