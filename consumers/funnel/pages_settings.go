package funnel

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mongotel/billcenter/schema/journey"
)

// settings are what a URL says. Its parameters are called as the command line's flags, with _ for -.
type settings struct {
	asked                  Query // what is said, the rest left open
	query                  Query // the same with the defaults, as of now
	compareFrom, compareTo string
	selection              Selection
}

var (
	reportParameters    = []string{"tenant", "from", "to", "window", "order", "count", "steps", "breakdown", "trend", "as_of", "zone", "compare_from", "compare_to"}
	selectionParameters = []string{"step", "outcome", "reason", "period", "value", "mature", "over", "up_to", "limit"}
)

// parameter is a setting's name in a URL.
func parameter(setting string) string { return strings.ReplaceAll(setting, "-", "_") }

func (p *pages) settings(v url.Values) (settings, error) {
	var s settings
	bad := func(setting, why string, args ...any) (settings, error) {
		return s, &InvalidQuery{setting, fmt.Sprintf(why, args...)}
	}
	for name, values := range v {
		// A misspelled setting would be a report on something else, and nobody would notice.
		if !slices.Contains(reportParameters, name) && !slices.Contains(selectionParameters, name) {
			return bad(name, "there is no setting of this name")
		}
		if len(values) > 1 {
			return bad(name, "is given more than once")
		}
	}
	get := func(name string) string { return strings.TrimSpace(v.Get(name)) }
	s.asked = Query{
		Tenant: get("tenant"), From: get("from"), To: get("to"), Order: Order(get("order")), Count: Counting(get("count")),
		Breakdown: get("breakdown"), Trend: Trend(get("trend")), Zone: get("zone"),
	}
	s.compareFrom, s.compareTo = get("compare_from"), get("compare_to")
	var err error
	if text := get("window"); text != "" {
		if s.asked.Window, err = time.ParseDuration(text); err != nil {
			return bad("window", "%q is no duration such as 720h", text)
		}
		if s.asked.Window == 0 {
			return bad("window", "a window of no length cannot be; give a duration such as 720h")
		}
	}
	if text := get("steps"); text != "" {
		if s.asked.Steps, err = strconv.Atoi(text); err != nil || s.asked.Steps == 0 {
			return bad("steps", "%q is not a number of steps from %d to %d", text, minSteps, journey.Steps)
		}
	}
	if text := get("as_of"); text != "" {
		if s.asked.AsOf, err = s.asked.Moment(text); err != nil {
			return bad("as-of", "%s", err)
		}
	}
	if t := s.asked.Tenant; t != "" && !slices.Contains(p.Tenants, t) {
		return bad("tenant", "%q is none of %s", t, strings.Join(p.Tenants, ", "))
	}
	s.query = s.asked.Defaults(time.Now())
	if err := s.query.Check(); err != nil {
		return s, err
	}
	s.selection = Selection{
		Step: get("step"), Outcome: get("outcome"), Reason: DropReason(get("reason")), Period: get("period"), Value: get("value"), Segmented: v.Has("value"),
	}
	if text := get("mature"); text != "" {
		if s.selection.Mature, err = strconv.ParseBool(text); err != nil {
			return bad("mature", "%q is neither true nor false", text)
		}
	}
	for _, d := range []struct {
		setting string
		into    *time.Duration
	}{{"over", &s.selection.Over}, {"up-to", &s.selection.UpTo}} {
		if text := get(parameter(d.setting)); text != "" {
			if *d.into, err = time.ParseDuration(text); err != nil {
				return bad(d.setting, "%q is no duration such as 24h", text)
			}
		}
	}
	if text := get("limit"); text != "" {
		if s.selection.Limit, err = strconv.Atoi(text); err != nil || s.selection.Limit < 1 {
			return bad("limit", "%q is not a number of journeys from 1", text)
		}
	}
	return s, nil
}

// values are the settings as parameters, what is as by default left out: the address to pass on.
func (s settings) values() url.Values {
	v := s.report()
	put(v, "step", s.selection.Step)
	put(v, "outcome", s.selection.Outcome)
	put(v, "reason", string(s.selection.Reason))
	put(v, "period", s.selection.Period)
	if s.selection.Segmented {
		v.Set("value", s.selection.Value)
	}
	if s.selection.Mature {
		v.Set("mature", "true")
	}
	if s.selection.Over > 0 {
		v.Set("over", brief(s.selection.Over))
	}
	if s.selection.UpTo > 0 {
		v.Set("up_to", brief(s.selection.UpTo))
	}
	if s.selection.Limit > 0 {
		v.Set("limit", strconv.Itoa(s.selection.Limit))
	}
	return v
}

// report are the settings of the report, without what was selected of it.
func (s settings) report() url.Values {
	v := valuesOf(s.asked)
	put(v, "compare_from", s.compareFrom)
	put(v, "compare_to", s.compareTo)
	return v
}

func valuesOf(q Query) url.Values {
	v := url.Values{}
	put(v, "tenant", q.Tenant)
	put(v, "from", q.From)
	put(v, "to", q.To)
	if q.Window != 0 && q.Window != DefaultWindow {
		v.Set("window", brief(q.Window))
	}
	if q.Order != Sequential {
		put(v, "order", string(q.Order))
	}
	if q.Count != Uniques {
		put(v, "count", string(q.Count))
	}
	if q.Steps != 0 && q.Steps != journey.Steps {
		v.Set("steps", strconv.Itoa(q.Steps))
	}
	put(v, "breakdown", q.Breakdown)
	put(v, "trend", string(q.Trend))
	if !q.AsOf.IsZero() {
		v.Set("as_of", q.AsOf.Format(time.RFC3339Nano))
	}
	put(v, "zone", q.Zone)
	return v
}

func put(v url.Values, name, value string) {
	if value != "" {
		v.Set(name, value)
	}
}

func withQuery(path string, v url.Values) string {
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}

// brief is a duration without the zeros that Go writes behind whole hours and minutes.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// superfluous reports whether a URL says what goes without saying.
func (s settings) superfluous(v url.Values) bool { return len(v) != len(s.values()) }

// compared is the query for the other of two ranges.
func (s settings) compared() (Query, bool) {
	q := s.asked
	q.From, q.To = s.compareFrom, s.compareTo
	return q, s.compareFrom != "" || s.compareTo != ""
}
