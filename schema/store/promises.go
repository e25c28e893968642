package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/lib/pq"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// A Promise is something that the system promises about what it keeps, and what breaks it.
type Promise struct {
	Name   string
	InTime bool     // it holds once the workers have had time; the others hold after every commit
	Broken []string // by what: ids that an operator can look up, at most maxBroken
}

const (
	maxBroken = 20

	// promptly is how long what needs no other party may take: a relay's or a keeper's pause, a restart.
	promptly = 5 * time.Minute
	// mailSilence is how long a registration may wait for any word of a mail worker, ours or another.
	mailSilence = 15 * time.Minute
)

// promises are checked by queries that select what breaks them. $1 is the database's time less promptly, $2 less mailSilence,
// $3 the ids of the keys at hand.
var promises = []struct {
	name   string
	inTime bool
	broken string
}{
	{"a code is held by one enrollment at a time and consumed once", false, `
		SELECT 'enrollments ' || string_agg(id::text, ' and ') FROM enrollments
		WHERE state IN ('registered', 'mailed', 'undeliverable', 'activated') GROUP BY account, code_hash HAVING count(*) > 1`},
	{"who signs up holds the username, and who has given up does not", false, `
		SELECT 'enrollment ' || e.id FROM enrollments AS e WHERE e.state IN ('registered', 'mailed', 'undeliverable')
			AND NOT EXISTS (SELECT FROM usernames AS u WHERE u.tenant = e.tenant AND u.username_key = e.username_key AND u.enrollment = e.id)
		UNION ALL SELECT 'enrollment ' || e.id FROM usernames AS u JOIN enrollments AS e ON e.id = u.enrollment
			WHERE e.state IN ('expired', 'cancelled') OR (e.tenant, e.username_key) IS DISTINCT FROM (u.tenant, u.username_key)
		UNION ALL SELECT 'user ' || p.id FROM users AS p
			WHERE NOT EXISTS (SELECT FROM usernames AS u WHERE u.tenant = p.tenant AND u.username_key = p.username_key AND u.enrollment = p.enrollment)`},
	{"who is activated has a log-in, and nobody else", false, `
		SELECT 'enrollment ' || e.id FROM enrollments AS e WHERE e.state = 'activated'
			AND NOT EXISTS (SELECT FROM users AS u WHERE u.tenant = e.tenant AND u.username_key = e.username_key)
		UNION ALL SELECT 'user ' || u.id FROM users AS u JOIN enrollments AS e ON e.id = u.enrollment WHERE e.state <> 'activated'`},
	{"every move continues the one before, and the last one tells the state", false, `
		SELECT 'enrollment ' || e.id FROM enrollments AS e
			WHERE e.state IS DISTINCT FROM (SELECT m.to_state FROM enrollment_moves AS m WHERE m.enrollment = e.id ORDER BY m.sequence DESC LIMIT 1)
		UNION ALL SELECT 'enrollment ' || enrollment FROM (
			SELECT enrollment, from_state, lag(to_state) OVER (PARTITION BY enrollment ORDER BY sequence) AS before FROM enrollment_moves) AS m
			WHERE from_state IS DISTINCT FROM before`},
	{"a link leads to the present address", false, `
		SELECT 'enrollment ' || e.id FROM enrollments AS e
		WHERE e.email IS DISTINCT FROM (SELECT a.address FROM enrollment_addresses AS a WHERE a.enrollment = e.id AND a.generation = e.generation)`},
	{"facts about an enrollment are announced in order", false, `
		SELECT 'enrollment ' || f.id FROM (
			SELECT body::jsonb -> 'data' ->> 'enrollmentId' AS id, (body::jsonb -> 'data' ->> 'sequence')::bigint AS sequence,
				lag((body::jsonb -> 'data' ->> 'sequence')::bigint, 1, 0::bigint) OVER (PARTITION BY body::jsonb -> 'data' ->> 'enrollmentId' ORDER BY id) AS before
			FROM outbox WHERE subject LIKE 'enrollment.%' AND body::jsonb -> 'data' ? 'enrollmentId') AS f
		WHERE f.sequence IS NULL OR f.sequence <= f.before
		UNION ALL SELECT 'enrollment ' || e.id FROM enrollments AS e JOIN outbox AS o ON o.body::jsonb -> 'data' ->> 'enrollmentId' = e.id::text
		WHERE (o.body::jsonb -> 'data' ->> 'sequence')::bigint > e.sequence`},
	{"an event of billing takes effect once", false, `
		SELECT 'event ' || event FROM invoice_emails GROUP BY event HAVING count(*) > 1
		UNION ALL SELECT 'event ' || m.event FROM invoice_emails AS m WHERE NOT EXISTS (SELECT FROM inbox AS i WHERE i.id = m.event)
		UNION ALL SELECT 'event ' || i.id || ' (' || i.source || '#' || i.event_id || ')' FROM inbox AS i
			WHERE i.type = 'net.billcenter.invoice.emailed.v1' AND NOT EXISTS (SELECT FROM invoice_emails AS m WHERE m.event = i.id)`},
	{"every stored code can be recognised with the keys at hand", false, `
		SELECT 'key ' || code_key || ' of ' || count(*) || ' codes' FROM invoice_emails WHERE code_key <> ALL ($3) GROUP BY code_key`},
	{"every number of the funnel is traced to facts", false, `
		SELECT 'account ' || coalesce(f.tenant || ' ' || f.account_ref, j.tenant || ' ' || j.account_ref)
		FROM (SELECT tenant, account_ref, count(*) AS facts FROM funnel_facts GROUP BY tenant, account_ref) AS f
		FULL JOIN (SELECT tenant, account_ref, facts FROM funnel_journeys WHERE facts > 0) AS j USING (tenant, account_ref)
		WHERE f.facts IS DISTINCT FROM j.facts`},
	{"what is due ends, and releases code and username", true, `
		SELECT 'enrollment ' || id FROM enrollments WHERE state IN ('registered', 'mailed', 'undeliverable') AND expires_at < $1`},
	{"what is announced goes out", true, `
		SELECT 'message ' || msg_id || ' on ' || subject FROM outbox WHERE created_at < $1`},
	{"a registration becomes a mail or a visible failure", true, `
		SELECT 'enrollment ' || e.id FROM enrollments AS e WHERE e.state = 'registered' AND e.last_mail_at < $2 AND NOT EXISTS (
			SELECT FROM mails AS m WHERE m.enrollment = e.id AND m.purpose = 'activation' AND m.generation = e.generation AND m.number = e.mail_number)`},
	{"a mail is not left half sent", true, `
		SELECT purpose || ' mail of ' || enrollment FROM mails WHERE state = 'sending' AND claimed_until < $1`},
}

