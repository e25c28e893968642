// Package journey says what the funnel knows of a unit: every fact about one account, in an order that depends on the facts
// alone. It is what the store keeps as one row and what reports are counted from. It knows no database and counts nothing.
package journey

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/mongotel/billcenter/events"
)

// Kind of a fact. The first six are the funnel's steps, in their order; the others explain why somebody did not go on.
type Kind uint8

const (
	Other Kind = iota // a fact that a later version may read: kept, and no part of any report
	Invited
	Registered
	ActivationMailed
	Activated
	SignedIn
	InvoiceViewed
	RegistrationRefused
	ActivationMailFailed
	Opened          // the activation page, by a person
	OpenedByMachine // the activation page, by what looks like a mail scanner
	Expired
	Cancelled
	EmailCorrected
	ActivationResent
	Locked
	Unlocked
)

// Steps is how many steps the funnel has.
const Steps = int(InvoiceViewed)

var names = []string{
	"Other", "Invited", "Registered", "ActivationMailed", "Activated", "SignedIn", "InvoiceViewed", "RegistrationRefused",
	"ActivationMailFailed", "ActivationOpened", "ActivationOpenedByMachine", "Expired", "Cancelled", "EmailCorrected",
	"ActivationResent", "Locked", "Unlocked",
}

// String is the name of the event type, except that a machine's opening has one of its own.
func (k Kind) String() string { return names[k] }

// Step reports whether the kind is a step of the funnel.
func (k Kind) Step() bool { return k >= Invited && k <= InvoiceViewed }

// KindOf is the kind of a fact, by the name of its event type.
func KindOf(name string, automated bool) Kind {
	if name == "ActivationOpened" && automated {
		return OpenedByMachine
	}
	if i := slices.Index(names, name); i > 0 {
		return Kind(i)
	}
	return Other
}

// Reason is one of events.Reasons by its place there plus one; 0: none. The list only grows.
type Reason uint8

var reasons = append([]string{""}, events.Reasons()...)

// ReasonOf returns 0 for what is not on the list.
func ReasonOf(text string) Reason { return Reason(max(slices.Index(reasons, text), 0)) }

func (r Reason) String() string {
	if int(r) >= len(reasons) {
		return ""
	}
	return reasons[r]
}

// Properties are what a funnel can be broken down by; empty: the fact does not say.
type Properties struct {
	Locale          string `json:"locale,omitempty"`
	InvoiceMonth    string `json:"invoiceMonth,omitempty"`
	CodeAgeDays     string `json:"codeAgeDays,omitempty"` // a whole number
	MailDomainClass string `json:"mailDomainClass,omitempty"`
}

// PropertiesOf are those of an event.
func PropertiesOf(p events.Properties) Properties {
	age := ""
	if p.CodeAgeDays != nil {
		age = strconv.Itoa(*p.CodeAgeDays)
	}
	return Properties{p.Locale, p.InvoiceMonth, age, p.MailDomainClass}
}

// Fact is one thing that happened to a unit.
type Fact struct {
	At         int64 // nanoseconds since 1970: the finest that a fact can say, where PostgreSQL's times have microseconds
	Enrollment int16 // which of the unit's enrollments, by first appearance from 1; 0: it is about the account
	Kind       Kind
	Reason     Reason
	Properties *Properties // shared by the facts that have the same; never nil
}

// Time is when it happened.
func (f Fact) Time() time.Time { return time.Unix(0, f.At).UTC() }

// Unit is what the funnel counts: an account, by the reference that facts call it by.
type Unit struct {
	Tenant  string `json:"tenant"`
	Account string `json:"accountRef"`
}

// Journey is a unit's whole history.
type Journey struct {
	Unit
	Facts []Fact // by time; facts of one instant in the order of Of
}

// Told is a fact as it was told, not yet part of a history.
type Told struct {
	ID         string // of its event, as the store knows it
	At         int64
	Sequence   int64  // per enrollment, rising; 0: not said
	Enrollment string // UUID; empty: it is about the account
	Kind       Kind
	Reason     Reason
	Properties Properties
}

// Compare orders by time; equal instants by the enrollment's sequence, then by what happened, then by the event's id, so that
// the same facts always give the same journey.
func (t Told) Compare(o Told) int {
	return cmp.Or(cmp.Compare(t.At, o.At), cmp.Compare(t.Sequence, o.Sequence), cmp.Compare(t.Kind, o.Kind), cmp.Compare(t.ID, o.ID))
}

// Of derives the journey of a unit from everything that was told about it, in any order.
func Of(u Unit, told []Told) Journey {
	sorted := slices.Clone(told)
	slices.SortFunc(sorted, Told.Compare)
	j := Journey{Unit: u, Facts: make([]Fact, len(sorted))}
	enrollments := map[string]int16{"": 0}
	properties := map[Properties]*Properties{}
	for i, t := range sorted {
		number, ok := enrollments[t.Enrollment]
		if !ok {
			number = int16(len(enrollments))
			enrollments[t.Enrollment] = number
		}
		p, ok := properties[t.Properties]
		if !ok {
			p = &t.Properties
			properties[t.Properties] = p
		}
		j.Facts[i] = Fact{At: t.At, Enrollment: number, Kind: t.Kind, Reason: t.Reason, Properties: p}
	}
	return j
}

// Restatement is a late fact about a unit, for the periods that were final before it came.
type Restatement struct {
	Tenant    string
	Entered   time.Time // an entry that it may have changed
	Watermark time.Time // when it came: everything published before was counted already
	At        time.Time
	Batch     int64 // facts that came together restate a period once
}

// Recorded is a fact as the store keeps it, for whoever traces a number to its facts.
type Recorded struct {
	Told
	Name           string // of the event type
	StreamSequence uint64 // of the message that brought it
}
