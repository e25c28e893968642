package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/producers/billing"
)

type publishCommand struct {
	services
	File        string            `arg:"" help:"NDJSON (an InvoiceEmailed's data or a whole CloudEvent a line) or CSV with a header; - for standard input."`
	Tenant      string            `help:"Tenant whose billing system this is." default:"mongo"`
	Format      string            `help:"Form of the file: ${enum}. Default: by its name, else by its first character." enum:"auto,ndjson,csv" default:"auto"`
	Column      map[string]string `help:"A CSV column and the field that it holds, when its header has another name: --column Kundennummer=accountNumber; nothing after the = leaves the column out." placeholder:"NAME=FIELD"`
	DryRun      bool              `help:"Check everything, publish nothing; needs no broker."`
	SkipInvalid bool              `help:"Publish the valid records of a file that has invalid ones, too."`
	Patience    time.Duration     `help:"How long a broker that is away is waited for." default:"1m"`
	JSON        bool              `help:"Print the summary, and each fault, for programs." name:"json"`
}

func (c *publishCommand) Help() string {
	return "Every record keeps its id from run to run, so a run that was interrupted, or any run, may be repeated.\n" +
		"Exit codes: 0 published; 1 records are invalid, or the broker could not be reached; 2 the command line is wrong."
}

func (c *publishCommand) Run(in *invocation) error {
	if !events.ValidTenant(c.Tenant) {
		return &usageError{errors.New("--tenant: is not [a-z0-9-]{1,32}")}
	}
	file, closeFile, err := openInput(in, c.File)
	if err != nil {
		return err
	}
	defer closeFile()
	publish := billing.Publisher(func(context.Context, []events.Encoded) error { return nil })
	if !c.DryRun {
		if err := c.complete(); err != nil {
			return err
		}
		b, err := c.broker(in, "publish", false, nil, nil)
		if err != nil {
			return err
		}
		defer b.Close()
		publish = publisherOn(b)
	}
	bar := progressBar(in)
	summary, err := billing.Publish(in, file, publish, billing.Options{
		Origin:      billing.Origin{Tenant: c.Tenant, Source: events.Source(c.Tenant, "billing"), Format: formatOf(c.Format, c.File), Columns: c.Column},
		DryRun:      c.DryRun,
		SkipInvalid: c.SkipInvalid,
		Patience:    c.Patience,
		Permanent:   func(err error) bool { return errors.Is(err, bus.ErrRefused) },
		OnFault:     func(f *billing.Fault) { bar.clear(); c.tellFault(in, f) },
		OnProgress:  bar.show,
		OnRetry: func(err error, after time.Duration) {
			bar.clear()
			fmt.Fprintf(in.stderr, "not published yet: %v; again in %s\n", err, after.Round(time.Millisecond))
		},
	})
	bar.clear()
	if c.JSON {
		if printed := printJSON(in.stdout, summary); printed != nil {
			return errors.Join(err, printed)
		}
	} else {
		fmt.Fprintf(in.stdout, "%d records: %d published, %d repeated, %d invalid, in %.1f s\n", summary.Read, summary.Published, summary.Repeated, summary.Invalid, summary.Seconds)
	}
	if err == nil && summary.Invalid > 0 {
		return &exit{exitFailed}
	}
	return err
}

func (c *publishCommand) tellFault(in *invocation, f *billing.Fault) {
	if c.JSON {
		_ = printJSON(in.stderr, f) // the summary counts it in any case
		return
	}
	fmt.Fprintln(in.stderr, f)
}

// publisherOn adapts the bus to billing.
func publisherOn(b *bus.Bus) billing.Publisher {
	return func(ctx context.Context, batch []events.Encoded) error {
		out := make([]bus.Outgoing, len(batch))
		for i, e := range batch {
			out[i] = bus.Outgoing{Subject: e.Subject, ID: e.MsgID, Header: e.Header, Data: e.Body}
		}
		return b.Publish(ctx, out...)
	}
}

func formatOf(flag, name string) billing.Format {
	if flag != "auto" {
		return billing.Format(flag)
	}
	return billing.FormatOf(name)
}

// openInput opens a file to read; - is standard input.
func openInput(in *invocation, name string) (io.Reader, func() error, error) {
	if name == "-" {
		return in.stdin, func() error { return nil }, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, &usageError{err}
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, nil, &usageError{fmt.Errorf("%s is a folder, not a file", name)}
	}
	return f, f.Close, nil
}

// bar is a progress line that is drawn over itself; on a terminal only.
type bar struct {
	w     io.Writer // nil: none
	width int
	last  time.Time
}

func progressBar(in *invocation) *bar {
	f, ok := in.stderr.(*os.File)
	if !ok || !isatty.IsTerminal(f.Fd()) {
		return &bar{}
	}
	return &bar{w: f}
}

func (b *bar) show(p billing.Progress) {
	if b.w == nil || time.Since(b.last) < 100*time.Millisecond {
		return
	}
	b.last = time.Now()
	line := fmt.Sprintf("%s: %d records", p.Phase, p.Records)
	if p.Total > 0 {
		const cells = 30
		done := int(cells * p.Bytes / p.Total)
		line += fmt.Sprintf("  [%s%s] %d %%", strings.Repeat("#", done), strings.Repeat(".", cells-done), 100*p.Bytes/p.Total)
	}
	fmt.Fprintf(b.w, "\r%-*s", b.width, line)
	b.width = len(line)
}

func (b *bar) clear() {
	if b.w != nil && b.width > 0 {
		fmt.Fprintf(b.w, "\r%*s\r", b.width, "")
		b.width = 0
	}
}
