package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// Open tells what an activation link leads to. It moves nothing; that the page was opened is recorded once per address for
// people and once for machines. Refusals: LinkDamaged, LinkUsed, AccountClosed, LinkSuperseded, LinkCancelled, LinkExpired.
func (s *Store) Open(ctx context.Context, tenant string, link enrollment.Signed, v enrollment.Visit) (enrollment.Invitation, error) {
	var invitation enrollment.Invitation
	err := s.answer(ctx, "open an activation link", func(t *tx) (*enrollment.Refusal, error) {
		e, no, err := t.follow(ctx, tenant, link)
		if err != nil || no != nil {
			return no, err
		}
		face, err := t.face(ctx, e.Account)
		if err != nil {
			return nil, err
		}
		invitation = enrollment.Invitation{
			Enrollment: e.ID, Username: e.Username, CompanyName: face.CompanyName, AccountNumber: face.AccountNumber,
			Email: e.Email, ExpiresAt: e.ExpiresAt,
		}
		return nil, t.opened(ctx, e, v)
	})
	return invitation, err
}

// follow finds and holds the enrollment of a link, or says which dead end the link is. Whether it is genuine comes first:
// nobody learns anything from a link that was made up.
func (t *tx) follow(ctx context.Context, tenant string, link enrollment.Signed) (*enrollmentRow, *enrollment.Refusal, error) {
	damaged := &enrollment.Refusal{Reason: enrollment.LinkDamaged}
	var address enrollment.Address
	err := t.GetContext(ctx, &address, `
		SELECT a.address FROM enrollment_addresses AS a JOIN enrollments AS e ON e.id = a.enrollment
		WHERE e.id = $1 AND e.tenant = $2 AND a.generation = $3::bigint`, link.Enrollment, tenant, int64(link.Generation))
	if noRows(err) {
		return nil, damaged, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("address of enrollment %s: %w", link.Enrollment, err)
	}
	genuine := false
	for _, key := range t.ring.LinkKeys() {
		genuine = genuine || link.Genuine(key, tenant, address)
	}
	if !genuine {
		return nil, damaged, nil
	}
	e, err := t.lockEnrollment(ctx, tenant, link.Enrollment)
	if err != nil {
		return nil, nil, err
	}
	closed, err := t.closed(ctx, e.Account)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case e.State == enrollment.Activated:
		return e, &enrollment.Refusal{Reason: enrollment.LinkUsed}, nil
	case closed: // before what offers a new mail
		return e, &enrollment.Refusal{Reason: enrollment.AccountClosed}, nil
	case e.Generation != link.Generation: // before LinkExpired, which offers a new mail
		return e, &enrollment.Refusal{Reason: enrollment.LinkSuperseded}, nil
	case e.State == enrollment.Cancelled:
		return e, &enrollment.Refusal{Reason: enrollment.LinkCancelled}, nil
	case e.State.Final() || e.due(t.now):
		return e, &enrollment.Refusal{Reason: enrollment.LinkExpired}, nil
	}
	return e, nil, nil
}

func (t *tx) opened(ctx context.Context, e *enrollmentRow, v enrollment.Visit) error {
	first := &e.OpenedAt
	if v.Automated {
		first = &e.OpenedByBot
	}
	if *first != nil || v.Unrecorded {
		return nil
	}
	*first = &t.now
	ref, err := t.accountRef(ctx, e.Account)
	if err != nil {
		return err
	}
	fact := events.ActivationOpened{Fact: e.fact(ref, t.now, ""), AutomationSuspected: v.Automated}
	if err := t.save(ctx, e, []enrollment.State{e.State}); err != nil {
		return err
	}
	return t.announce(e.Tenant, e.ID.String(), fact)
}

func (t *tx) accountRef(ctx context.Context, account int64) (string, error) {
	var ref string
	if err := t.GetContext(ctx, &ref, `SELECT ref FROM accounts WHERE id = $1`, account); err != nil {
		return "", fmt.Errorf("account %d: %w", account, err)
	}
	return ref, nil
}

