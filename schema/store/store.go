// Package store keeps accounts, codes, enrollments, users, the mail ledger, the inbox and the outbox in Postgres. It is the
// only place with SQL. One exported method is one transaction and one verb of the business; what it announces is written to
// the outbox in the same transaction, so nothing is published before it is true. It decides no rule (schema/enrollment
// does) and talks to no broker.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/keyring"
)

// Store is safe for concurrent use. Decisions on time use the database's clock.
type Store struct {
	db     *sqlx.DB
	ring   *keyring.Ring
	policy func(tenant string) (enrollment.Policy, bool)

	committed func() // called after a commit that left rows in the outbox
}

// New keeps data in db. policy tells a tenant's rules, false for a tenant that does not exist.
func New(db *sqlx.DB, ring *keyring.Ring, policy func(tenant string) (enrollment.Policy, bool)) *Store {
	return &Store{db: db, ring: ring, policy: policy, committed: func() {}}
}

// OnOutbox sets what is called after each commit that left rows in the outbox: a relay in the same process need not wait
// for its next poll. Not safe while the store is in use.
func (s *Store) OnOutbox(f func()) { s.committed = f }

// Open connects to Postgres. The pool holds at most size connections; a caller waits for one until its context ends.
func Open(ctx context.Context, url string, size int) (*sqlx.DB, error) {
	db, err := sqlx.Open("postgres", url)
	if err != nil {
		return nil, errors.New("database URL: not one that Postgres understands") // the cause may repeat the password
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	db.SetConnMaxIdleTime(5 * time.Minute)
	if err := db.PingContext(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("database: %w", err)
	}
	return db, nil
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.db.PingContext(ctx); err != nil {
		return fmt.Errorf("database: %w", err)
	}
	return nil
}

// tx is one transaction: its clock, and what it will announce.
type tx struct {
	*sqlx.Tx
	ring *keyring.Ring
	now  time.Time
	out  []events.Encoded
}

const (
	tries       = 4 // of a transaction that lost against another one
	lockTimeout = "5s"
)

// transact begins, runs, flushes the outbox and commits: the only function that does. What lost against another transaction
// is tried again; f must therefore not keep anything from a run that failed. An error of f rolls back. Nothing is ever
// executed outside a transaction, since lib/pq repeats autocommitted statements silently when a connection breaks.
func (s *Store) transact(ctx context.Context, verb string, f func(*tx) error) error {
	for try := 1; ; try++ {
		left, err := s.attempt(ctx, f)
		if err == nil {
			if left {
				s.committed()
			}
			return nil
		}
		if try == tries || !lostRace(err) {
			return explain(verb, err)
		}
		select {
		case <-ctx.Done():
			return explain(verb, ctx.Err())
		case <-time.After(time.Duration(rand.IntN(20*try)+1) * time.Millisecond):
		}
	}
}

func (s *Store) attempt(ctx context.Context, f func(*tx) error) (leftOutbox bool, err error) {
	raw, err := s.db.BeginTxx(ctx, nil)
	if err != nil {
		return false, err
	}
	ended := false
	defer func() {
		if !ended { // f panicked: its locks must not outlive it
			_ = raw.Rollback()
		}
	}()
	t := &tx{Tx: raw, ring: s.ring}
	err = func() error {
		if err := t.GetContext(ctx, &t.now, `SELECT now() FROM set_config('lock_timeout', $1, true)`, lockTimeout); err != nil {
			return err
		}
		if err := f(t); err != nil {
			return err
		}
		return t.flush(ctx)
	}()
	ended = true
	if err != nil {
		if rb := raw.Rollback(); rb != nil && !errors.Is(rb, sql.ErrTxDone) {
			err = errors.Join(err, rb)
		}
		return false, err
	}
	if err := raw.Commit(); err != nil {
		return false, fmt.Errorf("commit: %w", err)
	}
	return len(t.out) > 0, nil
}

// lostRace reports a serialization failure, a deadlock, or a unique violation: every verb looks before it takes, so what
// is taken now was free a moment ago, and the next run sees whose it is.
func lostRace(err error) bool {
	return pq.As(err, pqerror.TRSerializationFailure, pqerror.TRDeadlockDetected, pqerror.UniqueViolation) != nil
}

// explain adds the verb to an error, except to answers: refusals, impossible moves and malformed events are the result.
func explain(verb string, err error) error {
	if _, ok := errors.AsType[*enrollment.Refusal](err); ok {
		return err
	}
	if errors.Is(err, enrollment.ErrUnknown) {
		return err
	}
	if pe, ok := errors.AsType[*pq.Error](err); ok {
		switch pe.Code.Class() {
		case "22", "23": // data that no retry will make fit; the message may repeat it, so only the code is told
			return fmt.Errorf("%s: %w", verb, &events.Malformed{Fault: events.RejectedByDatabase, Why: fmt.Sprintf("SQLSTATE %s, constraint %q", pe.Code, pe.Constraint)})
		}
	}
	return fmt.Errorf("%s: %w", verb, err)
}

// answer runs f like transact. A refusal that f returns is committed first and told then: what was counted must outlive it.
func (s *Store) answer(ctx context.Context, verb string, f func(*tx) (*enrollment.Refusal, error)) error {
	var no *enrollment.Refusal
	if err := s.transact(ctx, verb, func(t *tx) error {
		var err error
		no, err = f(t)
		return err
	}); err != nil {
		return err
	}
	if no != nil {
		return no
	}
	return nil
}

// noRows reports whether a query found nothing.
func noRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }
