package main

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
)

type accountCommand struct {
	services
	Number string `arg:"" help:"Account number, in any spelling that the customer could type."`
	Tenant string `help:"Tenant that the account belongs to." default:"mongo"`
	JSON   bool   `help:"Print for programs." name:"json"`
}

func (c *accountCommand) Run(in *invocation) error {
	if err := c.complete(); err != nil {
		return err
	}
	s, done, err := c.store(in)
	if err != nil {
		return err
	}
	defer done()
	d, err := s.Dossier(in, c.Tenant, c.Number)
	if errors.Is(err, enrollment.ErrUnknown) {
		return fmt.Errorf("tenant %s has no account by that number: billing never named it (compare with the invoice; dead letters may hold its events)", c.Tenant)
	}
	if no, ok := errors.AsType[*enrollment.Refusal](err); ok {
		return &usageError{fmt.Errorf("the account number cannot be one: %s", no.Reason)}
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(in.stdout, d)
	}
	fmt.Fprintf(in.stdout, "Account %s of %s: %s, billed at %s\n\n", d.AccountNumber, d.Tenant, d.CompanyName, d.BillingEmail)
	w := tabwriter.NewWriter(in.stdout, 0, 0, 2, ' ', 0)
	for _, h := range d.Timeline {
		fmt.Fprintf(w, "%s\t%s\t%s\n", h.At.Format(time.RFC3339), h.What, h.Detail)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(in.stdout, "\nStanding     %s\nCause        %s\nNext action  %s\n", d.Diagnosis.Standing, d.Diagnosis.Cause, d.Diagnosis.NextAction)
	return nil
}
