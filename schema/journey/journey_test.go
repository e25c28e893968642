package journey_test

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/journey"
)

var unit = journey.Unit{Tenant: "mongo", Account: "a-reference"}

func told(id string, at int64, enrollment string, kind journey.Kind) journey.Told {
	return journey.Told{ID: id, At: at, Enrollment: enrollment, Kind: kind, Properties: journey.Properties{Locale: "en-US"}}
}

func TestTheOrderOfArrivalDoesNotMatter(t *testing.T) {
	all := []journey.Told{
		told("1", 10, "", journey.Invited), told("2", 20, "one", journey.Registered), told("3", 20, "two", journey.Registered),
		told("4", 20, "two", journey.ActivationMailed), told("5", 5, "", journey.Locked), told("6", 20, "one", journey.Registered),
	}
	want := journey.Of(unit, all)
	for range 50 {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if diff := cmp.Diff(want, journey.Of(unit, all)); diff != "" {
			t.Fatalf("(-first +shuffled):\n%s", diff)
		}
	}
}

func TestTheWayIsThatOfTheEnrollmentThatGotFurthest(t *testing.T) {
	for _, tt := range []struct {
		name string
		told []journey.Told
		want [journey.Steps]int64
	}{
		{"of two", []journey.Told{
			told("1", 10, "", journey.Invited), told("2", 20, "one", journey.Registered),
			told("3", 30, "two", journey.Registered), told("4", 40, "two", journey.ActivationMailed),
		}, [journey.Steps]int64{10, 30, 40}},
		{"an invitation belongs to every enrollment, whichever it names", []journey.Told{
			told("1", 10, "one", journey.Invited), told("2", 20, "two", journey.Registered),
		}, [journey.Steps]int64{10, 20}},
		{"a step before the one before it does not count", []journey.Told{
			told("1", 10, "", journey.Registered), told("2", 20, "", journey.Invited),
		}, [journey.Steps]int64{20}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, journey.Of(unit, tt.told).Way()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryReasonAndKindHasItsName(t *testing.T) {
	for _, reason := range events.Reasons() {
		if got := journey.ReasonOf(reason).String(); got != reason {
			t.Errorf("%s became %q", reason, got)
		}
	}
	for _, def := range events.Catalog() {
		if def.Domain == events.Enrollment && journey.KindOf(def.Name, false) == journey.Other {
			t.Errorf("%s is no kind", def.Name)
		}
	}
}
