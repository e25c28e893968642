package simulation_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/consumers/funnel/simulation"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/journey"
)

// kept is the units' histories, each fact once by the id of its event, as the store keeps them.
type kept map[journey.Unit]map[string]journey.Told

func (k kept) take(facts []events.Received) {
	for _, r := range facts {
		f, automated := factOf(r.Message)
		u := journey.Unit{Tenant: r.Tenant, Account: f.AccountRef}
		if k[u] == nil {
			k[u] = map[string]journey.Told{}
		}
		k[u][r.MsgID()] = journey.Told{
			ID: r.MsgID(), At: f.OccurredAt.UnixNano(), Sequence: f.Sequence, Enrollment: f.EnrollmentID,
			Kind: journey.KindOf(r.Definition.Name, automated), Reason: journey.ReasonOf(f.Reason), Properties: journey.PropertiesOf(f.Properties),
		}
	}
}

func factOf(m events.Message) (f events.Fact, automated bool) {
	switch m := m.(type) {
	case events.Invited:
		return m.Fact, false
	case events.RegistrationRefused:
		return m.Fact, false
	case events.Registered:
		return m.Fact, false
	case events.ActivationMailed:
		return m.Fact, false
	case events.ActivationMailFailed:
		return m.Fact, false
	case events.ActivationOpened:
		return m.Fact, m.AutomationSuspected
	case events.Activated:
		return m.Fact, false
	case events.SignedIn:
		return m.Fact, false
	case events.InvoiceViewed:
		return m.Fact, false
	case events.Expired:
		return m.Fact, false
	case events.Cancelled:
		return m.Fact, false
	case events.EmailCorrected:
		return m.Fact, false
	case events.ActivationResent:
		return m.Fact, false
	case events.Locked:
		return m.Fact, false
	case events.Unlocked:
		return m.Fact, false
	}
	panic("no fact")
}

func (k kept) report(t *testing.T, asOf time.Time) []simulation.Step {
	t.Helper()
	var all []*journey.Journey
	for u, told := range k {
		j := journey.Of(u, slices.Collect(maps.Values(told)))
		all = append(all, &j)
	}
	r, err := funnel.Count(funnel.Query{Tenant: simulation.Tenant}.Defaults(asOf), func(string) *time.Location { return time.UTC }, slices.Values(all), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return simulation.Of(r)
}

func TestTheReportIsTheTruthHoweverTheFactsArrive(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3} {
		h, err := simulation.Facts(seed, 2000)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(seed, 0))
		arriving := append(slices.Clone(h.Facts), h.Facts...)
		r.Shuffle(len(arriving), func(i, j int) { arriving[i], arriving[j] = arriving[j], arriving[i] })
		var onTime, late []events.Received
		held := map[string]bool{} // late: both copies
		for _, f := range arriving {
			id := f.MsgID()
			if _, drawn := held[id]; !drawn {
				held[id] = r.IntN(10) == 0
			}
			if held[id] {
				late = append(late, f)
			} else {
				onTime = append(onTime, f)
			}
		}

		k := kept{}
		k.take(onTime)
		if early := k.report(t, h.AsOf); cmp.Equal(h.Truth(), early) {
			t.Errorf("seed %d: a tenth of the facts makes no difference", seed)
		}
		k.take(late)
		if diff := cmp.Diff(h.Truth(), k.report(t, h.AsOf)); diff != "" {
			t.Errorf("seed %d: the report is not the truth (-truth +report):\n%s", seed, diff)
		}
		k.take(arriving) // a replay of everything
		if diff := cmp.Diff(h.Truth(), k.report(t, h.AsOf)); diff != "" {
			t.Errorf("seed %d: after a replay (-truth +report):\n%s", seed, diff)
		}
	}
}

func TestEveryStepAndReasonOccurs(t *testing.T) {
	h, err := simulation.Facts(4, 500)
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[funnel.DropReason]bool{}
	for _, s := range h.Truth() {
		if s.Entered == 0 || s.Converted+s.InProgress+s.Dropped != s.Entered {
			t.Errorf("%s: %+v", s.Step, s)
		}
		dropped := 0
		for _, c := range s.Reasons {
			reasons[c.Reason] = true
			dropped += c.Count
		}
		if dropped != s.Dropped {
			t.Errorf("%s: the reasons make %d of %d", s.Step, dropped, s.Dropped)
		}
	}
	for _, r := range funnel.DropReasons {
		if !reasons[r] {
			t.Errorf("nobody drops out with %s", r)
		}
	}
}

func TestAPopulationOfSixtyHasEveryFate(t *testing.T) {
	for seed := range uint64(20) {
		fates := map[simulation.Fate]int{}
		all := simulation.Population(seed, 60)
		for _, c := range all {
			fates[c.Fate]++
		}
		if len(fates) != 22 || all[0].Fate != simulation.Straight {
			t.Errorf("seed %d: %d fates, the first is %q", seed, len(fates), all[0].Fate)
		}
	}
}

func TestTheSameSeedIsTheSamePopulation(t *testing.T) {
	if diff := cmp.Diff(simulation.Population(7, 100), simulation.Population(7, 100)); diff != "" {
		t.Error(diff)
	}
	if cmp.Equal(simulation.Population(7, 100), simulation.Population(8, 100)) {
		t.Error("another seed is the same")
	}
}
