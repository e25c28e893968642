package store

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// gate is one count of wrong tries.
type gate struct {
	scope  string
	key    string
	limit  int           // wrong tries before a wait
	window time.Duration // in which they count; 0: until forgotten
	memory time.Duration // after the last wrong try, the count and the length of the last wait are forgotten
}

// A source is remembered for as long as Keycloak does. What was guessed at an account is remembered for longer than its codes
// live, so that a patient guesser gets no more tries at one code than a hasty one.
const (
	rememberSource  = 12 * time.Hour
	rememberAccount = 90 * 24 * time.Hour
)

// codeGates are what a registration has to pass, in the order in which their rows are locked.
func codeGates(source netip.Addr, accountKey string) []gate {
	from := enrollment.SourceKey(source)
	return []gate{
		{scope: "code-source-account", key: from + " " + accountKey, limit: enrollment.WrongTriesOnAccount, memory: rememberSource},
		{scope: "code-source", key: from, limit: enrollment.WrongTriesOnTenant, window: enrollment.WrongTriesWindow, memory: rememberSource},
		{scope: "code-account", key: accountKey, limit: enrollment.WrongTriesToRetire, memory: rememberAccount},
	}
}

// logInGates are what a log-in has to pass.
func logInGates(source netip.Addr, usernameKey string) []gate {
	from := enrollment.SourceKey(source)
	return []gate{
		{scope: "login-source-user", key: from + " " + usernameKey, limit: enrollment.WrongTriesOnAccount, memory: rememberSource},
		{scope: "login-source", key: from, limit: enrollment.WrongTriesOnTenant, window: enrollment.WrongTriesWindow, memory: rememberSource},
	}
}

// count is a gate's row while the transaction holds it.
type count struct {
	gate
	Wrong     int        `db:"wrong"`
	Level     int        `db:"level"`
	Since     time.Time  `db:"since"`
	WaitUntil *time.Time `db:"wait_until"`
	Touched   time.Time  `db:"touched_at"`
}

// pass locks the counts before anything is compared: of a hundred tries at once each sees the others' count. A wait that is
// running is a refusal; the try is not counted and does not prolong it.
func (t *tx) pass(ctx context.Context, tenant string, gates []gate) ([]count, *enrollment.Refusal, error) {
	counts := make([]count, len(gates))
	for i, g := range gates {
		c := count{gate: g}
		// The no-op update returns and locks the row; touched_at keeps its value until something is counted.
		if err := t.GetContext(ctx, &c, `
			INSERT INTO attempts AS a (tenant, scope, key) VALUES ($1, $2, $3)
			ON CONFLICT (tenant, scope, key) DO UPDATE SET touched_at = a.touched_at
			RETURNING wrong, level, since, wait_until, touched_at`, tenant, g.scope, g.key); err != nil {
			return nil, nil, fmt.Errorf("count tries at %s: %w", g.scope, err)
		}
		if c.WaitUntil != nil && c.WaitUntil.After(t.now) {
			return nil, &enrollment.Refusal{Reason: enrollment.TooManyTries, RetryAfter: c.WaitUntil.Sub(t.now)}, nil
		}
		if t.now.Sub(c.Touched) > g.memory {
			c.Wrong, c.Level = 0, 0
		}
		if g.window > 0 && t.now.Sub(c.Since) > g.window {
			c.Wrong = 0
		}
		counts[i] = c
	}
	return counts, nil, nil
}

// wrong counts a wrong try at a gate and reports whether its limit is reached. Each time it is, and each wrong try from
// then on, the next wait is twice as long.
func (t *tx) wrong(ctx context.Context, tenant string, c count, waits bool) (reached bool, err error) {
	if c.Wrong == 0 {
		c.Since = t.now
	}
	c.Wrong++
	reached = c.Wrong >= c.limit
	var until *time.Time
	if reached && waits {
		c.Level++
		until = new(t.now.Add(enrollment.Wait(c.Level)))
	}
	if reached && !waits {
		c.Wrong = 0
	}
	if _, err := t.ExecContext(ctx, `
		UPDATE attempts SET wrong = $4, level = $5, since = $6, wait_until = $7, touched_at = $8 WHERE tenant = $1 AND scope = $2 AND key = $3`,
		tenant, c.scope, c.key, c.Wrong, c.Level, c.Since, until, t.now); err != nil {
		return false, fmt.Errorf("count a wrong try at %s: %w", c.scope, err)
	}
	return reached, nil
}

// forget clears the counts of one who was right. What the source did elsewhere on the tenant stays counted.
func (t *tx) forget(ctx context.Context, tenant string, counts []count) error {
	for _, c := range counts {
		if c.window > 0 {
			continue
		}
		if _, err := t.ExecContext(ctx, `DELETE FROM attempts WHERE tenant = $1 AND scope = $2 AND key = $3`, tenant, c.scope, c.key); err != nil {
			return fmt.Errorf("forget tries at %s: %w", c.scope, err)
		}
	}
	return nil
}
