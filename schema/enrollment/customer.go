package enrollment

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Customer is who is logged in: a user and the accounts that they may see.
type Customer struct {
	Username string // display form
	Email    Address
	Accounts []Holding // in the order in which they were added; empty: access to all of them has ended
}

// Holding is one account of a customer.
type Holding struct {
	AccountNumber string // as billing writes it
	CompanyName   string
	ClosedAt      time.Time // zero: it is open
	AccessUntil   time.Time // zero: without end
	Users         []Member  // who may see it, in the order in which they came
}

// Member is somebody who may see an account.
type Member struct {
	Username string    `db:"username"` // display form
	Email    Address   `db:"email"`
	Since    time.Time `db:"since"`
}

// AccessUntil is when the users of an account that was closed lose sight of it.
func (p Policy) AccessUntil(closedAt time.Time) time.Time { return closedAt.Add(p.ClosedGrace) }

// Invoice is one bill as the portal shows it.
type Invoice struct {
	AccountNumber  string // as billing writes it now
	CompanyName    string
	Number         string
	EmailedAt      time.Time
	IssuedOn       string // RFC 3339 full-date
	DueOn          string // RFC 3339 full-date
	Currency       string // ISO 4217
	AmountDueMinor int64  // in the currency's minor unit
	DocumentURL    string // empty: billing gave none
}

// Month is the one that the invoice is found under, YYYY-MM: of its issue, else of its e-mail.
func (i Invoice) Month() string {
	if len(i.IssuedOn) >= 7 {
		return i.IssuedOn[:7]
	}
	return i.EmailedAt.UTC().Format("2006-01")
}

// InvoicesPerPage is how many a page of the list has.
const InvoicesPerPage = 20

// InvoiceQuery picks from a customer's invoices; the zero value takes all.
type InvoiceQuery struct {
	AccountNumber string
	Search        string // a part of the number, whatever its case
	Month         string // YYYY-MM
	Page          int    // from 1; 0: all on one
}

// InvoicePage is what a query picked.
type InvoicePage struct {
	Invoices    []Invoice // newest first
	Total       int       // on all pages
	Page, Pages int
	Months      []string // that there are invoices of at all, newest first
}

// Of picks from all invoices, which keep their order. A page beyond the last one is the last one.
func (q InvoiceQuery) Of(all []Invoice) InvoicePage {
	var p InvoicePage
	for _, i := range all {
		if m := i.Month(); !slices.Contains(p.Months, m) {
			p.Months = append(p.Months, m)
		}
		if q.takes(i) {
			p.Invoices = append(p.Invoices, i)
		}
	}
	slices.Sort(p.Months)
	slices.Reverse(p.Months)
	p.Total, p.Page, p.Pages = len(p.Invoices), 1, 1
	if q.Page > 0 {
		p.Pages = max(1, (p.Total+InvoicesPerPage-1)/InvoicesPerPage)
		p.Page = min(q.Page, p.Pages)
		first := (p.Page - 1) * InvoicesPerPage
		p.Invoices = p.Invoices[first:min(first+InvoicesPerPage, p.Total)]
	}
	return p
}

func (q InvoiceQuery) takes(i Invoice) bool {
	return (q.AccountNumber == "" || q.AccountNumber == i.AccountNumber) &&
		(q.Month == "" || q.Month == i.Month()) &&
		strings.Contains(strings.ToLower(i.Number), strings.ToLower(strings.TrimSpace(q.Search)))
}

// Payment is how an account pays, as billing reported it last: never enough to pay with.
type Payment struct {
	AccountNumber string
	CompanyName   string
	Kind          string // card, bank-account, none; empty: billing reported nothing yet
	Brand         string
	LastFour      string
	ExpiresOn     string // YYYY-MM
	ChangedAt     time.Time
}

// Activity is something that was done with a log-in.
type Activity struct {
	What   string // signed-in, password-changed, password-reset, account-added, signed-out-everywhere, session-ended, colleague-removed, access-left, access-lost
	About  string // whom, or which account
	Source string // address, or network for IPv6
	At     time.Time
}

// Session is one of a user's that is open.
type Session struct {
	ID     uuid.UUID `db:"ref"` // by which its owner can end it
	Data   []byte    `db:"data"`
	UsedAt time.Time `db:"used_at"`
}

// Security is what the page about a log-in shows.
type Security struct {
	Customer
	Sessions []Session  // the one that was used last first
	Activity []Activity // newest first
}
