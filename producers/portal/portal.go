// Package portal is the web site on which a telecom's customers sign up, activate, log in and see their invoices: one
// handler for every tenant, told apart by host. Pages are rendered here and work without JavaScript. It checks what can be
// checked without knowing accounts, asks the store for the rest, and turns the store's refusals into words.
//
// It holds no rules of enrollment (schema/enrollment), no SQL and no state (Store), and sends no mail: the store writes down
// that one is wanted.
package portal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/keyring"
	"github.com/mongotel/billcenter/schema/tenants"
)

// Options are the portal's neighbours. All but TrustedProxies are required.
type Options struct {
	Store   Store
	Tenants *tenants.Directory
	Keys    *keyring.Ring
	Log     *slog.Logger

	// TrustedProxies are the peers whose X-Forwarded-For is believed. Empty: nobody's.
	TrustedProxies []netip.Prefix
}

// portal is the site. Nothing in it changes after New.
type portal struct {
	store     Store
	tenants   *tenants.Directory
	keys      *keyring.Ring
	log       *slog.Logger
	proxies   []netip.Prefix
	voices    voices
	passwords *passwords
	https     *scs.SessionManager
	http      *scs.SessionManager
	site      http.Handler
}

// New returns the site. The caller serves it; Server has the time-outs that go with it.
func New(o Options) http.Handler {
	p := &portal{
		store:     o.Store,
		tenants:   o.Tenants,
		keys:      o.Keys,
		log:       o.Log,
		proxies:   o.TrustedProxies,
		voices:    newVoices(o.Tenants),
		passwords: newPasswords(),
		https:     newSessions(o.Store, true),
		http:      newSessions(o.Store, false),
	}
	p.site = p.refuseForeignPosts(p.routes())
	return p
}

// Server returns an http.Server that does not wait for ever for anybody.
func Server(site http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           site,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // broken handshakes and scans, mostly
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
}

func (p *portal) routes() *http.ServeMux {
	site := http.NewServeMux()
	page := func(pattern string, m methods) { site.Handle(pattern, p.allow(m)) }

	page("/{$}", methods{"GET": p.withSession(p.home)})
	page("/signup", methods{"GET": p.signUpForm, "POST": p.signUp})
	page("/signup/check-email", methods{"GET": p.checkEmail})
	page("/signup/resend", methods{"POST": p.resend})
	page("/signup/email", methods{"POST": p.correctAddress})
	page("/activate/{token}/not-me", methods{"GET": p.notMeForm, "POST": p.notMe})
	page("/activate/{token...}", methods{"GET": p.activateForm, "POST": p.activate})
	page("/login", methods{"GET": p.withSession(p.logInForm), "POST": p.withSession(p.logIn)})
	page("/logout", methods{"POST": p.withSession(p.logOut)})
	page("/account", methods{"GET": p.forCustomers(p.account)})
	page("/account/invoices", methods{"GET": p.forCustomers(p.invoices)})
	page("/account/invoices.csv", methods{"GET": p.forCustomers(p.invoicesCSV)})
	page("/account/invoices/{number}", methods{"GET": p.forCustomers(p.invoice)})
	page("/account/invoices/{number}/document", methods{"GET": p.forCustomers(p.document)})
	page("/account/payment", methods{"GET": p.forCustomers(p.payment)})
	page("/account/payment/continue", methods{"GET": p.forCustomers(p.payHere)})
	page("/account/payment/return", methods{"GET": p.forCustomers(p.paid)})
	page("/account/security", methods{"GET": p.forCustomers(p.security), "POST": p.forCustomers(p.changePassword)})
	page("/account/security/end-session", methods{"POST": p.forCustomers(p.endSession)})
	page("/account/security/sign-out", methods{"POST": p.forCustomers(p.signOutEverywhere)})
	page("/account/users", methods{"GET": p.whereSeveral(p.users)})
	page("/account/users/remove", methods{"GET": p.whereSeveral(p.removeForm), "POST": p.whereSeveral(p.remove)})
	page("/account/add", methods{"GET": p.forCustomers(p.addForm), "POST": p.forCustomers(p.add)})
	page("/help/code", methods{"GET": p.helpForm, "POST": p.askForCode})
	page("/forgot-password", methods{"GET": p.forgotPasswordForm, "POST": p.forgotPassword})
	page("/forgot-username", methods{"GET": p.forgotUsernameForm, "POST": p.forgotUsername})
	page("/reset-password/{token...}", methods{"GET": p.resetForm, "POST": p.reset})

	page(deliveryScriptPath, methods{"GET": p.deliveryScript})
	page("/assets/portal.css", methods{"GET": p.stylesheet})
	page("/brand.css", methods{"GET": p.brandColors})
	page("/brand.svg", methods{"GET": p.brandIcon})
	page("/brand/logo", methods{"GET": p.brandLogo})
	site.HandleFunc("/", p.notFound)
	return site
}

