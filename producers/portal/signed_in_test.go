package portal

import (
	"context"
	"encoding/csv"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/store/storetest"
	"github.com/mongotel/billcenter/schema/tenants"
)

// billing takes what the billing system says about any account.
func (s *scene) billing(messages ...events.Message) {
	s.Helper()
	for i, m := range messages {
		id := fmt.Sprint(time.Now().UnixNano(), i)
		encoded, err := events.Encode(storetest.Mongo, events.Envelope{ID: id, Source: events.Source(storetest.Mongo, "billing")}, m)
		if err != nil {
			s.Fatal(err)
		}
		event, err := events.Decode(encoded.Subject, encoded.Header, encoded.Body)
		if err != nil {
			s.Fatal(err)
		}
		receipts, err := s.db.TakeBilling(s.Context(), []events.Received{{Event: event, Message: m, Sequence: uint64(1000 + i)}})
		if err != nil || receipts[0].Fault != nil {
			s.Fatalf("%T: %v, %v", m, receipts, err)
		}
	}
}

func invoiceOf(account, number, code string, change ...func(*events.InvoiceEmailed)) events.InvoiceEmailed {
	amount := int64(4200)
	m := events.InvoiceEmailed{
		AccountNumber: account, CompanyName: "Company " + account, BillingEmail: "ap@bobsbuilding.example", EmailedAt: time.Now().Add(-time.Minute).UTC(),
		RegistrationCode: code,
		Invoice:          &events.Invoice{Number: number, IssuedOn: "2026-10-20", DueOn: "2026-11-20", Currency: "USD", AmountDueMinor: &amount, DocumentURL: "https://billing.example/inv/" + account},
	}
	for _, c := range change {
		c(&m)
	}
	return m
}

func (s *scene) signedIn() *customer {
	s.Helper()
	s.enrolled()
	c := s.customer()
	c.logIn(username, password).leadsTo(s, "/account")
	return c
}

func TestPagesAfterTheLogInAskForIt(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	for _, path := range []string{
		"/account", "/account/invoices", "/account/invoices.csv", "/account/invoices/INV-" + code, "/account/invoices/INV-" + code + "/document",
		"/account/payment", "/account/payment/continue?account=1", "/account/payment/return", "/account/security", "/account/add",
		"/account/users", "/account/users/remove?account=" + accountNumber + "&username=x",
	} {
		c.get(path).leadsTo(s, "/login")
	}
	for _, path := range []string{"/account/security", "/account/security/sign-out", "/account/security/end-session", "/account/add", "/account/users/remove"} {
		c.post(path, url.Values{"account_number": {accountNumber}}).leadsTo(s, "/login")
	}
}

func TestInvoices(t *testing.T) {
	s := newScene(t)
	s.billing(invoiceOf("200", "STRANGE-1", "7777-8888-9999"))
	c := s.signedIn()
	for i := range 24 {
		s.billing(invoiceOf(accountNumber, fmt.Sprintf("OLD/%02d", i), "", func(m *events.InvoiceEmailed) {
			m.EmailedAt = time.Now().Add(-time.Duration(i+2) * time.Hour)
		}))
	}
	p := c.get("/account/invoices")
	p.is(s, 200, "25 invoices", "INV-"+code, "$1,234.50", "Page 1 of 2", "Older")
	checkStructure(t, p.body)
	c.get("/account/invoices?page=2").is(s, 200, "Page 2 of 2", "Newer", "OLD/23")
	c.get("/account/invoices?q=inv-&month=2026-11").is(s, 200, "1 invoice", "INV-"+code)
	c.get("/account/invoices?q=nowhere").is(s, 200, "No invoice matches")
	c.get("/account/invoices?page=-1&q=%ff&month=x%00").is(s, 200)

	detail := c.get("/account/invoices/OLD%2F07")
	detail.is(s, 200, "Invoice OLD/07", "$42.00", "October 20, 2026", "Open the document")
	document := c.get("/account/invoices/OLD%2F07/document?account=" + accountNumber)
	document.leadsTo(s, "https://billing.example/inv/"+accountNumber)
	if document.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Error("the document's host learns where the customer came from")
	}
	// Somebody else's, and nobody's, are the same to a customer.
	for _, path := range []string{"STRANGE-1", "STRANGE-1?account=200", "STRANGE-1/document", "INV-" + code + "?account=200"} {
		p := c.get("/account/invoices/" + path)
		p.is(s, 404, "There is no such page")
		_, rest, _ := strings.Cut(path, "1") // what follows the number
		if nobodys := c.get("/account/invoices/NOBODYS-1" + rest); strings.HasPrefix(path, "STRANGE") && string(p.body) != string(nobodys.body) {
			t.Errorf("%s: %d bytes against %d", path, len(p.body), len(nobodys.body))
		}
	}
	if n := s.facts("invoice-viewed"); n != 1 {
		t.Errorf("%d facts that invoices were seen, want one a session", n)
	}
}

