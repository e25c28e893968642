package portal

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// accountPages are the pages after the log-in, and those that lead back in, in the states that they can be in.
func accountPages(p *portal, typed form) map[string]handler {
	one := enrollment.Customer{Username: "x", Email: "ada@bobsbuilding.example", Accounts: []enrollment.Holding{
		{AccountNumber: "100482-7", CompanyName: "Bob's <Building>", Users: []enrollment.Member{{Username: "x", Email: "ada@bobsbuilding.example", Since: time.Now()}, {Username: "<evil>", Email: "x@bobsbuilding.example"}}},
	}}
	two := one
	two.Accounts = append(two.Accounts, enrollment.Holding{
		AccountNumber: "200", CompanyName: "Bob's <Building>", ClosedAt: time.Now(), AccessUntil: time.Now(), Users: []enrollment.Member{{Username: "x"}},
	})
	invoices := []enrollment.Invoice{
		{AccountNumber: "100482-7", Number: "INV-1", IssuedOn: "2026-11-20", DueOn: "2026-12-20", Currency: "USD", AmountDueMinor: 12345, DocumentURL: "https://billing.example/inv/1"},
		{AccountNumber: "200", Number: "INV/2 <evil>", IssuedOn: "2026-10-20", DueOn: "2026-11-20", Currency: "JPY", AmountDueMinor: 5},
		{AccountNumber: "200", Number: "INV-3", DocumentURL: "javascript:alert(1)"},
	}
	page := func(name string, body any) handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			return p.show(w, r, 200, view{Name: name, Title: voiceIn(r.Context()).say("Your account"), Body: body})
		}
	}
	security := enrollment.Security{Customer: one, Sessions: []enrollment.Session{
		{Data: []byte(`{"values":{"name":"a","browser":"Firefox, <evil>","since":1795000000,"source":"192.0.2.1/32"}}`)},
		{Data: []byte(`{"values":{}}`)}, {Data: []byte(`garbage`)},
	}}
	for _, what := range []string{"signed-in", "password-changed", "password-reset", "account-added", "signed-out-everywhere", "session-ended", "colleague-removed", "access-left", "access-lost", "viewed-by-support"} {
		security.Activity = append(security.Activity, enrollment.Activity{What: what, About: "<evil>", Source: "192.0.2.1/32", At: time.Now()})
	}
	many := make([]enrollment.Invoice, 50)
	for i := range many {
		many[i] = enrollment.Invoice{AccountNumber: "100482-7", Number: "INV", EmailedAt: time.Now()}
	}
	list := func(c enrollment.Customer, q enrollment.InvoiceQuery, all []enrollment.Invoice) invoicesPage {
		return invoicesPage{Customer: c, InvoicePage: q.Of(all), Query: q, Found: len(all) > 0, Before: "/account/invoices?page=1", After: "/account/invoices?page=3", CSV: "/account/invoices.csv"}
	}
	payments := []enrollment.Payment{
		{AccountNumber: "1", Kind: "card", Brand: "Visa <evil>", LastFour: "4242", ExpiresOn: "2028-03", ChangedAt: time.Now()},
		{AccountNumber: "2", Kind: "bank-account", Brand: "First", LastFour: "0001"}, {AccountNumber: "3", Kind: "none"}, {AccountNumber: "4"},
	}
	scenes := map[string]handler{
		"account without invoices": page("account", accountPage{Customer: one}),
		"account that was closed":  page("account", accountPage{Customer: enrollment.Customer{Username: "x"}}),
		"account":                  page("account", accountPage{Customer: one, Invoices: invoices, More: true, Notice: "Added"}),
		"two accounts":             page("account", accountPage{Customer: two, Invoices: invoices, SeveralUsers: true}),
		"invoices":                 page("invoices", list(two, enrollment.InvoiceQuery{Search: `"><evil>`, Page: 1}, invoices)),
		"invoices, none":           page("invoices", list(one, enrollment.InvoiceQuery{Page: 1}, nil)),
		"invoices, page 2":         page("invoices", list(one, enrollment.InvoiceQuery{Page: 2}, many)),
		"invoice":                  page("invoice", invoices[0]),
		"invoice without document": page("invoice", invoices[2]),
		"users":                    page("users", usersPage{Customer: two, Notice: "Ended"}),
		"users, none":              page("users", usersPage{Customer: enrollment.Customer{Username: "x"}}),
		"remove-user": func(w http.ResponseWriter, r *http.Request) error {
			return p.showRemove(w, r, removePage{Account: one.Accounts[0], User: "<evil>"}, answer{Status: 200})
		},
		"remove-user, oneself": func(w http.ResponseWriter, r *http.Request) error {
			return p.showRemove(w, r, removePage{Account: one.Accounts[0], User: "x", Self: true}, answer{Status: 200})
		},
		"payment":          page("payment", paymentPage{Payments: payments, Page: true, Notice: "Welcome back"}),
		"payment, nowhere": page("payment", paymentPage{}),
		"sent":             page("sent", nil),
		"add-account":      func(w http.ResponseWriter, r *http.Request) error { return p.showAdd(w, r, typed, answer{Status: 200}) },
		"help-code, asked": func(w http.ResponseWriter, r *http.Request) error {
			return p.showHelp(w, r, typed, helpPage{Asked: true, AskAgain: "tomorrow", Answer: answer{Status: 200}})
		},
		"security": func(w http.ResponseWriter, r *http.Request) error {
			return page("security", securityPageOf(r, security, answer{Status: 200, Tenant: tenantIn(r.Context())}, "a"))(w, r)
		},
		"reset-password": func(w http.ResponseWriter, r *http.Request) error {
			return p.showReset(w, r, enrollment.Recovery{Username: "Bob’sBuilding", ExpiresAt: time.Now()}, answer{Status: 200})
		},
	}
	viewed := func(h handler) handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			return h(w, r.WithContext(context.WithValue(r.Context(), viewKey{}, &enrollment.View{Username: "<evil>", AccountNumber: "100482-7", Until: time.Now()})))
		}
	}
	for _, name := range []string{"account", "invoices", "invoice", "payment", "security"} {
		scenes[name+", viewed by staff"] = viewed(scenes[name])
	}
	scenes["message, not for staff"] = viewed(func(w http.ResponseWriter, r *http.Request) error { p.notViewed(w, r); return nil })
	for _, no := range reasons {
		forms := map[string]func(http.ResponseWriter, *http.Request, answer) error{
			"add-account": func(w http.ResponseWriter, r *http.Request, a answer) error { return p.showAdd(w, r, typed, a) },
			"forgot-password": func(w http.ResponseWriter, r *http.Request, a answer) error {
				return p.showForgotPassword(w, r, typed, a)
			},
			"forgot-username": func(w http.ResponseWriter, r *http.Request, a answer) error {
				return p.showForgotUsername(w, r, typed, a)
			},
			"help-code": func(w http.ResponseWriter, r *http.Request, a answer) error {
				return p.showHelp(w, r, typed, helpPage{Answer: a})
			},
			"remove-user": func(w http.ResponseWriter, r *http.Request, a answer) error {
				return p.showRemove(w, r, removePage{Account: one.Accounts[0], User: "<evil>"}, a)
			},
			"security": func(w http.ResponseWriter, r *http.Request, a answer) error {
				a.Tenant = tenantIn(r.Context())
				return page("security", securityPageOf(r, security, a, "a"))(w, r)
			},
			"reset-password": func(w http.ResponseWriter, r *http.Request, a answer) error {
				return p.showReset(w, r, enrollment.Recovery{Username: "x"}, a)
			},
		}
		for name, show := range forms {
			scenes[name+", "+string(no.Reason)] = func(w http.ResponseWriter, r *http.Request) error {
				return show(w, r, explain(r.Context(), &no))
			}
		}
		scenes["dead reset, "+string(no.Reason)] = func(w http.ResponseWriter, r *http.Request) error { return p.deadReset(w, r, &no) }
	}
	return scenes
}

func TestPagesAreSmall(t *testing.T) {
	for name, scene := range everyPage(t) {
		if page := render(t, "en-US", scene); page.body.Len() > 50_000 {
			t.Errorf("%s has %d bytes", name, page.body.Len())
		}
	}
}
