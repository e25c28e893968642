// Package helpdesk is the back office: what staff look up. It shows an account's timeline and why its customer cannot enroll,
// the dead letters with their reasons, the contract of the events, and the funnel's pages, which it is given. It changes nothing yet and knows no log-in, so it answers on the machine's own
// addresses only; it shows no code, no link, no password and no full e-mail address.
package helpdesk

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// Accounts looks accounts up; the error is enrollment.ErrUnknown, or a *enrollment.Refusal for what can be no number.
type Accounts interface {
	Dossier(ctx context.Context, tenant, accountNumber string) (enrollment.Dossier, error)
}

// Letter is a dead letter as staff see it.
type Letter struct {
	ID                                              uint64
	Consumer, Tenant, Subject, Type, Reason, Detail string
	Parked                                          bool
	DeadAt                                          time.Time
}

// Options are the back office's neighbours; all are required.
type Options struct {
	Accounts Accounts
	Letters  func(ctx context.Context) ([]Letter, error) // the newest first, a page of them
	Tenants  []string
	Funnel   http.Handler // answers /funnel and below it, in the back office's layout
	Log      *slog.Logger
}

//go:embed pages
var files embed.FS

type office struct {
	Options
	page *template.Template
}

// Layout is what all pages of the back office have around them, for those who add some: the template "layout" shows .Title, then
// the template "content", which is theirs; "styles" may add to the head.
func Layout() *template.Template {
	return template.Must(template.New("office").Option("missingkey=error").Funcs(template.FuncMap{
		"utc": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	}).ParseFS(files, "pages/layout.html"))
}

// New returns the back office's pages: / (look-up), /deadletters, /events and the contract's documents, /funnel.
func New(o Options) http.Handler {
	f := &office{Options: o, page: template.Must(Layout().ParseFS(files, "pages/office.html"))}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", f.lookUp)
	mux.HandleFunc("GET /deadletters", f.deadLetters)
	mux.HandleFunc("GET /events", f.contract)
	mux.HandleFunc("GET /events/{name}", f.contract)
	mux.HandleFunc("GET /events/asyncapi.yaml", document("application/yaml", events.AsyncAPI()))
	mux.Handle("GET /events/schemas/", http.StripPrefix("/events/schemas/", http.FileServerFS(events.Schemas())))
	mux.HandleFunc("GET /office.css", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "pages/office.css") })
	if o.Funnel != nil {
		for _, path := range []string{"/funnel", "/funnel.json", "/funnel.csv", "/funnel/"} {
			mux.Handle("GET "+path, o.Funnel)
		}
	}
	return onThisMachine(f.guarded(mux))
}

// view is what the one template shows.
type view struct {
	Title, Tenant, Number, Problem string
	Tenants                        []string
	Dossier                        *enrollment.Dossier
	Letters                        []Letter
	ShowLetters                    bool
	Catalog                        []events.Definition
	Event                          *events.Page
}

func (f *office) lookUp(w http.ResponseWriter, r *http.Request) {
	v := view{Title: "Accounts", Tenants: f.Tenants, Tenant: r.URL.Query().Get("tenant"), Number: r.URL.Query().Get("number")}
	status := http.StatusOK
	if v.Number != "" {
		d, err := f.Accounts.Dossier(r.Context(), v.Tenant, v.Number)
		switch {
		case err == nil:
			v.Dossier = &d
		case errors.Is(err, enrollment.ErrUnknown):
			status, v.Problem = http.StatusNotFound, "This tenant has no account by that number: billing never named it. Compare with the invoice, and look at the dead letters."
		case errors.As(err, new(*enrollment.Refusal)):
			status, v.Problem = http.StatusUnprocessableEntity, "That cannot be an account number."
		default:
			f.Log.ErrorContext(r.Context(), "look an account up", "error", err)
			status, v.Problem = http.StatusServiceUnavailable, "The database does not answer. Try again in a moment."
		}
	}
	f.show(w, r, status, v)
}

func (f *office) deadLetters(w http.ResponseWriter, r *http.Request) {
	v, status := view{Title: "Dead letters", Tenants: f.Tenants, ShowLetters: true}, http.StatusOK
	letters, err := f.Letters(r.Context())
	if err != nil {
		f.Log.ErrorContext(r.Context(), "list dead letters", "error", err)
		status, v.Problem = http.StatusServiceUnavailable, "The broker does not answer. Try again in a moment."
	}
	v.Letters = letters
	f.show(w, r, status, v)
}

func (f *office) show(w http.ResponseWriter, r *http.Request, status int, v view) {
	var b bytes.Buffer
	if err := f.page.ExecuteTemplate(&b, "layout", v); err != nil {
		f.Log.ErrorContext(r.Context(), "render the back office", "error", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the reader may have gone
}

// guarded lets no answer run a script, be framed, be kept or tell other sites where a reader comes from, and no panic pass
// unheard: net/http tells of it only where nobody looks.
func (f *office) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		defer func() {
			if fault := recover(); fault != nil {
				f.Log.ErrorContext(r.Context(), "the back office panics", "route", r.Pattern, "fault", fmt.Sprint(fault), "stack", string(debug.Stack()))
				http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// onThisMachine refuses requests for other hosts: a page elsewhere must not read this one by giving its name our address.
func onThisMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		addr, err := netip.ParseAddr(host)
		if host != "localhost" && (err != nil || !addr.IsLoopback()) {
			http.Error(w, fmt.Sprintf("%d: the back office answers on this machine's own addresses only", http.StatusMisdirectedRequest), http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
