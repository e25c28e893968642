package events

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// Fact is what every fact of an enrollment carries. It holds no personal data: the account is a keyed hash.
// Facts reach a reader at least once and in any order; Sequence orders those of one enrollment.
type Fact struct {
	AccountRef   string     `json:"accountRef"`             // keyed hash of the account, per tenant
	EnrollmentID string     `json:"enrollmentId,omitempty"` // UUID; absent before there is an enrollment, or where the publisher knows the account only
	Sequence     int64      `json:"sequence,omitempty"`     // per enrollment, rising, with gaps; absent without an enrollment
	OccurredAt   time.Time  `json:"occurredAt"`
	Reason       string     `json:"reason,omitempty"` // refusals and failures: one of Reasons
	Properties   Properties `json:"properties,omitzero"`
}

// Properties are what a funnel can be broken down by; each may be absent.
type Properties struct {
	Locale          string `json:"locale,omitempty"`
	InvoiceMonth    string `json:"invoiceMonth,omitempty"` // YYYY-MM of the invoice's issue
	CodeAgeDays     *int   `json:"codeAgeDays,omitempty"`  // whole days since the code was e-mailed
	MailDomainClass string `json:"mailDomainClass,omitempty"`
}

// Reasons is the closed list of why something was refused or failed.
var reasons = []string{
	// why a registration was refused
	"not-recognised", "code-used", "code-superseded", "code-expired", "code-retired", "account-closed", "username-taken",
	"too-many-tries", "too-soon", "too-many-mails", "too-many-corrections",
	// why a mail failed
	"mail-rejected",        // the provider refused it for good
	"mail-never-accepted",  // it was not accepted while its link would have lived
	"mail-outcome-unknown", // it was sent three times and the provider's answer never came: it may have arrived
	"mail-superseded",      // the enrollment moved on before it was sent
	// why an enrollment ended
	"mail-not-confirmed", "undeliverable", "by-customer", "by-helpdesk",
	"not-requested", // the owner of the mailbox did not sign up
}

// Reasons lists the closed list of reasons.
func Reasons() []string { return slices.Clone(reasons) }

var month = regexp.MustCompile(`^(20\d\d|2100)-(0[1-9]|1[0-2])$`)

// Validate checks what all facts have in common; a message of its own rule checks that too.
func (f Fact) Validate() error {
	var c check
	c.text("accountRef", f.AccountRef, 8, 128)
	if f.EnrollmentID != "" {
		c.uuid("enrollmentId", f.EnrollmentID)
	}
	if f.Sequence < 0 {
		c.fail(FieldInvalid, "sequence", "is negative")
	}
	c.time("occurredAt", f.OccurredAt)
	if f.Reason != "" && !slices.Contains(reasons, f.Reason) {
		c.fail(FieldInvalid, "reason", "is not one of "+strings.Join(reasons, ", "))
	}
	p := f.Properties
	c.locale("properties.locale", p.Locale)
	if p.InvoiceMonth != "" && !month.MatchString(p.InvoiceMonth) {
		c.fail(FieldInvalid, "properties.invoiceMonth", "is not a month as YYYY-MM")
	}
	if p.CodeAgeDays != nil && (*p.CodeAgeDays < 0 || *p.CodeAgeDays > 36500) {
		c.fail(FieldInvalid, "properties.codeAgeDays", "is not a number of days from 0 to 36500")
	}
	c.optional("properties.mailDomainClass", p.MailDomainClass, 1, 32)
	return c.err
}

// explained is Validate for a fact that must say why.
func (f Fact) explained() error {
	if f.Reason == "" {
		return malformed(FieldMissing, "data.reason", "is missing; one of "+strings.Join(reasons, ", "))
	}
	return f.Validate()
}

func (f Fact) fact() Fact { return f }

// FactOf is what a message has in common with all facts; false: it is none.
func FactOf(m Message) (Fact, bool) {
	if f, ok := m.(interface{ fact() Fact }); ok {
		return f.fact(), true
	}
	return Fact{}, false
}

