package events

import "time"

// ActivationRequested asks the mail worker for a registration e-mail. The outbox relay publishes it after a registration, a
// corrected address or a wish for another mail was committed. It holds no token and no link: the worker derives the link, so
// that a redelivery gives the same link and the same Message-ID.
type ActivationRequested struct {
	EnrollmentID    string    `json:"enrollmentId"`     // UUID
	Generation      uint32    `json:"generation"`       // from 1; rises when the address is corrected, which ends older links
	Number          uint32    `json:"number,omitempty"` // from 1; counts the mails of a generation; absent: 1
	To              string    `json:"to"`
	Username        string    `json:"username"`
	CompanyName     string    `json:"companyName,omitempty"`
	AccountNumber   string    `json:"accountNumber"`
	AccountRef      string    `json:"accountRef,omitempty"` // what facts call the account, for a worker that reports the outcome
	Locale          string    `json:"locale,omitempty"`
	RequestedAt     time.Time `json:"requestedAt"`
	ValidForSeconds int64     `json:"validForSeconds"` // from the provider's acceptance of the mail; a mail not sent within it of RequestedAt is given up

	// For the owner of the mailbox, who may be somebody else than the customer.

	SignedUpAt   *time.Time `json:"signedUpAt,omitempty"`   // when the form was sent; a later mail of the same sign-up says the same
	SignedUpWith string     `json:"signedUpWith,omitempty"` // browser and system, such as "Firefox, Windows"; absent: unknown
	HasLogIn     bool       `json:"hasLogIn,omitempty"`     // the address belongs to a user of the tenant already
}

func (ActivationRequested) EventType() Type { return typePrefix + "activation.requested.v1" }

func (e ActivationRequested) Validate() error {
	var c check
	c.uuid("enrollmentId", e.EnrollmentID)
	if e.Generation == 0 {
		c.fail(FieldMissing, "generation", "is missing or 0; it starts at 1")
	}
	c.address("to", e.To)
	c.text("username", e.Username, 1, 64)
	c.optional("companyName", e.CompanyName, 1, 200)
	c.account(e.AccountNumber)
	if e.AccountRef != "" {
		c.text("accountRef", e.AccountRef, 8, 128)
	}
	c.locale("locale", e.Locale)
	c.time("requestedAt", e.RequestedAt)
	c.seconds("validForSeconds", e.ValidForSeconds)
	if e.SignedUpAt != nil {
		c.time("signedUpAt", *e.SignedUpAt)
	}
	c.optional("signedUpWith", e.SignedUpWith, 1, 64)
	return c.err
}

// PasswordResetRequested asks for the mail with which a customer sets a new password.
type PasswordResetRequested struct {
	ResetID         string    `json:"resetId"` // UUID
	To              string    `json:"to"`
	Username        string    `json:"username"`
	Locale          string    `json:"locale,omitempty"`
	RequestedAt     time.Time `json:"requestedAt"`
	ValidForSeconds int64     `json:"validForSeconds"` // from RequestedAt
}

func (PasswordResetRequested) EventType() Type { return typePrefix + "password-reset.requested.v1" }

func (e PasswordResetRequested) Validate() error {
	var c check
	c.uuid("resetId", e.ResetID)
	c.address("to", e.To)
	c.text("username", e.Username, 1, 64)
	c.locale("locale", e.Locale)
	c.time("requestedAt", e.RequestedAt)
	c.seconds("validForSeconds", e.ValidForSeconds)
	return c.err
}

// EnrollmentNoticeRequested asks for the notice to the billing address of record that somebody enrolled the account. It
// does not say which address or username was chosen (47 CFR 64.2010 (f)).
type EnrollmentNoticeRequested struct {
	EnrollmentID  string    `json:"enrollmentId"`
	To            string    `json:"to"`
	CompanyName   string    `json:"companyName,omitempty"`
	AccountNumber string    `json:"accountNumber"`
	Locale        string    `json:"locale,omitempty"`
	ActivatedAt   time.Time `json:"activatedAt"`
}

