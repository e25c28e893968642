package enrollment_test

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// allowed repeats design section 5 state by state, the other way round than the code does.
var allowed = map[enrollment.State]map[enrollment.Action]enrollment.State{
	enrollment.Registered: {
		enrollment.AcceptMail:     enrollment.Mailed,
		enrollment.RefuseMail:     enrollment.Undeliverable,
		enrollment.CorrectAddress: enrollment.Registered,
		enrollment.Activate:       enrollment.Activated,
		enrollment.Expire:         enrollment.Expired,
		enrollment.Cancel:         enrollment.Cancelled,
	},
	enrollment.Mailed: {
		enrollment.AcceptMail:     enrollment.Mailed,
		enrollment.RefuseMail:     enrollment.Undeliverable,
		enrollment.CorrectAddress: enrollment.Registered,
		enrollment.Activate:       enrollment.Activated,
		enrollment.Expire:         enrollment.Expired,
		enrollment.Cancel:         enrollment.Cancelled,
	},
	enrollment.Undeliverable: {
		enrollment.AcceptMail:     enrollment.Mailed,
		enrollment.Activate:       enrollment.Activated,
		enrollment.CorrectAddress: enrollment.Registered,
		enrollment.Expire:         enrollment.Expired,
		enrollment.Cancel:         enrollment.Cancelled,
	},
}

func TestEveryActionInEveryState(t *testing.T) {
	for _, s := range enrollment.States {
		for _, a := range enrollment.Actions {
			t.Run(string(a)+" when "+string(s), func(t *testing.T) {
				want, ok := allowed[s][a]
				got, err := s.After(a)
				if slices.Contains(enrollment.From(a), s) != ok {
					t.Errorf("From(%s) = %v", a, enrollment.From(a))
				}
				if ok {
					if got != want || err != nil {
						t.Errorf("After = %s, %v; want %s", got, err, want)
					}
					return
				}
				var impossible *enrollment.ImpossibleMove
				if got != s || !errors.As(err, &impossible) || impossible.From != s || impossible.Action != a {
					t.Errorf("After = %s, %v; want to stay, and an ImpossibleMove", got, err)
				}
			})
		}
	}
}

func TestAStateIsLiveOrFinal(t *testing.T) {
	for _, s := range enrollment.States {
		if s.Live() == s.Final() {
			t.Errorf("%s: live %t, final %t", s, s.Live(), s.Final())
		}
	}
}

func TestNoLifeLeavesAFinalStateOrTheListOfStates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state := enrollment.Registered
		for _, a := range rapid.SliceOf(rapid.SampledFrom(enrollment.Actions[:])).Draw(t, "actions") {
			next, err := state.After(a)
			if state.Final() && (err == nil || next != state) {
				t.Fatalf("%s led from the final %s to %s", a, state, next)
			}
			if !slices.Contains(enrollment.States[:], next) {
				t.Fatalf("%s led from %s to %q", a, state, next)
			}
			state = next
		}
	})
}
