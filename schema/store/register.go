package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lib/pq"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// holdUnmailed is how long an enrollment keeps code and username while no provider has taken its mail: as long as the
// stream keeps the work (7 days). Acceptance starts the activation window instead.
const holdUnmailed = 7 * 24 * time.Hour

// Register admits an application: it reserves code and username and asks for the activation mail. Somebody who applies again
// with the same account and code while the enrollment is pending continues it, with another address or username if they
// like; the same request again changes nothing.
//
// A *enrollment.Refusal is the answer to a customer; the try behind it stays counted.
func (s *Store) Register(ctx context.Context, a enrollment.Application) (enrollment.Admission, error) {
	var admitted enrollment.Admission
	err := s.answer(ctx, "register", func(t *tx) (*enrollment.Refusal, error) {
		r, err := s.registration(t, a)
		if err != nil {
			return nil, err
		}
		no, err := r.decide(ctx)
		admitted = r.admitted
		return no, err
	})
	return admitted, err
}

// registration is one application while it is decided.
type registration struct {
	*tx
	enrollment.Application
	policy     enrollment.Policy
	accountKey string
	exact      [][]byte // hashes of the code as typed, under every key of the ring
	folded     [][]byte // the same with look-alikes folded
	member     int64    // the user who adds the account; 0: somebody signs up

	counts   []count
	account  accountRow // ID 0: there is none by that number
	ref      string     // what facts call the account, existing or not
	admitted enrollment.Admission
}

func (s *Store) registration(t *tx, a enrollment.Application) (*registration, error) {
	policy, ok := s.policy(a.Tenant)
	if !ok {
		return nil, fmt.Errorf("tenant %q: %w", a.Tenant, enrollment.ErrUnknown)
	}
	key, err := enrollment.AccountKey(a.AccountNumber, policy.LeadingZerosOptional)
	if err != nil {
		return nil, err
	}
	exact, folded, err := enrollment.CodeForms(a.Code)
	if err != nil {
		return nil, err
	}
	r := &registration{tx: t, Application: a, policy: policy, accountKey: key, ref: s.ring.AccountRef(a.Tenant, key)}
	for _, h := range s.ring.CodeHashes(a.Tenant, key, exact) {
		r.exact = append(r.exact, h.Sum)
	}
	for _, h := range s.ring.CodeHashes(a.Tenant, key, folded) {
		r.folded = append(r.folded, h.Sum)
	}
	return r, nil
}

// decide does the same work for an unknown account as for a wrong code, up to the one answer that both get.
func (r *registration) decide(ctx context.Context) (*enrollment.Refusal, error) {
	counts, wait, err := r.pass(ctx, r.Tenant, codeGates(r.Source, r.accountKey))
	if err != nil || wait != nil {
		return wait, err
	}
	r.counts = counts
	if err := r.findAccount(ctx); err != nil {
		return nil, err
	}
	mailings, err := r.mailings(ctx)
	if err != nil {
		return nil, err
	}
	code, ok := r.match(mailings)
	if !ok {
		return r.guessedWrong(ctx, len(mailings) > 0)
	}
	if no, err := r.enter(ctx, code); err != nil || no != nil {
		return no, err
	}
	return nil, r.forget(ctx, r.Tenant, r.counts)
}

// findAccount holds the account's row, so that two applications for it are decided one after the other.
func (r *registration) findAccount(ctx context.Context) error {
	err := r.GetContext(ctx, &r.account, `
		SELECT id, tenant, account_key, ref, codes_retired_at FROM accounts WHERE tenant = $1 AND account_key = $2 FOR NO KEY UPDATE`,
		r.Tenant, r.accountKey)
	if noRows(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the account: %w", err)
	}
	r.ref = r.account.Ref
	return nil
}

// mailing is an e-mailed code and what the mail said with it.
type mailing struct {
	Hash      []byte     `db:"code_hash"`
	Folded    []byte     `db:"code_folded_hash"`
	EmailedAt time.Time  `db:"emailed_at"`
	ExpiresAt *time.Time `db:"code_expires_at"`
	IssuedOn  *time.Time `db:"issued_on"`
}

