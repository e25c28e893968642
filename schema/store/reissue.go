package store

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// AskForCode asks billing for a new code, to the account's address of record, when a customer says that theirs does not
// work. Nobody learns whether there is such an account or whether it had its share of codes: the answer is the same.
// Refusals: TooManyTries, for a source that asks by the dozen, and what AccountKey says of the number.
func (s *Store) AskForCode(ctx context.Context, tenant, accountNumber string, source netip.Addr) error {
	return s.answer(ctx, "ask for a new code", func(t *tx) (*enrollment.Refusal, error) {
		policy, ok := s.policy(tenant)
		if !ok {
			return nil, fmt.Errorf("tenant %q: %w", tenant, enrollment.ErrUnknown)
		}
		key, err := enrollment.AccountKey(accountNumber, policy.LeadingZerosOptional)
		if err != nil {
			return nil, err
		}
		if wait, err := t.askingAgain(ctx, tenant, "new-code-source", source); err != nil || wait != nil {
			return wait, err
		}
		// An account that was closed, or that billing never e-mailed, is none for this. The row is held: two wishes are one.
		var account int64
		err = t.GetContext(ctx, &account, `
			SELECT a.id FROM accounts AS a
			WHERE a.tenant = $1 AND a.account_key = $2 AND EXISTS (SELECT FROM invoice_emails WHERE account = a.id)
			AND NOT EXISTS (SELECT FROM account_closures WHERE account = a.id AND closed_at <= $3) FOR NO KEY UPDATE`, tenant, key, t.now)
		if err != nil && !noRows(err) {
			return nil, fmt.Errorf("find the account: %w", err)
		}
		if noRows(err) {
			return nil, t.announceNothing(ctx)
		}
		return nil, t.askForNewCode(ctx, tenant, account, events.CustomerAsked)
	})
}

// askForNewCode asks billing for a new code, unless the account had its share of them.
func (t *tx) askForNewCode(ctx context.Context, tenant string, account int64, cause string) error {
	var asked struct {
		Lately int `db:"lately"`
		Month  int `db:"month"`
	}
	if err := t.GetContext(ctx, &asked, `
		SELECT count(*) FILTER (WHERE requested_at > $2::timestamptz - make_interval(secs => $3)) AS lately, count(*) AS month
		FROM code_reissues WHERE account = $1 AND requested_at > $2::timestamptz - make_interval(secs => $4)`,
		account, t.now, enrollment.CodeReissueSpacing.Seconds(), enrollment.CodeReissuesWindow.Seconds()); err != nil {
		return fmt.Errorf("new codes asked for account %d: %w", account, err)
	}
	if asked.Lately > 0 || asked.Month >= enrollment.MaxCodeReissues {
		return nil
	}
	if _, err := t.ExecContext(ctx, `INSERT INTO code_reissues (account, cause, requested_at) VALUES ($1, $2, $3)`, account, cause, t.now); err != nil {
		return fmt.Errorf("record that account %d needs a new code: %w", account, err)
	}
	face, err := t.face(ctx, account)
	if err != nil {
		return err
	}
	return t.announce(tenant, face.AccountNumber, events.CodeReissueRequested{AccountNumber: face.AccountNumber, Cause: cause, RequestedAt: t.now.UTC()})
}
