// Package simulation makes up customers whose way through the funnel is known beforehand, so that a report can be held against
// the truth: who they are, how each one's way ends, and what a report must say about all of them. Facts also tells their
// ways as the facts that they leave.
//
// It plays nobody: walking through the real web forms is `billcenter simulate`'s. The truth is read from the fates, never
// computed from facts: it shares no rule with what it is held against.
package simulation

import (
	"math/rand/v2"
	"time"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/schema/journey"
)

// Fate is how a customer's way ends, or by which detour it leads to the end.
type Fate string

// What a customer can do in a moment, at the real pages.
const (
	NeverCame       Fate = "never came"
	GaveUpAtOnce    Fate = "one wrong code"
	WrongCodes      Fate = "wrong codes"
	MadeToWait      Fate = "made to wait" // at the first wrong code, after others had guessed from the same office
	ExpiredCode     Fate = "expired code"
	SupersededCode  Fate = "superseded code" // the older of two, after its grace
	UsernameClash   Fate = "username clash"  // and wanted no other
	Bounced         Fate = "mail bounced"    // and gave no other address
	MachineOnly     Fate = "opened by a machine only"
	NeverOpened     Fate = "never opened"
	CorrectedInVain Fate = "corrected, never opened" // the mail to the second address was accepted, too
	NoPassword      Fate = "opened, no password"
	NeverSignedIn   Fate = "never signed in"
	ViewedNothing   Fate = "viewed nothing"
	CameBackForNone Fate = "signed in twice, viewed nothing"
	Straight        Fate = "straight"
	WrongCodeFirst  Fate = "wrong code first"
	Corrected       Fate = "bounced, then corrected"
	AskedAgain      Fate = "asked for the mail again"
	RegisteredTwice Fate = "registered twice" // the second time with another address
	MachineFirst    Fate = "opened by a machine first"
	TwoColleagues   Fate = "two colleagues" // each with a code of their own; the second gets to the end
)

// What takes days, staff or a broken provider: Facts alone tells these.
const (
	NeverAccepted  Fate = "mail never accepted"
	OutcomeUnknown Fate = "mail outcome unknown"
	NeverMailed    Fate = "no outcome of the mail"
	CorrectedLate  Fate = "corrected too late" // no provider took the mail to the second address
	CameTooLate    Fate = "came too late"      // and went all the way, beyond the window
	JustInTime     Fate = "just in time"       // saw invoices at the window's very end
	AMomentTooLate Fate = "a moment too late"  // saw them a nanosecond after it
	StartedAgain   Fate = "started again"      // after the first enrollment had expired
	InvitedAgain   Fate = "invited again"      // by the next invoice, and came then
	AllAtOnce      Fate = "all at once"        // several steps of one instant
	ReturnedOften  Fate = "returned often"
	ClosedByStaff  Fate = "closed by staff"
	Disowned       Fate = "disowned" // by the owner of the mailbox, who is somebody else
	UnlockedInVain Fate = "unlocked in vain"
	Unlocked       Fate = "unlocked"
)

// ending is what a report must say about a fate.
type ending struct {
	fate    Fate
	reached journey.Kind      // the last step inside the window
	reason  funnel.DropReason // why no further; empty at the last step
	share   int               // of a population, relative to the others'
}