// history is a mailing as the rules see it.
func (m mailing) history() enrollment.Mailing {
	h := enrollment.Mailing{Code: string(m.Hash), EmailedAt: m.EmailedAt}
	if m.ExpiresAt != nil {
		h.ExpiresAt = *m.ExpiresAt
	}
	return h
}

// month is the invoice's, as in the Invited that was told about the mail.
func (m mailing) month() string {
	on := m.EmailedAt.UTC()
	if m.IssuedOn != nil {
		on = *m.IssuedOn
	}
	return on.Format("2006-01")
}

// mailings are all codes of the account, the newest last. Ties are broken as in face.
func (r *registration) mailings(ctx context.Context) ([]mailing, error) {
	var all []mailing
	if err := r.SelectContext(ctx, &all, `
		SELECT m.code_hash, m.code_folded_hash, m.emailed_at, m.code_expires_at, m.issued_on
		FROM invoice_emails AS m JOIN inbox AS i ON i.id = m.event
		WHERE m.account = $1 AND m.code_hash IS NOT NULL ORDER BY m.emailed_at, i.source, i.event_id`, r.account.ID); err != nil {
		return nil, fmt.Errorf("codes of account %d: %w", r.account.ID, err)
	}
	return all, nil
}

// matched is the code that was typed: every mailing of it, and how it stands.
type matched struct {
	hashes   [][]byte // under every key it was stored under
	newest   mailing
	standing enrollment.Standing
}

// match finds the code: as typed, and only where that finds nothing with look-alikes folded.
func (r *registration) match(all []mailing) (matched, bool) {
	asTyped := func(m mailing) bool { return contains(r.exact, m.Hash) }
	lookAlike := func(m mailing) bool {
		if m.Folded != nil {
			return contains(r.folded, m.Folded)
		}
		return contains(r.folded, m.Hash)
	}
	for _, is := range []func(mailing) bool{asTyped, lookAlike} {
		var c matched
		history := make([]enrollment.Mailing, len(all))
		for i, m := range all {
			history[i] = m.history()
			if is(m) {
				c.newest = m
				c.hashes = append(c.hashes, m.Hash)
			}
		}
		standing, ok := enrollment.StandingOf(history, func(m enrollment.Mailing) bool { return contains(c.hashes, []byte(m.Code)) }, r.policy)
		if ok {
			c.standing = standing
			return c, true
		}
	}
	return matched{}, false
}

func contains(hashes [][]byte, h []byte) bool {
	return slices.ContainsFunc(hashes, func(x []byte) bool { return slices.Equal(x, h) })
}

// guessedWrong counts a wrong try. At the hundredth on one account its codes are retired, which costs a guesser everything
// and the owner one e-mail: billing is asked for a new code. An account without codes has nothing to retire.
func (r *registration) guessedWrong(ctx context.Context, hasCodes bool) (*enrollment.Refusal, error) {
	waits, here := false, false
	for _, c := range r.counts {
		retires := c.scope == "code-account"
		reached, err := r.wrong(ctx, r.Tenant, c, !retires)
		if err != nil {
			return nil, err
		}
		waits = waits || reached && !retires
		here = here || reached && c.scope == "code-source-account"
		if reached && retires && hasCodes {
			if err := r.retireCodes(ctx); err != nil {
				return nil, err
			}
		}
	}
	if waits {
		if err := r.announce(r.Tenant, r.ref, events.Locked{Fact: events.Fact{AccountRef: r.ref, OccurredAt: r.now.UTC(), Reason: string(enrollment.TooManyTries)}}); err != nil {
			return nil, err
		}
	}
	if here { // a source that waits for tries at many accounts is no news about the last of them
		if err := r.tellLocked(ctx); err != nil {
			return nil, err
		}
	}
	return r.refuse(ctx, &enrollment.Refusal{Reason: enrollment.NotRecognised})
}

func (r *registration) retireCodes(ctx context.Context) error {
	if _, err := r.ExecContext(ctx, `UPDATE accounts SET codes_retired_at = $2 WHERE id = $1`, r.account.ID, r.now); err != nil {
		return fmt.Errorf("retire the codes of account %d: %w", r.account.ID, err)
	}
	return r.askForNewCode(ctx, r.Tenant, r.account.ID, events.CodesRetired)
}

