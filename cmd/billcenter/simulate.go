package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/consumers/funnel/simulation"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/producers/billing"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/tenants"
)

type simulateCommand struct {
	services
	Customers int           `help:"How many customers, each with an account of their own." default:"100" placeholder:"N"`
	Seed      uint64        `help:"Decides who they are and what becomes of them." default:"1" placeholder:"S"`
	Tenant    string        `help:"Whose customers they are." default:"mongo"`
	InboxURL  string        `help:"Base URL of the inbox that the mails go to, as 'up' has one." placeholder:"URL"`
	Invited   time.Duration `help:"How long ago their invoices were e-mailed. Runs with several give the funnel a history." default:"480h"`
	AtOnce    int           `help:"How many are at work at once." default:"8" placeholder:"N"`
	Hurry     bool          `help:"Those who ask for their mail again do so too soon, instead of waiting the minute that lies between two mails."`
	Check     bool          `help:"Ask the funnel, too, and fail if it does not say the truth."`
	JSON      bool          `help:"Print for programs." name:"json"`
}

func (c *simulateCommand) Help() string {
	return "The customers use the portal's own forms, and their mails arrive in the inbox; only their pauses are short. Every\n" +
		"account is new, and every address ends in .example or .invalid (RFC 2606).\n" +
		"Exit codes: 0 done; 1 a customer was answered otherwise than foreseen, or --check found a difference; 2 the command\n" +
		"line is wrong."
}

// simulated is what a run prints.
type simulated struct {
	Tenant       string            `json:"tenant"`
	Seed         uint64            `json:"seed"`
	FirstAccount string            `json:"firstAccount"`
	LastAccount  string            `json:"lastAccount"`
	Steps        []simulation.Step `json:"steps"`
	Command      string            `json:"command"`         // the report that must say so
	Agrees       *bool             `json:"agrees"`          // whether it did; null without --check
	Found        []simulation.Step `json:"found,omitempty"` // what it said instead
}

func (c *simulateCommand) Run(in *invocation) error {
	if err := c.complete(); err != nil {
		return err
	}
	directory, err := c.directory()
	if err != nil {
		return err
	}
	tenant, ok := directory.ByID(c.Tenant)
	if !ok {
		return &usageError{fmt.Errorf("--tenant: there is no %q", c.Tenant)}
	}
	if err := c.fits(tenant.Policy); err != nil {
		return err
	}
	b, err := c.broker(in, "simulate", false, nil, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	s, err := c.stage(tenant)
	if err != nil {
		return err
	}

	cast := c.cast(time.Now(), tenant.Policy)
	if !c.JSON {
		fmt.Fprintf(in.stderr, "%d customers are on their way; most need a moment, who waits for a second mail a minute.\n", c.Customers)
	}
	if err := c.invite(in, cast, b); err != nil {
		return err
	}
	if err := c.perform(in, s, cast.players); err != nil {
		return err
	}
	truth := simulation.Truth(cast.customers(), cast.query.Window, cast.query.AsOf)
	result := simulated{
		Tenant: c.Tenant, Seed: c.Seed, FirstAccount: cast.players[0].account, LastAccount: cast.players[len(cast.players)-1].account,
		Steps: truth, Command: commandFor(cast.query),
	}
	if c.Check {
		if err := c.caughtUp(in, b); err != nil {
			return err
		}
		if result.Found, err = c.found(in, cast.query); err != nil {
			return err
		}
		agrees := sameSteps(truth, result.Found)
		if result.Agrees = &agrees; agrees {
			result.Found = nil
		}
	}
	if err := c.tell(in, result); err != nil {
		return err
	}
	if result.Agrees != nil && !*result.Agrees {
		return &exit{exitFailed}
	}
	return nil
}

// fits refuses what would make the truth uncertain: the moments of the invoices must lie so that codes can be superseded and
// the window is still open.
func (c *simulateCommand) fits(p enrollment.Policy) error {
	const least, most = 10 * 24 * time.Hour, funnel.DefaultWindow - 24*time.Hour
	switch {
	case c.Customers < 1 || c.Customers > mostCustomers:
		return &usageError{fmt.Errorf("--customers: is not a number from 1 to %d", mostCustomers)}
	case c.AtOnce < 1 || c.AtOnce > 64:
		return &usageError{errors.New("--at-once: is not a number from 1 to 64")}
	case c.Invited < least || c.Invited > most:
		return &usageError{fmt.Errorf("--invited: is not a time from %s to %s", least, most)}
	case p.CodeGrace <= 0 || p.CodeGrace > c.Invited-24*time.Hour:
		return &usageError{fmt.Errorf("--invited: must be more than a day longer than the %s for which the tenant accepts the code before the newest", p.CodeGrace)}
	}
	return nil
}

// stage looks whether customers can come from addresses of their own, and where the tenant's pages are.
func (c *simulateCommand) stage(t *tenants.Tenant) (*stage, error) {
	s := &stage{base: t.BaseURL, slots: make(chan struct{}, c.AtOnce), hurry: c.Hurry}
	here := t.BaseURL
	if c.up != nil && c.NatsURL == c.up.NATS {
		here = c.up.Portal
		if c.InboxURL == "" {
			c.InboxURL = c.up.Inbox
		}
	}
	if c.InboxURL == "" {
		return nil, &usageError{errors.New("--inbox-url (BILLCENTER_INBOX_URL) is missing, and no 'billcenter up' runs on " + c.DataDir)}
	}
	s.mails = &mailbox{inbox: c.InboxURL}
	u, err := url.Parse(here)
	if err != nil {
		return nil, fmt.Errorf("where the portal is: %w", err)
	}
	if u.Scheme == "http" && u.Port() != "" {
		s.portal = u.Host
	}
	dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: addressOf(0, 0).AsSlice()}}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	conn, err := dialer.Dial("tcp", host)
	if err != nil {
		return nil, fmt.Errorf("the portal counts wrong tries by address, so each customer comes from one in 127.0.0.0/8, and from there %s cannot be reached; simulate on the portal's own machine, under Linux: %w", here, err)
	}
	return s, conn.Close()
}

