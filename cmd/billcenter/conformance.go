package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/producers/billing/conformance"
)

// eventsConformanceCommand has flags of its own where the other commands share theirs: it looks at a system from outside and
// has no use for a database or a tenants file.
type eventsConformanceCommand struct {
	DataDir     string        `help:"Folder of an 'up' on this machine; what the other flags leave out is taken from it." default:".billcenter" placeholder:"DIR"`
	NatsURL     string        `help:"NATS server of the system, with an operator's rights." placeholder:"URL"`
	NatsCreds   string        `help:"NATS credentials file." type:"path" placeholder:"FILE"`
	NatsCA      string        `help:"PEM file of the certificate authority of the NATS server." name:"nats-ca" type:"path" placeholder:"FILE"`
	KeyRing     string        `help:"Key ring file of the system, to replay a dead letter." type:"path" placeholder:"FILE"`
	PortalURL   string        `help:"Base URL of the tenant's portal, for what only customers are told." placeholder:"URL"`
	InboxURL    string        `help:"Base URL of the inbox that the mails go to, as 'up' has one." placeholder:"URL"`
	Tenant      string        `help:"Tenant to play billing of." default:"mongo"`
	MailWorker  bool          `help:"Judge the mail worker that is running, too."`
	MailDomain  string        `help:"Domain of the customers' addresses; mails are sent there." default:"conformance.example"`
	Only        []string      `help:"Only these cases." placeholder:"NAME"`
	List        bool          `help:"List the cases and play none."`
	Within      time.Duration `help:"How long to wait for what the system does on its own." default:"30s"`
	PurgeWithin time.Duration `help:"How long a code may stay on the broker after it was stored." default:"2s"`
	JSON        bool          `help:"Print the report for programs." name:"json"`
}

func (c *eventsConformanceCommand) Help() string {
	return "It publishes good and bad events under account numbers of its own and signs up for them. Accounts, enrollments and dead\n" +
		"letters stay behind, so it is for staging systems; every run has other ones, so it may be repeated.\n" +
		"Exit codes: 0 no case failed; 1 a case failed; 2 the command line is wrong, or the system cannot be reached."
}

func (c *eventsConformanceCommand) Run(in *invocation) error {
	if c.List {
		return c.list(in)
	}
	if !events.ValidTenant(c.Tenant) {
		return &usageError{errors.New("--tenant: is not [a-z0-9-]{1,32}")}
	}
	s, err := c.find()
	if err != nil {
		return err
	}
	sealer, whyNoReplay := bus.Sealer(nil), "no --key-ring: dead letters cannot be opened"
	if s.KeyRing != "" {
		ring, err := s.ring()
		if err != nil {
			return err
		}
		sealer = ring.DeadLetters()
	}
	b, err := bus.Dial(in, bus.Options{
		URL: s.NatsURL, Name: "billcenter events conformance", CredentialsFile: s.NatsCreds, RootCAFile: s.NatsCA,
		Sealer: sealer, Topology: lookedAt(),
	})
	if err != nil {
		return &usageError{err}
	}
	defer b.Close()
	options := conformance.Options{
		Tenant: c.Tenant, Broker: broker{b, c.Tenant}, WhyNoReplay: whyNoReplay, Portal: s.PortalURL, Inbox: c.InboxURL,
		MailWorker: c.MailWorker, MailDomain: c.MailDomain, Only: c.Only, Within: c.Within, PurgeWithin: c.PurgeWithin,
	}
	if sealer != nil {
		options.Replay = b.Replay
	}
	fmt.Fprintf(in.stderr, "Playing on tenant %s. Accounts, enrollments and dead letters stay behind: do this on staging systems only.\n", c.Tenant)
	report, err := conformance.Run(in, options)
	switch {
	case in.Err() != nil:
		return err
	case errors.As(err, new(*conformance.UnknownCaseError)):
		return &usageError{fmt.Errorf("--only: %w; see --list", err)}
	case err != nil:
		return &usageError{err}
	}
	return c.tell(in, report)
}

// find completes the flags from an `up`. Portal, inbox and key ring of one system are not taken for those of another.
func (c *eventsConformanceCommand) find() (*services, error) {
	s := &services{DataDir: c.DataDir, NatsURL: c.NatsURL, NatsCreds: c.NatsCreds, NatsCA: c.NatsCA}
	if err := s.complete(); err != nil {
		return nil, err
	}
	if s.NatsURL == "" {
		return nil, &usageError{errors.New("--nats-url (BILLCENTER_NATS_URL) is missing, and no 'billcenter up' runs on " + c.DataDir)}
	}
	if s.up == nil || s.up.NATS != s.NatsURL {
		s.KeyRing, s.PortalURL = "", ""
	} else {
		s.PortalURL = s.up.Portal
		if c.InboxURL == "" {
			c.InboxURL = s.up.Inbox
		}
	}
	if c.KeyRing != "" {
		s.KeyRing = c.KeyRing
	}
	if c.PortalURL != "" {
		s.PortalURL = c.PortalURL
	}
	return s, nil
}