// refuse records a refusal for the timeline and the funnel, and hands it on.
func (r *registration) refuse(ctx context.Context, no *enrollment.Refusal) (*enrollment.Refusal, error) {
	if _, err := r.ExecContext(ctx, `INSERT INTO refusals (tenant, account, reason, at) VALUES ($1, $2, $3, $4)`,
		r.Tenant, sql.NullInt64{Int64: r.account.ID, Valid: r.account.ID != 0}, no.Reason, r.now); err != nil {
		return nil, fmt.Errorf("record a refusal: %w", err)
	}
	fact := events.Fact{AccountRef: r.ref, OccurredAt: r.now.UTC(), Reason: string(no.Reason), Properties: events.Properties{Locale: r.Locale}}
	if err := r.announce(r.Tenant, r.ref, events.RegistrationRefused{Fact: fact}); err != nil {
		return nil, err
	}
	return no, nil
}

// enter decides for somebody who holds a stored pair of account number and code.
func (r *registration) enter(ctx context.Context, code matched) (*enrollment.Refusal, error) {
	holder, err := r.holder(ctx, code)
	if err != nil {
		return nil, err
	}
	if holder != nil && holder.due(r.now) {
		if err := r.expire(ctx, holder); err != nil {
			return nil, err
		}
		holder = nil
	}
	if r.member != 0 {
		if has, err := r.isMember(ctx); err != nil || has {
			return nil, err
		}
	}
	if closed, err := r.closed(ctx, r.account.ID); err != nil {
		return nil, err
	} else if closed {
		return r.refuse(ctx, &enrollment.Refusal{Reason: enrollment.AccountClosed, Field: enrollment.FieldAccountNumber})
	}
	if holder != nil && holder.State == enrollment.Activated {
		return r.refuseUsed(ctx)
	}
	if full, err := r.full(ctx); err != nil {
		return nil, err
	} else if full {
		return r.refuseUsed(ctx)
	}
	if holder != nil && r.member == 0 {
		return r.continueWith(ctx, holder)
	}
	if holder != nil { // who holds the pair goes on with what is pending, and needs no mail to do so
		if err := r.end(ctx, holder, enrollment.Cancel, "by-customer"); err != nil {
			return nil, err
		}
		return r.join(ctx, code)
	}
	retiredAt := time.Time{}
	if r.account.CodesRetiredAt != nil {
		retiredAt = *r.account.CodesRetiredAt
	}
	if err := code.standing.Check(r.now, retiredAt, r.policy); err != nil {
		no, ok := errors.AsType[*enrollment.Refusal](err)
		if !ok {
			return nil, err
		}
		return r.refuse(ctx, no)
	}
	if r.member != 0 {
		return r.join(ctx, code)
	}
	if until, err := r.disownedUntil(ctx, r.account.ID, code.hashes...); err != nil {
		return nil, err
	} else if wait := until.Sub(r.now); wait > 0 {
		return r.refuse(ctx, &enrollment.Refusal{Reason: enrollment.TooManyTries, RetryAfter: wait})
	}
	return r.begin(ctx, code)
}

// disownedUntil tells until when a code waits whose sign-ups were ended from the mailbox: each next one has mails and
// corrections of its own, so that with one code any number of mails could be sent to anybody. Zero: it need not wait.
func (t *tx) disownedUntil(ctx context.Context, account int64, hashes ...[]byte) (time.Time, error) {
	var ended []time.Time // the newest first
	if err := t.SelectContext(ctx, &ended, `
		SELECT m.at FROM enrollments AS e JOIN enrollment_moves AS m ON m.enrollment = e.id AND m.reason = $3
		WHERE e.account = $1 AND e.code_hash = ANY ($2) AND e.state = 'cancelled' ORDER BY m.at DESC LIMIT $4`,
		account, pq.ByteaArray(hashes), notRequested, enrollment.MaxDisowned); err != nil {
		return time.Time{}, fmt.Errorf("sign-ups that were disowned: %w", err)
	}
	if len(ended) < enrollment.MaxDisowned {
		return time.Time{}, nil
	}
	return ended[len(ended)-1].Add(enrollment.DisownedWindow), nil
}

