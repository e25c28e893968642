package portal

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store"
	"github.com/mongotel/billcenter/schema/store/storetest"
	"github.com/mongotel/billcenter/schema/tenants"
)

// joins enrolls a colleague with a later code of the account, and logs in.
func (s *scene) joins(username, code string) *customer {
	s.Helper()
	s.billingSends(code, time.Minute)
	to := enrollment.Address(strings.ToLower(username) + "@bobsbuilding.example")
	c := s.customer()
	c.signUp("registration_code", code, "username", username, "email", string(to)).leadsTo(s, "/signup/check-email")
	c.activate(s.link(to), otherPassword).leadsTo(s, "/login")
	c.logIn(username, otherPassword).leadsTo(s, "/account")
	return c
}

func (c *customer) removes(account, username, password string) page {
	c.Helper()
	return c.post("/account/users/remove", url.Values{"account": {account}, "username": {username}, "current_password": {password}})
}

func TestAColleaguesAccessEndsAtOnce(t *testing.T) {
	s := newScene(t)
	s.billing(invoiceOf("200", "STRANGE-1", "7777-8888-9999"))
	c := s.signedIn()
	only := c.get("/account/users")
	only.is(s, 200, "Account "+accountNumber, "Nobody else sees this account")
	if strings.Contains(string(only.body), "/account/users/remove") {
		t.Error("the last user's access is offered to end")
	}
	c.get(removePath(accountNumber, username)).is(s, 422, "Nobody else sees this account")
	c.removes(accountNumber, username, password).is(s, 422, "Nobody else sees this account")

	grace := s.joins("Grace", "SECOND-CODE-2")
	grace.post("/account/add", url.Values{"account_number": {"200"}, "registration_code": {"7777-8888-9999"}}).leadsTo(s, "/account")
	list := c.get("/account/users")
	list.is(s, 200, username+" (you)", "Grace", "g***", "Since")
	checkStructure(t, list.body)
	if strings.Contains(string(list.body), "grace@") || strings.Contains(list.text(s), "Account 200") {
		t.Errorf("the list tells a colleague's address or other accounts:\n%s", list.text(s))
	}
	ask := c.get(removePath(accountNumber, "grace"))
	ask.is(s, 200, "End a colleague’s access", "Grace will not see this account", "Your password")
	checkStructure(t, ask.body)
	for _, path := range []string{removePath("200", "Grace"), removePath(accountNumber, "nobody"), "/account/users/remove"} {
		c.get(path).is(s, 404)
	}

	none := c.removes(accountNumber, "Grace", "")
	none.is(s, 422, "Enter the present password.")
	checkStructure(t, none.body)
	if none.value(s, "username") != "Grace" || none.value(s, "account") != accountNumber {
		t.Error("the form forgot whom it is about")
	}
	c.removes(accountNumber, "Grace", "not my password at all").is(s, 422, "This is not your present password.")
	c.removes("200", "Grace", password).leadsTo(s, "/account/users") // an account that one does not see
	c.ask("POST", "/account/users/remove", url.Values{"account": {accountNumber}, "username": {"Grace"}, "current_password": {password}}.Encode(),
		map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Origin": "https://evil.example"}).is(s, 403)
	grace.get("/account/invoices").is(s, 200, "INV-"+code)

	for range 2 { // two clicks
		c.removes(accountNumber, "Grace", password).leadsTo(s, "/account/users")
	}
	c.get("/account/users").is(s, 200, "The access has ended.", "Nobody else sees this account")
	c.get("/account/security").is(s, 200, "Ended the access of Grace to an account")
	grace.get("/account").is(s, 200, "Account 200")
	grace.get("/account/invoices/INV-"+code).is(s, 404)
	if strings.Contains(grace.get("/account/invoices").text(s), "INV-"+code) {
		t.Error("the colleague still sees invoices")
	}
	grace.get("/account/security").is(s, 200, "A colleague ended your access to account "+accountNumber)
	if n := storetest.One[int](t, s.db, `SELECT coalesce(sum(wrong), 0) FROM attempts WHERE scope = 'login-source-user'`); n != 0 {
		t.Errorf("%d wrong tries are left of a right password", n)
	}
}

func TestOnesOwnAccessIsGivenUp(t *testing.T) {
	s := newScene(t)
	c := s.signedIn()
	s.joins("Grace", "SECOND-CODE-2")
	c.get("/account").is(s, 200, "End somebody’s access")
	c.get(removePath(accountNumber, username)).is(s, 200, "Give up your access", "You will not see this account")
	c.removes(accountNumber, username, password).leadsTo(s, "/account")
	p := c.get("/account")
	p.is(s, 200, "You gave up your access to the account.", "No account to show", "or a colleague ended the access")
	checkStructure(t, p.body)
	c.get("/account/users").is(s, 200, "There is no account to see.")
	c.get("/account/security").is(s, 200, "Gave up the access to account "+accountNumber)
}

func TestGuessingThePasswordToEndAnAccessWaits(t *testing.T) {
	s := newScene(t)
	c := s.signedIn()
	s.joins("Grace", "SECOND-CODE-2")
	for range 5 {
		c.removes(accountNumber, "Grace", "not my password at all").is(s, 422)
	}
	c.removes(accountNumber, "Grace", password).is(s, 429, "30 seconds")
}

func TestATenantWithOneUserForEachAccountHasNoSuchPages(t *testing.T) {
	s := newScene(t)
	s.signedIn()
	d, err := tenants.Parse("t.yaml", []byte(`tenants: [{id: mongo, name: Mongotel, hosts: [127.0.0.1], baseURL: "http://127.0.0.1", timeZone: America/New_York,
  support: {phones: ["1"], email: a@b.example, hours: always}, mail: {fromName: M, fromAddress: a@b.example},
  brand: {primary: "#0f4c81", onPrimary: "#ffffff"}, policy: {severalUsers: false}}]`))
	if err != nil {
		t.Fatal(err)
	}
	s.serve(Options{Store: store.New(s.db.DB, s.db.Ring, d.Policy), Tenants: d, Keys: s.db.Ring, Log: discard()})
	c := s.customer()
	c.logIn(username, password).leadsTo(s, "/account")
	if p := c.get("/account"); strings.Contains(string(p.body), "/account/users") {
		t.Error("the overview leads to a page that there is not")
	}
	c.get("/account/users").is(s, 404)
	c.get(removePath(accountNumber, username)).is(s, 404)
	c.removes(accountNumber, username, password).is(s, 404)
}
