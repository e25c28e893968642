package store

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// AttemptLogIn counts a try and hands out what the password is checked against. The try is counted before it is known to be
// wrong; SignIn takes it back. An unknown username is counted alike and gives the zero Credential. Refusal: TooManyTries.
func (s *Store) AttemptLogIn(ctx context.Context, tenant, usernameKey string, source netip.Addr) (enrollment.Credential, error) {
	var c enrollment.Credential
	err := s.answer(ctx, "attempt a log-in", func(t *tx) (*enrollment.Refusal, error) {
		counts, wait, err := t.pass(ctx, tenant, logInGates(source, usernameKey))
		if err != nil || wait != nil {
			return wait, err
		}
		for _, n := range counts {
			if _, err := t.wrong(ctx, tenant, n, true); err != nil {
				return nil, err
			}
		}
		var user struct {
			ID    int64  `db:"id"`
			Hash  string `db:"password_hash"`
			Epoch int64  `db:"session_epoch"`
		}
		err = t.GetContext(ctx, &user, `SELECT id, password_hash, session_epoch FROM users WHERE tenant = $1 AND username_key = $2`, tenant, usernameKey)
		if err != nil && !noRows(err) {
			return nil, fmt.Errorf("find the user: %w", err)
		}
		c = enrollment.Credential{User: user.ID, PasswordHash: user.Hash, Epoch: user.Epoch}
		return nil, nil
	})
	return c, err
}

// SignIn records that a user's password was right: the tries of this source on this username are forgotten, and the one just
// made on the tenant is taken back.
func (s *Store) SignIn(ctx context.Context, tenant string, user int64, source netip.Addr) error {
	return s.transact(ctx, "sign in", func(t *tx) error {
		var key string
		err := t.GetContext(ctx, &key, `SELECT username_key FROM users WHERE id = $1 AND tenant = $2`, user, tenant)
		if noRows(err) {
			return enrollment.ErrUnknown
		}
		if err != nil {
			return fmt.Errorf("user %d: %w", user, err)
		}
		if err := t.takeBack(ctx, tenant, logInGates(source, key)); err != nil {
			return err
		}
		if err := t.note(ctx, user, "signed-in", source); err != nil {
			return err
		}
		return t.aboutUser(ctx, tenant, user, func(f events.Fact) events.Message { return events.SignedIn{Fact: f} })
	})
}

// takeBack forgets what a source did on a username, and of what it did on the tenant the try that was right.
func (t *tx) takeBack(ctx context.Context, tenant string, gates []gate) error {
	for _, g := range gates {
		statement, args := `DELETE FROM attempts WHERE tenant = $1 AND scope = $2 AND key = $3`, []any{tenant, g.scope, g.key}
		if g.window > 0 { // a wait that only this try began is taken back with it
			statement = `
				UPDATE attempts SET wrong = greatest(wrong - 1, 0), level = greatest(level - (wrong >= $4)::int, 0), wait_until = NULL
				WHERE tenant = $1 AND scope = $2 AND key = $3`
			args = append(args, g.limit)
		}
		if _, err := t.ExecContext(ctx, statement, args...); err != nil {
			return fmt.Errorf("forget tries at %s: %w", g.scope, err)
		}
	}
	return nil
}

// ViewInvoices records that a user saw invoices.
func (s *Store) ViewInvoices(ctx context.Context, tenant string, user int64) error {
	return s.transact(ctx, "view invoices", func(t *tx) error {
		return t.aboutUser(ctx, tenant, user, func(f events.Fact) events.Message { return events.InvoiceViewed{Fact: f} })
	})
}

// aboutUser announces a fact about the enrollment that a user came from.
func (t *tx) aboutUser(ctx context.Context, tenant string, user int64, message func(events.Fact) events.Message) error {
	var id enrollment.ID
	err := t.GetContext(ctx, &id, `SELECT enrollment FROM users WHERE id = $1 AND tenant = $2`, user, tenant)
	if noRows(err) {
		return enrollment.ErrUnknown
	}
	if err != nil {
		return fmt.Errorf("user %d: %w", user, err)
	}
	e, err := t.lockEnrollment(ctx, tenant, id)
	if err != nil {
		return err
	}
	ref, err := t.accountRef(ctx, e.Account)
	if err != nil {
		return err
	}
	m := message(e.fact(ref, t.now, ""))
	if err := t.save(ctx, e, []enrollment.State{e.State}); err != nil {
		return err
	}
	return t.announce(tenant, id.String(), m)
}