// refuseUsed refuses who holds a pair of an account that is enrolled, and tells its people that somebody does.
func (r *registration) refuseUsed(ctx context.Context) (*enrollment.Refusal, error) {
	if err := r.tellCodeTried(ctx); err != nil {
		return nil, err
	}
	return r.refuse(ctx, &enrollment.Refusal{Reason: enrollment.CodeUsed, Field: enrollment.FieldCode})
}

// holder is the enrollment that holds or consumed the code; nil for none.
func (r *registration) holder(ctx context.Context, code matched) (*enrollmentRow, error) {
	var e enrollmentRow
	err := r.GetContext(ctx, &e, `
		SELECT `+enrollmentColumns+` FROM enrollments
		WHERE account = $1 AND code_hash = ANY ($2) AND state IN ('registered', 'mailed', 'undeliverable', 'activated')
		ORDER BY state = 'activated' DESC LIMIT 1 FOR NO KEY UPDATE`, r.account.ID, pq.ByteaArray(code.hashes))
	if noRows(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("who holds the code: %w", err)
	}
	return &e, nil
}

func (r *registration) begin(ctx context.Context, code matched) (*enrollment.Refusal, error) {
	face, err := r.face(ctx, r.account.ID)
	if err != nil {
		return nil, err
	}
	e, fact := r.newEnrollment(code, face)
	if err := r.insert(ctx, e); err != nil {
		return nil, err
	}
	free, err := r.claimUsername(ctx, e)
	if err != nil {
		return nil, err
	}
	if !free {
		if _, err := r.ExecContext(ctx, `DELETE FROM enrollments WHERE id = $1`, e.ID); err != nil {
			return nil, fmt.Errorf("take back an enrollment: %w", err)
		}
		return r.usernameTaken(ctx)
	}
	if err := r.began(ctx, e); err != nil {
		return nil, err
	}
	r.admitted = enrollment.Admission{Enrollment: e.ID}
	if err := r.announce(e.Tenant, e.ID.String(), events.Registered{Fact: fact}); err != nil {
		return nil, err
	}
	return nil, r.requestMail(ctx, e, r.ref, face, r.policy.ActivationWindow)
}

// continueWith lets the same person go on with a pending enrollment.
func (r *registration) continueWith(ctx context.Context, e *enrollmentRow) (*enrollment.Refusal, error) {
	r.admitted = enrollment.Admission{Enrollment: e.ID, Continued: true}
	if r.RequestID != "" && r.RequestID == e.RequestID && r.Email == e.Email && r.Username.Key == e.UsernameKey {
		return nil, nil
	}
	moves := e.Email != r.Email || e.State == enrollment.Undeliverable
	if no := e.correctable(); moves && no != nil { // before anything is changed: a refusal is committed
		r.admitted = enrollment.Admission{}
		return r.refuse(ctx, no)
	}
	renamed := r.Username.Key != e.UsernameKey || enrollment.Skeleton(r.Username.Display) != enrollment.Skeleton(e.Username)
	e.Username, e.UsernameKey = r.Username.Display, r.Username.Key
	if renamed {
		if free, err := r.changeUsername(ctx, e); err != nil {
			return nil, err
		} else if !free {
			r.admitted = enrollment.Admission{}
			return r.usernameTaken(ctx)
		}
	}
	e.SignedUpAt, e.SignedUpWith = r.now, r.Browser
	e.grant(enrollment.Wish{RequestID: r.RequestID, Locale: r.Locale})
	face, err := r.face(ctx, e.Account)
	if err != nil {
		return nil, err
	}
	if moves {
		return nil, r.correct(ctx, e, r.Email, r.ref, face, r.policy)
	}
	// Two clicks, or twenty, are one wish. Another mail goes only when the last one had time to arrive.
	if r.now.Sub(e.LastMailAt) < enrollment.MailSpacing || e.Resends >= enrollment.MaxMails {
		return nil, r.save(ctx, e, []enrollment.State{e.State})
	}
	return nil, r.mailAgain(ctx, e, r.ref, face, r.policy)
}

func (r *registration) usernameTaken(ctx context.Context) (*enrollment.Refusal, error) {
	suggestions, err := r.freeUsernames(ctx, r.Tenant, r.Username)
	if err != nil {
		return nil, err
	}
	return r.refuse(ctx, &enrollment.Refusal{Reason: enrollment.UsernameTaken, Field: enrollment.FieldUsername, Suggestions: suggestions})
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
