package enrollment

import "time"

// Purpose is what a mail is for.
type Purpose string

const (
	ActivationMail Purpose = "activation"     // to the address typed, with the link
	NoticeMail     Purpose = "notice"         // to the billing address of record: somebody enrolled
	ResetMail      Purpose = "password-reset" // to a user's address, with the username and a link

	// The kinds of security notices, as the event calls them; no link.
	CodeTriedMail        Purpose = "code-tried"        // to the billing address of record and the users: a code of an enrolled account was tried
	LockedMail           Purpose = "locked"            // to the billing address of record: wrong codes were tried
	EnrollmentClosedMail Purpose = "enrollment-closed" // to who signed up: billing closed the account
	PasswordChangedMail  Purpose = "password-changed"  // to a user
)

// Purposes lists every purpose; a CHECK repeats it.
var Purposes = [...]Purpose{ActivationMail, NoticeMail, ResetMail, CodeTriedMail, LockedMail, EnrollmentClosedMail, PasswordChangedMail}

// MaxUncertainSends is how often a mail is sent at most while the provider's answer stays unknown: the same link under the
// same Message-ID, so that the reader's mail program can fold the copies.
const MaxUncertainSends = 3

// Mail names one mail and what is needed to settle it. (Enrollment, Purpose, Generation, Number) is its identity: an event
// that is delivered again means the same mail.
type Mail struct {
	Tenant        string
	Enrollment    ID // of a ResetMail: the reset's; of a security notice: the notice's
	Purpose       Purpose
	Generation    uint32
	Number        uint32
	AccountNumber string
	MessageID     string
	GiveUpAt      time.Time // nobody is served by a mail after this
}

// Verdict is what the ledger says about sending a mail.
type Verdict string

const (
	SendNow     Verdict = "send-now"      // the caller holds the claim and must settle or release it
	Settled     Verdict = "settled"       // the outcome is known; report it again, send nothing
	HeldByOther Verdict = "held-by-other" // another worker is at it; come back after RetryAfter
	Moot        Verdict = "moot"          // the enrollment moved on; no mail, no report
)

// Claim is the ledger's answer.
type Claim struct {
	Verdict    Verdict
	Outcome    MailOutcome   // Settled
	RetryAfter time.Duration // HeldByOther
}

// MailOutcome is how a mail ended, with what the fact about it needs. Reading it twice gives the same, so a fact that is
// published again is the same fact.
type MailOutcome struct {
	Accepted        bool
	Failure         string // why not: one of the facts' reasons
	SMTPStatus      int    // reply code; 0: none
	At              time.Time
	Sequence        int64
	AccountRef      string
	Locale          string
	InvoiceMonth    string
	CodeAgeDays     *int
	MailDomainClass string
}

// MailFailure is a provider's definite no.
type MailFailure struct {
	Reason     string // mail-rejected or mail-never-accepted
	SMTPStatus int    // reply code; 0: none
	Reply      string // enhanced status or a fixed text; never the provider's words, which may repeat the address
}
