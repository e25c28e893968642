package funnel

import (
	"math"
	"time"

	"github.com/mongotel/billcenter/schema/journey"
)

// attempt is one way of a unit from an entry as far as it got inside the window.
type attempt struct {
	unit       *journey.Journey
	entry      journey.Fact
	end        int64                // the last instant of its window
	reached    int                  // steps, 1 at least
	at         [journey.Steps]int64 // when each was reached
	last       journey.Kind         // the step reached last
	enrollment int16                // whose facts it is made of from Registered on; 0: of none
}

func (a *attempt) reach(k journey.Kind, at int64) {
	a.at[a.reached], a.last = at, k
	a.reached++
}

// outcome of an attempt, seen from a step toward the next.
type outcome string

const (
	converted  outcome = "converted"
	inProgress outcome = "in-progress"
	dropped    outcome = "dropped"
)

// matcher finds attempts. It is a Query for one zone, in nanoseconds.
type matcher struct {
	order    Order
	again    bool // a unit may enter again
	steps    int
	window   int64
	asOf     int64
	from, to int64 // entries in [from, to)

	scratch attempt
}

func (q Query) matcher(zone *time.Location) (*matcher, error) {
	m := &matcher{
		order: q.Order, again: q.Count == Totals, steps: q.Steps, window: int64(q.Window), asOf: q.AsOf.UnixNano(),
		from: math.MinInt64, to: math.MaxInt64,
	}
	for _, end := range []struct {
		text string
		ns   *int64
	}{{q.From, &m.from}, {q.To, &m.to}} {
		if end.text == "" {
			continue
		}
		t, err := bound(end.text, zone)
		if err != nil {
			return nil, err
		}
		*end.ns = t.UnixNano()
	}
	return m, nil
}

// attempts calls visit with each attempt of a unit, in the order of their entries. The attempt is visit's for the call only:
// all are written to the same place, since a report looks at a million.
func (m *matcher) attempts(j *journey.Journey, visit func(*attempt)) {
	for i := 0; i < len(j.Facts) && j.Facts[i].At < m.to; i++ {
		if j.Facts[i].At < m.from || !m.enters(j.Facts[i].Kind) {
			continue
		}
		a := &m.scratch
		m.follow(j, i, a)
		visit(a)
		if !m.again {
			return
		}
		over := a.end
		if a.reached == m.steps {
			over = a.at[m.steps-1]
		}
		for i+1 < len(j.Facts) && j.Facts[i+1].At <= over {
			i++
		}
	}
}

func (m *matcher) enters(k journey.Kind) bool {
	if m.order == Any {
		return k.Step() && int(k) <= m.steps
	}
	return k == journey.Invited
}

// follow takes the attempt that begins with a fact as far as it goes. From Registered on the unit is an enrollment: of an
// account's several the attempt is that of the one that gets furthest, or there first.
func (m *matcher) follow(j *journey.Journey, entry int, into *attempt) {
	start := attempt{unit: j, entry: j.Facts[entry], end: j.Facts[entry].At + m.window}
	start.reach(start.entry.Kind, start.entry.At)
	for entry > 0 && j.Facts[entry-1].At == start.entry.At { // equal instants count in either order
		entry--
	}
	facts := j.Facts[entry:]
	first, tried := start, int16(0)
	for _, f := range facts {
		if f.At > start.end {
			break
		}
		// Numbers are in the order of first appearance; those that appeared before the entry may come here out of it.
		for ; tried < f.Enrollment; tried++ {
			of := first
			of.enrollment = tried + 1
			m.walk(&of, facts)
			if tried == 0 || of.before(&start) {
				start = of
			}
		}
	}
	if tried == 0 || m.order == Strict { // where an enrollment's facts cannot break it, it gets as far as those of the account alone
		m.walk(&first, facts)
		if tried == 0 || first.before(&start) {
			start = first
		}
	}
	*into = start
}

// before reports whether an attempt gets further than another, or there earlier.
func (a *attempt) before(o *attempt) bool {
	return a.reached > o.reached || a.reached == o.reached && a.at[a.reached-1] < o.at[o.reached-1]
}

