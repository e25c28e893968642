package simulation

import (
	"time"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/schema/journey"
)

// Step is what a report must say about a step: the fields of funnel.StepReport that do not depend on how fast a machine is.
type Step struct {
	Step       string               `json:"step"`
	Entered    int                  `json:"entered"`
	Converted  int                  `json:"converted"`
	InProgress int                  `json:"inProgress"`
	Dropped    int                  `json:"dropped"`
	Reasons    []funnel.ReasonCount `json:"reasons"`
}

// Truth is what a report over exactly these customers must say: sequential, uniques, all six steps.
func Truth(customers []Customer, window time.Duration, asOf time.Time) []Step {
	steps := make([]Step, journey.Steps)
	reasons := make([]map[funnel.DropReason]int, journey.Steps)
	for i := range steps {
		steps[i].Step = journey.Kind(i + 1).String()
		reasons[i] = map[funnel.DropReason]int{}
	}
	for _, c := range customers {
		e := endingOf(c.Fate)
		last := int(e.reached) - 1
		for i := range last + 1 {
			steps[i].Entered++
			if i < last || last == journey.Steps-1 {
				steps[i].Converted++
			}
		}
		switch {
		case last == journey.Steps-1:
		case !asOf.After(c.Entered.Add(window)):
			steps[last].InProgress++
		default:
			steps[last].Dropped++
			reasons[last][e.reason]++
		}
	}
	for i := range steps {
		steps[i].Reasons = inOrder(reasons[i])
	}
	return steps
}

// Of reduces a report to what a truth says.
func Of(r funnel.Report) []Step {
	steps := make([]Step, len(r.Steps))
	for i, s := range r.Steps {
		counted := map[funnel.DropReason]int{}
		for _, c := range s.Reasons {
			counted[c.Reason] += c.Count
		}
		steps[i] = Step{Step: s.Step, Entered: s.Entered, Converted: s.Converted, InProgress: s.InProgress, Dropped: s.Dropped, Reasons: inOrder(counted)}
	}
	return steps
}

// inOrder lists the reasons that occur, in the order of their rules. A reason without a rule is listed nowhere, and the
// sum shows it.
func inOrder(counted map[funnel.DropReason]int) []funnel.ReasonCount {
	list := []funnel.ReasonCount{}
	for _, r := range funnel.DropReasons {
		if counted[r] > 0 {
			list = append(list, funnel.ReasonCount{Reason: r, Count: counted[r]})
		}
	}
	return list
}

func endingOf(f Fate) ending {
	for _, of := range [][]ending{endings, longEndings} {
		for _, e := range of {
			if e.fate == f {
				return e
			}
		}
	}
	panic("simulation: no ending of " + string(f))
}
