package funnel_test

import (
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/schema/journey"
)

// A scanner that follows the link moves nobody a step further and breaks nobody's order.
func TestAnOpeningIsNoStep(t *testing.T) {
	const way = "Invited 0h, Registered 1h, ActivationMailed 2h, ActivationOpened 3h, Activated 4h"
	opened := tell(t, way)
	opened[3].Kind = journey.OpenedByMachine
	without := slices.Delete(slices.Clone(opened), 3, 4)
	onlyOpened := opened[:4]
	for _, order := range []funnel.Order{funnel.Sequential, funnel.Strict, funnel.Any} {
		steps := func(told []journey.Told) []int {
			q := as(10 * time.Hour)
			q.Order, q.Steps = order, 4
			return reached(count(t, history{query: q, units: []unit{{journey.Unit{Tenant: "mongo", Account: "account"}, told}}}))
		}
		if diff := gocmp.Diff(steps(without), steps(opened)); diff != "" {
			t.Errorf("%s (-without +with the opening):\n%s", order, diff)
		}
		if diff := gocmp.Diff([]int{1, 1, 1, 0}, steps(onlyOpened)); diff != "" {
			t.Errorf("%s, opened only:\n%s", order, diff)
		}
	}
}
