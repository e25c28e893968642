package enrollment

import "time"

// Staff is a person of the helpdesk, as the identity provider vouches for them.
type Staff struct {
	Subject string // the provider's name for the person; no other one ever has it
	Name    string // what people call them
	Roles   []string
	Session string // what their sitting is called, so that what holds for it ends with it; opens nothing. Empty: they never signed in
}

// Errand is who of the staff acts on somebody's behalf, and why. Both stand in the audit trail.
type Errand struct {
	By     Staff
	Reason string // MinReason to MaxReason code points
}

// Bounds of the reason that staff give for what they do, in code points.
const (
	MinReason = 5
	MaxReason = 500
)

// Deed is what staff can do to a customer, or to a message that died. The database repeats the list in a CHECK.
type Deed string

const (
	CameIn              Deed = "sign-in"
	SentAgain           Deed = "send-again"
	CorrectedAddress    Deed = "correct-address"
	Unlocked            Deed = "unlock"
	RetiredCode         Deed = "retire-code"
	CancelledEnrollment Deed = "cancel"
	SignedOutEverywhere Deed = "sign-out-everywhere"
	ReplayedLetter      Deed = "replay-dead-letter"
	DroppedLetter       Deed = "drop-dead-letter"
	VerifiedCaller      Deed = "verify-caller"
	ViewedAs            Deed = "view-as"
	ViewedPage          Deed = "view-page"
	EndedView           Deed = "view-end"
)

// Deeds lists every deed.
var Deeds = [...]Deed{CameIn, SentAgain, CorrectedAddress, Unlocked, RetiredCode, CancelledEnrollment, SignedOutEverywhere, ReplayedLetter, DroppedLetter,
	VerifiedCaller, ViewedAs, ViewedPage, EndedView}

// AuditEntry is one line of the audit trail.
type AuditEntry struct {
	At        time.Time `db:"at"`
	Actor     string    `db:"actor"`
	ActorName string    `db:"actor_name"`
	Deed      Deed      `db:"action"`
	Tenant    string    `db:"tenant"`  // empty: none
	Subject   string    `db:"subject"` // to whom or what
	Reason    string    `db:"reason"`
	Detail    string    `db:"detail"` // what came of it
}

// Found is an account that a search came upon.
type Found struct {
	Tenant        string `db:"tenant"`
	AccountNumber string `db:"account_number"`
	CompanyName   string `db:"company_name"`
	By            string `db:"found_by"` // by what it was found, in words
}

// MailRecord is what the mail ledger says about one mail. It holds no address.
type MailRecord struct {
	LastTryAt     time.Time `db:"last_try_at"`
	Tenant        string    `db:"tenant"`
	AccountNumber string    `db:"account_number"` // empty: not an enrollment's, or of one that is not here
	Purpose       string    `db:"purpose"`
	Generation    int       `db:"generation"`
	Number        int       `db:"number"`
	State         string    `db:"state"`
	Failure       string    `db:"failure"`
	SMTPStatus    int       `db:"smtp_status"` // 0: there was no reply
	Reply         string    `db:"reply"`       // enhanced status code
	MessageID     string    `db:"message_id"`
}