var endings = []ending{
	{NeverCame, journey.Invited, funnel.NeverCame, 20},
	{GaveUpAtOnce, journey.Invited, funnel.NoSignal, 3},
	{WrongCodes, journey.Invited, funnel.WrongCode, 5},
	{MadeToWait, journey.Invited, funnel.Locked, 1},
	{ExpiredCode, journey.Invited, funnel.CodeExpired, 4},
	{SupersededCode, journey.Invited, funnel.CodeSuperseded, 4},
	{UsernameClash, journey.Invited, funnel.UsernameClash, 3},
	{Bounced, journey.Registered, funnel.Bounced, 4},
	{MachineOnly, journey.ActivationMailed, funnel.OpenedByAutomation, 3},
	{NeverOpened, journey.ActivationMailed, funnel.DeliveredNeverOpened, 6},
	{CorrectedInVain, journey.ActivationMailed, funnel.DeliveredNeverOpened, 2},
	{NoPassword, journey.ActivationMailed, funnel.OpenedNoPassword, 4},
	{NeverSignedIn, journey.Activated, funnel.NeverCame, 4},
	{ViewedNothing, journey.SignedIn, funnel.NeverCame, 3},
	{CameBackForNone, journey.SignedIn, funnel.NoSignal, 1},
	{Straight, journey.InvoiceViewed, "", 24},
	{WrongCodeFirst, journey.InvoiceViewed, "", 4},
	{Corrected, journey.InvoiceViewed, "", 3},
	{AskedAgain, journey.InvoiceViewed, "", 2},
	{RegisteredTwice, journey.InvoiceViewed, "", 2},
	{MachineFirst, journey.InvoiceViewed, "", 3},
	{TwoColleagues, journey.InvoiceViewed, "", 2},
}

var longEndings = []ending{
	{NeverAccepted, journey.Registered, funnel.MailNeverAccepted, 2},
	{OutcomeUnknown, journey.Registered, funnel.MailNeverAccepted, 1},
	{NeverMailed, journey.Registered, funnel.MailNeverAccepted, 1},
	{CorrectedLate, journey.ActivationMailed, funnel.AddressCorrectedLate, 3},
	{CameTooLate, journey.Invited, funnel.NeverCame, 3},
	{JustInTime, journey.InvoiceViewed, "", 2},
	{AMomentTooLate, journey.SignedIn, funnel.NeverCame, 2},
	{StartedAgain, journey.InvoiceViewed, "", 3},
	{InvitedAgain, journey.InvoiceViewed, "", 3},
	{AllAtOnce, journey.InvoiceViewed, "", 2},
	{ReturnedOften, journey.InvoiceViewed, "", 2},
	{ClosedByStaff, journey.ActivationMailed, funnel.Cancelled, 1},
	{Disowned, journey.ActivationMailed, funnel.NotRequested, 1},
	{UnlockedInVain, journey.Invited, funnel.Locked, 1},
	{Unlocked, journey.InvoiceViewed, "", 1},
}

// Customer is one unit of the funnel.
type Customer struct {
	Number  int // from 0; the first one's fate is Straight
	Fate    Fate
	Entered time.Time // when the invoice that counts was e-mailed
	Locale  string
	Company string
}

// Population makes up n customers; the same seed makes the same. Each fate occurs if there are customers enough.
func Population(seed uint64, n int) []Customer {
	return population(rand.New(rand.NewPCG(seed, 0x66617465)), n, endings)
}

func population(r *rand.Rand, n int, of []ending) []Customer {
	customers := make([]Customer, n)
	for i := range customers {
		c := Customer{Number: i, Fate: draw(r, of), Locale: pick(r, "en-US", "en-US", "en-US", "es-US", "de-DE", "fr-CA"), Company: company(r)}
		switch {
		case i == 0:
			c.Fate = Straight
		case i <= len(of) && n > len(of):
			c.Fate = of[i-1].fate
		}
		customers[i] = c
	}
	if n > 1 {
		rest := customers[1:]
		r.Shuffle(len(rest), func(i, j int) { rest[i].Fate, rest[j].Fate = rest[j].Fate, rest[i].Fate })
	}
	return customers
}

// draw picks a fate by the shares.
func draw(r *rand.Rand, of []ending) Fate {
	total := 0
	for _, e := range of {
		total += e.share
	}
	at := r.IntN(total)
	for _, e := range of {
		if at -= e.share; at < 0 {
			return e.fate
		}
	}
	panic("simulation: a share beyond their sum")
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

func company(r *rand.Rand) string {
	return pick(r, "Bluebird", "Harbor", "Maple Street", "Tri-State", "O’Hara", "Müller", "Señor Peña", "東京") + " " +
		pick(r, "Bakery", "Dental Group", "& Sons, Inc.", "Plumbing", "GmbH & Co. KG", "S.A. de C.V.", "株式会社")
}
