package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/mongotel/billcenter/consumers/mailer"
	"github.com/mongotel/billcenter/schema"
)

type doctorCommand struct {
	services
	smtpFlags
	JSON bool `help:"Print for programs." name:"json"`
}

// finding is what one check found.
type finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Found  string `json:"found"`
	Remedy string `json:"remedy,omitempty"`
}

func (c *doctorCommand) Run(in *invocation) error {
	if err := c.complete(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(in, time.Minute)
	defer cancel()
	findings := c.configuration()
	findings = append(findings, c.checkDatabase(ctx)...)
	findings = append(findings, c.checkBroker(ctx)...)
	findings = append(findings, c.checkSMTP(ctx))
	sick := false
	for _, f := range findings {
		sick = sick || !f.OK
	}
	if c.JSON {
		if err := printJSON(in.stdout, map[string]any{"healthy": !sick, "checks": findings}); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(in.stdout, 0, 0, 2, ' ', 0)
		for _, f := range findings {
			verdict := "ok"
			if !f.OK {
				verdict = "FAIL"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", verdict, f.Check, f.Found)
			if f.Remedy != "" {
				fmt.Fprintf(w, "\t\t→ %s\n", f.Remedy)
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if sick {
		return &exit{exitFailed}
	}
	return nil
}

func failed(check string, err error, remedy string) finding {
	return finding{Check: check, Found: err.Error(), Remedy: remedy}
}

func passed(check, found string) finding { return finding{Check: check, OK: true, Found: found} }

func (c *doctorCommand) configuration() []finding {
	var f []finding
	if d, err := c.directory(); err != nil {
		f = append(f, failed("tenants", err, "mend the line that is named"))
	} else {
		var ids []string
		for _, t := range d.All() {
			ids = append(ids, t.ID)
		}
		f = append(f, passed("tenants", strings.Join(ids, ", ")))
	}
	if r, err := c.ring(); err != nil {
		f = append(f, failed("key ring", err, "give the file that the installation was started with; a new one cannot read old codes"))
	} else {
		f = append(f, passed("key ring", "keys "+strings.Join(r.KeyIDs(), ", ")))
	}
	return f
}

func (c *doctorCommand) checkDatabase(ctx context.Context) []finding {
	db, err := c.database(ctx, 2)
	if err != nil {
		return []finding{failed("database", err, "start Postgres, or correct --database-url")}
	}
	defer db.Close()
	f := []finding{c.databaseSettings(ctx, db), checkSchema(ctx, db), checkClock(ctx, db)}
	return f
}

// databaseSettings looks for what would lose what was committed.
func (c *doctorCommand) databaseSettings(ctx context.Context, db *sqlx.DB) finding {
	var s struct {
		Version string `db:"version"`
		Fsync   string `db:"fsync"`
		Sync    string `db:"sync"`
		Full    string `db:"full"`
	}
	if err := db.GetContext(ctx, &s, `
		SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync,
			current_setting('synchronous_commit') AS sync, current_setting('full_page_writes') AS full`); err != nil {
		return failed("database", err, "start Postgres, or correct --database-url")
	}
	if s.Fsync != "on" || s.Full != "on" || s.Sync == "off" {
		return failed("database", fmt.Errorf("database server %s with fsync %s, full_page_writes %s, synchronous_commit %s: a power cut loses what was committed", s.Version, s.Fsync, s.Full, s.Sync),
			"switch them on in postgresql.conf")
	}
	return passed("database", "Postgres "+s.Version+", commits are written through")
}

func checkSchema(ctx context.Context, db *sqlx.DB) finding {
	states, err := schema.Status(ctx, db.DB)
	if err != nil {
		return failed("schema", err, "run `billcenter migrate`")
	}
	for _, s := range states {
		if !s.Applied {
			return failed("schema", fmt.Errorf("migration %s is not applied", s.Name), "run `billcenter migrate`")
		}
	}
	return passed("schema", fmt.Sprintf("%d migrations applied", len(states)))
}

const (
	clockWarn = 5 * time.Second // mails and logs would tell other times than the pages
)

// checkClock compares this machine's clock with the database's, which decides.
func checkClock(ctx context.Context, db *sqlx.DB) finding {
	before := time.Now()
	var theirs time.Time
	if err := db.GetContext(ctx, &theirs, `SELECT clock_timestamp()`); err != nil {
		return failed("clock", err, "")
	}
	off := theirs.Sub(before.Add(time.Since(before) / 2)).Round(time.Millisecond)
	if off.Abs() > clockWarn {
		return failed("clock", fmt.Errorf("the database's clock is %s off this machine's", off), "let both follow NTP; the database's clock decides")
	}
	return passed("clock", fmt.Sprintf("%s off the database's", off))
}

func (c *doctorCommand) checkBroker(ctx context.Context) []finding {
	b, err := c.broker(ctx, "doctor", false, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return []finding{failed("broker", err, "start NATS with JetStream, or correct --nats-url")}
	}
	defer b.Close()
	f := []finding{passed("broker", "connected")}
	if err := b.Verify(ctx); err != nil {
		return append(f, failed("streams", err, "run `billcenter migrate`"))
	}
	streams, err := b.Status(ctx)
	if err != nil {
		return append(f, failed("streams", err, ""))
	}
	var told []string
	for _, s := range streams {
		told = append(told, fmt.Sprintf("%s %d", s.Name, s.Messages))
	}
	return append(f, passed("streams", strings.Join(told, ", ")))
}

// checkSMTP logs in as the mailer would, and sends nothing.
func (c *doctorCommand) checkSMTP(ctx context.Context) finding {
	o, err := c.options()
	if err != nil {
		return failed("smtp", err, "")
	}
	if c.up != nil && "smtp://"+o.Address == c.up.SMTP {
		o.Security = mailer.Plaintext // the inbox of `up`
	}
	relay, err := mailer.NewRelay(o)
	if err != nil {
		return failed("smtp", err, "correct the --smtp- flags")
	}
	if err := relay.Check(ctx); err != nil {
		remedy := "correct the --smtp- flags, or mend the mail server"
		if errors.As(err, new(*net.OpError)) {
			remedy = "start the mail server, or correct --smtp-addr"
		}
		return failed("smtp", err, remedy)
	}
	return passed("smtp", o.Address+" takes our connection")
}
