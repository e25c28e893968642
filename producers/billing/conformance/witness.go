package conformance

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/mongotel/billcenter/events"
)

// glance is how often the witness looks.
const glance = 25 * time.Millisecond

// witness looks at the broker for all cases and remembers what it saw since the run began.
type witness struct {
	broker Broker

	mu       sync.Mutex
	changed  chan struct{} // closed at the end of a look
	standing Standing
	facts    []fact
	work     []work
	letters  []DeadLetter
	err      error // of the last look; nil: it could see

	lastFact, lastWork, lastLetter uint64
}

// fact is a message of ENROLLMENT, read as a stranger would.
type fact struct {
	events.Event
	sequence uint64
	fault    error // why it is not valid; the rest may be empty then
	said     said
}

// said is what all facts, and the two about mails, may say.
type said struct {
	events.Fact
	Generation uint32 `json:"generation"`
}

// work is a message of MAIL that asks for an activation mail.
type work struct {
	Stored
	asks events.ActivationRequested
}

// newWitness passes over what was there before.
func newWitness(b Broker, s Standing) *witness {
	return &witness{
		broker: b, changed: make(chan struct{}), standing: s,
		lastFact: s.FactsLast, lastWork: s.MailLast, lastLetter: s.LettersLast,
	}
}

// look looks until ctx ends.
func (w *witness) look(ctx context.Context) {
	for ctx.Err() == nil {
		err := w.lookOnce(ctx)
		w.mu.Lock()
		w.err = err
		close(w.changed)
		w.changed = make(chan struct{})
		w.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(glance):
		}
	}
}

// lookOnce reads how far the workers are before it reads what they left, so that whoever sees them done sees all they did.
func (w *witness) lookOnce(ctx context.Context) error {
	standing, err := w.broker.Standing(ctx)
	if err != nil {
		return err
	}
	facts, err := w.broker.Facts(ctx, w.lastFact)
	if err != nil {
		return err
	}
	mails, err := w.broker.MailWork(ctx, w.lastWork)
	if err != nil {
		return err
	}
	letters, err := w.broker.DeadLetters(ctx, w.lastLetter)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.standing = standing
	for _, m := range facts {
		w.facts, w.lastFact = append(w.facts, readFact(m)), m.Sequence
	}
	for _, m := range mails {
		w.lastWork = m.Sequence
		if e, err := events.Decode(m.Subject, m.Header, m.Body); err == nil {
			if asks, err := events.Data[events.ActivationRequested](e); err == nil {
				w.work = append(w.work, work{m, asks})
			}
		}
	}
	for _, l := range letters {
		w.letters, w.lastLetter = append(w.letters, l), l.ID
	}
	return nil
}

func readFact(m Stored) fact {
	f := fact{sequence: m.Sequence}
	if f.Event, f.fault = events.Decode(m.Subject, m.Header, m.Body); f.fault != nil {
		return f
	}
	if f.fault = f.Check(); f.fault == nil {
		f.fault = json.Unmarshal(f.Data, &f.said)
	}
	return f
}

// await waits until the condition holds for what the witness saw, and reports whether it came to hold in time. The condition
// runs while the witness holds still.
func (w *witness) await(ctx context.Context, within time.Duration, condition func() bool) bool {
	end := time.NewTimer(within)
	defer end.Stop()
	for {
		w.mu.Lock()
		holds, changed := condition(), w.changed
		w.mu.Unlock()
		if holds {
			return true
		}
		select {
		case <-changed:
		case <-end.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// asSeen runs f while the witness holds still.
func (w *witness) asSeen(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// blind says why nothing more was seen, where the broker could not be read at the end.
func (w *witness) blind() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		return ""
	}
	return " (the broker could not be read: " + w.err.Error() + ")"
}
