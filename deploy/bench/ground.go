package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/mongotel/billcenter/deploy/local"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/schema"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/keyring"
	"github.com/mongotel/billcenter/schema/store"
)

const (
	tenant = "mongo"
	source = "//mongo.billcenter.net/billing"
	pool   = 20 // connections, as `billcenter run` has by default
)

// ground is what all measurements of a run stand on: one PostgreSQL as deployed, with fsync on.
type ground struct {
	dir      string
	ring     *keyring.Ring
	postgres *local.Postgres
	admin    *sqlx.DB
	idle     time.Duration // longest wait for an idle machine
	profile  *os.File      // takes a CPU profile of the next measurement; nil: not wanted, or taken
	stages   int
}

const template = "template" // the migrated database that each stage's is a copy of

func newGround(ctx context.Context, o options) (_ *ground, err error) {
	g := &ground{idle: o.idle}
	if g.dir, err = os.MkdirTemp(o.dir, "billcenter-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	if err := os.Chmod(g.dir, 0o755); err != nil { // PostgreSQL may run as another user
		return nil, err
	}
	if o.cpuProfile != "" {
		if g.profile, err = os.Create(o.cpuProfile); err != nil {
			return nil, err
		}
	}
	if g.ring, err = keyring.Create(filepath.Join(g.dir, "keyring.json")); err != nil {
		return nil, err
	}
	if g.postgres, err = local.StartPostgres(ctx, local.PostgresOptions{DataDir: g.postgresData(), Database: template}); err != nil {
		return nil, err
	}
	db, err := store.Open(ctx, g.postgres.URL(template), 2)
	if err != nil {
		return nil, err
	}
	_, err = schema.Migrate(ctx, db.DB)
	if err = errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	g.admin, err = store.Open(ctx, g.postgres.URL("postgres"), 1)
	return g, err
}

func (g *ground) postgresData() string { return filepath.Join(g.dir, "postgres") }

// postmaster is the process id of PostgreSQL.
func (g *ground) postmaster() (int, error) {
	content, err := os.ReadFile(filepath.Join(g.postgresData(), "postmaster.pid"))
	if err != nil {
		return 0, fmt.Errorf("process id of PostgreSQL: %w", err)
	}
	first, _, _ := strings.Cut(string(content), "\n")
	return strconv.Atoi(first)
}

func (g *ground) close() error {
	var err error
	if g.profile != nil {
		err = g.profile.Close()
	}
	if g.admin != nil {
		err = errors.Join(err, g.admin.Close())
	}
	if g.postgres != nil {
		err = errors.Join(err, g.postgres.Stop())
	}
	return errors.Join(err, os.RemoveAll(g.dir))
}

// stage is what one measurement works on: a database and a broker of its own, empty and migrated.
type stage struct {
	ground *ground
	db     *sqlx.DB
	store  *store.Store
	broker *broker
	bus    *bus.Bus
}

func (g *ground) newStage(ctx context.Context) (_ *stage, err error) {
	g.stages++
	s := &stage{ground: g}
	database, folder := fmt.Sprintf("stage_%d", g.stages), filepath.Join(g.dir, fmt.Sprintf("broker-%d", g.stages))
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if _, err := g.admin.ExecContext(ctx, `CREATE DATABASE `+database+` TEMPLATE `+template); err != nil {
		return nil, fmt.Errorf("make a database: %w", err)
	}
	if s.db, err = store.Open(ctx, g.postgres.URL(database), pool); err != nil {
		return nil, err
	}
	s.store = store.New(s.db, g.ring, func(string) (enrollment.Policy, bool) { return enrollment.DefaultPolicy(), true })
	if s.broker, err = startBroker(folder, g.ring.BrokerKey()); err != nil {
		return nil, err
	}
	if s.bus, err = bus.Dial(ctx, bus.Options{URL: s.broker.url, Name: "bench", Sealer: g.ring.DeadLetters()}); err != nil {
		return nil, err
	}
	_, err = s.bus.Apply(ctx)
	return s, err
}

// settle gives what was prepared to the disk, so that the measurement does not pay for it, and waits for an idle machine.
func (s *stage) settle(ctx context.Context) error {
	if _, err := s.db.ExecContext(ctx, `CHECKPOINT`); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	releaseMemory()
	return awaitIdle(ctx, s.ground.idle)
}

// count returns a query's single number.
func (s *stage) count(ctx context.Context, query string) (int, error) {
	var n int
	if err := s.db.GetContext(ctx, &n, query); err != nil {
		return 0, fmt.Errorf("%s: %w", query, err)
	}
	return n, nil
}

// stream returns the state of a stream.
func (s *stage) stream(ctx context.Context, name string) (bus.StreamStatus, error) {
	all, err := s.bus.Status(ctx)
	if err != nil {
		return bus.StreamStatus{}, err
	}
	for _, status := range all {
		if status.Name == name {
			return status, nil
		}
	}
	return bus.StreamStatus{}, fmt.Errorf("stream %s is not part of the topology", name)
}

// close leaves the data where it is until the run ends: thousands of files deleted at once slow down what is measured next,
// on a file system without a journal for a minute.
func (s *stage) close() error {
	var err error
	if s.bus != nil {
		err = s.bus.Close()
	}
	if s.broker != nil {
		err = errors.Join(err, s.broker.stop())
	}
	if s.db != nil {
		err = errors.Join(err, s.db.Close())
	}
	return err
}