// invite publishes what billing would have said, and waits until all of it is stored: before that, a right code is a wrong one.
func (c *simulateCommand) invite(in *invocation, all *cast, b *bus.Bus) error {
	var file bytes.Buffer
	lines := json.NewEncoder(&file)
	for _, i := range all.invoices {
		if err := lines.Encode(i); err != nil {
			return err
		}
	}
	summary, err := billing.Publish(in, &file, publisherOn(b), billing.Options{
		Origin:    billing.Origin{Tenant: c.Tenant, Source: events.Source(c.Tenant, "billing"), Format: billing.NDJSON},
		Patience:  time.Minute,
		Permanent: func(err error) bool { return errors.Is(err, bus.ErrRefused) },
	})
	if err == nil && summary.Published != len(all.invoices) {
		err = fmt.Errorf("%d of %d were published", summary.Published, len(all.invoices))
	}
	if err != nil {
		return fmt.Errorf("publish the invoices: %w", err)
	}
	return readUpToHere(in, b, bus.StreamBilling, bus.ConsumerCodes)
}

// perform plays the customers, a few at once. The first comes alone: others want the same username. Those who wait for a
// second mail begin next, so that the others fill their minute.
func (c *simulateCommand) perform(ctx context.Context, s *stage, players []*player) error {
	if err := s.play(ctx, players[0]); err != nil {
		return err
	}
	s.taken = players[0].username
	rest := slices.Clone(players[1:])
	slices.SortStableFunc(rest, func(a, b *player) int {
		switch aWaits, bWaits := a.Fate == simulation.AskedAgain, b.Fate == simulation.AskedAgain; {
		case aWaits && !bWaits:
			return -1
		case bWaits && !aWaits:
			return 1
		}
		return 0
	})
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range rest {
		s.slots <- struct{}{}
		if ctx.Err() != nil {
			<-s.slots
			break
		}
		group.Go(func() error {
			defer func() { <-s.slots }()
			return s.play(ctx, p)
		})
	}
	return group.Wait()
}

