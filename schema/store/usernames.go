package store

import (
	"context"
	"fmt"

	"github.com/lib/pq"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// claimUsername takes a username for an enrollment, false when somebody else holds it. A holder whose time ran out gives
// way.
func (t *tx) claimUsername(ctx context.Context, e *enrollmentRow) (bool, error) {
	for range 2 {
		result, err := t.ExecContext(ctx, `
			INSERT INTO usernames (tenant, username_key, enrollment) VALUES ($1, $2, $3) ON CONFLICT (tenant, username_key) DO NOTHING`,
			e.Tenant, e.UsernameKey, e.ID)
		if err != nil {
			return false, fmt.Errorf("claim a username: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 1 {
			return n == 1, err
		}
		released, err := t.releaseOverdue(ctx, e.Tenant, e.UsernameKey)
		if err != nil || !released {
			return false, err
		}
	}
	return false, nil
}

// changeUsername gives up the enrollment's name for another one; the old one stays when the new one is taken.
func (t *tx) changeUsername(ctx context.Context, e *enrollmentRow) (bool, error) {
	for range 2 {
		result, err := t.ExecContext(ctx, `
			UPDATE usernames SET username_key = $3 WHERE enrollment = $2
			AND NOT EXISTS (SELECT FROM usernames WHERE tenant = $1 AND username_key = $3)`, e.Tenant, e.ID, e.UsernameKey)
		if err != nil {
			return false, fmt.Errorf("change a username: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 1 {
			return n == 1, err
		}
		released, err := t.releaseOverdue(ctx, e.Tenant, e.UsernameKey)
		if err != nil || !released {
			return false, err
		}
	}
	return false, nil
}

// releaseOverdue expires the holder of a username when its time ran out and nobody has done so yet.
func (t *tx) releaseOverdue(ctx context.Context, tenant, key string) (bool, error) {
	var holder enrollmentRow
	err := t.GetContext(ctx, &holder, `
		SELECT `+enrollmentColumns+` FROM enrollments
		WHERE id = (SELECT enrollment FROM usernames WHERE tenant = $1 AND username_key = $2)
		AND state IN ('registered', 'mailed', 'undeliverable') AND expires_at <= $3
		FOR NO KEY UPDATE SKIP LOCKED`, tenant, key, t.now)
	if noRows(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("holder of a username: %w", err)
	}
	return true, t.expire(ctx, &holder)
}

// suggested is how many free usernames are offered.
const suggested = 3

// freeUsernames picks the first few of the rules' suggestions that nobody holds.
func (t *tx) freeUsernames(ctx context.Context, tenant string, taken enrollment.Username) ([]string, error) {
	candidates := enrollment.SuggestUsernames(taken)
	keys := make([]string, len(candidates))
	for i, c := range candidates {
		keys[i] = c.Key
	}
	var held []string
	if err := t.SelectContext(ctx, &held, `SELECT username_key FROM usernames WHERE tenant = $1 AND username_key = ANY ($2)`, tenant, pq.Array(keys)); err != nil {
		return nil, fmt.Errorf("free usernames: %w", err)
	}
	isHeld := make(map[string]bool, len(held))
	for _, k := range held {
		isHeld[k] = true
	}
	var free []string
	for _, c := range candidates {
		if !isHeld[c.Key] && len(free) < suggested {
			free = append(free, c.Display)
		}
	}
	return free, nil
}