// Activate consumes a link with the hash of the chosen password, once: of many at the same time one wins and the others are
// told LinkUsed. It makes the user, ends the saga, and asks for the notice to the billing address of record. It returns the
// username to log in with. Refusals as for Open.
func (s *Store) Activate(ctx context.Context, tenant string, link enrollment.Signed, passwordHash string) (string, error) {
	username := ""
	err := s.answer(ctx, "activate", func(t *tx) (*enrollment.Refusal, error) {
		e, no, err := t.follow(ctx, tenant, link)
		if err != nil || no != nil {
			return no, err
		}
		username = e.Username
		ref, err := t.accountRef(ctx, e.Account)
		if err != nil {
			return nil, err
		}
		fact := e.fact(ref, t.now, "")
		if err := t.move(ctx, e, enrollment.Activate); err != nil {
			return nil, err
		}
		var user int64
		if err := t.GetContext(ctx, &user, `
			INSERT INTO users (tenant, enrollment, username, username_key, email, password_hash) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`,
			tenant, e.ID, e.Username, e.UsernameKey, e.Email, passwordHash); err != nil {
			return nil, fmt.Errorf("make the user of enrollment %s: %w", e.ID, err)
		}
		if err := t.announce(tenant, e.ID.String(), events.Activated{Fact: fact}); err != nil {
			return nil, err
		}
		face, err := t.face(ctx, e.Account)
		if err != nil {
			return nil, err
		}
		return nil, t.giveAccount(ctx, user, e, face)
	})
	return username, err
}

// notRequested is the reason of an enrollment that the owner of its mailbox ended.
const notRequested = "not-requested"

// Disown ends an enrollment at the wish of whoever got its mail and did not sign up: code and username are free at once. One
// that was cancelled before stays so. Other refusals as for Open; a link to an address that was corrected since ends nothing.
func (s *Store) Disown(ctx context.Context, tenant string, link enrollment.Signed) error {
	return s.answer(ctx, "disown an enrollment", func(t *tx) (*enrollment.Refusal, error) {
		e, no, err := t.follow(ctx, tenant, link)
		if err != nil {
			return nil, err
		}
		if no != nil && no.Reason == enrollment.LinkCancelled {
			return nil, nil
		}
		if no != nil {
			return no, nil
		}
		return nil, t.end(ctx, e, enrollment.Cancel, notRequested)
	})
}

// Renew begins a new enrollment for the holder of a genuine link whose time ran out: the same account, code, address and
// username, when the code is still good and the name still free. A link that was renewed before, or that still works, gives
// the enrollment that is pending. Refusals: those of Open but LinkExpired, those of a code, and UsernameTaken.
func (s *Store) Renew(ctx context.Context, tenant string, link enrollment.Signed, w enrollment.Wish) (enrollment.Admission, error) {
	var admitted enrollment.Admission
	err := s.answer(ctx, "renew an enrollment", func(t *tx) (*enrollment.Refusal, error) {
		e, no, err := t.follow(ctx, tenant, link)
		if err != nil {
			return nil, err
		}
		if no == nil { // it still works: there is nothing to renew
			admitted = enrollment.Admission{Enrollment: e.ID, Continued: true}
			return nil, nil
		}
		if no.Reason != enrollment.LinkExpired {
			return no, nil
		}
		if e.State.Live() {
			if err := t.expire(ctx, e); err != nil {
				return nil, err
			}
		}
		r, err := s.renewal(ctx, t, e, w)
		if err != nil {
			return nil, err
		}
		no, err = r.again(ctx, e)
		admitted = r.admitted
		return no, err
	})
	return admitted, err
}

// renewal is a registration whose account and code an earlier enrollment stands for.
func (s *Store) renewal(ctx context.Context, t *tx, e *enrollmentRow, w enrollment.Wish) (*registration, error) {
	policy, ok := s.policy(e.Tenant)
	if !ok {
		return nil, fmt.Errorf("tenant %q: %w", e.Tenant, enrollment.ErrUnknown)
	}
	r := &registration{tx: t, policy: policy, exact: [][]byte{e.CodeHash}, Application: enrollment.Application{
		Tenant: e.Tenant, Email: e.Email, Username: enrollment.Username{Display: e.Username, Key: e.UsernameKey},
		Locale: firstOf(w.Locale, e.Locale), RequestID: w.RequestID, Browser: w.Browser,
	}}
	if err := t.GetContext(ctx, &r.account, `SELECT id, tenant, account_key, ref, codes_retired_at FROM accounts WHERE id = $1 FOR NO KEY UPDATE`, e.Account); err != nil {
		return nil, fmt.Errorf("account %d: %w", e.Account, err)
	}
	r.ref = r.account.Ref
	if r.RequestID == "" {
		r.RequestID = uuid.NewString()
	}
	return r, nil
}

// again enters with the code that the earlier enrollment held.
func (r *registration) again(ctx context.Context, e *enrollmentRow) (*enrollment.Refusal, error) {
	mailings, err := r.mailings(ctx)
	if err != nil {
		return nil, err
	}
	code, ok := r.match(mailings)
	if !ok {
		return nil, fmt.Errorf("enrollment %s: its code is not stored", e.ID)
	}
	return r.enter(ctx, code)
}
