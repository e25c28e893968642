package store

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// Session returns what a session keeps, false when there is none by that token's hash or its time is over.
func (s *Store) Session(ctx context.Context, tokenHash string) (data []byte, found bool, err error) {
	err = s.transact(ctx, "find a session", func(t *tx) error {
		err := t.GetContext(ctx, &data, `SELECT data FROM sessions WHERE token_hash = $1 AND expires_at > $2 AND NOT ended`, tokenHash, t.now)
		found = err == nil
		if noRows(err) {
			return nil
		}
		return err
	})
	return data, found, err
}

// SaveSession keeps a user's session until a time. A session that was ended stays so, and one that began before all sessions
// of the user were ended does not begin: epoch is that of the Credential it began with.
func (s *Store) SaveSession(ctx context.Context, tokenHash, tenant string, user, epoch int64, data []byte, until time.Time) error {
	return s.transact(ctx, "save a session", func(t *tx) error {
		result, err := t.ExecContext(ctx, `
			UPDATE sessions SET data = $4, expires_at = $5, used_at = $6 WHERE token_hash = $1 AND tenant = $2 AND user_id = $3 AND NOT ended`,
			tokenHash, tenant, user, data, until, t.now)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n > 0 {
			return err
		}
		// The lock makes whoever ends all sessions come after this one, and end it, or before it, and be seen by it.
		_, err = t.ExecContext(ctx, `
			INSERT INTO sessions (token_hash, tenant, user_id, data, expires_at, used_at)
			SELECT $1, u.tenant, u.id, $5, $6, $7 FROM users AS u WHERE u.id = $3 AND u.tenant = $2 AND u.session_epoch = $4 FOR SHARE
			ON CONFLICT (token_hash) DO NOTHING`,
			tokenHash, tenant, user, epoch, data, until, t.now)
		return err
	})
}

// EndSession ends a session for good. The row stays until its time: a request under way must not bring the session back.
func (s *Store) EndSession(ctx context.Context, tokenHash string) error {
	return s.transact(ctx, "end a session", func(t *tx) error {
		_, err := t.ExecContext(ctx, `UPDATE sessions SET ended = true, data = '' WHERE token_hash = $1`, tokenHash)
		return err
	})
}

// EndSessionOf ends one session of a user, who asks from another one. One that is over already is a wish come true and no
// activity; ErrUnknown: the user never had it.
func (s *Store) EndSessionOf(ctx context.Context, tenant string, user int64, id uuid.UUID, source netip.Addr) error {
	return s.transact(ctx, "end a session from another one", func(t *tx) error {
		var open bool
		err := t.GetContext(ctx, &open, `
			SELECT NOT ended AND expires_at > $4 FROM sessions WHERE ref = $3 AND user_id = $2 AND tenant = $1 FOR NO KEY UPDATE`, tenant, user, id, t.now)
		if noRows(err) {
			return enrollment.ErrUnknown
		}
		if err != nil {
			return fmt.Errorf("session of user %d: %w", user, err)
		}
		if !open {
			return nil
		}
		if _, err := t.ExecContext(ctx, `UPDATE sessions SET ended = true, data = '' WHERE ref = $1`, id); err != nil {
			return fmt.Errorf("end a session of user %d: %w", user, err)
		}
		return t.note(ctx, user, "session-ended", source)
	})
}

// endSessions logs a user out everywhere, and whoever is just logging in. The rows stay until their time, as in EndSession.
func (t *tx) endSessions(ctx context.Context, tenant string, user int64) (epoch int64, err error) {
	err = t.GetContext(ctx, &epoch, `UPDATE users SET session_epoch = session_epoch + 1 WHERE id = $1 AND tenant = $2 RETURNING session_epoch`, user, tenant)
	if err != nil {
		return 0, fmt.Errorf("session epoch of user %d: %w", user, err)
	}
	if _, err := t.ExecContext(ctx, `UPDATE sessions SET ended = true, data = '' WHERE user_id = $1 AND tenant = $2`, user, tenant); err != nil {
		return 0, fmt.Errorf("end the sessions of user %d: %w", user, err)
	}
	return epoch, nil
}