// sees reports whether a fact is one of the attempt's: about its enrollment, or about the account.
func (a *attempt) sees(f journey.Fact) bool {
	return f.Enrollment == 0 || f.Enrollment == a.enrollment || f.Kind == journey.Invited
}

func (m *matcher) walk(a *attempt, facts []journey.Fact) {
	switch m.order {
	case Strict:
		m.strict(a, facts)
	case Any:
		m.any(a, facts)
	default:
		m.sequential(a, facts)
	}
}

// sequential takes the earliest next step each time; what lies between does not matter.
func (m *matcher) sequential(a *attempt, facts []journey.Fact) {
	for from := 0; a.reached < m.steps; {
		next := journey.Kind(a.reached + 1)
		found := -1
		for i := from; i < len(facts) && facts[i].At <= a.end; i++ {
			if facts[i].Kind == next && a.sees(facts[i]) {
				found = i
				break
			}
		}
		if found < 0 {
			return
		}
		a.reach(next, facts[found].At)
		for from = found; from > 0 && facts[from-1].At == facts[found].At; from-- { // equal instants count in either order
		}
	}
}

// strict goes on as long as nothing but the next step, or the one just reached again, comes. What happens at one instant is
// taken in the order that helps. At the entry's own it may also lie before it, and that can help: a second Invited repeats the
// step of who has not registered, and breaks the attempt of who has.
func (m *matcher) strict(a *attempt, facts []journey.Fact) {
	entry, beside := *a, 0
	for beside < len(facts) && facts[beside].At == entry.entry.At {
		beside++
	}
	here := kindsOf(a, facts[:beside])
	m.onward(a, here, entry.entry.At)
	most := a.reached
	m.strictly(a, facts[beside:])
	for n := most - 1; n > 0; n-- { // the first n steps at the entry's instant and not more
		of := entry
		for k := 2; k <= n; k++ {
			of.reach(journey.Kind(k), entry.entry.At)
		}
		if m.strictly(&of, facts[beside:]); of.before(a) {
			*a = of
		}
	}
}

// kinds that there are; one more, so that the step after the last is none.
type kinds [journey.Steps + 2]bool

func kindsOf(a *attempt, facts []journey.Fact) (here kinds) {
	for _, f := range facts {
		if f.Kind.Step() && a.sees(f) {
			here[f.Kind] = true
		}
	}
	return here
}

// onward takes the next steps of one instant.
func (m *matcher) onward(a *attempt, here kinds, at int64) {
	for a.reached < m.steps && here[a.reached+1] {
		a.reach(journey.Kind(a.reached+1), at)
	}
}

// strictly goes on after the entry's instant.
func (m *matcher) strictly(a *attempt, facts []journey.Fact) {
	for i := 0; i < len(facts) && facts[i].At <= a.end && a.reached < m.steps; {
		first, at := i, facts[i].At
		for i < len(facts) && facts[i].At == at {
			i++
		}
		before, here := a.reached, kindsOf(a, facts[first:i])
		m.onward(a, here, at)
		if a.reached == m.steps {
			return
		}
		for k := 1; k <= journey.Steps; k++ {
			if here[k] && (k < before || k > a.reached) {
				return
			}
		}
	}
}

// any counts different steps in whatever sequence they come.
func (m *matcher) any(a *attempt, facts []journey.Fact) {
	var seen [journey.Steps + 1]bool
	seen[a.entry.Kind] = true
	for _, f := range facts {
		if f.At > a.end || a.reached == m.steps {
			break
		}
		if m.enters(f.Kind) && !seen[f.Kind] && a.sees(f) {
			seen[f.Kind] = true
			a.reach(f.Kind, f.At)
		}
	}
}

// toward is how the attempt stands at a step, counted from 1, toward the next.
func (m *matcher) toward(a *attempt, step int) outcome {
	switch {
	case a.reached > step || step == m.steps:
		return converted
	case m.asOf <= a.end:
		return inProgress
	default:
		return dropped
	}
}