func (c *eventsConformanceCommand) list(in *invocation) error {
	if c.JSON {
		rows := []map[string]string{}
		for _, each := range conformance.Cases() {
			rows = append(rows, map[string]string{"name": each.Name, "sent": each.Sent, "expected": each.Expected})
		}
		return printJSON(in.stdout, rows)
	}
	w := tabwriter.NewWriter(in.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CASE\tSENT\tEXPECTED")
	for _, each := range conformance.Cases() {
		fmt.Fprintf(w, "%s\t%s\t%s\n", each.Name, each.Sent, each.Expected)
	}
	return w.Flush()
}

func (c *eventsConformanceCommand) tell(in *invocation, r conformance.Report) error {
	if c.JSON {
		if err := printJSON(in.stdout, r); err != nil {
			return err
		}
	} else if err := printReport(in, r); err != nil {
		return err
	}
	if r.Failed > 0 {
		return &exit{exitFailed}
	}
	return nil
}

func printReport(in *invocation, r conformance.Report) error {
	w := tabwriter.NewWriter(in.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "VERDICT\tCASE\tMS\tSEEN")
	for _, result := range r.Cases {
		verdict := string(result.Verdict)
		if result.Verdict == conformance.Failed {
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", strings.ToUpper(verdict), result.Name, result.Milliseconds, "see below")
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", verdict, result.Name, result.Milliseconds, result.Seen)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, result := range r.Cases {
		if result.Verdict == conformance.Failed {
			fmt.Fprintf(in.stdout, "\n%s\n", result.Name)
			for _, line := range [][2]string{{"sent", result.Sent}, {"expected", result.Expected}, {"seen", result.Seen}} {
				fmt.Fprintf(w, "  %s\t%s\n", line[0], line[1])
			}
			if err := w.Flush(); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintf(in.stdout, "\n%d passed, %d failed, %d not run, in %.1f s. Run %s leaves %d accounts, %d enrollments and %d dead letters behind.\n",
		r.Passed, r.Failed, r.NotRun, r.Seconds, r.Run, r.Behind.Accounts, r.Behind.Enrollments, r.Behind.DeadLetters)
	return err
}

// lookedAt is the part of the topology whose state the kit asks for, many times a second.
func lookedAt() bus.Topology {
	var some bus.Topology
	for _, s := range bus.DefaultTopology() {
		switch s.Name {
		case bus.StreamBilling, bus.StreamEnrollment, bus.StreamDeadLetter:
			s.Consumers = nil
		case bus.StreamMail:
		default:
			continue
		}
		some = append(some, s)
	}
	return some
}

// broker is the bus as the kit sees it.
type broker struct {
	bus    *bus.Bus
	tenant string
}

func (b broker) Publish(ctx context.Context, batch ...conformance.Message) error {
	out := make([]bus.Outgoing, len(batch))
	for i, m := range batch {
		out[i] = bus.Outgoing{Subject: m.Subject, ID: m.ID, Header: m.Header, Data: m.Body}
	}
	return b.bus.Publish(ctx, out...)
}

func (b broker) Standing(ctx context.Context) (conformance.Standing, error) {
	var s conformance.Standing
	all, err := b.bus.Status(ctx)
	if err != nil {
		return s, err
	}
	for _, stream := range all {
		if stream.Missing {
			return s, fmt.Errorf("stream %s does not exist on the broker: %w", stream.Name, bus.ErrNotMigrated)
		}
		switch stream.Name {
		case bus.StreamBilling:
			s.BillingFirst, s.BillingLast = stream.FirstSeq, stream.LastSeq
			if stream.Messages == 0 {
				s.BillingFirst = stream.LastSeq + 1
			}
		case bus.StreamMail:
			s.MailLast, s.MailDone = stream.LastSeq, stream.Consumers[0].AckFloor
		case bus.StreamEnrollment:
			s.FactsLast = stream.LastSeq
		case bus.StreamDeadLetter:
			s.LettersLast = stream.LastSeq
		}
	}
	return s, nil
}

func (b broker) Facts(ctx context.Context, after uint64) ([]conformance.Stored, error) {
	return b.stored(ctx, bus.StreamEnrollment, events.Enrollment, after)
}

func (b broker) MailWork(ctx context.Context, after uint64) ([]conformance.Stored, error) {
	return b.stored(ctx, bus.StreamMail, events.Mail, after)
}

func (b broker) stored(ctx context.Context, stream string, domain events.Domain, after uint64) ([]conformance.Stored, error) {
	var all []conformance.Stored
	for m, err := range b.bus.Stored(ctx, stream, string(domain)+"."+b.tenant+".>", after) {
		if err != nil {
			return nil, err
		}
		all = append(all, conformance.Stored{Sequence: m.Sequence, Message: conformance.Message{Subject: m.Subject, Header: m.Header, Body: m.Data}})
	}
	return all, nil
}

func (b broker) DeadLetters(ctx context.Context, after uint64) ([]conformance.DeadLetter, error) {
	var all []conformance.DeadLetter
	for l, err := range b.bus.DeadLetters(ctx, bus.DeadLetterFilter{Consumer: bus.ConsumerCodes, After: after}) {
		if err != nil {
			return nil, err
		}
		all = append(all, conformance.DeadLetter{ID: l.ID, Sequence: l.Sequence, Reason: l.Reason, Parked: l.Parked})
	}
	return all, nil
}
