package portal

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

// viewed serves the pages of the scene's customer as the back office does, to a browser in which that customer is logged in.
func (s *scene) viewed(c *customer, view enrollment.View) *customer {
	v := NewViewer(Options{Store: s.db, Tenants: oneTenant(s), Log: discard()})
	office := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { v.ShowAs(w, r, view) }))
	s.Cleanup(office.Close)
	there := *s
	there.web = office
	return &customer{&there, c.http} // cookies do not tell ports apart
}

func (s *scene) view() enrollment.View {
	return enrollment.View{
		Tenant: storetest.Mongo, User: storetest.One[int64](s, s.db, `SELECT id FROM users`), Username: username, AccountNumber: accountNumber, Until: time.Now().Add(time.Minute),
	}
}

// left is everything that the customer's browser and the funnel would notice.
func (s *scene) left() string {
	return storetest.One[string](s, s.db, `SELECT concat((SELECT count(*) FROM outbox), (SELECT json_agg(v) FROM user_activity AS v), (SELECT json_agg(s) FROM sessions AS s), (SELECT json_agg(u) FROM users AS u))`)
}

func TestStaffSeeWhatTheCustomerSeesAndLeaveNothing(t *testing.T) {
	s := newScene(t)
	s.billing(events.PaymentMethodChanged{AccountNumber: accountNumber, ChangedAt: time.Now().Add(-time.Hour), Kind: "card", Brand: "Visa", LastFour: "4242"})
	c := s.signedIn()
	staff := s.viewed(c, s.view())
	before := s.left()
	for _, path := range []string{"/account", "/account/invoices", "/account/invoices?q=INV", "/account/invoices/INV-" + code, "/account/payment", "/account/security", "/account/users"} {
		p := staff.get(path)
		p.is(s, http.StatusOK, "You view as Bob’sBuilding, read only.", "verified for account 100482-7", "Ends at ")
		checkStructure(t, p.body)
		if len(p.Header["Set-Cookie"]) > 0 || p.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s sets %v, %s", path, p.Header["Set-Cookie"], p.Header.Get("Cache-Control"))
		}
		for _, secret := range []string{"$argon2", address, "billing.example/inv"} {
			if strings.Contains(string(p.body), secret) {
				t.Errorf("%s shows %s", path, secret)
			}
		}
	}
	if diff := cmp.Diff(before, s.left()); diff != "" {
		t.Errorf("the look left (-before +after):\n%s", diff)
	}
	main := func(p page) string {
		_, after, _ := strings.Cut(p.text(s), "Overview")
		before, _, _ := strings.Cut(after, "support")
		return strings.Join(strings.Fields(before), " ")
	}
	for _, path := range []string{"/account", "/account/invoices", "/account/invoices/INV-" + code, "/account/payment", "/account/users"} {
		if diff := cmp.Diff(main(c.get(path)), main(staff.get(path))); diff != "" || main(c.get(path)) == "" {
			t.Errorf("%s (-customer +staff):\n%s", path, diff)
		}
	}
	if colors := staff.get("/brand.css"); colors.StatusCode != http.StatusOK || colors.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the colors: %d, kept as %s", colors.StatusCode, colors.Header.Get("Cache-Control"))
	}
	for n := range staff.get("/account/security").document(s).Descendants() { // what cannot be sent, nobody tries to
		if n.DataAtom != atom.Form || attribute(n, "action") == "/view/leave" {
			continue
		}
		inert := false
		for up := range n.Ancestors() {
			inert = inert || up.DataAtom == atom.Fieldset && strings.Contains(rendered(s, up), "<fieldset class=\"shown\" role=\"presentation\" disabled")
		}
		if !inert {
			t.Errorf("the form to %s can be sent", attribute(n, "action"))
		}
	}
	spanish := staff.get("/account?lang=es")
	spanish.is(s, http.StatusOK, "Usted ve lo que ve")
	if len(spanish.Header["Set-Cookie"]) > 0 {
		t.Errorf("a choice of staff's is kept for the customer: %v", spanish.Header["Set-Cookie"])
	}
}

