// Package events declares every message that crosses a process boundary: its type, its subject, its data and what makes
// it valid, and how it is written as a CloudEvent and read back. It knows no broker, no database and no rule of
// enrollment, and needs nothing but the standard library, so that it can be read as the contract that it is.
//
// A message is a past-tense struct that implements Message. Catalog lists them all.
package events

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Domain is the first token of a subject, and so the stream that an event lives in.
type Domain string

const (
	Billing    Domain = "billing"    // what the billing system says; carries codes
	Mail       Domain = "mail"       // work for the mail worker; carries addresses
	Enrollment Domain = "enrollment" // facts for analytics; no personal data
	Requests   Domain = "requests"   // what we ask of billing
)

// Type is a CloudEvents type, version included: `net.billcenter.invoice.emailed.v1`.
type Type string

const typePrefix = "net.billcenter."

// Message is the data of an event.
type Message interface {
	EventType() Type
	// Validate reports the first fault as a *Malformed that names the field and the remedy.
	Validate() error
}

// Definition is one row of the contract: a message, its type and its subject.
type Definition struct {
	Name   string // the Go type's
	Type   Type
	Domain Domain
	Event  string // the subject's tokens after the tenant
	New    func() Message
}

func define[M any, P interface {
	*M
	Message
}](name string, domain Domain, event string) Definition {
	var p P = new(M)
	return Definition{Name: name, Type: p.EventType(), Domain: domain, Event: event, New: func() Message { return P(new(M)) }}
}

// catalog is the contract's table of messages (design section 4), billing's first.
var catalog = []Definition{
	define[InvoiceEmailed]("InvoiceEmailed", Billing, "invoice.emailed"),
	define[AccountClosed]("AccountClosed", Billing, "account.closed"),
	define[PaymentMethodChanged]("PaymentMethodChanged", Billing, "payment-method.changed"),
	define[ActivationRequested]("ActivationRequested", Mail, "activation.requested"),
	define[PasswordResetRequested]("PasswordResetRequested", Mail, "password-reset.requested"),
	define[EnrollmentNoticeRequested]("EnrollmentNoticeRequested", Mail, "enrollment-notice.requested"),
	define[SecurityNoticeRequested]("SecurityNoticeRequested", Mail, "security-notice.requested"),
	define[CodeReissueRequested]("CodeReissueRequested", Requests, "code-reissue.requested"),
	define[Invited]("Invited", Enrollment, "invited"),
	define[RegistrationRefused]("RegistrationRefused", Enrollment, "registration-refused"),
	define[Registered]("Registered", Enrollment, "registered"),
	define[ActivationMailed]("ActivationMailed", Enrollment, "activation-mailed"),
	define[ActivationMailFailed]("ActivationMailFailed", Enrollment, "activation-mail-failed"),
	define[ActivationOpened]("ActivationOpened", Enrollment, "activation-opened"),
	define[Activated]("Activated", Enrollment, "activated"),
	define[SignedIn]("SignedIn", Enrollment, "signed-in"),
	define[InvoiceViewed]("InvoiceViewed", Enrollment, "invoice-viewed"),
	define[Expired]("Expired", Enrollment, "expired"),
	define[Cancelled]("Cancelled", Enrollment, "cancelled"),
	define[EmailCorrected]("EmailCorrected", Enrollment, "email-corrected"),
	define[ActivationResent]("ActivationResent", Enrollment, "activation-resent"),
	define[Locked]("Locked", Enrollment, "locked"),
	define[Unlocked]("Unlocked", Enrollment, "unlocked"),
}

var byType = func() map[Type]Definition {
	m := make(map[Type]Definition, len(catalog))
	for _, d := range catalog {
		m[d.Type] = d
	}
	return m
}()

// Catalog lists every message of the contract.
func Catalog() []Definition { return slices.Clone(catalog) }

// DefinitionOf finds a message by its CloudEvents type.
func DefinitionOf(t Type) (Definition, bool) {
	d, ok := byType[t]
	return d, ok
}

// DefinitionNamed finds a message by its Go name or its CloudEvents type, as a person types it.
func DefinitionNamed(name string) (Definition, bool) {
	i := slices.IndexFunc(catalog, func(d Definition) bool { return d.Name == name || string(d.Type) == name })
	if i < 0 {
		return Definition{}, false
	}
	return catalog[i], true
}

// Subject is the NATS subject that an event of this type is published on for a tenant; "*" stands for every tenant.
func (d Definition) Subject(tenant string) string {
	return string(d.Domain) + "." + tenant + "." + d.Event
}

// ValidTenant reports whether a tenant id can stand in a subject: `[a-z0-9-]{1,32}`.
func ValidTenant(id string) bool {
	return len(id) >= 1 && len(id) <= 32 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// SubjectTenant returns the tenant of a subject, its second token: the only place that says it.
func SubjectTenant(subject string) (string, error) {
	parts := strings.SplitN(subject, ".", 3)
	if len(parts) != 3 {
		return "", malformed(SubjectUnknown, "subject", "is not <domain>.<tenant>.<event>")
	}
	if !ValidTenant(parts[1]) {
		return "", malformed(TenantInvalid, "subject", "names a tenant that is not [a-z0-9-]{1,32}")
	}
	return parts[1], nil
}

// Envelope is the CloudEvents 1.0 part of an event, as we publish it.
type Envelope struct {
	ID          string    // unique per source; with tenant and source it is the event's identity
	Source      string    // URI reference of the publisher and its tenant: //mongo.billcenter.net/billing
	Subject     string    // account number or enrollment id; empty: none
	Time        time.Time // when it happened, at the publisher; zero: not said
	TraceParent string    // W3C trace context; empty: none
}

// MsgID is the Nats-Msg-Id: ids are unique per source only, so the source is part of it.
func (e Envelope) MsgID() string { return e.Source + "#" + e.ID }

// Event is one event as it was read: who said it, about which tenant, and its data still as JSON.
type Event struct {
	Envelope
	Tenant     string
	Definition Definition
	DataSchema string
	Extensions map[string]string // those that we do not know, kept
	Data       []byte            // strict JSON: one object, valid UTF-8, no duplicate names
}

// Data decodes and validates an event's data. It takes unknown fields, refuses wrong types, and refuses names that differ
// from a known one in case only: encoding/json would take them for it.
func Data[M any, P interface {
	*M
	Message
}](e Event) (M, error) {
	var m M
	if want := P(&m).EventType(); want != e.Definition.Type {
		return m, fmt.Errorf("events: reading a %s as %s", e.Definition.Type, want)
	}
	if err := unmarshal(e.Data, P(&m)); err != nil {
		return m, err
	}
	return m, P(&m).Validate()
}

// Read decodes and validates an event's data, whatever its type: a pointer to the struct that the contract names.
func (e Event) Read() (Message, error) {
	m := e.Definition.New()
	if err := unmarshal(e.Data, m); err != nil {
		return nil, err
	}
	return m, m.Validate()
}

// Check is Read for whoever wants to know only whether the data is valid.
func (e Event) Check() error {
	_, err := e.Read()
	return err
}
