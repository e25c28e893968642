package main

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/consumers/funnel/simulation"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/journey"
)

// cast is the players of a run, their invoices, and the query that finds them and nobody else.
type cast struct {
	players  []*player
	invoices []events.InvoiceEmailed
	query    funnel.Query
}

func (c *cast) customers() []simulation.Customer {
	all := make([]simulation.Customer, len(c.players))
	for i, p := range c.players {
		all[i] = p.Customer
	}
	return all
}

// Entries of a run lie close together, so that the next run's, which begins later, lie after them.
const (
	spacing       = 50 * time.Microsecond
	mostCustomers = int(time.Second / 2 / spacing)
)

// firstEntry keeps a run's entries off whole seconds, in which billing systems tell times.
func firstEntry(at time.Time, customers int) time.Time {
	first := at.UTC().Truncate(time.Microsecond)
	if next := first.Truncate(time.Second).Add(time.Second); first.Equal(first.Truncate(time.Second)) {
		first = first.Add(spacing)
	} else if !first.Add(time.Duration(customers) * spacing).Before(next) {
		first = next.Add(spacing)
	}
	return first
}

func (c *simulateCommand) cast(now time.Time, p enrollment.Policy) *cast {
	run := uint64(now.UnixMilli())
	first := firstEntry(now.Add(-c.Invited), c.Customers)
	name := fmt.Sprintf("s%d-%s", c.Seed, strconv.FormatUint(run, 36))
	all := &cast{query: funnel.Query{
		Tenant: c.Tenant, From: first.Format(time.RFC3339Nano), To: first.Add(time.Duration(c.Customers) * spacing).Format(time.RFC3339Nano),
		Window: funnel.DefaultWindow, Order: funnel.Sequential, Count: funnel.Uniques, Steps: journey.Steps,
		AsOf: first.Add(funnel.DefaultWindow + time.Second),
	}}
	for _, customer := range simulation.Population(c.Seed, c.Customers) {
		customer.Entered = first.Add(time.Duration(customer.Number) * spacing)
		who := fmt.Sprintf("%s-%04d", name, customer.Number)
		player := &player{
			Customer: customer, account: strings.ToUpper(who), username: "sim." + who, email: "owner@" + who + ".example",
			address: addressOf(run, customer.Number),
		}
		for _, at := range c.emailings(customer, now, p) {
			all.invoices = append(all.invoices, player.invoice(at, now))
		}
		all.players = append(all.players, player)
	}
	return all
}

// emailings are when a customer was sent codes, the first one at the entry.
func (c *simulateCommand) emailings(customer simulation.Customer, now time.Time, p enrollment.Policy) []time.Time {
	switch customer.Fate {
	case simulation.SupersededCode: // half of what is left of the time once the grace is over
		return []time.Time{customer.Entered, customer.Entered.Add((c.Invited - p.CodeGrace) / 2)}
	case simulation.TwoColleagues: // both codes are good
		return []time.Time{customer.Entered, now.UTC().Add(-p.CodeGrace / 2).Truncate(time.Second)}
	default:
		return []time.Time{customer.Entered}
	}
}

// invoice is the next e-mailed one, with a code that the customer keeps.
func (p *player) invoice(at, now time.Time) events.InvoiceEmailed {
	code := rand.Text()[:12]
	p.codes = append(p.codes, code)
	expires := now.UTC().AddDate(0, 0, 30).Truncate(time.Second)
	if p.Fate == simulation.ExpiredCode {
		expires = at.AddDate(0, 0, 5)
	}
	amount := int64(2_000 + 37*p.Number)
	return events.InvoiceEmailed{
		AccountNumber: p.account, CompanyName: p.Company, BillingEmail: "billing." + p.email, EmailedAt: at,
		RegistrationCode: code, RegistrationCodeExpiresAt: &expires, Locale: p.Locale,
		Invoice: &events.Invoice{
			Number: fmt.Sprintf("INV-%s-%d", p.account, len(p.codes)), IssuedOn: events.Date(at.Format(time.DateOnly)),
			DueOn: events.Date(at.AddDate(0, 0, 30).Format(time.DateOnly)), Currency: "USD", AmountDueMinor: &amount,
		},
	}
}

// addressOf gives each customer of each run a loopback address of its own.
func addressOf(run uint64, number int) netip.Addr {
	const first, many = 2 << 16, 250 << 16 // 127.2.0.0 on
	n := first + (run*7919+uint64(number))%many
	return netip.AddrFrom4([4]byte{127, byte(n >> 16), byte(n >> 8), byte(n)})
}