// handler answers a request, or says why it could not; answerFailure has the words.
type handler func(w http.ResponseWriter, r *http.Request) error

// ServeHTTP finds the tenant, lets the site answer, and sends the answer when it is whole: a page that fails half way
// leaves nothing behind.
func (p *portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	tenant, ok := p.tenants.ByHost(r.Host)
	if !ok {
		http.Error(w, "421 This host is not served here.", http.StatusMisdirectedRequest)
		return
	}
	r = r.WithContext(context.WithValue(context.WithValue(r.Context(), tenantKey{}, tenant), voiceKey{}, p.voices.listen(r, tenant)))

	a := newAnswered(secure(tenant))
	p.serve(a, r)
	if err := a.send(w); err != nil {
		p.log.DebugContext(r.Context(), "portal: client went away", "error", err)
	}
	p.log.InfoContext(r.Context(), "portal: request", "tenant", tenant.ID, "method", knownMethod(r.Method),
		"route", r.Pattern, "status", a.status, "duration", time.Since(began))
}

func (p *portal) serve(a *answered, r *http.Request) {
	defer func() {
		if fault := recover(); fault != nil {
			p.log.ErrorContext(r.Context(), "portal: panic", "route", r.Pattern, "fault", fmt.Sprint(fault), "stack", string(debug.Stack()))
			a.clear()
			p.unavailable(a, r)
		}
	}()
	p.site.ServeHTTP(a, r)
}

type tenantKey struct{}

// tenantIn returns the tenant whose host was asked. Requests without one get no further than ServeHTTP.
func tenantIn(ctx context.Context) *tenants.Tenant { return ctx.Value(tenantKey{}).(*tenants.Tenant) }

// secure reports whether a tenant's pages are reached over https. Plain http is for loopback.
func secure(t *tenants.Tenant) bool { return strings.HasPrefix(t.BaseURL, "https://") }

// knownMethod keeps a client from inventing values of the log's field.
func knownMethod(m string) string {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return m
	default:
		return "other"
	}
}

// answerFailure turns what a handler could not handle into a page.
func (p *portal) answerFailure(w http.ResponseWriter, r *http.Request, err error) {
	var refusal *enrollment.Refusal
	var bad *unreadable
	switch {
	case errors.As(err, &refusal):
		p.refused(w, r, refusal)
	case errors.As(err, &bad):
		p.cannotRead(w, r, bad)
	default:
		p.logFailure(r, err)
		p.unavailable(w, r)
	}
}

// logFailure writes down why somebody was told to come back. A client that hung up is nobody's fault.
func (p *portal) logFailure(r *http.Request, err error) {
	level := slog.LevelError
	switch {
	case errors.Is(r.Context().Err(), context.Canceled):
		level = slog.LevelDebug
	case errors.Is(err, errBusy):
		level = slog.LevelWarn
	}
	p.log.Log(r.Context(), level, "portal: could not answer", "tenant", tenantIn(r.Context()).ID, "route", r.Pattern, "error", err)
}
