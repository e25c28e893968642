package simulation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/events"
)

// Tenant is whose customers History is about.
const Tenant = "mongo"

// History is a population's ways as facts, spread over two months, and the moment from which it is looked at: the windows of
// those who entered last are still open.
type History struct {
	Customers []Customer
	Facts     []events.Received // by customer, each one's in the order of time; each valid by the contract, sequence from 1
	AsOf      time.Time
}

// Truth is what the funnel must say about a history with funnel.DefaultWindow.
func (h History) Truth() []Step { return Truth(h.Customers, funnel.DefaultWindow, h.AsOf) }

// begin is when the first customers of a history enter, and entering for how long others do.
var begin = time.Date(2026, time.March, 2, 0, 0, 0, 0, time.UTC)

const entering = 56 * 24 * time.Hour

// Facts tells the ways of n customers of every fate, those that take days among them. The same seed tells the same.
func Facts(seed uint64, n int) (History, error) {
	r := rand.New(rand.NewPCG(seed, 0x66616374))
	h := History{Customers: population(r, n, slices.Concat(endings, longEndings)), AsOf: begin.Add(entering)}
	for i := range h.Customers {
		c := &h.Customers[i]
		c.Entered = begin.Add(time.Duration(r.Int64N(int64(entering))))
		if r.IntN(10) == 0 { // the last moment of a window, and the first one after it, seen as of its very end
			c.Entered = h.AsOf.Add(-funnel.DefaultWindow).Add(-time.Duration(r.IntN(2)))
		}
		t := &teller{rand: r, customer: *c, name: fmt.Sprintf("sim-%d-%d", seed, i), at: c.Entered}
		t.way()
		if t.err != nil {
			return h, fmt.Errorf("simulate %q: %w", c.Fate, t.err)
		}
		h.Facts = append(h.Facts, t.told...)
	}
	for i := range h.Facts {
		h.Facts[i].Sequence = uint64(i + 1)
	}
	return h, nil
}

// teller tells one customer's way.
type teller struct {
	rand       *rand.Rand
	customer   Customer
	name       string
	at         time.Time
	enrollment string
	sequence   int64
	together   bool // what follows happens at the same instant
	told       []events.Received
	err        error
}

// longest is the longest pause between two facts: a window holds fourteen of them.
const longest = 2 * 24 * time.Hour

func (t *teller) later() {
	if !t.together && len(t.told) > 0 {
		t.at = t.at.Add(1 + time.Duration(t.rand.Int64N(int64(longest))))
	}
}

// say tells a fact that happens next.
func (t *teller) say(reason string, message func(events.Fact) events.Message) {
	t.later()
	t.sayNow(reason, message)
}

func (t *teller) sayNow(reason string, message func(events.Fact) events.Message) {
	ref := sha256.Sum256([]byte(t.name))
	fact := events.Fact{
		AccountRef: hex.EncodeToString(ref[:16]), OccurredAt: t.at, Reason: reason, EnrollmentID: t.enrollment,
		Properties: events.Properties{Locale: t.customer.Locale, InvoiceMonth: t.customer.Entered.Format("2006-01")},
	}
	if t.enrollment != "" {
		t.sequence++
		fact.Sequence = t.sequence
		age := int(t.at.Sub(t.customer.Entered) / (24 * time.Hour))
		fact.Properties.CodeAgeDays, fact.Properties.MailDomainClass = &age, "company"
	}
	m := message(fact)
	encoded, err := events.Encode(Tenant, events.Envelope{
		ID: fmt.Sprintf("%s-%d", t.name, len(t.told)), Source: events.Source(Tenant, "simulation"), Subject: fact.AccountRef, Time: t.at,
	}, m)
	if err != nil {
		t.err = err
		return
	}
	e, err := events.Decode(encoded.Subject, encoded.Header, encoded.Body)
	if err != nil {
		t.err = err
		return
	}
	t.told = append(t.told, events.Received{Event: e, Message: m})
}

// aboutAccount tells what belongs to no enrollment.
func (t *teller) aboutAccount(reason string, message func(events.Fact) events.Message) {
	enrollment := t.enrollment
	t.enrollment = ""
	t.say(reason, message)
	t.enrollment = enrollment
}

func (t *teller) invited() {
	t.aboutAccount("", func(f events.Fact) events.Message { return events.Invited{Fact: f} })
}
func (t *teller) refused(reason string) {
	t.aboutAccount(reason, func(f events.Fact) events.Message { return events.RegistrationRefused{Fact: f} })
}
func (t *teller) locked() {
	t.aboutAccount("too-many-tries", func(f events.Fact) events.Message { return events.Locked{Fact: f} })
}
func (t *teller) unlocked() {
	t.aboutAccount("", func(f events.Fact) events.Message { return events.Unlocked{Fact: f} })
}

