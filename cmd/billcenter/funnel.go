package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/schema/journey"
	"github.com/mongotel/billcenter/schema/store"
	"github.com/mongotel/billcenter/schema/tenants"
)

// funnelCommand is the report, and what belongs to it.
type funnelCommand struct {
	Report   funnelReportCommand   `cmd:"" default:"withargs" help:"The report (the default): where customers drop off, and why."`
	Compare  funnelCompareCommand  `cmd:"" help:"Compare the conversion of two periods."`
	Journeys funnelJourneysCommand `cmd:"" help:"The journeys behind a number of the report."`
	Facts    funnelFactsCommand    `cmd:"" help:"The facts behind a journey."`
	Rebuild  funnelRebuildCommand  `cmd:"" help:"Read all facts again from the stream and derive every journey anew. The rows must be the same afterwards."`
	Schema   funnelSchemaCommand   `cmd:"" help:"Print the JSON Schema of the report's --json."`
}

// querying is the part of the command line that makes a query.
type querying struct {
	Tenant    string        `help:"Only this tenant; default: all."`
	From      string        `help:"Entries from this date on (of the zone), or RFC 3339 time." placeholder:"DATE"`
	To        string        `help:"Entries before this date, or time." placeholder:"DATE"`
	Window    time.Duration `help:"How long an attempt may take from its entry; its end included." default:"720h"`
	Order     string        `help:"How steps must follow each other: sequential, strict, any." default:"sequential"`
	Count     string        `help:"uniques: a unit's first entry; totals: again after it converted or its window ended." default:"uniques"`
	Steps     int           `help:"Only the first N steps, 2 to 6." default:"6" placeholder:"N"`
	Breakdown string        `help:"By a property of the entry: tenant, locale, invoiceMonth, codeAgeDays, mailDomainClass." placeholder:"PROPERTY"`
	Trend     string        `help:"By period of entry: day, week, month." placeholder:"PERIOD"`
	AsOf      string        `help:"Decides what is in progress; RFC 3339 time or date. Default: now." placeholder:"TIME"`
	Zone      string        `help:"IANA time zone of dates and periods. Default: the tenant's." placeholder:"ZONE"`
}

func (q querying) query() (funnel.Query, error) {
	asked := funnel.Query{
		Tenant: q.Tenant, From: q.From, To: q.To, Window: q.Window, Order: funnel.Order(q.Order), Count: funnel.Counting(q.Count),
		Steps: q.Steps, Breakdown: q.Breakdown, Trend: funnel.Trend(q.Trend), Zone: q.Zone, AsOf: time.Now(),
	}
	if q.AsOf != "" {
		var err error
		if asked.AsOf, err = asked.Moment(q.AsOf); err != nil {
			return asked, &usageError{fmt.Errorf("--as-of: %w", err)}
		}
	}
	if err := asked.Check(); err != nil {
		return asked, &usageError{err}
	}
	return asked, nil
}

// funnel opens the store's journeys for one answer.
func (s *services) funnel(in *invocation, tenant string) (*funnel.Funnel, func() error, error) {
	if err := s.complete(); err != nil {
		return nil, nil, err
	}
	directory, err := s.directory()
	if err != nil {
		return nil, nil, err
	}
	if tenant != "" && !directory.Has(tenant) {
		return nil, nil, &usageError{fmt.Errorf("--tenant: %q is none of the tenants; see --tenants", tenant)}
	}
	db, err := s.database(in, 4)
	if err != nil {
		return nil, nil, err
	}
	return funnel.New(store.New(db, nil, directory.Policy), zonesOf(directory)), db.Close, nil // no ring: an analyst has none
}

// zonesOf tells where a tenant's days begin; for all tenants together, those of the only one there is.
func zonesOf(directory *tenants.Directory) funnel.Zones {
	return func(tenant string) *time.Location {
		if t, ok := directory.ByID(tenant); ok {
			return t.TimeZone
		}
		if all := directory.All(); len(all) == 1 {
			return all[0].TimeZone
		}
		return nil
	}
}

type funnelReportCommand struct {
	services
	querying
	JSON bool `help:"Print for programs; see 'funnel schema'." name:"json" xor:"form"`
	CSV  bool `help:"Print the steps as CSV." name:"csv" xor:"form"`
}