func TestTheListAsCSV(t *testing.T) {
	s := newScene(t)
	c := s.signedIn()
	for _, number := range []string{`=HYPERLINK("http://evil.example")`, "+1", "-1", "@SUM(1)", `quoted "x", and more`} {
		s.billing(invoiceOf(accountNumber, number, "", func(m *events.InvoiceEmailed) { m.CompanyName = "=cmd|' /C calc'!A0" }))
	}
	p := c.get("/account/invoices.csv")
	if p.StatusCode != 200 || !strings.HasPrefix(p.Header.Get("Content-Type"), "text/csv") || !strings.HasPrefix(p.Header.Get("Content-Disposition"), "attachment") {
		t.Fatalf("%d %v", p.StatusCode, p.Header)
	}
	rows, err := csv.NewReader(strings.NewReader(string(p.body))).ReadAll()
	if err != nil || len(rows) != 7 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				t.Errorf("a spreadsheet computes %q", cell)
			}
		}
	}
	if got := strings.Join(rows[len(rows)-1], "|"); got != accountNumber+"|'=cmd|' /C calc'!A0|INV-"+code+"|2026-11-20|2026-12-20|USD|1234.50" {
		t.Errorf("last row: %s", got)
	}
}

func TestHowAnAccountPays(t *testing.T) {
	s := newScene(t)
	c := s.signedIn()
	c.get("/account/payment").is(s, 200, "Billing has not told us yet", "To pay or to change how you pay, reach support.")
	s.billing(events.PaymentMethodChanged{AccountNumber: accountNumber, ChangedAt: time.Now().UTC(), Kind: events.Card, Brand: "Visa", LastFour: "4242", ExpiresOn: "2028-03"})
	c.get("/account/payment").is(s, 200, "Card, Visa ending in 4242", "March 2028")
	c.get("/account/payment/continue?account="+accountNumber).is(s, 404) // the tenant has no payment page

	d, err := tenants.Parse("t.yaml", []byte(`tenants: [{id: mongo, name: Mongotel, hosts: [127.0.0.1], baseURL: "http://127.0.0.1", timeZone: America/New_York,
  support: {phones: ["1"], email: a@b.example, hours: always}, mail: {fromName: M, fromAddress: a@b.example},
  brand: {primary: "#0f4c81", onPrimary: "#ffffff"}, paymentPage: "https://pay.example/mongo?shop=7"}]`))
	if err != nil {
		t.Fatal(err)
	}
	s.serve(Options{Store: s.db, Tenants: d, Keys: s.db.Ring, Log: discard()})
	c = s.customer()
	c.logIn(username, password).leadsTo(s, "/account")
	c.get("/account/payment").is(s, 200, "Pay or change how you pay", "never sees a card")
	away := c.get("/account/payment/continue?account=" + accountNumber)
	to, err := url.Parse(away.Header.Get("Location"))
	if err != nil || away.StatusCode != 303 || to.Host != "pay.example" || to.Query().Get("account") != accountNumber || to.Query().Get("shop") != "7" {
		t.Fatalf("%d %s", away.StatusCode, to)
	}
	c.get("/account/payment/continue?account=200").is(s, 404)
	back := strings.TrimPrefix(to.Query().Get("return"), "http://127.0.0.1")
	c.get(back).leadsTo(s, "/account/payment")
	c.get("/account/payment").is(s, 200, "Welcome back")
	if strings.Contains(c.get("/account/payment").text(s), "Welcome back") {
		t.Error("a notice is shown twice")
	}
	for _, forged := range []string{back + "x", "/account/payment/return", "/account/payment/return?ticket=a.b"} {
		c.get(forged).leadsTo(s, "/account/payment")
		c.get("/account/payment").is(s, 200, "longer than we wait")
	}
}

