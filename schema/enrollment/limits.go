package enrollment

import (
	"net/netip"
	"time"
)

// Limits on guessing. A guess is counted before it is compared, and a wait has an end that further guesses do not move
// (design section 5; NIST SP 800-63B-4 section 3.2.2 asks for at most 100 and for waits from 30 s on).
const (
	WrongTriesOnAccount = 5  // by one source on one account, then it waits
	WrongTriesOnTenant  = 20 // by one source on one tenant within WrongTriesWindow, then it waits
	WrongTriesWindow    = 10 * time.Minute
	WrongTriesToRetire  = 100 // by anybody on one account: its codes are retired and billing is asked for a new one

	FirstWait   = 30 * time.Second
	LongestWait = 15 * time.Minute
)

// Limits on mail, so that the form is no cannon aimed at a mailbox. A new code goes to the address of record only; its
// numbers are Login.gov's.
const (
	MailSpacing    = 60 * time.Second // between two activation mails of an enrollment
	MaxMails       = 5                // activation mails of an enrollment
	MaxCorrections = 3                // of an enrollment's address
	MaxDisowned    = 5                // sign-ups with a code that owners of mailboxes ended within DisownedWindow, then it waits
	DisownedWindow = 24 * time.Hour

	CodeReissueSpacing   = 24 * time.Hour // between two requests for a new code of an account
	MaxCodeReissues      = 4              // of an account within CodeReissuesWindow
	CodeReissuesWindow   = 30 * 24 * time.Hour
	NoticeSpacing        = 24 * time.Hour // between two notices of one kind about what somebody tried at an account
	RecoveryLinkLifespan = time.Hour      // of a link to reset a password
)

// Wait returns how long a source waits the level-th time it is stopped: 30 s, then twice as long each time up to 15
// minutes. Level 0 and below is no wait.
func Wait(level int) time.Duration {
	if level <= 0 {
		return 0
	}
	wait := FirstWait
	for ; level > 1 && wait < LongestWait; level-- {
		wait *= 2
	}
	return min(wait, LongestWait)
}

// SourceKey returns what guesses are counted by: the address itself for IPv4, also when it comes mapped into IPv6, and
// the /64 for IPv6, as one subscriber has all of it. Every invalid address has the one key "unknown".
func SourceKey(source netip.Addr) string {
	source = source.Unmap()
	bits := source.BitLen()
	if source.Is6() {
		bits = 64
	}
	prefix, err := source.Prefix(bits)
	if err != nil || !prefix.IsValid() {
		return "unknown"
	}
	return prefix.String()
}
