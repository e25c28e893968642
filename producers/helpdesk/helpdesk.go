// Package helpdesk is the back office: what staff look up, and what they do for customers who are stuck. It shows an
// account's timeline and why its customer cannot enroll, what may be told before a caller is verified, the account pages as
// the customer sees them (Customers, read only), the mail log, the dead letters, the audit trail, the contract of the events,
// and the funnel's pages, which it is given.
//
// Who somebody is, an OpenID provider says, or, on the machine that `up` runs on, a link that works once. What they may do
// stands in one table (roles.go). Every deed needs a reason and is audited by the store in the transaction that does it. No
// page shows a code, a link, a password or a whole e-mail address. It holds no rules of enrollment and no SQL.
package helpdesk

import (
	"context"
	"embed"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// Store is what staff look up and do. A *enrollment.Refusal says no, enrollment.ErrUnknown that there is none in that tenant.
type Store interface {
	FindAccounts(ctx context.Context, tenant, wanted string, limit int) ([]enrollment.Found, error)
	Dossier(ctx context.Context, tenant, accountNumber string) (enrollment.Dossier, error)

	SendAgain(ctx context.Context, e enrollment.Errand, tenant string, id enrollment.ID) error
	CorrectAddressFor(ctx context.Context, e enrollment.Errand, tenant string, id enrollment.ID, to enrollment.Address) error
	CancelFor(ctx context.Context, e enrollment.Errand, tenant string, id enrollment.ID) error
	Unlock(ctx context.Context, e enrollment.Errand, tenant, accountNumber string) (lifted int, err error)
	RetireCode(ctx context.Context, e enrollment.Errand, tenant, accountNumber string) (asked bool, err error)
	SignOutFor(ctx context.Context, e enrollment.Errand, tenant, accountNumber, username string) error

	VerifyCaller(ctx context.Context, by enrollment.Staff, tenant, accountNumber string, how enrollment.CallerCheck) error
	Caller(ctx context.Context, by enrollment.Staff, tenant, accountNumber string) (enrollment.Caller, error)
	BeginView(ctx context.Context, e enrollment.Errand, tenant, accountNumber, username string) error
	// ViewedBy writes the page down before it is shown.
	ViewedBy(ctx context.Context, by enrollment.Staff, page string) (enrollment.View, error)
	EndView(ctx context.Context, by enrollment.Staff) (enrollment.View, error)

	AuditLetter(ctx context.Context, e enrollment.Errand, what enrollment.Deed, tenant, letter, detail string) error
	Audit(ctx context.Context, actor string, what enrollment.Deed, limit int) ([]enrollment.AuditEntry, error)
	MailLog(ctx context.Context, tenant, state string, limit int) ([]enrollment.MailRecord, error)

	OpenStaffSession(ctx context.Context, token string, who enrollment.Staff, idle, life time.Duration) error
	StaffSession(ctx context.Context, token string) (enrollment.Staff, error)
	EndStaffSession(ctx context.Context, token string) error
}

// Customers are the portal's account pages, shown as a customer sees them and in which nothing can be changed.
type Customers interface {
	ShowAs(w http.ResponseWriter, r *http.Request, v enrollment.View)
}

// Options are the back office's neighbours; all but the ways in are required.
type Options struct {
	Store     Store
	Letters   Letters
	Customers Customers
	Tenants   []string
	Funnel    http.Handler // answers /funnel and below it, in the back office's layout
	Log       *slog.Logger

	// One of the two ways in. With Link the office answers on this machine's own addresses only, and who comes from there
	// without a session is an analyst.
	Link string // the token of /enter/{token}, which works once
	OIDC *OIDC
}

//go:embed pages
var files embed.FS

type office struct {
	Options
	base  *url.URL // nil: this machine's own addresses
	link  *link    // nil: there is none
	idp   *provider
	pages map[string]*template.Template
}

// Layout is what all pages of the back office have around them, for those who add some: the template "layout" shows .Title, then
// the template "content", which is theirs; "styles" may add to the head.
func Layout() *template.Template {
	return template.Must(template.New("office").Option("missingkey=error").Funcs(template.FuncMap{
		"utc": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	}).ParseFS(files, "pages/layout.html"))
}

// New returns the back office's pages. The error is about OIDC's addresses.
func New(o Options) (http.Handler, error) {
	f := &office{Options: o, pages: map[string]*template.Template{}}
	for _, name := range []string{"mails", "audit", "events", "event", "me", "message"} {
		f.pages[name] = template.Must(Layout().ParseFS(files, "pages/"+name+".html"))
	}
	for _, name := range []string{"home", "account", "deadletters", "deadletter"} { // whose forms can come back
		f.pages[name] = template.Must(Layout().ParseFS(files, "pages/"+name+".html", "pages/forms.html"))
	}
	if o.OIDC != nil {
		var err error
		if f.base, err = url.Parse(o.OIDC.BaseURL); err != nil || f.base.Host == "" || f.base.Path != "" || f.base.Scheme != "https" && !loopback(f.base.Hostname()) {
			return nil, fmt.Errorf("the back office's address %q is not like https://staff.example", o.OIDC.BaseURL)
		}
		f.idp = &provider{OIDC: *o.OIDC}
	} else if o.Link != "" {
		f.link = &link{token: o.Link}
	}
	return f.onItsHost(f.guarded(f.refuseForeignPosts(f.routes()))), nil
}

func (f *office) routes() *http.ServeMux {
	mux := http.NewServeMux()
	page := func(pattern string, d duty, h handler) { mux.Handle(pattern, f.forStaff(d, h)) }

	page("GET /{$}", "", f.home)
	page("GET /me", "", f.me)
	page("GET /accounts/{tenant}/{number}", lookUp, f.account)
	page("POST /accounts/{tenant}/{number}/{deed}", act, f.act)
	page(viewPath, act, f.viewed) // and whatever else is sent there, which the customer's pages refuse
	page(viewPath+"/", act, f.viewed)
	for _, look := range []string{"/assets/portal.css", "/brand.css", "/brand.svg", "/brand/logo"} {
		page("GET "+look, act, f.viewedLook)
	}
	page("POST /view/leave", act, f.leaveView)
	page("GET /mails", readMails, f.mails)
	page("GET /audit", readAudit, f.audit)
	page("GET /deadletters", readLetters, f.deadLetters)
	page("GET /deadletters/{id}", readLetters, f.deadLetter)
	page("POST /deadletters/replay", workLetters, f.replayAll)
	page("POST /deadletters/{id}/{deed}", workLetters, f.workLetter)
	page("GET /events", readContract, f.contract)
	page("GET /events/{name}", readContract, f.contract)
	page("GET /events/asyncapi.yaml", readContract, document("application/yaml", events.AsyncAPI()))
	page("GET /events/schemas/", readContract, plain(http.StripPrefix("/events/schemas/", http.FileServerFS(events.Schemas()))))
	if f.Funnel != nil {
		for _, path := range []string{"/funnel", "/funnel.json", "/funnel.csv", "/funnel/"} {
			page("GET "+path, readFunnel, plain(f.Funnel))
		}
	}

	mux.HandleFunc("GET /office.css", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "pages/office.css") })
	mux.HandleFunc("GET /enter/{token}", f.enter)
	mux.HandleFunc("GET /login", f.logIn)
	mux.HandleFunc("GET "+callbackPath, f.callback)
	mux.HandleFunc("POST /logout", f.logOut)
	return mux
}

// handler answers somebody of the staff, or says why it could not.
type handler func(w http.ResponseWriter, r *http.Request, by enrollment.Staff) error

// plain is a handler that does not care who asks.
func plain(h http.Handler) handler {
	return func(w http.ResponseWriter, r *http.Request, _ enrollment.Staff) error {
		h.ServeHTTP(w, r)
		return nil
	}
}