// The facts, in the order of a customer's way.
type (
	// Invited: an e-mailed invoice carried a code. `codes` publishes one for each such InvoiceEmailed, once it is stored.
	Invited struct{ Fact }
	// RegistrationRefused: somebody gave an account number and a code and was told no. EnrollmentID may be absent.
	RegistrationRefused struct{ Fact }
	// Registered: a registration was accepted; its code and username are reserved.
	Registered struct{ Fact }
	// ActivationMailed: a mail provider accepted the activation mail. The mail worker publishes it.
	ActivationMailed struct {
		Fact
		Generation uint32 `json:"generation,omitempty"` // of the address; absent: 1
	}
	// ActivationMailFailed: the mail was refused for good or given up. The mail worker publishes it.
	ActivationMailFailed struct {
		Fact
		Generation uint32 `json:"generation,omitempty"`
		SMTPStatus int    `json:"smtpStatus,omitempty"` // 3-digit reply code, when there was one
	}
	// ActivationOpened: the link's page was shown; once per address for people and once for machines. No step of the
	// funnel, since mail scanners follow links.
	ActivationOpened struct {
		Fact
		AutomationSuspected bool `json:"automationSuspected,omitempty"`
	}
	// Activated: a password was chosen. The code is consumed; the saga is complete.
	Activated struct{ Fact }
	// SignedIn: the customer logged in.
	SignedIn struct{ Fact }
	// InvoiceViewed: the customer saw invoices, once a session.
	InvoiceViewed struct{ Fact }
	// Expired: the time ran out; code and username are free.
	Expired struct{ Fact }
	// Cancelled: somebody ended the enrollment; code and username are free.
	Cancelled struct{ Fact }
	// EmailCorrected: the customer gave another address; older links are dead.
	EmailCorrected struct{ Fact }
	// ActivationResent: the customer asked for the mail again.
	ActivationResent struct{ Fact }
	// Locked: a source has to wait after too many wrong tries on the account.
	Locked struct{ Fact }
	// Unlocked: a wait was lifted by staff.
	Unlocked struct{ Fact }
)

const factPrefix = typePrefix + "enrollment."

func (Invited) EventType() Type              { return factPrefix + "invited.v1" }
func (RegistrationRefused) EventType() Type  { return factPrefix + "registration-refused.v1" }
func (Registered) EventType() Type           { return factPrefix + "registered.v1" }
func (ActivationMailed) EventType() Type     { return factPrefix + "activation-mailed.v1" }
func (ActivationMailFailed) EventType() Type { return factPrefix + "activation-mail-failed.v1" }
func (ActivationOpened) EventType() Type     { return factPrefix + "activation-opened.v1" }
func (Activated) EventType() Type            { return factPrefix + "activated.v1" }
func (SignedIn) EventType() Type             { return factPrefix + "signed-in.v1" }
func (InvoiceViewed) EventType() Type        { return factPrefix + "invoice-viewed.v1" }
func (Expired) EventType() Type              { return factPrefix + "expired.v1" }
func (Cancelled) EventType() Type            { return factPrefix + "cancelled.v1" }
func (EmailCorrected) EventType() Type       { return factPrefix + "email-corrected.v1" }
func (ActivationResent) EventType() Type     { return factPrefix + "activation-resent.v1" }
func (Locked) EventType() Type               { return factPrefix + "locked.v1" }
func (Unlocked) EventType() Type             { return factPrefix + "unlocked.v1" }

func (f RegistrationRefused) Validate() error { return f.explained() }
func (f ActivationMailFailed) Validate() error {
	if f.SMTPStatus != 0 && (f.SMTPStatus < 400 || f.SMTPStatus > 599) {
		return malformed(FieldInvalid, "data.smtpStatus", "is not a reply code of a refusal, 400 to 599")
	}
	return f.explained()
}
func (f Expired) Validate() error   { return f.explained() }
func (f Cancelled) Validate() error { return f.explained() }
