package enrollment

import (
	"fmt"
	"time"
)

// Reason is a stable code for why a customer was refused. Facts carry it, pages translate it. The list is closed:
// `events` validates against the same words.
type Reason string

const (
	// NotRecognised is the one answer to an unknown account and to a wrong code, so that nobody learns which it was.
	NotRecognised Reason = "not-recognised"

	// The next ones are told only to somebody who proved to hold a stored account number and code.

	CodeUsed       Reason = "code-used"       // log in, reset the password, or ask the colleague who enrolled
	CodeSuperseded Reason = "code-superseded" // a newer code was e-mailed, on NewerSentOn
	CodeExpired    Reason = "code-expired"    // ask for a new code
	CodeRetired    Reason = "code-retired"    // too many strangers guessed; billing was asked for a new one
	AccountClosed  Reason = "account-closed"  // billing closed the account
	UsernameTaken  Reason = "username-taken"  // with Suggestions

	// Limits. Each has an end that is known when it is told.

	TooManyTries       Reason = "too-many-tries"       // wait RetryAfter; the right code works after it
	TooSoon            Reason = "too-soon"             // a mail was sent a moment ago; wait RetryAfter
	TooManyMails       Reason = "too-many-mails"       // this enrollment had its five activation mails
	TooManyCorrections Reason = "too-many-corrections" // this enrollment had its three corrections

	// Form rules: they say nothing about accounts and are told to anybody, beside the field.

	Missing          Reason = "missing"
	TooLong          Reason = "too-long"
	TooShort         Reason = "too-short"
	BadCharacters    Reason = "bad-characters"
	HasSpaces        Reason = "has-spaces"        // usernames; with Suggestions
	MixedScripts     Reason = "mixed-scripts"     // usernames
	BadAddress       Reason = "bad-address"       // not an e-mail address that mail can reach
	PasswordCommon   Reason = "password-common"   // on the blocklist
	PasswordContext  Reason = "password-context"  // made of the username, the address, the account or the tenant's name
	PasswordMismatch Reason = "password-mismatch" // the confirmation differs

	// Dead ends of a link, told apart (design section 5).

	LinkExpired    Reason = "link-expired"    // offers a new mail
	LinkCancelled  Reason = "link-cancelled"  // somebody ended the sign-up: it can only begin anew
	LinkSuperseded Reason = "link-superseded" // the address was corrected since
	LinkUsed       Reason = "link-used"       // already active: log in
	LinkDamaged    Reason = "link-damaged"    // not one of ours, or cut off on its way

	// LogInFailed is the one answer to an unknown username and to a wrong password.
	LogInFailed Reason = "log-in-failed"

	// PasswordWrong is told to somebody who is logged in and gave another password than the present one.
	PasswordWrong Reason = "password-wrong"

	// LastUser is told to somebody who would leave an account without anybody to see it.
	LastUser Reason = "last-user"
)

// Field names a form's field, as the design's routes spell it.
type Field string

const (
	FieldAccountNumber Field = "account_number"
	FieldCode          Field = "registration_code"
	FieldEmail         Field = "email"
	FieldUsername      Field = "username"
	FieldPassword      Field = "password"
	FieldConfirmation  Field = "password_confirmation"
	FieldCurrent       Field = "current_password"
)

// Refusal is a rule that said no: an answer for the customer, not a fault. It holds no secret and nothing that was typed
// but Suggestions.
type Refusal struct {
	Reason      Reason
	Field       Field         // the field it belongs to; empty when it is about the whole form
	NewerSentOn time.Time     // CodeSuperseded: when the newer code was e-mailed
	RetryAfter  time.Duration // TooManyTries, TooSoon: how long from now
	Suggestions []string      // UsernameTaken, HasSpaces: free (or at least well-formed) alternatives
	Limit       int           // TooLong, TooShort: the limit in characters
}

func (r *Refusal) Error() string {
	if r.Field == "" {
		return fmt.Sprintf("refused: %s", r.Reason)
	}
	return fmt.Sprintf("refused: %s (%s)", r.Reason, r.Field)
}
