package enrollment

import (
	"net/netip"
	"time"
)

// Limits on the mails with which somebody gets back in. Beyond them nothing is sent and nothing is told: the answer to a
// wish is always the same.
const (
	ResetSpacing = MailSpacing // between two of one user
	MaxResets    = MaxMails    // of one user within ResetsWindow
	ResetsWindow = 24 * time.Hour
	MaxReminded  = 5 // users of one address that are mailed for one wish
)

// Forgotten is somebody's wish to get back in, by what they remember: a username or an address.
type Forgotten struct {
	Tenant      string
	UsernameKey string  // empty: not given
	Address     Address // empty: not given
	Locale      string  // of the page; empty: the user's
	Source      netip.Addr
}

// Recovery is what the page shows on which a new password is chosen.
type Recovery struct {
	Username       string
	Email          Address
	AccountNumbers []string // context words that the password may not be made of
	ExpiresAt      time.Time
}

const recoveryPurpose = "billcenter/password-reset/v1"

// MintRecovery returns the token of a link to reset a password. It is made like that of an activation link (Mint), with the
// reset's id in the enrollment's place, generation 1, and the purpose "billcenter/password-reset/v1"; ParseLink reads it.
func MintRecovery(key []byte, tenant string, reset ID, address Address) Secret {
	return mint(recoveryPurpose, key, tenant, Link{Enrollment: reset, Generation: 1}, address)
}

// GenuineRecovery is Genuine for a link to reset a password. A link of one kind is never one of the other.
func (s Signed) GenuineRecovery(key []byte, tenant string, address Address) bool {
	return s.Generation == 1 && s.genuine(recoveryPurpose, key, tenant, address)
}