func (c *funnelReportCommand) Run(in *invocation) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	f, done, err := c.funnel(in, c.Tenant)
	if err != nil {
		return err
	}
	defer done()
	r, err := f.Report(in, q)
	switch {
	case err != nil:
		return err
	case c.JSON:
		return printJSON(in.stdout, r)
	case c.CSV:
		return funnel.WriteCSV(in.stdout, r)
	default:
		return printFunnel(in.stdout, r)
	}
}

func printFunnel(out io.Writer, r funnel.Report) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	printSteps(w, "", r.Steps)
	if r.Breakdown != nil {
		for _, s := range r.Breakdown.Segments {
			value := "(none)"
			if s.Value != nil {
				value = *s.Value
			}
			printSteps(w, r.Breakdown.Property+" "+value, s.Steps)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	o := r.Overall
	fmt.Fprintf(out, "\nOf %d attempts %d converted (%s), %d are still on their way, %d dropped.\n", o.Entered, o.Converted, percent(o.Rate), o.InProgress, o.Dropped)
	fmt.Fprintf(out, "Whose window is over: %s of %d. Kaplan-Meier estimate for all, once theirs are over: %s.\n", percent(o.MatureRate), o.MatureEntered, percent(o.LiveRate))
	for _, s := range r.Steps {
		for _, reason := range s.Reasons {
			fmt.Fprintf(out, "  dropped after %s: %d %s\n", s.Step, reason.Count, reason.Reason)
		}
	}
	if len(r.Trend) > 0 {
		fmt.Fprintln(out)
		w = tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(w, "period\tentered\tconverted\tfinal\trevision\t")
		for _, p := range r.Trend {
			fmt.Fprintf(w, "%s\t%d\t%d\t%t\t%d\t\n", p.Period, p.Entered, p.Converted, p.Final, p.Revision)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if r.Watermark == nil {
		_, err := fmt.Fprintln(out, "\nNo funnel worker has run yet.")
		return err
	}
	_, err := fmt.Fprintf(out, "\nAs of %s. Every fact published before %s is counted.\n", r.AsOf.Format(time.RFC3339), r.Watermark.Format(time.RFC3339))
	return err
}

func printSteps(w io.Writer, segment string, steps []funnel.StepReport) {
	fmt.Fprintf(w, "%s\tentered\tconverted\tin progress\tdropped\toverall\tfrom previous\tmedian\tp90\t\n", segment)
	for _, s := range steps {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t\n", s.Step, s.Entered, s.Converted, s.InProgress, s.Dropped,
			percent(s.RateOverall), percent(s.RateFromPrevious), seconds(s.MedianSeconds), seconds(s.P90Seconds))
	}
}

func percent(r *float64) string {
	if r == nil {
		return "-"
	}
	return strconv.FormatFloat(*r*100, 'f', 1, 64) + " %"
}

func seconds(s *float64) string {
	if s == nil {
		return "-"
	}
	return time.Duration(*s * float64(time.Second)).Round(time.Millisecond).String()
}

type funnelCompareCommand struct {
	services
	querying
	OtherFrom string `help:"Entries of the other period, from." required:"" placeholder:"DATE"`
	OtherTo   string `help:"Entries of the other period, before." required:"" placeholder:"DATE"`
	JSON      bool   `help:"Print for programs." name:"json"`
}

func (c *funnelCompareCommand) Run(in *invocation) error {
	a, err := c.query()
	if err != nil {
		return err
	}
	b := a
	b.From, b.To = c.OtherFrom, c.OtherTo
	if err := b.Check(); err != nil {
		return &usageError{fmt.Errorf("the other period: %w", err)}
	}
	f, done, err := c.funnel(in, c.Tenant)
	if err != nil {
		return err
	}
	defer done()
	r, err := f.Compare(in, a, b)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(in.stdout, r)
	}
	for _, s := range []funnel.Sample{r.A, r.B} {
		fmt.Fprintf(in.stdout, "%s to %s: %d of %d, %s\n", s.From, s.To, s.Converted, s.Entered, percent(s.Rate))
	}
	switch {
	case !r.Enough:
		fmt.Fprintln(in.stdout, "Fewer than 30 attempts whose window is over on one side: too few to tell a difference from chance.")
	case r.Significant:
		fmt.Fprintf(in.stdout, "The difference is more than chance would make (p = %.4f, Fisher's exact test).\n", *r.PValue)
	default:
		fmt.Fprintf(in.stdout, "The difference may be chance (p = %.4f, Fisher's exact test).\n", *r.PValue)
	}
	return nil
}

type funnelJourneysCommand struct {
	services
	querying
	Step    string  `help:"Step of the report; default: the first." placeholder:"STEP"`
	Outcome string  `help:"entered, converted, in-progress or dropped, toward the next step." default:"entered"`
	Reason  string  `help:"Only those that dropped for this reason." placeholder:"REASON"`
	Period  string  `help:"Only this period of --trend." placeholder:"PERIOD"`
	Value   *string `help:"Only this value of --breakdown; empty: the entry does not say." placeholder:"VALUE"`
	Limit   int     `help:"At most so many; 0: all." default:"100"`
	JSON    bool    `help:"Print for programs, one a line." name:"json" xor:"form"`
	CSV     bool    `help:"Print as CSV." name:"csv" xor:"form"`
}

func (c *funnelJourneysCommand) Run(in *invocation) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	s := funnel.Selection{Step: c.Step, Outcome: c.Outcome, Reason: funnel.DropReason(c.Reason), Period: c.Period, Limit: c.Limit}
	if c.Value != nil {
		s.Value, s.Segmented = *c.Value, true
	}
	f, done, err := c.funnel(in, c.Tenant)
	if err != nil {
		return err
	}
	defer done()
	traced, err := f.Journeys(in, q, s)
	if errors.As(err, new(*funnel.InvalidQuery)) {
		return &usageError{err}
	}
	if err != nil {
		return err
	}
	switch {
	case c.JSON:
		return funnel.WriteJourneysNDJSON(in.stdout, traced)
	case c.CSV:
		return funnel.WriteJourneysCSV(in.stdout, traced)
	}
	w := tabwriter.NewWriter(in.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "tenant\taccount\tentered\treached\tat\toutcome\treason")
	for _, t := range traced {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.Tenant, t.Account, t.Entered.Format(time.RFC3339Nano), t.Reached, t.At.Format(time.RFC3339Nano), t.Outcome, t.Reason)
	}
	return w.Flush()
}

