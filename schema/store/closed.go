package store

import (
	"context"
	"fmt"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// closed reports whether billing closed an account for good.
func (t *tx) closed(ctx context.Context, account int64) (bool, error) {
	var closed bool
	if err := t.GetContext(ctx, &closed, `SELECT EXISTS (SELECT FROM account_closures WHERE account = $1 AND closed_at <= $2)`, account, t.now); err != nil {
		return false, fmt.Errorf("closures of account %d: %w", account, err)
	}
	return closed, nil
}

// CancelClosed ends at most limit pending enrollments of accounts that billing closed, and reports how many there were. Any
// number of workers may call it at once.
func (s *Store) CancelClosed(ctx context.Context, limit int) (int, error) {
	n := 0
	err := s.transact(ctx, "cancel enrollments of closed accounts", func(t *tx) error {
		var due []enrollmentRow
		if err := t.SelectContext(ctx, &due, `
			SELECT `+enrollmentColumns+` FROM enrollments AS e
			WHERE state IN ('registered', 'mailed', 'undeliverable')
			AND EXISTS (SELECT FROM account_closures AS c WHERE c.account = e.account AND c.closed_at <= $1)
			ORDER BY id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED`, t.now, limit); err != nil {
			return fmt.Errorf("whose account is closed: %w", err)
		}
		n = len(due)
		for i := range due {
			if err := t.tellClosed(ctx, &due[i]); err != nil {
				return err
			}
			if err := t.end(ctx, &due[i], enrollment.Cancel, string(enrollment.AccountClosed)); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}
