package enrollment

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"
)

// ErrUnknown says that there is no such enrollment, account or user in that tenant.
var ErrUnknown = errors.New("enrollment: unknown")

// Secret is text that must not reach a log, an error or a page by accident. Reveal is the only way to it.
type Secret string

// Reveal returns the text itself; each call is a place to review.
func (s Secret) Reveal() string { return string(s) }

func (Secret) String() string               { return "[secret]" }
func (Secret) GoString() string             { return "[secret]" }
func (Secret) LogValue() slog.Value         { return slog.StringValue("[secret]") }
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// Policy is what a tenant may decide about enrollment. The zero value is not usable; start from DefaultPolicy.
type Policy struct {
	LeadingZerosOptional bool          // "00482" and "482" name the same account; changing it re-keys accounts
	CodeLife             time.Duration // of a code whose event names no end, from its e-mail on
	CodeGrace            time.Duration // how long a superseded code is still taken, from the newer one's e-mail on
	ActivationWindow     time.Duration // how long a link works, from the provider's acceptance of the mail
	PasswordMin          int           // code points after NFC
	ClosedGrace          time.Duration // how long users of a closed account still see it
	SeveralUsers         bool          // a later code may enroll a further user of an account that has one
}

// DefaultPolicy returns the design's defaults; reference/domain.md section 5 has their sources.
func DefaultPolicy() Policy {
	return Policy{
		CodeLife:         45 * 24 * time.Hour,
		CodeGrace:        7 * 24 * time.Hour,
		ActivationWindow: 72 * time.Hour,
		PasswordMin:      15,
		ClosedGrace:      60 * 24 * time.Hour,
		SeveralUsers:     true,
	}
}

// Application is a sign-up form that passed the form rules, and who sent it.
type Application struct {
	Tenant        string
	AccountNumber string   // as typed
	Code          Secret   // as typed
	Email         Address  // where the activation mail goes
	Username      Username // display form and key
	Locale        string   // BCP 47; empty: the account's, else the tenant's
	RequestID     string   // of the form; the same again is the same request
	Browser       string   // and system, for people: "Firefox, Windows"; empty: unknown
	Source        netip.Addr
}

// Wish is what a form about a pending enrollment brings beside its fields.
type Wish struct {
	RequestID string // the same again is the same request
	Locale    string // that its page was read in: the mail's; empty: that of the enrollment's last mail
	Browser   string // as in Application; it counts where a wish is a sign-up of its own
}

// Admission is an accepted application: the enrollment that now holds the code. Accepting it twice gives the same one.
type Admission struct {
	Enrollment ID
	Continued  bool // the code was already held by this enrollment
}

// Pending is what the check-your-email page knows about an enrollment.
type Pending struct {
	Enrollment      ID
	State           State
	Email           Address
	Username        string
	CompanyName     string
	MailedAt        time.Time // zero until a provider took a mail to the present address
	ExpiresAt       time.Time
	Closed          bool          // billing closed the account before a password was chosen
	ResendAfter     time.Duration // 0: now
	MailsLeft       int
	CorrectionsLeft int
}

// Invitation is what the activation page shows before a password is chosen.
type Invitation struct {
	Enrollment    ID
	Username      string // display form
	CompanyName   string
	AccountNumber string  // display form; a context word that the password may not be made of
	Email         Address // likewise
	ExpiresAt     time.Time
}

// Visit is who opened an activation page. Opening changes no state; it is recorded once per address for the funnel.
type Visit struct {
	Automated  bool // the request looks like a mail scanner's, not a person's
	Unrecorded bool // only looking the link up: HEAD, or a form that comes back
}

// Credential is what a log-in is checked against.
type Credential struct {
	User         int64  // 0: there is no such user; the hash is then a dummy of the same cost
	PasswordHash string // PHC string
	Epoch        int64  // of the user's sessions; one that begins with it ends with it
}
