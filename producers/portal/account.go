package portal

import (
	"errors"
	"net/http"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// newestInvoices is how many the overview shows.
const newestInvoices = 12

// accountPage is the Body of the overview.
type accountPage struct {
	enrollment.Customer
	Invoices []enrollment.Invoice // the newest
	More     bool
	Notice   string

	SeveralUsers bool // as the tenant allows for one account
}

// Several reports whether it has to be said which account something belongs to.
func (p accountPage) Several() bool { return len(p.Accounts) > 1 }

// account is the overview: the accounts and their newest invoices.
func (p *portal) account(w http.ResponseWriter, r *http.Request, c enrollment.Customer) error {
	invoices, err := p.invoicesSeen(r)
	if err != nil {
		return err
	}
	page := accountPage{
		Customer: c, Invoices: invoices, Notice: p.takeNotice(r), SeveralUsers: tenantIn(r.Context()).Policy.SeveralUsers,
	}
	if len(invoices) > newestInvoices {
		page.Invoices, page.More = invoices[:newestInvoices], true
	}
	return p.show(w, r, http.StatusOK, view{Name: "account", Title: voiceIn(r.Context()).say("Your account"), Body: page})
}

// customerPage is a page that somebody has to be logged in for.
type customerPage func(w http.ResponseWriter, r *http.Request, c enrollment.Customer) error

// forCustomers takes who is not logged in, or no longer there, to the log-in.
func (p *portal) forCustomers(h customerPage) handler {
	return p.withSession(func(w http.ResponseWriter, r *http.Request) error {
		user := p.user(r)
		if user == 0 {
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return nil
		}
		c, err := p.store.Customer(r.Context(), tenantIn(r.Context()).ID, user)
		if errors.Is(err, enrollment.ErrUnknown) {
			return p.logOut(w, r)
		} else if err != nil {
			return err
		}
		return h(w, r, c)
	})
}

// invoicesSeen returns the customer's invoices for a page that shows some, and records once a session that they were seen:
// by the customer, not by staff.
func (p *portal) invoicesSeen(r *http.Request) ([]enrollment.Invoice, error) {
	ctx, tenant, user := r.Context(), tenantIn(r.Context()).ID, p.user(r)
	invoices, err := p.store.Invoices(ctx, tenant, user)
	if err != nil || viewIn(ctx) != nil {
		return invoices, err
	}
	s := p.sessions(r)
	if len(invoices) > 0 && s.GetInt64(ctx, sessionInvoicesSeen) == 0 && r.Method == http.MethodGet {
		if err := p.store.ViewInvoices(ctx, tenant, user); err != nil {
			return nil, err
		}
		s.Put(ctx, sessionInvoicesSeen, int64(1))
	}
	return invoices, nil
}
