package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// notice is a mail that tells somebody what was done to their account or log-in; without an address nobody is told.
type notice struct {
	account  int64 // 0: it is about a log-in
	user     int64 // 0: it is for whoever reads the address
	to       string
	username string
	locale   string
	face     accountFace
}

// tell asks for notices of one kind and writes each down; so it does what nobody is told, which must take as long.
func (t *tx) tell(ctx context.Context, tenant, kind string, all ...notice) error {
	ids, accounts, users := make([]string, len(all)), make([]int64, len(all)), make([]int64, len(all))
	for i, n := range all {
		ids[i], accounts[i], users[i] = uuid.NewString(), n.account, n.user
		if n.to == "" {
			continue
		}
		if err := t.announce(tenant, ids[i], events.SecurityNoticeRequested{
			NoticeID: ids[i], Kind: kind, To: n.to, Username: n.username, CompanyName: n.face.CompanyName,
			AccountNumber: n.face.AccountNumber, Locale: n.locale, OccurredAt: t.now.UTC(),
		}); err != nil {
			return err
		}
	}
	if _, err := t.ExecContext(ctx, `
		INSERT INTO security_notices (id, tenant, kind, account, user_id, requested_at)
		SELECT n.id, $1, $2, nullif(n.account, 0), nullif(n.user_id, 0), $3
		FROM unnest($4::uuid[], $5::bigint[], $6::bigint[]) AS n (id, account, user_id)`,
		tenant, kind, t.now, pq.Array(ids), pq.Array(accounts), pq.Array(users)); err != nil {
		return fmt.Errorf("write %s notices down: %w", kind, err)
	}
	return nil
}

// toldLately reports whether an account's people had a notice of that kind not long ago. The account's row must be held.
func (t *tx) toldLately(ctx context.Context, account int64, kind string) (bool, error) {
	var told bool
	if err := t.GetContext(ctx, &told, `
		SELECT EXISTS (SELECT FROM security_notices WHERE account = $1 AND kind = $2 AND requested_at > $3::timestamptz - make_interval(secs => $4))`,
		account, kind, t.now, enrollment.NoticeSpacing.Seconds()); err != nil {
		return false, fmt.Errorf("notices of account %d: %w", account, err)
	}
	return told, nil
}

// tellCodeTried tells the billing address of record and the account's users, each mailbox once, that somebody holds one of
// its codes. Only who holds such a pair gets here, so the work betrays nothing.
func (r *registration) tellCodeTried(ctx context.Context) error {
	if told, err := r.toldLately(ctx, r.account.ID, events.CodeTried); err != nil || told {
		return err
	}
	face, err := r.face(ctx, r.account.ID)
	if err != nil {
		return err
	}
	var users []struct {
		ID       int64  `db:"id"`
		Username string `db:"username"`
		Email    string `db:"email"`
		Locale   string `db:"locale"`
	}
	if err := r.SelectContext(ctx, &users, `
		SELECT DISTINCT ON (lower(u.email)) u.id, u.username, u.email, e.locale
		FROM memberships AS m JOIN users AS u ON u.id = m.user_id JOIN enrollments AS e ON e.id = u.enrollment
		WHERE m.account = $1 AND lower(u.email) <> lower($2) ORDER BY lower(u.email), u.id`, r.account.ID, face.BillingEmail); err != nil {
		return fmt.Errorf("users of account %d: %w", r.account.ID, err)
	}
	all := []notice{{account: r.account.ID, to: face.BillingEmail, locale: face.Locale, face: face}}
	for _, u := range users {
		all = append(all, notice{account: r.account.ID, user: u.ID, to: u.Email, username: u.Username, locale: u.Locale, face: face})
	}
	return r.tell(ctx, r.Tenant, events.CodeTried, all...)
}

// tellLocked tells the billing address of record that wrong codes were tried until their source had to wait. An account that
// does not exist, and one that was told lately, take the same statements.
func (r *registration) tellLocked(ctx context.Context) error {
	told, err := r.toldLately(ctx, r.account.ID, events.TriesLocked)
	if err != nil {
		return err
	}
	face, err := r.face(ctx, r.account.ID)
	nobody := noRows(err)
	if err != nil && !nobody {
		return err
	}
	n := notice{account: r.account.ID, to: face.BillingEmail, locale: face.Locale, face: face}
	if told || nobody {
		n = notice{}
	}
	return r.tell(ctx, r.Tenant, events.TriesLocked, n)
}

// tellClosed tells who signed up that billing closed the account. An address that refused our mail is spared.
func (t *tx) tellClosed(ctx context.Context, e *enrollmentRow) error {
	if e.State == enrollment.Undeliverable {
		return nil
	}
	face, err := t.face(ctx, e.Account)
	if err != nil {
		return err
	}
	return t.tell(ctx, e.Tenant, events.EnrollmentClosed, notice{account: e.Account, to: string(e.Email), locale: e.Locale, face: face})
}

// tellPasswordChanged tells a user, at the address that the log-in was proven with.
func (t *tx) tellPasswordChanged(ctx context.Context, tenant string, user int64) error {
	var u struct {
		Username string `db:"username"`
		Email    string `db:"email"`
		Locale   string `db:"locale"`
	}
	if err := t.GetContext(ctx, &u, `
		SELECT u.username, u.email, e.locale FROM users AS u JOIN enrollments AS e ON e.id = u.enrollment WHERE u.id = $1`, user); err != nil {
		return fmt.Errorf("address of user %d: %w", user, err)
	}
	return t.tell(ctx, tenant, events.PasswordChanged, notice{user: user, to: u.Email, username: u.Username, locale: u.Locale})
}
