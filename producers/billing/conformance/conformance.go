// Package conformance judges a running system from outside. It plays what a billing publisher sends on good days and bad
// ones, and what a mail worker is asked for, and looks at what anybody with an operator's rights can see: the facts, the
// dead letters, whether BILLING is emptied, and what the portal answers to a customer. Each case says what was sent, what is
// expected and what was seen.
//
// It knows nothing of how the system does its work, looks into no database, and cleans nothing up: accounts, enrollments
// and dead letters of a run stay behind. It is for systems on which that does no harm.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Message is a message to be published as it is, faults included.
type Message struct {
	Subject string
	ID      string // Nats-Msg-Id
	Header  map[string][]string
	Body    []byte
}

// Stored is a message that a stream holds.
type Stored struct {
	Sequence uint64
	Message
}

// DeadLetter is what the operator sees of an event that was given up.
type DeadLetter struct {
	ID       uint64
	Sequence uint64 // of the original in BILLING
	Reason   string
	Parked   bool
}

// Standing is how far the broker and its workers are.
type Standing struct {
	BillingFirst uint64 // the oldest message that BILLING holds; one more than BillingLast when it is empty
	BillingLast  uint64 // the newest that it ever held
	MailLast     uint64
	MailDone     uint64 // the mail worker has finished with everything up to this one
	FactsLast    uint64
	LettersLast  uint64
}

// Broker is the bus as the kit uses it. Reading is from beyond a sequence, in order, and takes nothing away.
type Broker interface {
	// Publish returns once all is stored, in the order given and as one batch where there are several.
	Publish(ctx context.Context, batch ...Message) error
	Standing(ctx context.Context) (Standing, error)
	Facts(ctx context.Context, after uint64) ([]Stored, error)           // the tenant's, in ENROLLMENT
	MailWork(ctx context.Context, after uint64) ([]Stored, error)        // the tenant's, in MAIL
	DeadLetters(ctx context.Context, after uint64) ([]DeadLetter, error) // everybody's, those of BILLING
}

// Options say what is judged, and with what.
type Options struct {
	Tenant string
	Broker Broker

	// Replay publishes the original of a dead letter again; nil: nobody here can open one, because WhyNoReplay.
	Replay      func(ctx context.Context, id uint64) error
	WhyNoReplay string

	Portal     string // base URL of the tenant's portal; empty: what only customers see is not judged
	Inbox      string // base URL of an inbox with the API of `billcenter up`'s; empty: mails are not looked at
	MailWorker bool   // judge the mail worker, too
	MailDomain string // of the customers' addresses
	Only       []string

	Within      time.Duration // for what happens on its own
	PurgeWithin time.Duration // from the fact about a code to BILLING without it
}

// Verdict on a case.
type Verdict string

const (
	Passed Verdict = "pass"
	Failed Verdict = "fail"
	NotRun Verdict = "not run"
)

// Result is a case that was played, or why it was not.
type Result struct {
	Name         string  `json:"name"`
	Sent         string  `json:"sent"`
	Expected     string  `json:"expected"`
	Verdict      Verdict `json:"verdict"`
	Seen         string  `json:"seen"`
	Milliseconds int64   `json:"milliseconds"`
}

// Report is what a run found and what it leaves on the system.
type Report struct {
	Run     string   `json:"run"` // part of every account number, id and address of the run
	Tenant  string   `json:"tenant"`
	Passed  int      `json:"passed"`
	Failed  int      `json:"failed"`
	NotRun  int      `json:"notRun"`
	Cases   []Result `json:"cases"`
	Behind  Behind   `json:"leftBehind"`
	Seconds float64  `json:"seconds"`
}

// Behind counts what a run leaves on the system.
type Behind struct {
	Accounts    int `json:"accounts"`
	Enrollments int `json:"enrollments"`
	DeadLetters int `json:"deadLetters"`
}

// Case is one thing to be judged.
type Case struct {
	Name     string
	Sent     string
	Expected string
	needs    needs
	alone    bool // not beside others: it measures time, or is large
	play     func(ctx context.Context, t *trial)
}

// needs are what a case cannot do without.
type needs struct{ portal, inbox, replay, mailWorker bool }

// Cases lists all cases in the order in which they are reported.
func Cases() []Case {
	return slices.Concat(invoices(), modes(), parked(), malformed(), codesOverTime(), crowd(), mailWorker())
}

// beside is how many cases are played at a time.
const beside = 8