func TestChangingThePassword(t *testing.T) {
	s := newScene(t)
	c := s.signedIn()
	other := s.customer()
	other.logIn(username, password).leadsTo(s, "/account")
	change := func(present, next, again string) page {
		return c.post("/account/security", url.Values{"current_password": {present}, "password": {next}, "password_confirmation": {again}})
	}
	c.get("/account/security").is(s, 200, "Firefox, Linux", "(this one)", "Logged in")
	change("", otherPassword, otherPassword).is(s, 422, "Enter the present password.")
	change("not my password at all", otherPassword, otherPassword).is(s, 422, "This is not your present password.")
	change(password, "short", "short").is(s, 422, "at least 15 characters")
	change(password, otherPassword, otherPassword+"x").is(s, 422, "The two passwords differ")
	change(password, accountNumber+"Bob'sBuilding", accountNumber+"Bob'sBuilding").is(s, 422, "made of your username")
	other.get("/account").is(s, 200)

	before := storetest.One[int](t, s.db, `SELECT count(*) FROM sessions`)
	changed := change(password, otherPassword, otherPassword)
	changed.leadsTo(s, "/account/security")
	if sessionCookie(t, changed) == nil || storetest.One[int](t, s.db, `SELECT count(*) FROM sessions`) != before+1 {
		t.Error("the session is not a new one")
	}
	c.get("/account/security").is(s, 200, "Your password was changed", "Password changed")
	other.get("/account").leadsTo(s, "/login")
	s.customer().logIn(username, password).is(s, 422)
	s.customer().logIn(username, otherPassword).leadsTo(s, "/account")
}

func TestGuessingThePresentPasswordWaits(t *testing.T) {
	s := newScene(t)
	c := s.signedIn()
	wrong := url.Values{"current_password": {"not my password at all"}, "password": {otherPassword}, "password_confirmation": {otherPassword}}
	for range 5 {
		c.post("/account/security", wrong).is(s, 422)
	}
	c.post("/account/security", wrong).is(s, 429, "30 seconds")
}

func TestSigningOutEverywhere(t *testing.T) {
	s := newScene(t)
	c := s.signedIn()
	other := s.customer()
	other.logIn(username, password)
	c.post("/account/security/sign-out", nil).leadsTo(s, "/login")
	c.get("/account").leadsTo(s, "/login")
	other.get("/account").leadsTo(s, "/login")
}

func TestAnotherAccount(t *testing.T) {
	s := newScene(t)
	c := s.signedIn()
	s.billing(invoiceOf("200", "TWO-1", "7777-8888-9999"))
	add := func(account, code string) page {
		return c.post("/account/add", url.Values{"account_number": {account}, "registration_code": {code}})
	}
	unknown, wrong := add("999", "AAAA-BBBB"), add("200", "AAAA-BBBB")
	unknown.is(s, 422, "do not belong together")
	if strings.ReplaceAll(string(unknown.body), `value="999"`, `value="200"`) != string(wrong.body) {
		t.Error("an unknown account is told from a wrong code")
	}
	add("", "").is(s, 422, "Enter the account number.", "Enter the registration code.")
	add(accountNumber, code).leadsTo(s, "/account") // one's own: nothing to do
	add("Account Number: 200 Registration Code: 7777-8888-9999", "").leadsTo(s, "/account")
	p := c.get("/account")
	p.is(s, 200, "The account was added.", "Your accounts", "Company 200", "Bob's Building", "TWO-1", "INV-"+code)
	checkStructure(t, p.body)
	c.get("/account/invoices?account=200").is(s, 200, "1 invoice", "TWO-1")
	for _, account := range []string{accountNumber, "200"} { // which of them is meant, the link says
		s.billing(invoiceOf(account, "SAME", ""))
	}
	for _, account := range []string{accountNumber, "200"} {
		c.get("/account/invoices/SAME?account="+account).is(s, 200, "Account "+account)
		c.get("/account/invoices/SAME/document?account="+account).leadsTo(s, "https://billing.example/inv/"+account)
	}
	c.get("/account/payment").is(s, 200, "Account 200")
	c.get("/account/security").is(s, 200, "Account added")
}