func (EnrollmentNoticeRequested) EventType() Type {
	return typePrefix + "enrollment-notice.requested.v1"
}

func (e EnrollmentNoticeRequested) Validate() error {
	var c check
	c.uuid("enrollmentId", e.EnrollmentID)
	c.address("to", e.To)
	c.optional("companyName", e.CompanyName, 1, 200)
	c.account(e.AccountNumber)
	c.locale("locale", e.Locale)
	c.time("activatedAt", e.ActivatedAt)
	return c.err
}

// SecurityNoticeRequested asks for a mail that tells somebody what was done, or tried, to their account or log-in, so that a
// stranger's doing is noticed. It is published in the transaction of the deed, once for each mail. It holds no code, no
// token and no link, and neither must its mail.
type SecurityNoticeRequested struct {
	NoticeID      string    `json:"noticeId"` // UUID, one for each mail
	Kind          string    `json:"kind"`
	To            string    `json:"to"`
	Username      string    `json:"username,omitempty"`
	CompanyName   string    `json:"companyName,omitempty"`
	AccountNumber string    `json:"accountNumber,omitempty"`
	Locale        string    `json:"locale,omitempty"`
	OccurredAt    time.Time `json:"occurredAt"`
}

// Kinds of a SecurityNoticeRequested, and who is told.
const (
	CodeTried        = "code-tried"        // a code of an enrolled account was tried again: the billing address of record, and each user
	TriesLocked      = "locked"            // wrong codes were tried until their source had to wait: the billing address of record
	EnrollmentClosed = "enrollment-closed" // billing closed the account before the enrollment was finished: who signed up
	PasswordChanged  = "password-changed"  // the password of a log-in was changed or set anew: its user
)

// NoticeKinds are all of them. A kind that a worker does not know is not for it to guess.
var NoticeKinds = [...]string{CodeTried, TriesLocked, EnrollmentClosed, PasswordChanged}

func (SecurityNoticeRequested) EventType() Type { return typePrefix + "security-notice.requested.v1" }

func (e SecurityNoticeRequested) Validate() error {
	var c check
	c.uuid("noticeId", e.NoticeID)
	c.oneOf("kind", e.Kind, NoticeKinds[:]...)
	c.address("to", e.To)
	if e.Username != "" {
		c.text("username", e.Username, 1, 64)
	}
	c.optional("companyName", e.CompanyName, 1, 200)
	if e.AccountNumber != "" {
		c.account(e.AccountNumber)
	}
	c.locale("locale", e.Locale)
	c.time("occurredAt", e.OccurredAt)
	return c.err
}

func (c *check) seconds(field string, v int64) {
	if v < 60 || v > 30*24*3600 {
		c.fail(FieldInvalid, field, "is not between 60 and 2592000 seconds (30 days)")
	}
}

// CodeReissueRequested asks billing for a new registration code, sent to the address of record only. The relay publishes it
// when an account's codes were retired after too many wrong tries, or when a person asked. At most 1 a day and 4 in 30 days
// for one account.
type CodeReissueRequested struct {
	AccountNumber string    `json:"accountNumber"`
	Cause         string    `json:"cause"`
	RequestedAt   time.Time `json:"requestedAt"`
}

// Causes of a CodeReissueRequested.
const (
	CodesRetired  = "codes-retired"
	CustomerAsked = "customer-asked"
	HelpdeskAsked = "helpdesk-asked"
)

func (CodeReissueRequested) EventType() Type { return typePrefix + "code-reissue.requested.v1" }

func (e CodeReissueRequested) Validate() error {
	var c check
	c.account(e.AccountNumber)
	c.oneOf("cause", e.Cause, CodesRetired, CustomerAsked, HelpdeskAsked)
	c.time("requestedAt", e.RequestedAt)
	return c.err
}
