package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// OpenStaffSession lets somebody of the staff in, for life at most and until idle passes without a request. The session is
// known by the hash of its token.
func (s *Store) OpenStaffSession(ctx context.Context, token string, who enrollment.Staff, idle, life time.Duration) error {
	return s.transact(ctx, "let staff in", func(t *tx) error {
		if _, err := t.ExecContext(ctx, `DELETE FROM staff_sessions WHERE expires_at <= $1 OR idle_until <= $1`, t.now); err != nil {
			return fmt.Errorf("forget old sessions: %w", err)
		}
		if _, err := t.ExecContext(ctx, `
			INSERT INTO staff_sessions (token_hash, subject, name, roles, signed_in_at, idle, idle_until, expires_at)
			VALUES ($1, $2, $3, $4, $5, make_interval(secs => $6), $7, $8)`,
			staffToken(token), who.Subject, who.Name, pq.Array(who.Roles), t.now, idle.Seconds(), t.now.Add(min(idle, life)), t.now.Add(life)); err != nil {
			return fmt.Errorf("session of %s: %w", who.Subject, err)
		}
		return t.audit(ctx, deed{what: enrollment.CameIn, by: who, subject: who.Subject})
	})
}

// StaffSession tells who a session is, and has it last a while longer; ErrUnknown when it is none, or over.
func (s *Store) StaffSession(ctx context.Context, token string) (enrollment.Staff, error) {
	var who enrollment.Staff
	err := s.transact(ctx, "find a staff session", func(t *tx) error {
		var row struct {
			Subject string         `db:"subject"`
			Name    string         `db:"name"`
			Roles   pq.StringArray `db:"roles"`
		}
		err := t.GetContext(ctx, &row, `
			UPDATE staff_sessions SET idle_until = least($2::timestamptz + idle, expires_at)
			WHERE token_hash = $1 AND idle_until > $2 AND expires_at > $2
			RETURNING subject, name, roles`, staffToken(token), t.now)
		if noRows(err) {
			return enrollment.ErrUnknown
		}
		who = enrollment.Staff{Subject: row.Subject, Name: row.Name, Roles: row.Roles, Session: hex.EncodeToString(staffToken(token))}
		return err
	})
	return who, err
}

// EndStaffSession ends a session for good, and what its owner looks at with it; one that is over already is as good.
func (s *Store) EndStaffSession(ctx context.Context, token string) error {
	return s.transact(ctx, "let staff out", func(t *tx) error {
		if _, err := t.endView(ctx, hex.EncodeToString(staffToken(token)), anyAccount, "signed out"); err != nil {
			return err
		}
		_, err := t.ExecContext(ctx, `DELETE FROM staff_sessions WHERE token_hash = $1`, staffToken(token))
		return err
	})
}

// staffToken is what is stored of a token. It is 256 random bits, so a plain hash tells nothing.
func staffToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}