func TestAClosedAccount(t *testing.T) {
	s := newScene(t)
	c := s.signedIn()
	s.billing(events.AccountClosed{AccountNumber: accountNumber, ClosedAt: time.Now().Add(-59 * 24 * time.Hour).UTC()})
	c.get("/account").is(s, 200, "Billing closed account "+accountNumber, "INV-"+code)
	s.customer().signUp().is(s, 422, "This account was closed")
	s.db.Pass(t, 25*time.Hour)
	c = s.customer()
	c.logIn(username, password).leadsTo(s, "/account")
	p := c.get("/account")
	p.is(s, 200, "No account to show", "(718) 942-9990")
	if strings.Contains(string(p.body), "INV-") {
		t.Error("an invoice is shown after the grace")
	}
	c.get("/account/invoices/INV-"+code).is(s, 404)
	c.get("/account/payment").is(s, 200, "There is no account to pay for.")
	checkStructure(t, p.body)
}

func TestTheSignUpIsForgiving(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	if got := c.get("/signup?account="+accountNumber).value(s, "account_number"); got != accountNumber {
		t.Errorf("the link fills in %q", got)
	}
	for _, odd := range []string{strings.Repeat("9", 65), "%0D%0Ax", "%ff"} {
		if got := c.get("/signup?account="+odd).value(s, "account_number"); got != "" {
			t.Errorf("an odd link fills in %q", got)
		}
	}
	line := "Account Number: 100482-7  Registration Code: 7F3K-9QWD-M2XA"
	p := c.signUp("account_number", "", "registration_code", line, "email", "")
	p.is(s, 422)
	if p.value(s, "account_number") != accountNumber || p.value(s, "registration_code") != code {
		t.Errorf("%q, %q", p.value(s, "account_number"), p.value(s, "registration_code"))
	}
	c.signUp("account_number", line, "registration_code", "").leadsTo(s, "/signup/check-email")
}

// TestALogInUnderWayDoesNotOutliveThePassword lets a log-in read the credential and waits with the rest until the password was
// set in another way.
func TestALogInUnderWayDoesNotOutliveThePassword(t *testing.T) {
	s := newScene(t)
	s.enrolled()
	slow := &lateSessions{Store: s.db, before: func() {
		s.customer().forgets(username)
		s.customer().activate(s.resetLink(), otherPassword).leadsTo(s, "/login")
	}}
	late := &scene{T: t, db: s.db}
	late.serve(Options{Store: slow, Tenants: oneTenant(t), Keys: s.db.Ring, Log: discard()})
	c := late.customer()
	c.logIn(username, password).leadsTo(s, "/account")
	c.get("/account").leadsTo(s, "/login")
	if n := storetest.One[int](t, s.db, `SELECT count(*) FROM sessions WHERE NOT ended`); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// lateSessions is the store, with something else happening just before a session is saved for the first time.
type lateSessions struct {
	Store
	sync.Once
	before func()
}

func (l *lateSessions) SaveSession(ctx context.Context, tokenHash, tenant string, user, epoch int64, data []byte, until time.Time) error {
	l.Do(l.before)
	return l.Store.SaveSession(ctx, tokenHash, tenant, user, epoch, data, until)
}

func TestEndingOneSession(t *testing.T) {
	s := newScene(t)
	c := s.signedIn()
	phone := s.customer()
	phone.logIn(username, password).leadsTo(s, "/account")
	p := c.get("/account/security")
	p.is(s, 200, "Firefox, Linux", "Last used")
	checkStructure(t, p.body)
	if n := strings.Count(string(p.body), `action="/account/security/end-session"`); n != 1 {
		t.Fatalf("%d buttons for two browsers of which one asks", n)
	}
	id := p.value(s, "session")
	end := func(from *customer, id string) page {
		return from.post("/account/security/end-session", url.Values{"session": {id}})
	}
	stranger := s.customer()
	end(stranger, id).leadsTo(s, "/login")
	for _, odd := range []string{"", "x", "00000000-0000-4000-8000-000000000000"} {
		end(c, odd).is(s, 404)
	}
	c.ask("POST", "/account/security/end-session", "session="+id, map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "Origin": "https://evil.example",
	}).is(s, 403)
	phone.get("/account").is(s, 200)

	end(c, id).leadsTo(s, "/account/security")
	c.get("/account/security").is(s, 200, "The other browser was logged out.", "One browser logged out from another one")
	phone.get("/account").leadsTo(s, "/login")
}
