package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/producers/billing"
)

type eventsCommand struct {
	List        eventsListCommand        `cmd:"" help:"List every event: name, type, subject."`
	Show        eventsShowCommand        `cmd:"" help:"Show what there is to know about an event: who says it when, every field with its limits, a sample."`
	Schema      eventsSchemaCommand      `cmd:"" help:"Print the JSON Schema of an event's data, or the AsyncAPI document of all."`
	Sample      eventsSampleCommand      `cmd:"" help:"Print a valid event of a type, or many invoices for a load test."`
	Validate    eventsValidateCommand    `cmd:"" help:"Check a file of events as they would be published: NDJSON or CSV."`
	Conformance eventsConformanceCommand `cmd:"" help:"Play what a billing publisher and a mail worker must survive against a running system, and judge it."`
}

type eventsListCommand struct {
	JSON bool `help:"Print for programs: an array." name:"json"`
}

// eventRow is one event as `events list --json` prints it.
type eventRow struct {
	Name    string      `json:"name"`
	Type    events.Type `json:"type"`
	Subject string      `json:"subject"`
}

func (c *eventsListCommand) Run(in *invocation) error {
	var rows []eventRow
	for _, d := range events.Catalog() {
		rows = append(rows, eventRow{d.Name, d.Type, d.Subject("<tenant>")})
	}
	if c.JSON {
		return printJSON(in.stdout, rows)
	}
	w := tabwriter.NewWriter(in.stdout, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Name, r.Type, r.Subject)
	}
	return w.Flush()
}

// definition finds the event that a person named.
func definition(name string) (events.Definition, error) {
	d, ok := events.DefinitionNamed(name)
	if !ok {
		return d, &usageError{fmt.Errorf("%q is no event of the contract: see `billcenter events list`", name)}
	}
	return d, nil
}

type eventsShowCommand struct {
	Type string `arg:"" help:"Name or CloudEvents type."`
	JSON bool   `help:"Print for programs." name:"json"`
}

func (c *eventsShowCommand) Run(in *invocation) error {
	d, err := definition(c.Type)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(in.stdout, events.PageOf(d))
	}
	_, err = fmt.Fprint(in.stdout, events.Describe(d))
	return err
}

type eventsSchemaCommand struct {
	Type string `arg:"" optional:"" help:"Name or CloudEvents type; none: the AsyncAPI document."`
}

func (c *eventsSchemaCommand) Run(in *invocation) error {
	document := events.AsyncAPI()
	if c.Type != "" {
		d, err := definition(c.Type)
		if err != nil {
			return err
		}
		document = events.Schema(d)
	}
	_, err := in.stdout.Write(document)
	return err
}

type eventsSampleCommand struct {
	Type  string `arg:"" optional:"" help:"Name or CloudEvents type; default InvoiceEmailed." default:"InvoiceEmailed"`
	Count int    `help:"Instead of the one sample: the data of that many InvoiceEmailed, one a line, with the oddities of a real billing run."`
	Seed  uint64 `help:"The same seed makes the same events." default:"1"`
}

func (c *eventsSampleCommand) Run(in *invocation) error {
	d, err := definition(c.Type)
	if err != nil {
		return err
	}
	if c.Count == 0 {
		_, err := in.stdout.Write(events.Sample(d))
		return err
	}
	if c.Count < 0 || d.Name != "InvoiceEmailed" {
		return &usageError{errors.New("--count: many samples are made of InvoiceEmailed only, at least 1")}
	}
	return billing.Generate(in.stdout, c.Count, c.Seed, time.Now())
}

type eventsValidateCommand struct {
	File   string            `arg:"" help:"NDJSON or CSV; - for standard input."`
	Tenant string            `help:"Tenant whose billing system this is." default:"mongo"`
	Format string            `help:"Form of the file: ${enum}." enum:"auto,ndjson,csv" default:"auto"`
	Column map[string]string `help:"As for publish: a CSV column and the field that it holds." placeholder:"NAME=FIELD"`
	JSON   bool              `help:"Print for programs: the summary and all faults." name:"json"`
}

func (c *eventsValidateCommand) Run(in *invocation) error {
	file, closeFile, err := openInput(in, c.File)
	if err != nil {
		return err
	}
	defer closeFile()
	faults := []*billing.Fault{}
	summary, err := billing.Publish(in, file, func(context.Context, []events.Encoded) error { return nil }, billing.Options{
		Origin: billing.Origin{Tenant: c.Tenant, Source: events.Source(c.Tenant, "billing"), Format: formatOf(c.Format, c.File), Columns: c.Column, Foreign: true},
		DryRun: true,
		OnFault: func(f *billing.Fault) {
			if c.JSON {
				faults = append(faults, f)
			} else {
				fmt.Fprintln(in.stdout, f)
			}
		},
	})
	if err != nil && !errors.As(err, new(*billing.InvalidError)) {
		return err
	}
	if c.JSON {
		if err := printJSON(in.stdout, struct {
			billing.Summary
			Faults []*billing.Fault `json:"faults"`
		}{summary, faults}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(in.stdout, "%d records: %d valid, %d invalid\n", summary.Read, summary.Read-summary.Invalid, summary.Invalid)
	}
	if summary.Invalid > 0 {
		return &exit{exitFailed}
	}
	return nil
}
