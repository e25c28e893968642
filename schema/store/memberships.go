package store

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/uuid"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// AddAccount gives a user who is logged in one more account, by its number and code: the rules and limits of a sign-up, but
// no mail, since the address was proven when the user enrolled. The code is consumed; the billing address of record is told.
// An account that the user has already is left as it is, and so is the code. Of the application only AccountNumber, Code,
// Tenant, Source and Locale count. Refusals as for Register; ErrUnknown: no such user.
func (s *Store) AddAccount(ctx context.Context, user int64, a enrollment.Application) error {
	return s.answer(ctx, "add an account", func(t *tx) (*enrollment.Refusal, error) {
		var u struct {
			Username string             `db:"username"`
			Key      string             `db:"username_key"`
			Email    enrollment.Address `db:"email"`
		}
		err := t.GetContext(ctx, &u, `SELECT username, username_key, email FROM users WHERE id = $1 AND tenant = $2`, user, a.Tenant)
		if noRows(err) {
			return nil, enrollment.ErrUnknown
		}
		if err != nil {
			return nil, fmt.Errorf("user %d: %w", user, err)
		}
		a.Username, a.Email, a.RequestID = enrollment.Username{Display: u.Username, Key: u.Key}, u.Email, uuid.NewString()
		r, err := s.registration(t, a)
		if err != nil {
			return nil, err
		}
		r.member = user
		return r.decide(ctx)
	})
}

// join is begin for somebody who is a user already: the enrollment is complete at once.
func (r *registration) join(ctx context.Context, code matched) (*enrollment.Refusal, error) {
	face, err := r.face(ctx, r.account.ID)
	if err != nil {
		return nil, err
	}
	e, fact := r.newEnrollment(code, face)
	if err := r.insert(ctx, e); err != nil {
		return nil, err
	}
	if err := r.began(ctx, e); err != nil {
		return nil, err
	}
	if err := r.announce(e.Tenant, e.ID.String(), events.Registered{Fact: fact}); err != nil {
		return nil, err
	}
	fact = e.fact(r.ref, r.now, "")
	if err := r.move(ctx, e, enrollment.Activate); err != nil {
		return nil, err
	}
	if err := r.announce(e.Tenant, e.ID.String(), events.Activated{Fact: fact}); err != nil {
		return nil, err
	}
	if err := r.giveAccount(ctx, r.member, e, face); err != nil {
		return nil, err
	}
	return nil, r.note(ctx, r.member, "account-added", r.Source)
}

// isMember reports whether a user has the account already.
func (r *registration) isMember(ctx context.Context) (bool, error) {
	var is bool
	err := r.GetContext(ctx, &is, `SELECT EXISTS (SELECT FROM memberships WHERE user_id = $1 AND account = $2)`, r.member, r.account.ID)
	if err != nil {
		return false, fmt.Errorf("is user %d a member: %w", r.member, err)
	}
	return is, nil
}

// full reports whether the account has a user and the tenant allows no second one.
func (r *registration) full(ctx context.Context) (bool, error) {
	if r.policy.SeveralUsers {
		return false, nil
	}
	var taken bool
	if err := r.GetContext(ctx, &taken, `SELECT EXISTS (SELECT FROM memberships WHERE account = $1)`, r.account.ID); err != nil {
		return false, fmt.Errorf("users of account %d: %w", r.account.ID, err)
	}
	return taken, nil
}

// EndAccess takes an account from one of those who may see it, at the wish of another one or of the same: usernameKey says
// whose. AttemptLogIn counted the try at the password of who asks, and here it is taken back. Sessions stay; they lose the
// account with the next page. Refusal: LastUser. ErrUnknown: who asks does not see the account, the other one does not (any
// more), or the tenant allows one user for each account.
func (s *Store) EndAccess(ctx context.Context, tenant string, user int64, accountNumber, usernameKey string, source netip.Addr) error {
	return s.answer(ctx, "end a user's access", func(t *tx) (*enrollment.Refusal, error) {
		account, err := s.shared(ctx, t, tenant, user, accountNumber)
		if err != nil {
			return nil, err
		}
		var members []member
		if err := t.SelectContext(ctx, &members, `
			SELECT u.id, u.username, u.username_key FROM memberships AS m JOIN users AS u ON u.id = m.user_id WHERE m.account = $1`, account); err != nil {
			return nil, fmt.Errorf("users of account %d: %w", account, err)
		}
		asks, found := memberWho(members, func(m member) bool { return m.ID == user })
		if !found { // somebody ended it while this one waited for the account
			return nil, enrollment.ErrUnknown
		}
		if err := t.takeBack(ctx, tenant, logInGates(source, asks.Key)); err != nil {
			return nil, err
		}
		leaves, found := memberWho(members, func(m member) bool { return m.Key == usernameKey })
		if !found {
			return nil, enrollment.ErrUnknown
		}
		if len(members) == 1 {
			return &enrollment.Refusal{Reason: enrollment.LastUser}, nil
		}
		if _, err := t.ExecContext(ctx, `DELETE FROM memberships WHERE account = $1 AND user_id = $2`, account, leaves.ID); err != nil {
			return nil, fmt.Errorf("take account %d from user %d: %w", account, leaves.ID, err)
		}
		if leaves == asks {
			return nil, t.noteAbout(ctx, user, "access-left", accountNumber, enrollment.SourceKey(source))
		}
		if err := t.noteAbout(ctx, leaves.ID, "access-lost", accountNumber, ""); err != nil {
			return nil, err
		}
		return nil, t.noteAbout(ctx, user, "colleague-removed", leaves.Username, enrollment.SourceKey(source))
	})
}

// member is a user who may see an account.
type member struct {
	ID       int64  `db:"id"`
	Username string `db:"username"`
	Key      string `db:"username_key"`
}

func memberWho(members []member, is func(member) bool) (member, bool) {
	if i := slices.IndexFunc(members, is); i >= 0 {
		return members[i], true
	}
	return member{}, false
}

// shared holds the row of an account that a user may see, so that of two who would remove each other one stays.
func (s *Store) shared(ctx context.Context, t *tx, tenant string, user int64, accountNumber string) (int64, error) {
	if policy, ok := s.policy(tenant); !ok || !policy.SeveralUsers {
		return 0, enrollment.ErrUnknown
	}
	open, err := s.holdings(ctx, t, tenant, user)
	if err != nil {
		return 0, err
	}
	for _, h := range open {
		if h.AccountNumber != accountNumber {
			continue
		}
		if _, err := t.ExecContext(ctx, `SELECT FROM accounts WHERE id = $1 FOR NO KEY UPDATE`, h.Account); err != nil {
			return 0, fmt.Errorf("account %d: %w", h.Account, err)
		}
		return h.Account, nil
	}
	return 0, enrollment.ErrUnknown
}

// giveAccount lets a user see the account that an enrollment was about, and tells the billing address of record.
func (t *tx) giveAccount(ctx context.Context, user int64, e *enrollmentRow, face accountFace) error {
	if _, err := t.ExecContext(ctx, `INSERT INTO memberships (user_id, account) VALUES ($1, $2)`, user, e.Account); err != nil {
		return fmt.Errorf("give user %d the account: %w", user, err)
	}
	return t.announce(e.Tenant, e.ID.String(), events.EnrollmentNoticeRequested{
		EnrollmentID: e.ID.String(), To: face.BillingEmail, CompanyName: face.CompanyName, AccountNumber: face.AccountNumber,
		Locale: face.Locale, ActivatedAt: t.now.UTC(),
	})
}
