package portal

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/tenants"
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed assets/portal.css
var stylesheet []byte

// deliveryScript is the only script: it looks after the mail again while the page about it is open.
//
//go:embed assets/check-email.js
var deliveryScript []byte

const deliveryScriptPath = "/assets/check-email.js"

// pageNames are the files in pages/, layout aside.
var pageNames = [...]string{
	"home", "signup", "check-email", "activate", "dead-link", "login", "account", "help-code", "forgot-password", "message",
	"forgot-username", "sent", "reset-password", "invoices", "invoice", "payment", "security", "add-account", "users", "remove-user", "not-me",
}

// The steps of an enrollment as the line above its pages shows them, from 1. Pages outside it have step 0.
const (
	stepSignUp = iota + 1
	stepCheckEmail
	stepPassword
	stepLogIn
)

func (v *voice) stepNames() []string {
	return []string{v.say("Sign up"), v.say("Check your e-mail"), v.say("Choose a password"), v.say("Log in")}
}

// pages are the parsed templates by name.
type pages map[string]*template.Template

func parsePages(v *voice) pages {
	layout := template.Must(template.New("layout").Option("missingkey=error").Funcs(template.FuncMap{
		"say":   v.write,
		"money": v.Money,
		"day":   v.Day,
		"month": v.Month,
		"hours": func(s tenants.Support) string { return s.HoursFor(v.Locale) },
		"steps": v.stepNames,
		"inc":   func(i int) int { return i + 1 },
		"dial":  dial,
		"web":   web,

		"date":   func(t *tenants.Tenant, at time.Time) string { return v.Date(at.In(t.TimeZone)) },
		"moment": func(t *tenants.Tenant, at time.Time) string { return v.Moment(at.In(t.TimeZone)) },
		"clock":  func(t *tenants.Tenant, at time.Time) string { return v.TimeOfDay(at.In(t.TimeZone)) },

		"passphrases": func(t *tenants.Tenant, username string) []string {
			return v.passphrases(t.Policy.PasswordMin, username, t.Name)
		},

		"invoicePath":  invoicePath,
		"documentPath": documentPath,
		"payPath":      payPath,
		"removePath":   removePath,
	}).ParseFS(pageFiles, "pages/layout.html", "pages/account-parts.html"))
	all := make(pages)
	for _, name := range pageNames {
		all[name] = template.Must(template.Must(layout.Clone()).ParseFS(pageFiles, "pages/"+name+".html"))
	}
	return all
}

// dial leaves of a written phone number what a tel: link may hold (RFC 3966).
func dial(phone string) string {
	return strings.Map(func(r rune) rune {
		if r == '+' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, phone)
}

// web returns an address that a page may link to: https, or nothing.
func web(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return ""
	}
	return address
}

// view is what the layout shows around a page's own Body.
type view struct {
	Name     string // of the page
	Title    string
	Step     int
	Problem  bool // something has to be put right: said first in the title
	SignedIn bool
	View     *enrollment.View // staff look; nil: the customer does
	Tenant   *tenants.Tenant
	Assets   string // changes with the style sheet and the script
	Script   string // of the page's own; empty: none, and the browser is told to run none
	Here     string // where GET shows the page; empty: at the address that was asked for
	Body     any

	Locale    string
	Languages []languageLink // to choose from
}

// show renders a page. v.Name says which.
func (p *portal) show(w http.ResponseWriter, r *http.Request, status int, v view) error {
	v.Tenant, v.Assets = tenantIn(r.Context()), assetVersion()
	v.SignedIn, v.View = p.signedIn(r), viewIn(r.Context())
	v.Locale, v.Languages = voiceIn(r.Context()).String(), languageLinks(r, v.Here)
	p.speak(w, r)
	if v.Script != "" {
		w.Header().Set("Content-Security-Policy", contentPolicy+"; script-src 'self'; connect-src 'self'")
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := voiceIn(r.Context()).pages[v.Name].ExecuteTemplate(w, "layout", v); err != nil {
		return fmt.Errorf("portal: render %s: %w", v.Name, err)
	}
	return nil
}

func assetVersion() string {
	sum := sha256.Sum256(slices.Concat(stylesheet, deliveryScript))
	return hex.EncodeToString(sum[:6])
}

func (p *portal) home(w http.ResponseWriter, r *http.Request) error {
	return p.show(w, r, http.StatusOK, view{Name: "home", Title: voiceIn(r.Context()).say("Your bills, in one place")})
}

// field is one labelled input. Its Name is also its id, so that a message can lead to it.
type field struct {
	Name         enrollment.Field
	Label        string
	Hint         string
	Mark         string // where it is in the drawing of the bill
	Type         string
	Class        string
	Autocomplete string
	Capitals     string // autocapitalize, for phones
	Value        string // never a password
	Message      string // what is wrong with the value
}

// DescribedBy lists the ids of the texts that belong to the input.
func (f field) DescribedBy() string {
	var ids []string
	if f.Hint != "" {
		ids = append(ids, string(f.Name)+"-hint")
	}
	if f.Message != "" {
		ids = append(ids, string(f.Name)+"-error")
	}
	return strings.Join(ids, " ")
}

func (p *portal) deliveryScript(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable") // its address changes with it
	_, err := w.Write(deliveryScript)
	return err
}

func (p *portal) stylesheet(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable") // its address changes with it
	_, err := w.Write(stylesheet)
	return err
}

// brandColors is the tenant's part of the style sheet; a route of its own, since the policy allows no inline style.
func (p *portal) brandColors(w http.ResponseWriter, r *http.Request) error {
	brand := tenantIn(r.Context()).Brand
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, err := fmt.Fprintf(w, ":root { --brand: %s; --on-brand: %s; --away: %s; }\n", brand.Primary, brand.OnPrimary, away(brand.OnPrimary))
	return err
}

// away is what darkens or lightens a ground so that text in a color stays readable on it.
func away(text string) string {
	channels, err := strconv.ParseUint(strings.TrimPrefix(text, "#"), 16, 32)
	if light := channels>>16+channels>>8&0xff+channels&0xff > 3*0x7f; err != nil || light {
		return "#000000"
	}
	return "#ffffff"
}

func (p *portal) brandIcon(w http.ResponseWriter, r *http.Request) error {
	brand := tenantIn(r.Context()).Brand
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="5" fill="%s"/>`+
		`<g fill="none" stroke="%s" stroke-width="3.2"><path d="M7 15a10 10 0 0 1 10 10M7 7a18 18 0 0 1 18 18"/></g><circle cx="9.5" cy="22.5" r="3" fill="%[2]s"/></svg>`,
		brand.Primary, brand.OnPrimary)
	return err
}

func (p *portal) brandLogo(w http.ResponseWriter, r *http.Request) error {
	logo := tenantIn(r.Context()).Brand.Logo
	if logo == nil {
		p.notFound(w, r)
		return nil
	}
	w.Header().Set("Content-Type", logo.ContentType)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable") // its address changes with it
	_, err := w.Write(logo.Content)
	return err
}
