package funnel

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mongotel/billcenter/schema/journey"
)

// Order says how the steps of an attempt must follow each other.
type Order string

const (
	Sequential Order = "sequential" // each step after the one before; anything may lie between
	Strict     Order = "strict"     // no other of the six steps between, except a repeat of the step just reached
	Any        Order = "any"        // all inside the window, in any sequence
)

// Counting says how often a unit counts.
type Counting string

const (
	Uniques Counting = "uniques" // its first entry only
	Totals  Counting = "totals"  // again, once it has converted or its window is over
)

// Trend is the length of a trend's periods.
type Trend string

const (
	Daily   Trend = "day"
	Weekly  Trend = "week" // from Monday
	Monthly Trend = "month"
)

// Breakdowns are the properties that a report can be broken down by.
var Breakdowns = []string{"tenant", "locale", "invoiceMonth", "codeAgeDays", "mailDomainClass"}

// DefaultWindow is how long an attempt may take, from its entry.
const DefaultWindow = 30 * 24 * time.Hour

// Query is what is asked of the funnel.
type Query struct {
	Tenant    string // empty: all
	From, To  string // entries in [From, To): a date (YYYY-MM-DD) of the zone, or an RFC 3339 time; empty: no bound
	Window    time.Duration
	Order     Order
	Count     Counting
	Steps     int       // the first so many of the six
	Breakdown string    // empty: none
	Trend     Trend     // empty: none
	AsOf      time.Time // decides what is in progress
	Zone      string    // IANA name of the zone of dates and periods; empty: the tenant's
}

// Defaults fills in what a query leaves open.
func (q Query) Defaults(now time.Time) Query {
	if q.Window == 0 {
		q.Window = DefaultWindow
	}
	if q.Order == "" {
		q.Order = Sequential
	}
	if q.Count == "" {
		q.Count = Uniques
	}
	if q.Steps == 0 {
		q.Steps = journey.Steps
	}
	if q.AsOf.IsZero() {
		q.AsOf = now
	}
	return q
}

// InvalidQuery names the setting at fault, by its name on the command line, and the remedy.
type InvalidQuery struct{ Setting, Why string }

func (e *InvalidQuery) Error() string { return "--" + e.Setting + ": " + e.Why }

const (
	minSteps  = 2
	maxWindow = 400 * 24 * time.Hour // facts are kept as long
)

// Check reports the first setting that cannot be. Defaults come before it.
func (q Query) Check() error {
	bad := func(setting, why string, args ...any) error { return &InvalidQuery{setting, fmt.Sprintf(why, args...)} }
	switch {
	case q.Window <= 0:
		return bad("window", "%s is not longer than nothing; give a duration such as 720h", q.Window)
	case q.Window > maxWindow:
		return bad("window", "%s is longer than facts are kept (%.0fh)", q.Window, maxWindow.Hours())
	case !slices.Contains([]Order{Sequential, Strict, Any}, q.Order):
		return bad("order", "%q is none of sequential, strict, any", q.Order)
	case !slices.Contains([]Counting{Uniques, Totals}, q.Count):
		return bad("count", "%q is none of uniques, totals", q.Count)
	case q.Steps < minSteps || q.Steps > journey.Steps:
		return bad("steps", "%d is not a number of steps from %d to %d", q.Steps, minSteps, journey.Steps)
	case q.Breakdown != "" && !slices.Contains(Breakdowns, q.Breakdown):
		return bad("breakdown", "%q is none of %s", q.Breakdown, strings.Join(Breakdowns, ", "))
	case q.Trend != "" && !slices.Contains([]Trend{Daily, Weekly, Monthly}, q.Trend):
		return bad("trend", "%q is none of day, week, month", q.Trend)
	case q.AsOf.IsZero():
		return bad("as-of", "is missing")
	}
	zone := time.UTC
	if q.Zone != "" {
		var err error
		if zone, err = time.LoadLocation(q.Zone); err != nil || q.Zone == "Local" {
			return bad("zone", "%q is not the IANA name of a time zone, such as America/New_York", q.Zone)
		}
	}
	from, err := bound(q.From, zone)
	if err != nil {
		return bad("from", "%s", err)
	}
	to, err := bound(q.To, zone)
	if err != nil {
		return bad("to", "%s", err)
	}
	alike := q.Zone != "" || len(q.From) == len(time.DateOnly) == (len(q.To) == len(time.DateOnly)) // else it is for the tenants' zones to say
	if q.From != "" && q.To != "" && alike && !from.Before(to) {
		return bad("to", "%s is not after --from %s; the end is not part of the range", q.To, q.From)
	}
	return nil
}

// Moment reads a time of a query: a date in its zone, or an RFC 3339 time.
func (q Query) Moment(text string) (time.Time, error) {
	zone := time.UTC
	if q.Zone != "" {
		var err error
		if zone, err = time.LoadLocation(q.Zone); err != nil {
			return time.Time{}, err
		}
	}
	return bound(text, zone)
}

// bound reads an end of a range of entries.
func bound(s string, zone *time.Location) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.Parse(time.DateOnly, s); err == nil {
		return midnight(d, zone), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("%q is neither a date (2026-11-30) nor an RFC 3339 time", s)
}
