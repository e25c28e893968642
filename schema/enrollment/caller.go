package enrollment

import "time"

// CallerCheck is how staff made sure that who calls may hear about an account. 47 CFR 64.2010 wants it before anything is
// told. The database repeats the list in a CHECK.
type CallerCheck string

const (
	CalledBack  CallerCheck = "called-back"  // at the telephone number of record
	GavePIN     CallerCheck = "account-pin"  // the PIN or password of the account, never that of the log-in
	KnewInvoice CallerCheck = "last-invoice" // told, without help, what stands on the newest invoice
	InPerson    CallerCheck = "in-person"    // showed a valid photo ID
	NotVerified CallerCheck = "not-verified" // tried and failed; ends what held before
)

// CallerChecks lists every one, in the order in which they are offered.
var CallerChecks = [...]CallerCheck{CalledBack, GavePIN, KnewInvoice, InPerson, NotVerified}

// Words say the check as the audit trail does; empty: it is none of them.
func (c CallerCheck) Words() string {
	switch c {
	case CalledBack:
		return "was called back at the number of record"
	case GavePIN:
		return "gave the PIN or password of the account"
	case KnewInvoice:
		return "answered from the last invoice"
	case InPerson:
		return "is here in person, with a photo ID"
	case NotVerified:
		return "could not be verified"
	}
	return ""
}

// How long a check holds, and how long staff may look at a customer's pages at a time. The database repeats both.
const (
	CallerCheckLife = 30 * time.Minute
	ViewLife        = 15 * time.Minute
)

// Caller is what one sitting of staff knows about who calls for an account. The zero value is nobody that was verified.
type Caller struct {
	How   CallerCheck
	Until time.Time
}

// Verified reports whether the check holds.
func (c Caller) Verified() bool { return c.How != "" }

// View is staff looking at the pages of a customer. They change nothing there.
type View struct {
	Tenant        string
	User          int64
	Username      string // display form
	AccountNumber string // for which the caller was verified; the customer may have more, which are not shown
	Until         time.Time
}

// CallerNotVerified refuses staff a view of the customer's pages. No customer is told it.
const CallerNotVerified Reason = "caller-not-verified"

// Fields of staff's forms.
const (
	FieldReason Field = "reason"
	FieldHow    Field = "how"
)