// Promises checks what is promised on what is kept, in one snapshot. It changes nothing.
func (s *Store) Promises(ctx context.Context) ([]Promise, error) {
	var all []Promise
	err := s.transact(ctx, "check the promises", func(t *tx) error {
		all = make([]Promise, len(promises), len(promises)+1)
		parts := make([]string, len(promises))
		for i, p := range promises {
			all[i] = Promise{Name: p.name, InTime: p.inTime}
			parts[i] = fmt.Sprintf(`SELECT * FROM (SELECT %d AS promise, b.* FROM (%s) AS b (by) LIMIT %d) AS broken`, i, p.broken, maxBroken)
		}
		if _, err := t.ExecContext(ctx, `SET TRANSACTION READ ONLY`); err != nil {
			return err
		}
		var broken []struct {
			Promise int
			By      string
		}
		if err := t.SelectContext(ctx, &broken, strings.Join(parts, ` UNION ALL `),
			t.now.Add(-promptly), t.now.Add(-mailSilence), pq.Array(s.ring.KeyIDs())); err != nil {
			return err
		}
		for _, b := range broken {
			all[b.Promise].Broken = append(all[b.Promise].Broken, b.By)
		}
		lawless, err := t.impossibleMoves(ctx)
		all = append(all, Promise{Name: "no move is one that the rules forbid", Broken: lawless})
		return err
	})
	return all, err
}

// impossibleMoves asks the rules about every kind of move that was ever made.
func (t *tx) impossibleMoves(ctx context.Context) ([]string, error) {
	var kinds []struct {
		Action enrollment.Action `db:"action"`
		From   *enrollment.State `db:"from_state"`
		To     enrollment.State  `db:"to_state"`
		One    string            `db:"one"`
	}
	if err := t.SelectContext(ctx, &kinds, `
		SELECT action, from_state, to_state, min(enrollment::text) AS one FROM enrollment_moves GROUP BY action, from_state, to_state ORDER BY 1, 2, 3`); err != nil {
		return nil, fmt.Errorf("look at the moves: %w", err)
	}
	var lawless []string
	for _, k := range kinds {
		if k.From == nil {
			if k.Action != "register" || k.To != enrollment.Registered {
				lawless = append(lawless, fmt.Sprintf("enrollment %s began with %s as %s", k.One, k.Action, k.To))
			}
		} else if next, err := k.From.After(k.Action); err != nil || next != k.To {
			lawless = append(lawless, fmt.Sprintf("enrollment %s: %s led from %s to %s", k.One, k.Action, *k.From, k.To))
		}
	}
	return lawless, nil
}

// A Move is a change of an enrollment that a fact on the bus must tell.
type Move struct {
	Enrollment enrollment.ID `db:"enrollment"`
	Sequence   int64         `db:"sequence"`
	Action     string        `db:"action"`
	At         time.Time     `db:"at"`
}

// SettledMoves tells every move that was made since, and whose fact has had time to go out, in no particular order.
func (s *Store) SettledMoves(ctx context.Context, since time.Time) ([]Move, error) {
	var moves []Move
	err := s.transact(ctx, "read the moves", func(t *tx) error {
		moves = nil
		return t.SelectContext(ctx, &moves, `
			SELECT enrollment, sequence, action, at FROM enrollment_moves
			WHERE at >= $1 AND at < $2 AND action NOT IN ('accept-mail', 'refuse-mail')`, since, t.now.Add(-promptly))
	})
	return moves, err
}
