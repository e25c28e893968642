package funnel_test

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/schema/journey"
)

// The definitions of a funnel a second time, as slow and plain as can be: over the facts as they were told, step after step,
// every enrollment and every order of one instant tried. It shares the engine's questions and answers, and none of its code.

// unit is an account and what was told about it.
type unit struct {
	journey.Unit
	told []journey.Told
}

// attempt is one way through the funnel: the fact it began with and when it reached each step, the entry's first.
type attempt struct {
	unit    journey.Unit
	zone    *time.Location
	entry   journey.Told
	reached []int64
}

func (a attempt) entered() time.Time { return time.Unix(0, a.entry.At) }

// plain is what a second implementation asks and knows.
type plain struct {
	funnel.Query
	t    testing.TB
	zone funnel.Zones
}

func (p plain) zoneOf(tenant string) *time.Location {
	if p.Zone == "" {
		if zone := p.zone(tenant); zone != nil {
			return zone
		}
		return time.UTC
	}
	z, err := time.LoadLocation(p.Zone)
	if err != nil {
		p.t.Fatal(err)
	}
	return z
}

// once keeps every fact once, by its event's id, in the documented order.
func once(told []journey.Told) []journey.Told {
	kept := map[string]journey.Told{}
	for _, f := range told {
		kept[f.ID] = f
	}
	var facts []journey.Told
	for _, f := range kept {
		facts = append(facts, f)
	}
	slices.SortFunc(facts, func(a, b journey.Told) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	return facts
}

// asked reports whether a fact is one of the steps asked for.
func (p plain) asked(f journey.Told) bool { return f.Kind >= journey.Invited && int(f.Kind) <= p.Steps }

// inRange looks at a date as the zone's clocks showed it, so that it needs no idea of when a day begins.
func (p plain) inRange(at int64, zone *time.Location) bool {
	return (p.From == "" || !p.before(at, zone, p.From)) && (p.To == "" || p.before(at, zone, p.To))
}

func (p plain) before(at int64, zone *time.Location, bound string) bool {
	if len(bound) == len(time.DateOnly) {
		return time.Unix(0, at).In(zone).Format(time.DateOnly) < bound
	}
	b, err := time.Parse(time.RFC3339Nano, bound)
	if err != nil {
		p.t.Fatal(err)
	}
	return time.Unix(0, at).Before(b)
}

// attempts of one unit.
func (p plain) attempts(u unit) []attempt {
	zone := p.zoneOf(u.Tenant)
	facts := once(u.told)
	var all []attempt
	for _, f := range facts {
		if p.Order == funnel.Any && !p.asked(f) || p.Order != funnel.Any && f.Kind != journey.Invited {
			continue
		}
		if !p.inRange(f.At, zone) {
			continue
		}
		if len(all) > 0 {
			if p.Count == funnel.Uniques {
				break
			}
			last := all[len(all)-1]
			over := last.entry.At + int64(p.Window)
			if len(last.reached) == p.Steps {
				over = last.reached[p.Steps-1]
			}
			if f.At <= over {
				continue
			}
		}
		all = append(all, attempt{u.Unit, zone, f, p.furthest(facts, f)})
	}
	return all
}

// furthest tries every enrollment of the account, and none, and keeps the way that got furthest, then soonest, then the first
// of them. What is told without an enrollment belongs to all, and so does every Invited.
func (p plain) furthest(facts []journey.Told, entry journey.Told) []int64 {
	enrollments := []string{}
	for _, f := range facts {
		if f.Enrollment != "" && !slices.Contains(enrollments, f.Enrollment) {
			enrollments = append(enrollments, f.Enrollment)
		}
	}
	enrollments = append(enrollments, "") // what is about the account alone
	best := []int64{entry.At}
	for i, e := range enrollments {
		var seen []journey.Told
		for _, f := range facts {
			if f.At < entry.At || f.At > entry.At+int64(p.Window) || !f.Kind.Step() {
				continue
			}
			if f.Kind == journey.Invited || f.Enrollment == "" || f.Enrollment == e {
				seen = append(seen, f)
			}
		}
		var way []int64
		switch p.Order {
		case funnel.Sequential:
			way = p.oneAfterAnother(seen, entry)
		case funnel.Strict:
			way = p.nothingBetween(seen, entry)
		default:
			way = p.allInside(seen, entry)
		}
		if i == 0 || len(way) > len(best) || len(way) == len(best) && way[len(way)-1] < best[len(best)-1] {
			best = way
		}
	}
	return best
}

func (p plain) oneAfterAnother(seen []journey.Told, entry journey.Told) []int64 {
	reached := []int64{entry.At}
	for step := 2; step <= p.Steps; step++ {
		earliest, found := int64(0), false
		for _, f := range seen {
			if int(f.Kind) == step && f.At >= reached[len(reached)-1] && (!found || f.At < earliest) {
				earliest, found = f.At, true
			}
		}
		if !found {
			break
		}
		reached = append(reached, earliest)
	}
	return reached
}

// nothingBetween puts every choice of the facts of the entry's instant before the entry, and tries every order of the rest.
func (p plain) nothingBetween(seen []journey.Told, entry journey.Told) []int64 {
	var same, later []journey.Told
	for _, f := range seen {
		switch {
		case f.ID == entry.ID:
		case f.At == entry.At:
			same = append(same, f)
		default:
			later = append(later, f)
		}
	}
	best := []int64{entry.At}
	for choice := range 1 << len(same) {
		var left []journey.Told
		for i, f := range same {
			if choice>>i&1 == 1 {
				left = append(left, f)
			}
		}
		best = better(best, p.everyOrder(append(left, later...), []int64{entry.At}))
	}
	return best
}

func (p plain) everyOrder(left []journey.Told, reached []int64) []int64 {
	best := reached
	if len(reached) == p.Steps {
		return best
	}
	for i, f := range left {
		if f.At != left[0].At {
			break
		}
		rest := append(slices.Clone(left[:i]), left[i+1:]...)
		switch int(f.Kind) {
		case len(reached) + 1:
			best = better(best, p.everyOrder(rest, append(slices.Clone(reached), f.At)))
		case len(reached):
			best = better(best, p.everyOrder(rest, reached))
		} // any other breaks the attempt: it stays where it is
	}
	return best
}

// better is the way that helps the attempt more: further, then sooner there, then sooner on the way.
func better(a, b []int64) []int64 {
	if len(a) != len(b) {
		if len(b) > len(a) {
			return b
		}
		return a
	}
	for i := len(a) - 1; i >= 0; i-- {
		if a[i] != b[i] {
			if b[i] < a[i] {
				return b
			}
			return a
		}
	}
	return a
}

// allInside counts different steps; the entry is one of them for every enrollment, whichever it is about.
func (p plain) allInside(seen []journey.Told, entry journey.Told) []int64 {
	reached := []int64{entry.At}
	for step := 1; step <= p.Steps; step++ {
		if step == int(entry.Kind) {
			continue
		}
		for _, f := range seen { // by time
			if int(f.Kind) == step {
				reached = append(reached, f.At)
				break
			}
		}
	}
	slices.Sort(reached)
	return reached
}
