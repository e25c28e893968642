package portal

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// Looks is the part of the store that changes nothing and tells the funnel nothing.
type Looks interface {
	Customer(ctx context.Context, tenant string, user int64) (enrollment.Customer, error)
	Invoices(ctx context.Context, tenant string, user int64) ([]enrollment.Invoice, error)
	Payments(ctx context.Context, tenant string, user int64) ([]enrollment.Payment, error)
	Security(ctx context.Context, tenant string, user int64) (enrollment.Security, error)
}

// onlyLooks is all that a viewer has of the store: the rest is nil, so that a page which wrote something would fail.
type onlyLooks struct {
	Store
	looks Looks
}

func (o onlyLooks) Customer(ctx context.Context, tenant string, user int64) (enrollment.Customer, error) {
	c, err := o.looks.Customer(ctx, tenant, user)
	c.Accounts = verified(ctx, c.Accounts, func(h enrollment.Holding) string { return h.AccountNumber })
	return c, err
}

func (o onlyLooks) Invoices(ctx context.Context, tenant string, user int64) ([]enrollment.Invoice, error) {
	all, err := o.looks.Invoices(ctx, tenant, user)
	return verified(ctx, all, func(i enrollment.Invoice) string { return i.AccountNumber }), err
}

func (o onlyLooks) Payments(ctx context.Context, tenant string, user int64) ([]enrollment.Payment, error) {
	all, err := o.looks.Payments(ctx, tenant, user)
	return verified(ctx, all, func(p enrollment.Payment) string { return p.AccountNumber }), err
}

func (o onlyLooks) Security(ctx context.Context, tenant string, user int64) (enrollment.Security, error) {
	s, err := o.looks.Security(ctx, tenant, user)
	s.Accounts = verified(ctx, s.Accounts, func(h enrollment.Holding) string { return h.AccountNumber })
	return s, err
}

// verified leaves what belongs to the account for which the caller was verified: of the customer's other accounts nothing is known to
// be the caller's.
func verified[T any](ctx context.Context, all []T, account func(T) string) []T {
	return slices.DeleteFunc(all, func(one T) bool { return account(one) != viewIn(ctx).AccountNumber })
}

// Viewer shows staff the account pages as the customer sees them, read only. It is served by the back office, under the back
// office's host: no cookie of the customer's host is read as a session or set, no link that could leak opens a view, and the
// portal's host never hears of a session of staff. Who looks at whom, and until when, the back office says with each request.
type Viewer struct{ portal *portal }

// NewViewer needs Store (Looks is what it uses of it), Tenants and Log. It has no keys: it signs nothing and lets nobody in.
func NewViewer(o Options) *Viewer {
	p := &portal{store: onlyLooks{looks: o.Store}, tenants: o.Tenants, log: o.Log, voices: newVoices(o.Tenants)}
	site := http.NewServeMux()
	page := func(pattern string, h customerPage) { site.Handle(pattern, p.allow(methods{"GET": p.forStaff(h)})) }
	page("/account", p.account)
	page("/account/invoices", p.invoices)
	page("/account/invoices/{number}", p.invoice)
	page("/account/payment", p.payment)
	page("/account/security", p.security)
	page("/account/users", p.ifSeveral(p.users))
	site.Handle("/assets/portal.css", p.allow(methods{"GET": p.stylesheet}))
	site.Handle("/brand.css", p.allow(methods{"GET": p.brandColors}))
	site.Handle("/brand.svg", p.allow(methods{"GET": p.brandIcon}))
	site.Handle("/brand/logo", p.allow(methods{"GET": p.brandLogo}))
	site.HandleFunc("/", p.notViewed) // documents, lists to take away, forms
	p.site = site
	return &Viewer{p}
}

type viewKey struct{}

// viewIn returns the view that a page is shown in; nil: the customer looks.
func viewIn(ctx context.Context) *enrollment.View {
	v, _ := ctx.Value(viewKey{}).(*enrollment.View)
	return v
}

// ShowAs answers a request for a page with what the view's user would see. The caller vouches for the view.
func (v *Viewer) ShowAs(w http.ResponseWriter, r *http.Request, view enrollment.View) {
	tenant, ok := v.portal.tenants.ByID(view.Tenant)
	if !ok {
		http.NotFound(w, r)
		return
	}
	ctx := context.WithValue(context.WithValue(r.Context(), tenantKey{}, tenant), voiceKey{}, v.portal.voices.listen(r, tenant))
	r = r.WithContext(context.WithValue(ctx, viewKey{}, &view))
	a := newAnswered(false) // what https asks for is the back office's to say
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		v.portal.serve(a, r)
	} else {
		v.portal.notViewed(a, r)
	}
	a.header.Set("Cache-Control", "no-store") // the colors, too: the next view may be of another tenant
	if err := a.send(w); err != nil {
		v.portal.log.DebugContext(ctx, "portal: staff went away", "error", err)
	}
}

// forStaff is forCustomers where a view says who it is about.
func (p *portal) forStaff(h customerPage) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		c, err := p.store.Customer(r.Context(), viewIn(r.Context()).Tenant, viewIn(r.Context()).User)
		if errors.Is(err, enrollment.ErrUnknown) {
			p.notViewed(w, r)
			return nil
		} else if err != nil {
			return err
		}
		return h(w, r, c)
	}
}

// notViewed answers what the customer could do or take away.
func (p *portal) notViewed(w http.ResponseWriter, r *http.Request) {
	v := voiceIn(r.Context())
	p.message(w, r, v.say("Not in this view"), answer{
		Status:   http.StatusForbidden,
		Problems: []problem{{Text: v.say("You see the customer’s pages and change nothing. Documents, downloads, payments and forms are the customer’s alone.")}},
		Actions:  []action{v.step("/account", "Back to the [overview].")},
	})
}