// registered begins an enrollment.
func (t *teller) registered() {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(t.rand.Uint32())
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // version 4
	t.enrollment, t.sequence = id.String(), 0
	t.say("", func(f events.Fact) events.Message { return events.Registered{Fact: f} })
}
func (t *teller) mailed() {
	t.say("", func(f events.Fact) events.Message { return events.ActivationMailed{Fact: f} })
}
func (t *teller) mailFailed(reason string) {
	t.say(reason, func(f events.Fact) events.Message { return events.ActivationMailFailed{Fact: f} })
}
func (t *teller) opened(byMachine bool) {
	t.say("", func(f events.Fact) events.Message {
		return events.ActivationOpened{Fact: f, AutomationSuspected: byMachine}
	})
}
func (t *teller) activated() {
	t.say("", func(f events.Fact) events.Message { return events.Activated{Fact: f} })
}
func (t *teller) signedIn() {
	t.say("", func(f events.Fact) events.Message { return events.SignedIn{Fact: f} })
}
func (t *teller) viewed() {
	t.say("", func(f events.Fact) events.Message { return events.InvoiceViewed{Fact: f} })
}
func (t *teller) corrected() {
	t.say("", func(f events.Fact) events.Message { return events.EmailCorrected{Fact: f} })
}
func (t *teller) resent() {
	t.say("", func(f events.Fact) events.Message { return events.ActivationResent{Fact: f} })
}
func (t *teller) expired(reason string) {
	t.say(reason, func(f events.Fact) events.Message { return events.Expired{Fact: f} })
}
func (t *teller) cancelled(reason string) {
	t.say(reason, func(f events.Fact) events.Message { return events.Cancelled{Fact: f} })
}

// mailedTo and onward are the stretches that many ways share.
func (t *teller) mailedTo() { t.registered(); t.mailed() }

func (t *teller) onward() { t.opened(false); t.activated(); t.signedIn(); t.viewed() }

// way tells what the customer's fate leads through.
func (t *teller) way() {
	end := t.customer.Entered.Add(funnel.DefaultWindow)
	t.invited()
	switch t.customer.Fate {
	case NeverCame:
	case GaveUpAtOnce:
		t.refused("not-recognised")
	case WrongCodes:
		for range 3 + t.rand.IntN(2) {
			t.refused("not-recognised")
		}
	case MadeToWait:
		t.locked()
		t.refused("not-recognised")
	case UnlockedInVain:
		t.refused("not-recognised")
		t.locked()
		t.unlocked()
	case Unlocked:
		t.refused("not-recognised")
		t.locked()
		t.unlocked()
		t.mailedTo()
		t.onward()
	case ExpiredCode:
		t.refused("code-expired")
	case SupersededCode:
		t.invited()
		t.refused("code-superseded")
	case UsernameClash:
		t.refused("username-taken")
	case Bounced:
		t.registered()
		t.mailFailed("mail-rejected")
	case NeverAccepted:
		t.registered()
		t.mailFailed("mail-never-accepted")
		t.expired("undeliverable")
	case OutcomeUnknown:
		t.registered()
		t.mailFailed("mail-outcome-unknown")
	case NeverMailed:
		t.registered()
	default:
		t.mailedWay(end)
	}
}

// mailedWay is the ways on which a mail was accepted, or will be.
func (t *teller) mailedWay(end time.Time) {
	switch t.customer.Fate {
	case MachineOnly:
		t.mailedTo()
		t.opened(true)
		t.expired("mail-not-confirmed")
	case NeverOpened:
		t.mailedTo()
	case CorrectedInVain:
		t.mailedTo()
		t.corrected()
		t.mailed()
	case CorrectedLate:
		t.mailedTo()
		t.corrected()
	case NoPassword:
		t.mailedTo()
		t.opened(false)
	case ClosedByStaff:
		t.mailedTo()
		t.cancelled("by-helpdesk")
	case Disowned:
		t.mailedTo()
		t.cancelled("not-requested")
	case NeverSignedIn:
		t.mailedTo()
		t.opened(false)
		t.activated()
	case ViewedNothing, CameBackForNone, AMomentTooLate, JustInTime:
		t.mailedTo()
		t.opened(false)
		t.activated()
		t.signedIn()
		switch t.customer.Fate {
		case CameBackForNone:
			t.signedIn()
		case JustInTime:
			t.at, t.together = end, true
			t.viewed()
		case AMomentTooLate:
			t.at, t.together = end.Add(1), true
			t.viewed()
		}
	default:
		t.detour(end)
		t.onward()
		if t.customer.Fate == ReturnedOften {
			t.signedIn()
			t.viewed()
		}
	}
}

// detour is what comes before the last stretch, on the ways that have it.
func (t *teller) detour(end time.Time) {
	switch t.customer.Fate {
	case Straight, ReturnedOften:
		t.mailedTo()
	case AllAtOnce:
		t.mailedTo()
		t.together = true
	case WrongCodeFirst:
		t.refused("not-recognised")
		t.mailedTo()
	case Corrected:
		t.registered()
		t.mailFailed("mail-rejected")
		t.corrected()
		t.mailed()
	case AskedAgain:
		t.mailedTo()
		t.resent()
		t.mailed()
	case RegisteredTwice:
		t.mailedTo()
		t.corrected()
		t.mailed()
	case MachineFirst:
		t.mailedTo()
		t.opened(true)
	case TwoColleagues, StartedAgain:
		t.mailedTo()
		if t.customer.Fate == StartedAgain {
			t.expired("mail-not-confirmed")
		} else {
			t.invited()
		}
		t.mailedTo()
	case InvitedAgain:
		t.at = t.at.Add(14 * 24 * time.Hour)
		t.invited()
		t.mailedTo()
	case CameTooLate:
		t.at = end
		t.mailedTo()
	default:
		t.err = fmt.Errorf("has no way")
	}
}
