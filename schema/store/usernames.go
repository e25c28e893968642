package store

import (
	"context"
	"fmt"

	"github.com/lib/pq"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// alike is what is held by a name's key ($2) or by its look ($3). Each arm has an index.
const alike = `tenant = $1 AND (username_key = $2 OR skeleton = $3 AND NOT twin OR skeleton = $3 AND twin)`

// claimUsername takes a username for an enrollment, false when somebody else holds it or one that looks like it. A holder
// whose time ran out gives way.
func (t *tx) claimUsername(ctx context.Context, e *enrollmentRow) (bool, error) {
	skeleton := enrollment.Skeleton(e.Username)
	for range 2 {
		result, err := t.ExecContext(ctx, `
			INSERT INTO usernames (tenant, username_key, skeleton, enrollment, skeleton_version)
			SELECT $1, $2, $3, $4, $5 WHERE NOT EXISTS (SELECT FROM usernames WHERE `+alike+`) ON CONFLICT DO NOTHING`,
			e.Tenant, e.UsernameKey, skeleton, e.ID, enrollment.SkeletonVersion)
		if err != nil {
			return false, fmt.Errorf("claim a username: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 1 {
			return n == 1, err
		}
		released, err := t.releaseOverdue(ctx, e, skeleton)
		if err != nil || !released {
			return false, err
		}
	}
	return false, nil
}

// changeUsername gives up the enrollment's name for another one, or for another look of the same; the old one stays when the
// new one is taken.
func (t *tx) changeUsername(ctx context.Context, e *enrollmentRow) (bool, error) {
	skeleton := enrollment.Skeleton(e.Username)
	for range 2 {
		result, err := t.ExecContext(ctx, `
			UPDATE usernames SET username_key = $2, skeleton = $3, skeleton_version = $5, twin = false WHERE enrollment = $4
			AND NOT EXISTS (SELECT FROM usernames WHERE `+alike+` AND enrollment <> $4)`,
			e.Tenant, e.UsernameKey, skeleton, e.ID, enrollment.SkeletonVersion)
		if err != nil {
			return false, fmt.Errorf("change a username: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 1 {
			return n == 1, err
		}
		released, err := t.releaseOverdue(ctx, e, skeleton)
		if err != nil || !released {
			return false, err
		}
	}
	return false, nil
}

// releaseOverdue expires whoever else holds a username, or its look, when their time ran out and nobody has done so yet.
func (t *tx) releaseOverdue(ctx context.Context, e *enrollmentRow, skeleton string) (bool, error) {
	var holders []*enrollmentRow
	if err := t.SelectContext(ctx, &holders, `
		SELECT `+enrollmentColumns+` FROM enrollments
		WHERE id IN (SELECT enrollment FROM usernames WHERE `+alike+`)
		AND id <> $4 AND state IN ('registered', 'mailed', 'undeliverable') AND expires_at <= $5
		FOR NO KEY UPDATE SKIP LOCKED`, e.Tenant, e.UsernameKey, skeleton, e.ID, t.now); err != nil {
		return false, fmt.Errorf("holders of a username: %w", err)
	}
	for _, holder := range holders {
		if err := t.expire(ctx, holder); err != nil {
			return false, err
		}
	}
	return len(holders) > 0, nil
}

// CompareUsernames works out what names look like that were taken before skeletons were kept, or by another version's tables;
// at most limit of them, the rest by the next calls, until it returns 0. Those that look like one that is held already keep
// their name, as twins.
func (s *Store) CompareUsernames(ctx context.Context, limit int) (int, error) {
	compared := 0
	err := s.transact(ctx, "compare usernames", func(t *tx) error {
		var held []struct {
			Tenant     string        `db:"tenant"`
			Enrollment enrollment.ID `db:"enrollment"`
			Username   string        `db:"username"`
		}
		// Not <>, which no index serves.
		if err := t.SelectContext(ctx, &held, `
			SELECT n.tenant, n.enrollment, e.username FROM usernames AS n JOIN enrollments AS e ON e.id = n.enrollment
			WHERE n.skeleton_version < $1 OR n.skeleton_version > $1 LIMIT $2 FOR NO KEY UPDATE OF n`, enrollment.SkeletonVersion, limit); err != nil {
			return fmt.Errorf("usernames to compare: %w", err)
		}
		for _, h := range held {
			if _, err := t.ExecContext(ctx, `
				UPDATE usernames SET skeleton = $3, skeleton_version = $4,
					twin = EXISTS (SELECT FROM usernames WHERE tenant = $1 AND skeleton = $3 AND NOT twin AND enrollment <> $2)
				WHERE enrollment = $2`, h.Tenant, h.Enrollment, enrollment.Skeleton(h.Username), enrollment.SkeletonVersion); err != nil {
				return fmt.Errorf("skeleton of the username of enrollment %s: %w", h.Enrollment, err)
			}
		}
		compared = len(held)
		return nil
	})
	return compared, err
}

// suggested is how many free usernames are offered.
const suggested = 3

// freeUsernames picks the first few of the rules' suggestions that nobody holds and that look like none that is held.
func (t *tx) freeUsernames(ctx context.Context, tenant string, taken enrollment.Username) ([]string, error) {
	candidates := enrollment.SuggestUsernames(taken)
	keys, skeletons := make([]string, len(candidates)), make([]string, len(candidates))
	for i, c := range candidates {
		keys[i], skeletons[i] = c.Key, enrollment.Skeleton(c.Display)
	}
	var held []struct {
		Key      string `db:"username_key"`
		Skeleton string `db:"skeleton"`
	}
	if err := t.SelectContext(ctx, &held, `
		SELECT username_key, coalesce(skeleton, '') AS skeleton FROM usernames
		WHERE tenant = $1 AND (username_key = ANY ($2) OR skeleton = ANY ($3) AND NOT twin OR skeleton = ANY ($3) AND twin)`,
		tenant, pq.Array(keys), pq.Array(skeletons)); err != nil {
		return nil, fmt.Errorf("free usernames: %w", err)
	}
	isHeld := make(map[string]bool, 2*len(held))
	for _, h := range held {
		isHeld["key "+h.Key], isHeld["look "+h.Skeleton] = true, true
	}
	var free []string
	for i, c := range candidates {
		if !isHeld["key "+c.Key] && !isHeld["look "+skeletons[i]] && len(free) < suggested {
			free = append(free, c.Display)
		}
	}
	return free, nil
}
