package funnel

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mongotel/billcenter/schema/journey"
)

// form is the page's form; its values are kept as they were given.
type form struct {
	Fields, Compared []field
}

// Wrong is the name of the field to correct; empty: none of them.
func (f form) Wrong() string {
	for _, one := range slices.Concat(f.Fields, f.Compared) {
		if one.Problem != "" {
			return one.Name
		}
	}
	return ""
}

type field struct {
	Name, Label, Hint, Type, Value, Problem string
	Choices                                 []choice // none: it is typed in
}

// DescribedBy are the ids of what stands beside the field.
func (f field) DescribedBy() string {
	var ids []string
	if f.Problem != "" {
		ids = append(ids, f.Name+"-error")
	}
	if f.Hint != "" {
		ids = append(ids, f.Name+"-hint")
	}
	return strings.Join(ids, " ")
}

type choice struct {
	Value, Label string
	Chosen       bool
}

var labels = map[string]string{
	"tenant": "Tenant", "from": "Entered from", "to": "Entered before", "window": "Conversion window", "order": "Order of the steps", "count": "Counted are",
	"steps": "Last step", "breakdown": "Broken down by", "trend": "Trend by", "as_of": "As of", "zone": "Time zone",
	"compare_from": "Other range from", "compare_to": "Other range before",
	"mature": "Mature", "over": "Longer than", "up_to": "Up to", "step": "Step", "outcome": "Outcome", "reason": "Reason", "period": "Period", "value": "Value", "limit": "At most",
}

func labelOf(name string) string {
	if l, ok := labels[name]; ok {
		return l
	}
	return name
}

func (p *pages) form(v url.Values, err error) form {
	bad, _ := errors.AsType[*InvalidQuery](err)
	one := func(name, hint, fallback string, choices ...choice) field {
		f := field{Name: name, Label: labelOf(name), Hint: hint, Type: "text", Value: v.Get(name), Choices: choices}
		if f.Value == "" {
			f.Value = fallback
		}
		for i := range f.Choices {
			f.Choices[i].Chosen = f.Choices[i].Value == f.Value
		}
		if len(choices) > 0 && !slices.ContainsFunc(choices, func(c choice) bool { return c.Chosen }) { // wrong, and kept
			f.Choices = append(f.Choices, choice{f.Value, f.Value, true})
		}
		if bad != nil && parameter(bad.Setting) == name {
			f.Problem = bad.Why
		}
		return f
	}
	date := func(name, hint string) field {
		f := one(name, hint, "")
		if _, err := time.Parse(time.DateOnly, f.Value); err == nil || f.Value == "" {
			f.Type = "date" // the browser's own calendar; a time of day is typed in
		}
		return f
	}
	tenants := []choice{{Label: "all"}}
	for _, t := range p.Tenants {
		tenants = append(tenants, choice{Value: t, Label: t})
	}
	var steps []choice
	for n := journey.Steps; n >= minSteps; n-- {
		steps = append(steps, choice{Value: strconv.Itoa(n), Label: journey.Kind(n).String()})
	}
	breakdowns := []choice{{Label: "nothing"}}
	for _, b := range Breakdowns {
		breakdowns = append(breakdowns, choice{Value: b, Label: labelOfProperty(b)})
	}
	return form{
		Fields: []field{
			one("tenant", "", "", tenants...),
			date("from", "First day; open if empty."),
			date("to", "Not part of the range."),
			one("window", "Time from the entry, such as 720h (30 days).", brief(DefaultWindow)),
			one("steps", "", strconv.Itoa(journey.Steps), steps...),
			one("order", "", string(Sequential), choice{Value: string(Sequential), Label: "sequential"}, choice{Value: string(Strict), Label: "strict"}, choice{Value: string(Any), Label: "any"}),
			one("count", "", string(Uniques), choice{Value: string(Uniques), Label: "uniques"}, choice{Value: string(Totals), Label: "totals"}),
			one("trend", "", "", choice{Label: "nothing"}, choice{Value: string(Daily), Label: "day"}, choice{Value: string(Weekly), Label: "week"}, choice{Value: string(Monthly), Label: "month"}),
			one("breakdown", "", "", breakdowns...),
			one("zone", "Such as Europe/Berlin; the tenant’s if empty.", ""),
			one("as_of", "Decides who is in progress; now if empty.", ""),
		},
		Compared: []field{date("compare_from", ""), date("compare_to", "Not part of the range.")},
	}
}
