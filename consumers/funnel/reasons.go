package funnel

import "github.com/mongotel/billcenter/schema/journey"

// DropReason is why an attempt went no further. Each that dropped has exactly one.
type DropReason string

// The rules, in the order in which they are asked; the first that holds is the reason. They look at what happened to the
// unit from the step reached last on, inside the window.
const (
	Bounced              DropReason = "bounced"                   // a provider refused the mail for good
	MailNeverAccepted    DropReason = "mail-never-accepted"       // no provider took the mail while its link would have lived
	CodeExpired          DropReason = "code-expired"              // the code typed was too old
	CodeSuperseded       DropReason = "code-superseded"           // the code typed had been replaced by a newer one
	WrongCode            DropReason = "wrong-code"                // three wrong codes or more
	Locked               DropReason = "locked"                    // made to wait, or the codes were retired, after too many wrong tries
	UsernameClash        DropReason = "username-clash"            // the username wanted was taken
	NotRequested         DropReason = "not-requested"             // the owner of the mailbox says that it was somebody else who signed up
	Cancelled            DropReason = "cancelled"                 // ended by staff, with its account, or since the account was added to another log-in
	OpenedByAutomation   DropReason = "opened-by-automation-only" // only what looks like a mail scanner followed the link
	DeliveredNeverOpened DropReason = "delivered-never-opened"    // the mail was accepted and the link never followed
	OpenedNoPassword     DropReason = "opened-no-password"        // somebody opened the page and chose no password
	AddressCorrectedLate DropReason = "address-corrected-too-late"
	NeverCame            DropReason = "never-came" // nothing was heard of the unit any more
	NoSignal             DropReason = "no-signal"  // something was, and no rule knows what it means
)

// wrongCodes is how many tries are a reason; who errs less often may have other ones.
const wrongCodes = 3

var (
	mailRejected        = journey.ReasonOf("mail-rejected")
	mailNeverAccepted   = journey.ReasonOf("mail-never-accepted")
	mailOutcomeUnknown  = journey.ReasonOf("mail-outcome-unknown")
	refusedWrongCode    = journey.ReasonOf("not-recognised")
	refusedExpired      = journey.ReasonOf("code-expired")
	refusedSuperseded   = journey.ReasonOf("code-superseded")
	refusedUsername     = journey.ReasonOf("username-taken")
	refusedTooManyTries = journey.ReasonOf("too-many-tries")
	refusedCodeRetired  = journey.ReasonOf("code-retired")
	notRequested        = journey.ReasonOf("not-requested")
)

// DropReasons are all, in the order of the rules.
var DropReasons = []DropReason{
	Bounced, MailNeverAccepted, CodeExpired, CodeSuperseded, WrongCode, Locked, UsernameClash, NotRequested, Cancelled, OpenedByAutomation,
	DeliveredNeverOpened, OpenedNoPassword, AddressCorrectedLate, NeverCame, NoSignal,
}

// signals are what happened from the step reached last on.
type signals struct {
	refused, failed             [1 << 6]int16 // by journey.Reason
	kinds                       [journey.Unlocked + 1]bool
	correctedAfterMail, noticed bool
	disowned                    bool
}

func (m *matcher) signals(a *attempt) signals {
	var s signals
	since := a.at[a.reached-1]
	for _, f := range a.unit.Facts {
		if f.At < since || f.At > a.end || a.reached > 1 && !a.sees(f) {
			continue
		}
		s.kinds[f.Kind] = true
		switch f.Kind {
		case journey.RegistrationRefused:
			s.refused[f.Reason]++
		case journey.ActivationMailFailed:
			s.failed[f.Reason]++
		case journey.Cancelled:
			s.disowned = s.disowned || f.Reason == notRequested
		case journey.ActivationMailed:
			s.correctedAfterMail = false
		case journey.EmailCorrected:
			s.correctedAfterMail = true
		}
		// The next invoice and the end of time are not the customer's doing.
		s.noticed = s.noticed || f.Kind != journey.Invited && f.Kind != journey.Expired && (f.At > since || f.Kind != a.last)
	}
	return s
}

// reason is why an attempt that is over went no further.
func (m *matcher) reason(a *attempt) DropReason {
	s := m.signals(a)
	has := func(k journey.Kind) bool { return s.kinds[k] }
	refused := func(r journey.Reason) int16 { return s.refused[r] }
	failed := func(r journey.Reason) bool { return s.failed[r] > 0 }
	switch {
	case failed(mailRejected):
		return Bounced
	case failed(mailNeverAccepted), failed(mailOutcomeUnknown), a.last == journey.Registered && !has(journey.EmailCorrected) && !has(journey.ActivationMailed):
		return MailNeverAccepted
	case refused(refusedExpired) > 0:
		return CodeExpired
	case refused(refusedSuperseded) > 0:
		return CodeSuperseded
	case refused(refusedWrongCode) >= wrongCodes:
		return WrongCode
	case has(journey.Locked), refused(refusedTooManyTries) > 0, refused(refusedCodeRetired) > 0:
		return Locked
	case refused(refusedUsername) > 0:
		return UsernameClash
	case s.disowned:
		return NotRequested
	case has(journey.Cancelled):
		return Cancelled
	case has(journey.OpenedByMachine) && !has(journey.Opened):
		return OpenedByAutomation
	case has(journey.ActivationMailed) && !has(journey.Activated) && !has(journey.Opened) && !s.correctedAfterMail:
		return DeliveredNeverOpened
	case has(journey.Opened) && !has(journey.Activated):
		return OpenedNoPassword
	case has(journey.EmailCorrected):
		return AddressCorrectedLate
	case !s.noticed:
		return NeverCame
	default:
		return NoSignal
	}
}
