package consumers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/mongotel/billcenter/events"
)

// Verdict is what becomes of a delivery.
type Verdict string

const (
	Done  Verdict = "done"  // the effect is committed: acknowledge
	Retry Verdict = "retry" // return the message, to come again after Decision.Delay
	Bury  Verdict = "bury"  // dead letter: it cannot be taken as it is
	Park  Verdict = "park"  // dead letter, unspoiled: a later build or a new tenant will take it
	Stop  Verdict = "stop"  // return the message and end the worker with the error
)

// Verdicts lists every verdict.
var Verdicts = [...]Verdict{Done, Retry, Bury, Park, Stop}

// Decision is a verdict with what carrying it out needs.
type Decision struct {
	Verdict Verdict
	Delay   time.Duration     // Retry, Stop: how long the broker keeps the message
	Fault   *events.Malformed // Bury, Park: what the dead letter says
}

// MaxPanics is on which delivery a message whose handler panics is buried. The broker counts deliveries whatever ended
// them, so a message that met an outage before may be buried on its first panic: it can be replayed, and a message that
// kills its handler must not stand in the way of others.
const MaxPanics = 5

// Judge decides what becomes of a delivery from the error of its handler and from how often the message was delivered,
// this time included. It is the only place that decides. What nobody classified is tried again, for ever and ever more
// slowly: it delays a message and never loses one.
func Judge(err error, deliveries uint64) Decision {
	if err == nil {
		return Decision{Verdict: Done}
	}
	if _, ok := errors.AsType[*Fatal](err); ok {
		return Decision{Verdict: Stop, Delay: backoff(deliveries)}
	}
	if m, ok := events.AsMalformed(err); ok {
		if m.Parked() {
			return Decision{Verdict: Park, Fault: m}
		}
		return Decision{Verdict: Bury, Fault: m}
	}
	if _, ok := errors.AsType[*Panic](err); ok && deliveries >= MaxPanics {
		return Decision{Verdict: Bury, Fault: &events.Malformed{
			Fault: events.Undeliverable,
			Why:   fmt.Sprintf("made its handler panic, the last time on delivery %d; replay it once the handler is mended", deliveries),
		}}
	}
	if l, ok := errors.AsType[*Later](err); ok {
		return Decision{Verdict: Retry, Delay: l.delay(deliveries, time.Now())}
	}
	return Decision{Verdict: Retry, Delay: backoff(deliveries)}
}

// backoff doubles from a second to a minute: short enough that everything has converged two minutes after an outage.
func backoff(deliveries uint64) time.Duration {
	const longest = time.Minute
	if deliveries > 6 { // 2^6 s is beyond it
		return jitter(longest)
	}
	return jitter(time.Second << (max(deliveries, 1) - 1))
}

// jitter takes off up to a fifth, so that messages that failed together do not return together.
func jitter(d time.Duration) time.Duration {
	if d < 5 {
		return d
	}
	return d - rand.N(d/5)
}

// Later says that an event cannot be handled yet and when to come again: not an outage of ours, so with its own pace.
type Later struct {
	Pauses []time.Duration // after the first delivery, the second, ...; the last one goes on; none: the usual pauses
	Until  time.Time       // a longer pause is cut to end then, but not below the first pause; zero: it is not cut
	Err    error           // why
}

func (l *Later) Error() string { return l.Err.Error() }
func (l *Later) Unwrap() error { return l.Err }

func (l *Later) delay(deliveries uint64, now time.Time) time.Duration {
	n := uint64(len(l.Pauses))
	if n == 0 {
		return backoff(deliveries)
	}
	pause := l.Pauses[min(max(deliveries, 1), n)-1]
	if !l.Until.IsZero() {
		pause = min(pause, max(l.Until.Sub(now), l.Pauses[0]))
	}
	return jitter(pause)
}

// Fatal says that no event can be handled until a person mends something, a rejected password for instance. Nothing is
// lost and nobody's tries are used up: the message is returned and the process ends.
type Fatal struct{ Err error }

func (f *Fatal) Error() string { return f.Err.Error() }
func (f *Fatal) Unwrap() error { return f.Err }

// Panic is a recovered panic. The panic's value may repeat an event, so Error tells its type only, or its text where the
// runtime itself raised it.
type Panic struct {
	What  string
	Stack []byte
}

func (p *Panic) Error() string { return "panic: " + p.What }
