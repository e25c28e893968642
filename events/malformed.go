package events

import (
	"errors"
	"strings"
)

// Fault says why an event cannot be taken. The list is closed: dead letters carry it, dashboards count it.
type Fault string

const (
	NotJSON            Fault = "not-json"             // not one strict JSON object
	NotACloudEvent     Fault = "not-a-cloudevent"     // neither structured nor binary mode, or an attribute is wrong
	SubjectUnknown     Fault = "subject-unknown"      // no event lives on that subject
	TypeMismatch       Fault = "type-mismatch"        // the type belongs on another subject
	TypeUnknown        Fault = "type-unknown"         // not a type of the contract
	VersionUnknown     Fault = "version-unknown"      // a known type in a major version that this build cannot read; parked
	TenantInvalid      Fault = "tenant-invalid"       // the subject's tenant cannot be one
	TenantMismatch     Fault = "tenant-mismatch"      // a tenant extension that contradicts the subject
	TenantUnknown      Fault = "tenant-unknown"       // replayable once the tenant exists
	FieldMissing       Fault = "field-missing"        // a required field is absent, null or empty
	FieldInvalid       Fault = "field-invalid"        // a field has the wrong type, form or range
	IDReused           Fault = "id-reused"            // a known id with other content
	RejectedByDatabase Fault = "rejected-by-database" // a constraint or the encoding refused it
	Undeliverable      Fault = "undeliverable"        // processing panicked or failed in the same way every time
	NoHandler          Fault = "no-handler"           // this consumer does not handle the type
)

// Malformed says that an event can never be taken as it is: a dead letter, not a retry. Its text names the field and the
// remedy and never repeats a value.
type Malformed struct {
	Fault Fault
	Field string // path in the event: data.invoice.amountDueMinor, id, subject
	Why   string // what is wrong, and what would be right
}

func (m *Malformed) Error() string {
	if m.Field == "" {
		return string(m.Fault) + ": " + m.Why
	}
	return string(m.Fault) + ": " + m.Field + " " + m.Why
}

// Parked reports whether a later build may be able to take the event: it waits among the dead letters, unspoiled.
func (m *Malformed) Parked() bool { return m.Fault == VersionUnknown || m.Fault == TenantUnknown }

// AsMalformed finds a *Malformed in an error's chain.
func AsMalformed(err error) (*Malformed, bool) { return errors.AsType[*Malformed](err) }

func malformed(f Fault, field, why string) *Malformed {
	return &Malformed{Fault: f, Field: field, Why: why}
}

// inField puts a field's path before that of the fault found inside it.
func inField(path string, err error) error {
	m, ok := AsMalformed(err)
	if !ok {
		return err
	}
	at := *m
	at.Field = strings.Trim(path+"."+m.Field, ".")
	return &at
}
