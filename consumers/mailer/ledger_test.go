package mailer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// ledger keeps the mails in memory and by the rules of the real one, with a lease short enough for a test.
type ledger struct {
	mu    sync.Mutex
	mails map[string]*entry
	moot  bool
	lease time.Duration

	// losing makes that many outcomes of accepted mails go lost, as if the process had been killed.
	losing int
	held   int // answers HeldByOther

	// meeting, where it is set, keeps the first claim's holder from sending until another delivery has asked.
	meeting chan struct{}
}

type entry struct {
	until     time.Time // of the claim; zero: not claimed
	uncertain int
	outcome   *enrollment.MailOutcome
	releases  []enrollment.MailFailure
}

// shortLease ends while a test waits; no mail in a test may take as long.
const shortLease = 150 * time.Millisecond

var errKilled = errors.New("the process is gone")

func newLedger() *ledger { return &ledger{mails: map[string]*entry{}, lease: shortLease} }

func (l *ledger) entry(m enrollment.Mail) *entry {
	key := fmt.Sprint(m.Enrollment, m.Purpose, m.Generation, m.Number)
	if l.mails[key] == nil {
		l.mails[key] = &entry{}
	}
	return l.mails[key]
}

func (l *ledger) ClaimMail(_ context.Context, m enrollment.Mail) (enrollment.Claim, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, now := l.entry(m), time.Now()
	switch {
	case e.outcome != nil:
	case now.Before(e.until):
		if l.held++; l.held == 1 && l.meeting != nil {
			close(l.meeting)
		}
		return enrollment.Claim{Verdict: enrollment.HeldByOther, RetryAfter: e.until.Sub(now)}, nil
	case e.uncertain >= enrollment.MaxUncertainSends:
		l.settle(e, enrollment.MailOutcome{Failure: "mail-outcome-unknown"})
	case !now.Before(m.GiveUpAt):
		l.settle(e, enrollment.MailOutcome{Failure: "mail-never-accepted"})
	case l.moot:
		return enrollment.Claim{Verdict: enrollment.Moot}, nil
	default:
		e.uncertain++
		e.until = now.Add(l.lease)
		if l.meeting != nil {
			l.mu.Unlock()
			<-l.meeting
			l.mu.Lock()
		}
		return enrollment.Claim{Verdict: enrollment.SendNow}, nil
	}
	return enrollment.Claim{Verdict: enrollment.Settled, Outcome: *e.outcome}, nil
}

func (l *ledger) settle(e *entry, o enrollment.MailOutcome) enrollment.MailOutcome {
	if e.outcome == nil {
		days := 3
		o.At, o.Sequence, o.AccountRef, o.Locale, o.CodeAgeDays, o.MailDomainClass = time.Now().UTC(), 2, "ref-of-the-account", "en-US", &days, "company"
		e.outcome = &o
	}
	return *e.outcome
}

func (l *ledger) MailAccepted(ctx context.Context, m enrollment.Mail) (enrollment.MailOutcome, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.losing > 0 {
		l.losing--
		panic(errKilled) // nothing after it runs, and the claim stays
	}
	return l.settle(l.entry(m), enrollment.MailOutcome{Accepted: true}), ctx.Err()
}

func (l *ledger) MailRefused(ctx context.Context, m enrollment.Mail, f enrollment.MailFailure) (enrollment.MailOutcome, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.settle(l.entry(m), enrollment.MailOutcome{Failure: f.Reason, SMTPStatus: f.SMTPStatus}), ctx.Err()
}

func (l *ledger) ReleaseMail(ctx context.Context, m enrollment.Mail, f enrollment.MailFailure) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entry(m)
	e.uncertain--
	e.until = time.Time{}
	e.releases = append(e.releases, f)
	return ctx.Err()
}

// released returns what a mail's only entry was released for.
func (l *ledger) released() (all []enrollment.MailFailure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.mails {
		all = append(all, e.releases...)
	}
	return all
}
