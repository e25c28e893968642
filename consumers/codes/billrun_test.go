package codes_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

const tenant = storetest.Mongo

var emailed = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

// invoice is an invoice mail whose box, if any, holds code.
func invoice(account, code string) events.InvoiceEmailed {
	amount := int64(12345)
	return events.InvoiceEmailed{
		AccountNumber: account, CompanyName: "Bob's Building", BillingEmail: "ap@bobsbuilding.example", EmailedAt: emailed,
		RegistrationCode: code, Locale: "en-US",
		Invoice: &events.Invoice{Number: "INV-" + account, IssuedOn: "2026-10-31", Currency: "USD", AmountDueMinor: &amount},
	}
}

// said is an event of billing as it goes on the wire.
func said(t testing.TB, tenant, id string, m events.Message) bus.Outgoing {
	t.Helper()
	e, err := events.Encode(tenant, events.Envelope{ID: id, Source: events.Source(tenant, "billing")}, m)
	if err != nil {
		t.Fatal(err)
	}
	return bus.Outgoing{Subject: e.Subject, ID: e.MsgID, Header: e.Header, Data: e.Body}
}

// invitedID is the id of the fact that follows from one of billing's events.
func invitedID(id string) string {
	cause := events.Event{Tenant: tenant}
	cause.ID, cause.Source = id, events.Source(tenant, "billing")
	return consumers.Following(cause, "invited", "", "", emailed).ID
}

// billRun is what billing publishes, in order, and what must come of it. The first message has sequence 1.
type billRun struct {
	out                      []bus.Outgoing
	mails, closures, methods int
	facts                    map[string]int          // ids of Invited, each once
	dead                     map[uint64]events.Fault // by sequence
}

func (r *billRun) says(o bus.Outgoing) { r.out = append(r.out, o) }

func (r *billRun) buries(o bus.Outgoing, f events.Fault) {
	r.says(o)
	r.dead[uint64(len(r.out))] = f
}

func (r *billRun) mailed(t testing.TB, id, code string) {
	r.says(said(t, tenant, id, invoice("ACC-"+id, code)))
	r.mails++
	if code != "" {
		r.facts[invitedID(id)] = 1
	}
}

// mixed is a bill run of n messages with everything that may occur in one, and with everything that must not.
func mixed(t testing.TB, n int) *billRun {
	r := &billRun{facts: map[string]int{}, dead: map[uint64]events.Fault{}}
	for i := range n {
		id := fmt.Sprintf("e%05d", i)
		switch {
		case i%50 == 49:
			o, fault := malformed(t, id, i/50)
			r.buries(o, fault)
		case i%50 == 48: // published again after the broker forgot it
			o := said(t, tenant, fmt.Sprintf("e%05d", i-48), invoice(fmt.Sprintf("ACC-e%05d", i-48), "QX4T88ZK"))
			o.ID += "-again"
			r.says(o)
		case i%50 == 47:
			r.says(said(t, tenant, id, events.AccountClosed{AccountNumber: "ACC-" + id, ClosedAt: emailed}))
			r.closures++
		case i%50 == 46:
			r.says(said(t, tenant, id, events.PaymentMethodChanged{AccountNumber: "ACC-" + id, ChangedAt: emailed, Kind: events.Card, LastFour: "4242"}))
			r.methods++
		case i%50 > 30:
			r.mailed(t, id, "")
		default:
			r.mailed(t, id, "QX4T88ZK")
		}
	}
	return r
}

// malformed is the nth kind of what cannot be kept.
func malformed(t testing.TB, id string, n int) (bus.Outgoing, events.Fault) {
	o := said(t, tenant, id, invoice("ACC-"+id, "QX4T88ZK"))
	replace := func(old, new string) { o.Data = []byte(strings.ReplaceAll(string(o.Data), old, new)) }
	switch n % 5 {
	case 0:
		o.Data = []byte("an invoice was mailed")
		return o, events.NotJSON
	case 1:
		replace(`"billingEmail"`, `"billingMail"`)
		return o, events.FieldMissing
	case 2:
		replace("emailed.v1", "emailed.v2")
		return o, events.VersionUnknown
	case 3:
		return said(t, "nobody", id, invoice("ACC-"+id, "QX4T88ZK")), events.TenantUnknown
	default: // only the rules know that this is no code
		return said(t, tenant, id, invoice("ACC-"+id, "ＱＸ４Ｔ")), events.FieldInvalid
	}
}
