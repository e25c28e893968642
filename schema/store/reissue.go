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