type funnelFactsCommand struct {
	services
	Account string `arg:"" help:"Account reference, as the report's journeys have it."`
	Tenant  string `help:"Tenant that the account belongs to." default:"mongo"`
	JSON    bool   `help:"Print for programs." name:"json"`
}

func (c *funnelFactsCommand) Run(in *invocation) error {
	f, done, err := c.funnel(in, c.Tenant)
	if err != nil {
		return err
	}
	defer done()
	facts, err := f.Facts(in, journey.Unit{Tenant: c.Tenant, Account: c.Account})
	if err != nil {
		return err
	}
	if len(facts) == 0 {
		return fmt.Errorf("tenant %s has no journey of %s: see `billcenter funnel journeys`", c.Tenant, c.Account)
	}
	if c.JSON {
		return printJSON(in.stdout, facts)
	}
	w := tabwriter.NewWriter(in.stdout, 0, 0, 2, ' ', 0)
	for _, fact := range facts {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", time.Unix(0, fact.At).UTC().Format(time.RFC3339Nano), fact.Name, fact.Reason, fact.Enrollment)
	}
	return w.Flush()
}

type funnelRebuildCommand struct {
	services
	JSON bool `help:"Print for programs." name:"json"`
}

func (c *funnelRebuildCommand) Run(in *invocation) error {
	if err := c.complete(); err != nil {
		return err
	}
	directory, err := c.directory()
	if err != nil {
		return err
	}
	db, err := c.database(in, 4)
	if err != nil {
		return err
	}
	defer db.Close()
	b, err := c.broker(in, "funnel rebuild", false, nil, slog.New(slog.NewTextHandler(in.stderr, nil)))
	if err != nil {
		return err
	}
	defer b.Close()
	r, err := funnel.Rebuild(in, b, store.New(db, nil, directory.Policy), directory.Has)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(in.stdout, r)
	}
	same := "The journeys are the same as before"
	if r.Before != r.After {
		same = "The journeys differ from those before: facts had been missing, or came meanwhile"
	}
	_, err = fmt.Fprintf(in.stdout, "%d facts read, %d messages skipped that are dead letters. %s (%s, %s).\n", r.Facts, r.Skipped, same, r.Before, r.After)
	return err
}

type funnelSchemaCommand struct{}

func (funnelSchemaCommand) Run(in *invocation) error {
	_, err := in.stdout.Write(funnel.ReportSchema)
	return err
}
