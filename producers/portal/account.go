package portal

import (
	"errors"
	"net/http"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// account shows the invoices. Who is not logged in, or no longer there, is taken to the log-in.
func (p *portal) account(w http.ResponseWriter, r *http.Request) error {
	tenant, s := tenantIn(r.Context()), p.sessions(r)
	user := p.user(r)
	if user == 0 {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return nil
	}
	account, err := p.store.Account(r.Context(), tenant.ID, user)
	if errors.Is(err, enrollment.ErrUnknown) {
		return p.logOut(w, r)
	} else if err != nil {
		return err
	}
	if len(account.Invoices) > 0 && s.GetInt64(r.Context(), sessionInvoicesSeen) == 0 && r.Method == http.MethodGet {
		if err := p.store.ViewInvoices(r.Context(), tenant.ID, user); err != nil {
			return err
		}
		s.Put(r.Context(), sessionInvoicesSeen, int64(1))
	}
	return p.show(w, r, http.StatusOK, view{Name: "account", Title: "Your account", Body: account})
}
