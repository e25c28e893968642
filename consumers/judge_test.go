package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

func TestJudge(t *testing.T) {
	down := errors.New("connection refused")
	bad := &events.Malformed{Fault: events.FieldMissing, Field: "data.to", Why: "is missing"}
	future := &events.Malformed{Fault: events.VersionUnknown, Field: "type", Why: "is of a later version"}
	nobody := &events.Malformed{Fault: events.TenantUnknown, Field: "subject", Why: "names no tenant"}

	for _, tt := range []struct {
		name       string
		err        error
		deliveries uint64
		verdict    consumers.Verdict
		fault      events.Fault
	}{
		{"no error means done", nil, 1, consumers.Done, ""},
		{"what nobody classified is tried again", down, 1, consumers.Retry, ""},
		{"for ever", down, 1_000_000, consumers.Retry, ""},
		{"so is a deadline", context.DeadlineExceeded, 3, consumers.Retry, ""},
		{"so is a rule that said no, which handlers are to turn into a result", &enrollment.Refusal{Reason: enrollment.TooSoon}, 1, consumers.Retry, ""},
		{"a malformed event is buried at once", bad, 1, consumers.Bury, events.FieldMissing},
		{"however deep it is wrapped", fmt.Errorf("a: %w", fmt.Errorf("b: %w", bad)), 1, consumers.Bury, events.FieldMissing},
		{"a version of the future is parked", future, 1, consumers.Park, events.VersionUnknown},
		{"an unknown tenant is parked", nobody, 9, consumers.Park, events.TenantUnknown},
		{"a panic is tried again", &consumers.Panic{What: "x"}, consumers.MaxPanics - 1, consumers.Retry, ""},
		{"but not for ever", &consumers.Panic{What: "x"}, consumers.MaxPanics, consumers.Bury, events.Undeliverable},
		{"what asks for later comes later", &consumers.Later{Err: down}, 100, consumers.Retry, ""},
		{"what is fatal stops the worker", &consumers.Fatal{Err: down}, 1, consumers.Stop, ""},
		{"even beside a malformed event", errors.Join(bad, &consumers.Fatal{Err: down}), 1, consumers.Stop, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := consumers.Judge(tt.err, tt.deliveries)
			if got.Verdict != tt.verdict {
				t.Errorf("verdict = %s, want %s", got.Verdict, tt.verdict)
			}
			switch {
			case tt.fault == "" && got.Fault != nil:
				t.Errorf("fault = %v, want none", got.Fault)
			case tt.fault != "" && (got.Fault == nil || got.Fault.Fault != tt.fault):
				t.Errorf("fault = %v, want %s", got.Fault, tt.fault)
			}
		})
	}
}

func TestPauses(t *testing.T) {
	down := errors.New("down")
	greylisted := []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute}

	for _, tt := range []struct {
		name       string
		err        error
		deliveries uint64
		atLeast    time.Duration
		atMost     time.Duration
	}{
		{"the first is about a second", down, 1, 800 * time.Millisecond, time.Second},
		{"the next ones double", down, 4, 6400 * time.Millisecond, 8 * time.Second},
		{"up to a minute", down, 7, 48 * time.Second, time.Minute},
		{"and no further", down, 1 << 60, 48 * time.Second, time.Minute},
		{"a delivery that was not counted is the first", down, 0, 800 * time.Millisecond, time.Second},
		{"later goes by its own pauses", &consumers.Later{Pauses: greylisted, Err: down}, 2, 4 * time.Minute, 5 * time.Minute},
		{"the last of which goes on", &consumers.Later{Pauses: greylisted, Err: down}, 77, 12 * time.Minute, 15 * time.Minute},
		{"but not beyond its end", &consumers.Later{Pauses: greylisted, Until: time.Now().Add(10 * time.Minute), Err: down}, 3, 7 * time.Minute, 10 * time.Minute},
		{"an end that has passed does not make it frantic", &consumers.Later{Pauses: greylisted, Until: time.Now().Add(-time.Hour), Err: down}, 3, 48 * time.Second, time.Minute},
		{"later without pauses goes by the usual ones", &consumers.Later{Err: down}, 1, 800 * time.Millisecond, time.Second},
		{"a worker that stops does not get the message back at once", &consumers.Fatal{Err: down}, 1, 800 * time.Millisecond, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 100 { // the pauses are jittered
				if got := consumers.Judge(tt.err, tt.deliveries).Delay; got < tt.atLeast || got > tt.atMost {
					t.Fatalf("delay = %s, want from %s to %s", got, tt.atLeast, tt.atMost)
				}
			}
		})
	}
}