// Run plays the cases and returns the report. An error means that the system could not be reached, or that ctx ended: what
// the system did wrong is in the report.
func Run(ctx context.Context, o Options) (Report, error) {
	began := time.Now()
	chosen, err := choose(o.Only)
	if err != nil {
		return Report{}, err
	}
	r, err := open(ctx, o)
	if err != nil {
		return Report{}, err
	}
	looking, stop := context.WithCancel(ctx)
	var looked sync.WaitGroup
	looked.Go(func() { r.witness.look(looking) })
	results := r.playAll(ctx, chosen)
	stop()
	looked.Wait()
	if err := ctx.Err(); err != nil {
		return Report{}, err
	}
	report := Report{Run: r.id, Tenant: o.Tenant, Cases: results, Behind: r.behind(), Seconds: time.Since(began).Seconds()}
	for _, c := range results {
		switch c.Verdict {
		case Passed:
			report.Passed++
		case Failed:
			report.Failed++
		case NotRun:
			report.NotRun++
		}
	}
	return report, nil
}

// UnknownCaseError names a case that does not exist.
type UnknownCaseError struct{ Name string }

func (e *UnknownCaseError) Error() string { return fmt.Sprintf("there is no case %q", e.Name) }

func choose(names []string) ([]Case, error) {
	all := Cases()
	if len(names) == 0 {
		return all, nil
	}
	for _, n := range names {
		if !slices.ContainsFunc(all, func(c Case) bool { return c.Name == n }) {
			return nil, &UnknownCaseError{n}
		}
	}
	return slices.DeleteFunc(all, func(c Case) bool { return !slices.Contains(names, c.Name) }), nil
}

// open looks whether there is somebody to judge.
func open(ctx context.Context, o Options) (*run, error) {
	standing, err := o.Broker.Standing(ctx)
	if err != nil {
		return nil, fmt.Errorf("look at the broker: %w", err)
	}
	r := newRun(o, time.Now(), standing)
	if o.Portal != "" {
		page, err := r.customer().get(ctx, "/signup")
		if err != nil {
			return nil, fmt.Errorf("open the portal: %w", err)
		}
		if page.status != http.StatusOK {
			return nil, fmt.Errorf("open the portal: its sign-up page answers %d; is this the address of tenant %s?", page.status, o.Tenant)
		}
	}
	return r, nil
}

// playAll plays those that stand alone one by one, and the others side by side between them.
func (r *run) playAll(ctx context.Context, cases []Case) []Result {
	results := make([]Result, len(cases))
	var playing sync.WaitGroup
	slots := make(chan struct{}, beside)
	for i, c := range cases {
		if c.alone {
			playing.Wait()
		}
		slots <- struct{}{}
		playing.Go(func() {
			results[i] = r.play(ctx, c)
			<-slots
		})
		if c.alone {
			playing.Wait()
		}
	}
	playing.Wait()
	return results
}

func (r *run) play(ctx context.Context, c Case) Result {
	result := Result{Name: c.Name, Sent: c.Sent, Expected: c.Expected}
	if why := r.missing(c.needs); why != "" {
		result.Verdict, result.Seen = NotRun, why
		return result
	}
	t := &trial{run: r}
	began := time.Now()
	if ctx.Err() == nil {
		c.play(ctx, t)
	}
	result.Milliseconds = time.Since(began).Milliseconds()
	result.Verdict, result.Seen = t.verdict()
	return result
}

func (r *run) missing(n needs) string {
	switch {
	case n.mailWorker && !r.MailWorker:
		return "the mail worker is judged with --mail-worker only"
	case n.portal && r.Portal == "":
		return "no --portal-url: what a customer is told was not seen"
	case n.inbox && r.Inbox == "":
		return "no --inbox-url: the mails were not seen"
	case n.replay && r.Replay == nil:
		return r.WhyNoReplay
	}
	return ""
}

// trial is a case while it is played.
type trial struct {
	*run
	seen   []string
	faults []string
	gaveUp string // why the case cannot be judged
}

func (t *trial) saw(format string, args ...any) {
	t.seen = append(t.seen, fmt.Sprintf(format, args...))
}

func (t *trial) fault(format string, args ...any) {
	t.faults = append(t.faults, fmt.Sprintf(format, args...))
}

// failed notes an error of the way to the system. It reports whether there was one.
func (t *trial) failed(err error) bool {
	if waits, ok := errors.AsType[*waitError](err); ok {
		t.gaveUp = waits.Error()
	} else if err != nil {
		t.fault("%v", err)
	}
	return err != nil
}

func (t *trial) verdict() (Verdict, string) {
	switch {
	case len(t.faults) > 0:
		return Failed, strings.Join(append(t.faults, t.seen...), "; ")
	case t.gaveUp != "":
		return NotRun, t.gaveUp
	}
	return Passed, strings.Join(t.seen, "; ")
}