// found is what the funnel says, by the same way as `billcenter funnel`.
func (c *simulateCommand) found(in *invocation, q funnel.Query) ([]simulation.Step, error) {
	f, done, err := c.funnel(in, c.Tenant)
	if err != nil {
		return nil, err
	}
	defer done()
	r, err := f.Report(in, q)
	return simulation.Of(r), err
}

// commandFor is the report on the command line.
func commandFor(q funnel.Query) string {
	return fmt.Sprintf("billcenter funnel --tenant %s --from %s --to %s --window %s --as-of %s --json", q.Tenant, q.From, q.To, q.Window, q.AsOf.Format(time.RFC3339Nano))
}

// caughtUp waits until everything that customers have done so far is in the funnel.
func (c *simulateCommand) caughtUp(in *invocation, b *bus.Bus) error {
	st, done, err := c.store(in)
	if err != nil {
		return err
	}
	defer done()
	began := time.Now()
	ctx, cancel := context.WithTimeout(in, time.Minute)
	defer cancel()
	for {
		rows, oldest, err := st.Backlog(ctx)
		if err != nil {
			return err
		}
		if rows == 0 || oldest < time.Since(began) {
			break
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("the relay has not published what was announced: %w", err)
		}
	}
	return readUpToHere(in, b, bus.StreamEnrollment, bus.ConsumerFunnel)
}

// readUpToHere waits until a worker is done with everything that its stream holds now.
func readUpToHere(ctx context.Context, b *bus.Bus, stream, consumer string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	upTo := uint64(0)
	for {
		last, done, err := progressOf(ctx, b, stream, consumer)
		if err != nil {
			return err
		}
		if upTo == 0 {
			upTo = last
		}
		if done >= upTo {
			return nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("%s has not read %s up to %d, only to %d; does its worker run? %w", consumer, stream, upTo, done, err)
		}
	}
}

func progressOf(ctx context.Context, b *bus.Bus, stream, consumer string) (last, done uint64, err error) {
	all, err := b.Status(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, s := range all {
		for _, c := range s.Consumers {
			if s.Name == stream && c.Name == consumer && !s.Missing && !s.Denied && !c.Missing && !c.Denied {
				return s.LastSeq, c.AckFloor, nil
			}
		}
	}
	return 0, 0, fmt.Errorf("how far %s has read %s cannot be seen", consumer, stream)
}

func sameSteps(a, b []simulation.Step) bool {
	return slices.EqualFunc(a, b, func(a, b simulation.Step) bool {
		counts := func(s simulation.Step) [4]int { return [4]int{s.Entered, s.Converted, s.InProgress, s.Dropped} }
		return a.Step == b.Step && counts(a) == counts(b) && slices.Equal(a.Reasons, b.Reasons)
	})
}

func (c *simulateCommand) tell(in *invocation, r simulated) error {
	if c.JSON {
		return printJSON(in.stdout, r)
	}
	fmt.Fprintf(in.stdout, "%d customers of %s, accounts %s to %s. What became of them:\n\n", c.Customers, r.Tenant, r.FirstAccount, r.LastAccount)
	if err := tellSteps(in, r.Steps); err != nil {
		return err
	}
	fmt.Fprintf(in.stdout, "\nThe report that must say so, once it has caught up:\n  %s\n", r.Command)
	switch {
	case r.Agrees == nil:
		return nil
	case *r.Agrees:
		fmt.Fprintln(in.stdout, "It does.")
		return nil
	}
	fmt.Fprint(in.stdout, "It says otherwise:\n\n")
	return tellSteps(in, r.Found)
}

func tellSteps(in *invocation, steps []simulation.Step) error {
	w := tabwriter.NewWriter(in.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STEP\tENTERED\tCONVERTED\tIN PROGRESS\tDROPPED\tREASONS")
	for _, s := range steps {
		var reasons []string
		for _, r := range s.Reasons {
			reasons = append(reasons, fmt.Sprintf("%d %s", r.Count, r.Reason))
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\n", s.Step, s.Entered, s.Converted, s.InProgress, s.Dropped, strings.Join(reasons, ", "))
	}
	return w.Flush()
}
