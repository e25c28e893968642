package store

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// setPassword gives a user another password. Links to set one that are still open are void, and whoever is logged in with
// the old one is logged out.
func (t *tx) setPassword(ctx context.Context, tenant string, user int64, hash string) (username string, epoch int64, err error) {
	err = t.GetContext(ctx, &username, `UPDATE users SET password_hash = $3 WHERE id = $1 AND tenant = $2 RETURNING username`, user, tenant, hash)
	if noRows(err) {
		return "", 0, enrollment.ErrUnknown
	}
	if err != nil {
		return "", 0, fmt.Errorf("password of user %d: %w", user, err)
	}
	if _, err := t.ExecContext(ctx, `
		UPDATE password_resets SET voided_at = $2 WHERE user_id = $1 AND used_at IS NULL AND voided_at IS NULL`, user, t.now); err != nil {
		return "", 0, fmt.Errorf("void the resets of user %d: %w", user, err)
	}
	epoch, err = t.endSessions(ctx, tenant, user)
	return username, epoch, err
}

// note keeps what a user did, for the user to see.
func (t *tx) note(ctx context.Context, user int64, what string, source netip.Addr) error {
	return t.noteAbout(ctx, user, what, "", enrollment.SourceKey(source))
}

// noteAbout says whom or which account it was about. source is empty where it was somebody else's doing.
func (t *tx) noteAbout(ctx context.Context, user int64, what, about, source string) error {
	if _, err := t.ExecContext(ctx, `INSERT INTO user_activity (user_id, what, about, source, at) VALUES ($1, $2, $3, $4, $5)`,
		user, what, about, source, t.now); err != nil {
		return fmt.Errorf("note what user %d did: %w", user, err)
	}
	return nil
}

// ChangePassword sets the hash of a new password after the present one was found right: AttemptLogIn counted that try, and
// here it is taken back. All sessions end, the one that asks included; another one may begin with the epoch returned. The user is
// told by mail.
func (s *Store) ChangePassword(ctx context.Context, tenant string, user int64, passwordHash string, source netip.Addr) (epoch int64, err error) {
	err = s.transact(ctx, "change a password", func(t *tx) error {
		username, next, err := t.setPassword(ctx, tenant, user, passwordHash)
		if err != nil {
			return err
		}
		key, _ := enrollment.UsernameKey(username)
		if err := t.takeBack(ctx, tenant, logInGates(source, key)); err != nil {
			return err
		}
		epoch = next
		if err := t.tellPasswordChanged(ctx, tenant, user); err != nil {
			return err
		}
		return t.note(ctx, user, "password-changed", source)
	})
	return epoch, err
}

// SignOutEverywhere ends all sessions of a user.
func (s *Store) SignOutEverywhere(ctx context.Context, tenant string, user int64, source netip.Addr) error {
	return s.transact(ctx, "sign out everywhere", func(t *tx) error {
		if _, err := s.customer(ctx, t, tenant, user); err != nil {
			return err
		}
		if _, err := t.endSessions(ctx, tenant, user); err != nil {
			return err
		}
		return t.note(ctx, user, "signed-out-everywhere", source)
	})
}

// shownActivity is how much of it the page shows.
const shownActivity = 20

// Security tells where a user is logged in and what was done with the log-in lately; ErrUnknown.
func (s *Store) Security(ctx context.Context, tenant string, user int64) (enrollment.Security, error) {
	var page enrollment.Security
	err := s.transact(ctx, "show a log-in's security", func(t *tx) error {
		c, err := s.customer(ctx, t, tenant, user)
		if err != nil {
			return err
		}
		page = enrollment.Security{Customer: c}
		if err := t.SelectContext(ctx, &page.Sessions, `
			SELECT ref, data, used_at FROM sessions WHERE user_id = $1 AND tenant = $2 AND NOT ended AND expires_at > $3 ORDER BY used_at DESC, ref`,
			user, tenant, t.now); err != nil {
			return fmt.Errorf("sessions of user %d: %w", user, err)
		}
		if err := t.SelectContext(ctx, &page.Activity, `
			SELECT what, about, source, at FROM (
				SELECT what, about, source, at, id FROM user_activity WHERE user_id = $1
				UNION ALL SELECT 'viewed-by-support', '', '', began_at, id FROM views WHERE user_id = $1) AS all_of_it
			ORDER BY at DESC, id DESC LIMIT $2`, user, shownActivity); err != nil {
			return fmt.Errorf("activity of user %d: %w", user, err)
		}
		return nil
	})
	return page, err
}