func rendered(s *scene, n *html.Node) string {
	var b strings.Builder
	if err := html.Render(&b, n); err != nil {
		s.Fatal(err)
	}
	return b.String()
}

// The caller was verified for one account: the customer's others are not the caller's to hear of.
func TestStaffSeeTheVerifiedAccountAlone(t *testing.T) {
	s := newScene(t)
	c := s.signedIn()
	s.billing(events.InvoiceEmailed{AccountNumber: "200", CompanyName: "Ann's Annex", BillingEmail: "ap@annex.example", EmailedAt: time.Now().Add(-time.Hour),
		Invoice: &events.Invoice{Number: "ANNEX-1"}})
	s.db.DB.MustExec(`INSERT INTO memberships (user_id, account) SELECT u.id, a.id FROM users AS u, accounts AS a WHERE a.account_key = '200'`)
	if !strings.Contains(c.get("/account/invoices").text(s), "ANNEX-1") {
		t.Fatal("the customer does not see the second account")
	}
	staff := s.viewed(c, s.view())
	for _, path := range []string{"/account", "/account/invoices", "/account/payment", "/account/security", "/account/users"} {
		if p := staff.get(path); p.StatusCode != http.StatusOK || strings.Contains(strings.ToUpper(p.text(s)), "ANNEX") {
			t.Errorf("%s: %d\n%s", path, p.StatusCode, p.text(s))
		}
	}
	staff.get("/account/invoices/ANNEX-1").is(s, http.StatusNotFound)
}

func TestStaffChangeAndTakeAwayNothing(t *testing.T) {
	s := newScene(t)
	c := s.signedIn()
	staff := s.viewed(c, s.view())
	before := s.left()
	for _, path := range []string{
		"/account/invoices.csv", "/account/invoices/INV-" + code + "/document", "/account/payment/continue?account=" + accountNumber, "/account/payment/return",
		"/account/add", "/account/security/sign-out", "/account/users/remove", "/login", "/", "/signup", "/account/nowhere",
	} {
		staff.get(path).is(s, http.StatusForbidden, "Not in this view")
	}
	if missing := staff.get("/account/invoices/NONE"); strings.Contains(missing.text(s), "Sign up") {
		t.Errorf("staff are told to sign up:\n%s", missing.text(s))
	} else {
		missing.is(s, http.StatusNotFound, "Back to the overview")
	}
	for _, path := range []string{"/account", "/account/security", "/account/security/sign-out", "/account/users/remove", "/account/add", "/logout", "/login"} {
		staff.post(path, nil).is(s, http.StatusForbidden, "Not in this view")
	}
	staff.ask("DELETE", "/account", "", nil).is(s, http.StatusForbidden, "Not in this view")
	if diff := cmp.Diff(before, s.left()); diff != "" {
		t.Errorf("something was changed (-before +after):\n%s", diff)
	}
	gone := s.view()
	gone.User++
	s.viewed(c, gone).get("/account").is(s, http.StatusForbidden, "Not in this view")
	gone.Tenant = "other"
	s.viewed(c, gone).get("/account").is(s, http.StatusNotFound)
}

func TestWhatSupportDidIsToldTheCustomer(t *testing.T) {
	s := newScene(t)
	c := s.signedIn()
	errand := enrollment.Errand{By: enrollment.Staff{Subject: "idp|7"}, Reason: "caller lost the laptop"}
	if err := s.db.SignOutFor(t.Context(), errand, storetest.Mongo, accountNumber, username); err != nil {
		t.Fatal(err)
	}
	c.get("/account").leadsTo(s, "/login")
	c.logIn(username, password).leadsTo(s, "/account")
	c.get("/account/security").is(s, http.StatusOK, "Logged out everywhere by support")
	c.get("/account/security?lang=es").is(s, http.StatusOK, "por asistencia")
}

// Whatever a page tries to write in a view fails.
func TestAViewerHasNothingToWriteWith(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("the funnel would hear of it")
		}
	}()
	v := NewViewer(Options{Store: storetest.New(t), Tenants: oneTenant(t), Log: discard()})
	_ = v.portal.store.ViewInvoices(t.Context(), storetest.Mongo, 1)
}
