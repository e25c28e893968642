package helpdesk

import (
	"errors"
	"net/http"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// viewPath is where the customer's pages are while somebody views them: their addresses are the portal's own, so that its
// pages need not know where they are shown.
const viewPath = "/account"

// mostOfPath is how much of a page's address the audit trail keeps.
const mostOfPath = 200

// viewed shows a page as the customer sees it, once the trail says that it was opened. Who they look at, the view says that
// the session began, never the address.
func (f *office) viewed(w http.ResponseWriter, r *http.Request, by enrollment.Staff) error {
	page := r.Method + " " + r.URL.EscapedPath()
	return f.showView(w, r, by, page[:min(len(page), mostOfPath)])
}

// viewedLook is the style of those pages; nobody learns from it, so it is not written down.
func (f *office) viewedLook(w http.ResponseWriter, r *http.Request, by enrollment.Staff) error {
	return f.showView(w, r, by, "")
}

func (f *office) showView(w http.ResponseWriter, r *http.Request, by enrollment.Staff, page string) error {
	v, err := f.Store.ViewedBy(r.Context(), by, page)
	if errors.Is(err, enrollment.ErrUnknown) {
		f.viewIsOver(w, r)
		return nil
	}
	if err != nil {
		return err
	}
	f.Customers.ShowAs(w, r, v)
	return nil
}

func (f *office) leaveView(w http.ResponseWriter, r *http.Request, by enrollment.Staff) error {
	v, err := f.Store.EndView(r.Context(), by)
	if errors.Is(err, enrollment.ErrUnknown) {
		f.viewIsOver(w, r)
		return nil
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, accountPath(v.Tenant, v.AccountNumber)+"?done="+string(enrollment.EndedView), http.StatusSeeOther)
	return nil
}

func (f *office) viewIsOver(w http.ResponseWriter, r *http.Request) {
	f.tell(w, r, http.StatusGone, message{Title: "The view is over", Text: "You view as nobody now. A view ends after 15 minutes, when you leave it or sign out, when the caller no longer counts as verified, and when the user loses the account. Another one begins on the account’s page."})
}
