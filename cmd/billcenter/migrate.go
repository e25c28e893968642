package main

import (
	"context"
	"fmt"

	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/schema"
	"github.com/mongotel/billcenter/schema/keyring"
	"github.com/mongotel/billcenter/schema/store"
)

type migrateCommand struct {
	Apply  migrateApplyCommand  `cmd:"" default:"withargs" help:"Apply what is missing (the default)."`
	Status migrateStatusCommand `cmd:"" help:"Show how database, streams and consumers stand; exit 1 when something is missing or foreign."`
}

type migrateApplyCommand struct {
	services
	NewKeyRing string `help:"Also make a key ring file with one new key; an existing file is never overwritten." type:"path" placeholder:"FILE"`
	JSON       bool   `help:"Print for programs." name:"json"`
}

// migrationReport is what `migrate --json` and `migrate status --json` print.
type migrationReport struct {
	Migrations []schema.Migration `json:"migrations"`
	Usernames  int                `json:"usernamesCompared,omitempty"`
	Broker     []bus.Change       `json:"broker,omitempty"`
	Streams    []bus.StreamStatus `json:"streams,omitempty"`
	Problems   []string           `json:"problems,omitempty"`
}

func (c *migrateApplyCommand) Run(in *invocation) error {
	if c.NewKeyRing != "" {
		if _, err := keyring.Create(c.NewKeyRing); err != nil {
			return &usageError{fmt.Errorf("--new-key-ring: %w", err)}
		}
	}
	if err := c.complete(); err != nil {
		return err
	}
	db, err := c.database(in, 2)
	if err != nil {
		return err
	}
	defer db.Close()
	var report migrationReport
	if report.Migrations, err = schema.Migrate(in, db.DB); err != nil {
		return err
	}
	if report.Usernames, err = compareUsernames(in, store.New(db, nil, nil)); err != nil {
		return err
	}
	broker, err := c.broker(in, "migrate", false, nil, nil)
	if err != nil {
		return err
	}
	defer broker.Close()
	if report.Broker, err = broker.Apply(in); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(in.stdout, report)
	}
	if len(report.Migrations) == 0 {
		fmt.Fprintln(in.stdout, "database: up to date")
	}
	for _, m := range report.Migrations {
		fmt.Fprintf(in.stdout, "database: applied %s\n", m.Name)
	}
	if report.Usernames > 0 {
		fmt.Fprintf(in.stdout, "database: compared %d usernames with their look-alikes\n", report.Usernames)
	}
	for _, change := range report.Broker {
		fmt.Fprintln(in.stdout, change)
	}
	return nil
}

// compareUsernames works out what usernames look like where the database does not know it yet, or knows it by another
// version's tables. It may be cut off: the next one goes on.
func compareUsernames(ctx context.Context, s *store.Store) (int, error) {
	for all := 0; ; {
		n, err := s.CompareUsernames(ctx, 1000)
		if err != nil || n == 0 {
			return all, err
		}
		all += n
	}
}

type migrateStatusCommand struct {
	services
	JSON bool `help:"Print for programs." name:"json"`
}

func (c *migrateStatusCommand) Run(in *invocation) error {
	if err := c.complete(); err != nil {
		return err
	}
	report, err := c.report(in)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := printJSON(in.stdout, report); err != nil {
			return err
		}
	} else {
		for _, m := range report.Migrations {
			state := "missing"
			if m.Applied {
				state = "applied"
			}
			fmt.Fprintf(in.stdout, "database  %-28s %s\n", m.Name, state)
		}
		for _, s := range report.Streams {
			fmt.Fprintf(in.stdout, "stream    %-28s %d messages, %d bytes\n", s.Name, s.Messages, s.Bytes)
			for _, k := range s.Consumers {
				fmt.Fprintf(in.stdout, "consumer  %-28s %d pending, %d unfinished\n", k.Name, k.Pending, k.AckPending)
			}
		}
		for _, p := range report.Problems {
			fmt.Fprintln(in.stdout, "problem  ", p)
		}
	}
	if len(report.Problems) > 0 {
		return &exit{exitFailed}
	}
	return nil
}

func (c *migrateStatusCommand) report(ctx context.Context) (migrationReport, error) {
	var r migrationReport
	db, err := c.database(ctx, 2)
	if err != nil {
		return r, err
	}
	defer db.Close()
	if r.Migrations, err = schema.Status(ctx, db.DB); err != nil {
		return r, err
	}
	for _, m := range r.Migrations {
		if !m.Applied {
			r.Problems = append(r.Problems, "migration "+m.Name+" is not applied: run `billcenter migrate`")
		}
	}
	broker, err := c.broker(ctx, "migrate status", false, nil, nil)
	if err != nil {
		return r, err
	}
	defer broker.Close()
	if r.Streams, err = broker.Status(ctx); err != nil {
		return r, err
	}
	if err := broker.Verify(ctx); err != nil {
		r.Problems = append(r.Problems, err.Error())
	}
	return r, nil
}
