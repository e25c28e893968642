package store

import (
	"context"
	"fmt"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// VerifyCaller records how somebody of the staff made sure who calls for an account. It holds for their session and that
// account, for CallerCheckLife at most; NotVerified ends it, and the view that rests on it. Refusal: Missing, for what is no
// check.
func (s *Store) VerifyCaller(ctx context.Context, by enrollment.Staff, tenant, accountNumber string, how enrollment.CallerCheck) error {
	return s.answer(ctx, "verify a caller", func(t *tx) (*enrollment.Refusal, error) {
		if how.Words() == "" {
			return &enrollment.Refusal{Reason: enrollment.Missing, Field: enrollment.FieldHow}, nil
		}
		a, _, err := s.account(ctx, t, tenant, accountNumber, "")
		if err != nil {
			return nil, err
		}
		if _, err := t.ExecContext(ctx, `DELETE FROM caller_checks WHERE session = decode($1, 'hex') AND account = $2`, by.Session, a.ID); err != nil {
			return nil, fmt.Errorf("forget the check before: %w", err)
		}
		detail := "nothing may be told"
		if how == enrollment.NotVerified {
			if _, err := t.endView(ctx, by.Session, a.ID, "the caller could not be verified"); err != nil {
				return nil, err
			}
		} else {
			until := t.now.Add(enrollment.CallerCheckLife)
			if _, err := t.ExecContext(ctx, `
				INSERT INTO caller_checks (session, account, how, checked_at, expires_at) VALUES (decode($1, 'hex'), $2, $3, $4, $5)`,
				by.Session, a.ID, how, t.now, until); err != nil {
				return nil, fmt.Errorf("check of a caller for account %d: %w", a.ID, err)
			}
			detail = "holds until " + until.UTC().Format(time.RFC3339)
		}
		return nil, t.auditAccount(ctx, enrollment.Errand{By: by, Reason: "the caller " + how.Words()}, enrollment.VerifiedCaller, a, detail)
	})
}

// Caller tells whether who calls for an account was verified in this sitting, and how; the zero Caller: not, or too long ago.
func (s *Store) Caller(ctx context.Context, by enrollment.Staff, tenant, accountNumber string) (enrollment.Caller, error) {
	var c enrollment.Caller
	err := s.transact(ctx, "look whether a caller was verified", func(t *tx) error {
		a, _, err := s.account(ctx, t, tenant, accountNumber, "")
		if err != nil {
			return err
		}
		c, err = t.caller(ctx, by, a.ID, "")
		return err
	})
	return c, err
}

func (t *tx) caller(ctx context.Context, by enrollment.Staff, account int64, lock string) (enrollment.Caller, error) {
	var c struct {
		How   enrollment.CallerCheck `db:"how"`
		Until time.Time              `db:"expires_at"`
	}
	err := t.GetContext(ctx, &c, `
		SELECT how, expires_at FROM caller_checks WHERE session = decode($1, 'hex') AND account = $2 AND expires_at > $3 `+lock, by.Session, account, t.now)
	if noRows(err) {
		return enrollment.Caller{}, nil
	}
	if err != nil {
		return enrollment.Caller{}, fmt.Errorf("check of a caller for account %d: %w", account, err)
	}
	return enrollment.Caller{How: c.How, Until: c.Until.UTC()}, nil
}

// BeginView lets somebody of the staff look at the pages of a user, for ViewLife, and no longer than the caller counts as
// verified. One session looks at one customer: a view that is open ends. Refusals: the reason's, CallerNotVerified; ErrUnknown for a user that the account has not.
func (s *Store) BeginView(ctx context.Context, errand enrollment.Errand, tenant, accountNumber, username string) error {
	return s.answer(ctx, "begin to view as a customer", func(t *tx) (*enrollment.Refusal, error) {
		if no := reasoned(errand); no != nil {
			return no, nil
		}
		a, _, err := s.account(ctx, t, tenant, accountNumber, "")
		if err != nil {
			return nil, err
		}
		user, err := t.userOf(ctx, a, username)
		if err != nil {
			return nil, err
		}
		caller, err := t.caller(ctx, errand.By, a.ID, "FOR SHARE") // who takes the check back finds the view, or is seen here
		if err != nil {
			return nil, err
		}
		if !caller.Verified() {
			return &enrollment.Refusal{Reason: enrollment.CallerNotVerified}, nil
		}
		if _, err := t.endView(ctx, errand.By.Session, anyAccount, "another view began"); err != nil {
			return nil, err
		}
		until := t.now.Add(enrollment.ViewLife)
		if caller.Until.Before(until) {
			until = caller.Until
		}
		if _, err := t.ExecContext(ctx, `
			INSERT INTO views (session, actor, actor_name, tenant, account, user_id, reason, began_at, expires_at)
			VALUES (decode($1, 'hex'), $2, $3, $4, $5, $6, $7, $8, $9)`,
			errand.By.Session, errand.By.Subject, errand.By.Name, tenant, a.ID, user, errand.Reason, t.now, until); err != nil {
			return nil, fmt.Errorf("view of user %d: %w", user, err)
		}
		return nil, t.auditAccount(ctx, errand, enrollment.ViewedAs, a,
			fmt.Sprintf("user %s, until %s, the caller %s", username, until.UTC().Format(time.RFC3339), caller.How.Words()))
	})
}

// viewRow is a view with who is looked at.
type viewRow struct {
	ID        int64     `db:"id"`
	Actor     string    `db:"actor"`
	ActorName string    `db:"actor_name"`
	Tenant    string    `db:"tenant"`
	Account   int64     `db:"account"`
	User      int64     `db:"user_id"`
	Username  string    `db:"username"`
	Reason    string    `db:"reason"`
	ExpiresAt time.Time `db:"expires_at"`
}

// ViewedBy tells whose pages a session looks at now, for one of these pages, and writes the page down before it is shown;
// no page, no line. ErrUnknown: at nobody's, or no longer, as when the user lost the account that the caller was verified for.
func (s *Store) ViewedBy(ctx context.Context, by enrollment.Staff, page string) (enrollment.View, error) {
	var v enrollment.View
	err := s.transact(ctx, "show a page of a customer to staff", func(t *tx) error {
		var row viewRow
		err := t.GetContext(ctx, &row, `
			SELECT v.id, v.actor, v.actor_name, v.tenant, v.account, v.user_id, u.username, v.reason, v.expires_at
			FROM views AS v JOIN users AS u ON u.id = v.user_id JOIN memberships AS m ON m.user_id = v.user_id AND m.account = v.account
			WHERE v.session = decode($1, 'hex') AND v.ended_at IS NULL AND v.expires_at > $2`, by.Session, t.now)
		if noRows(err) {
			return enrollment.ErrUnknown
		}
		if err != nil {
			return fmt.Errorf("view of %s: %w", by.Subject, err)
		}
		face, err := t.face(ctx, row.Account)
		if err != nil {
			return err
		}
		v = enrollment.View{Tenant: row.Tenant, User: row.User, Username: row.Username, AccountNumber: face.AccountNumber, Until: row.ExpiresAt.UTC()}
		if page == "" {
			return nil
		}
		return t.auditView(ctx, row, enrollment.ViewedPage, face.AccountNumber, page)
	})
	return v, err
}

// EndView ends what a session looks at, and tells what it was; ErrUnknown: it was over.
func (s *Store) EndView(ctx context.Context, by enrollment.Staff) (enrollment.View, error) {
	var v enrollment.View
	err := s.transact(ctx, "end a view", func(t *tx) error {
		row, err := t.endView(ctx, by.Session, anyAccount, "left")
		if err != nil {
			return err
		}
		if row == nil {
			return enrollment.ErrUnknown
		}
		face, err := t.face(ctx, row.Account)
		v = enrollment.View{Tenant: row.Tenant, User: row.User, Username: row.Username, AccountNumber: face.AccountNumber, Until: t.now.UTC()}
		return err
	})
	return v, err
}

const anyAccount int64 = 0 // as endView takes it

// endView ends a session's open view for an account and writes down how; nil: there was none.
func (t *tx) endView(ctx context.Context, session string, account int64, how string) (*viewRow, error) {
	var row viewRow
	err := t.GetContext(ctx, &row, `
		UPDATE views AS v SET ended_at = least($2, v.expires_at) FROM users AS u
		WHERE u.id = v.user_id AND v.session = decode($1, 'hex') AND v.ended_at IS NULL AND (v.account = $3 OR $3 = 0)
		RETURNING v.id, v.actor, v.actor_name, v.tenant, v.account, v.user_id, u.username, v.reason, v.expires_at`, session, t.now, account)
	if noRows(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("end a view: %w", err)
	}
	if !row.ExpiresAt.After(t.now) {
		how = timeWasUp
	}
	return &row, t.auditEnd(ctx, row, how)
}

const timeWasUp = "its time was up"

// EndViews writes down the end of at most limit views whose time is up, and reports how many there were. Nobody can look any
// more since then. Any number of workers may call it at once.
func (s *Store) EndViews(ctx context.Context, limit int) (int, error) {
	n := 0
	err := s.transact(ctx, "end views whose time is up", func(t *tx) error {
		var due []viewRow
		if err := t.SelectContext(ctx, &due, `
			UPDATE views AS v SET ended_at = v.expires_at FROM users AS u
			WHERE u.id = v.user_id AND v.id IN (
				SELECT id FROM views WHERE ended_at IS NULL AND expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
			RETURNING v.id, v.actor, v.actor_name, v.tenant, v.account, v.user_id, u.username, v.reason, v.expires_at`, t.now, limit); err != nil {
			return err
		}
		n = len(due)
		for _, row := range due {
			if err := t.auditEnd(ctx, row, timeWasUp); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

func (t *tx) auditEnd(ctx context.Context, v viewRow, how string) error {
	face, err := t.face(ctx, v.Account)
	if err != nil {
		return err
	}
	return t.auditView(ctx, v, enrollment.EndedView, face.AccountNumber, how)
}

// auditView repeats the reason that the view began with: each line says by itself why.
func (t *tx) auditView(ctx context.Context, v viewRow, what enrollment.Deed, number, detail string) error {
	return t.audit(ctx, deed{
		what: what, by: enrollment.Staff{Subject: v.Actor, Name: v.ActorName}, reason: v.Reason, tenant: v.Tenant, account: v.Account, subject: number,
		detail: "user " + v.Username + ", " + detail,
	})
}
