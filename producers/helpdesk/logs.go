package helpdesk

import (
	"net/http"
	"slices"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// shownLines is how many lines of a log a page shows.
const shownLines = 200

var mailStates = []string{"accepted", "failed", "waiting", "sending"}

// mails shows what became of the newest mails, with the provider's reply codes; no address.
func (f *office) mails(w http.ResponseWriter, r *http.Request, _ enrollment.Staff) error {
	page := struct {
		Title, Tenant, State string
		Tenants, States      []string
		Mails                []enrollment.MailRecord
	}{Title: "Mails", Tenant: one(r, "tenant", f.Tenants), State: one(r, "state", mailStates), Tenants: f.Tenants, States: mailStates}
	var err error
	if page.Mails, err = f.Store.MailLog(r.Context(), page.Tenant, page.State, shownLines); err != nil {
		return err
	}
	return f.show(w, http.StatusOK, "mails", page)
}

// audit shows who of the staff did what, and why.
func (f *office) audit(w http.ResponseWriter, r *http.Request, _ enrollment.Staff) error {
	var deeds []string
	for _, d := range enrollment.Deeds {
		deeds = append(deeds, string(d))
	}
	page := struct {
		Title, Actor, Deed string
		Deeds              []string
		Entries            []enrollment.AuditEntry
	}{Title: "Audit", Actor: r.URL.Query().Get("actor"), Deed: one(r, "deed", deeds), Deeds: deeds}
	if !isText(page.Actor) { // nobody's name: as good as one that did nothing
		return f.show(w, http.StatusOK, "audit", page)
	}
	var err error
	if page.Entries, err = f.Store.Audit(r.Context(), page.Actor, enrollment.Deed(page.Deed), shownLines); err != nil {
		return err
	}
	return f.show(w, http.StatusOK, "audit", page)
}

// one is a parameter that is one of a list; empty: it is none of them.
func one(r *http.Request, name string, of []string) string {
	value := r.URL.Query().Get(name)
	if !slices.Contains(of, value) {
		return ""
	}
	return value
}
