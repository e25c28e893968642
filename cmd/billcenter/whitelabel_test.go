package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

const acme = `tenants:
  - id: acme
    name: Acme Fibre
    hosts: [127.0.0.1]
    baseURL: http://%s
    support: {phones: ["555 0100"], email: help@acme.example, hours: always}
    mail: {fromName: Acme Bills, fromAddress: bills@acme.example}
    brand: {primary: "#7a1f3d", onPrimary: "#ffffff", logo: acme.svg}
    timeZone: Europe/Zurich
    paymentPage: %s/pay?shop=7
    policy: {severalUsers: false, closedGrace: 0d}
`

// Another telecom on the same program: its name, logo, sender, payment page and rules; one log-in for two accounts, until one
// of them is closed.
func TestACustomerOfAnotherTelecom(t *testing.T) {
	t.Parallel()
	var paid []string // what the payment page was told
	provider := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paid = append(paid, r.URL.Query().Get("account"))
		http.Redirect(w, r, r.URL.Query().Get("return"), http.StatusSeeOther)
	}))
	t.Cleanup(provider.Close)
	dir, portal := t.TempDir(), freeAddr(t)
	for name, content := range map[string]string{
		"tenants.yaml": fmt.Sprintf(acme, portal, provider.URL),
		"acme.svg":     `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 80 20"><path d="M0 20L10 0l10 20z"/></svg>`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	up := start(t, "--no-demo", "--portal-addr", portal, "--tenants", filepath.Join(dir, "tenants.yaml"))
	says := func(event, subject, data string) {
		up.publishRaw(t, &nats.Msg{Subject: "billing.acme." + subject, Data: fmt.Appendf(nil,
			`{"specversion":"1.0","id":"%s","source":"//acme.billcenter.net/billing","type":"net.billcenter.%s.v1","data":%s}`, event, subject, data)})
	}
	for i, code := range []string{"QX4T-88ZK", "7F3K-9QWD", "M2XA-5RTW"} {
		says(code, "invoice.emailed", fmt.Sprintf(`{"accountNumber":"700-%d","companyName":"Alpine %d AG","billingEmail":"ap%[1]d@alpine.example","emailedAt":"%[3]s","registrationCode":"%s",
			"invoice":{"number":"R-%[1]d","issuedOn":"2026-11-01","dueOn":"2026-12-01","currency":"CHF","amountDueMinor":123450}}`, i, i, time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), code))
	}
	says("visa", "payment-method.changed", `{"accountNumber":"700-0","changedAt":"2026-11-20T08:00:00Z","kind":"card","brand":"Visa","lastFour":"4242","expiresOn":"2028-03"}`)

	ann := up.visitor(t)
	ann.client.Transport = provider.Client().Transport
	page := ann.get("/").says("555 0100")
	if !strings.Contains(page.body, `alt="Acme Fibre"`) || strings.Contains(page.text(), "Mongotel") {
		t.Errorf("the front page is not Acme's:\n%s", page.body)
	}
	logo := ann.get("/brand/logo")
	if !strings.Contains(logo.body, "<path") {
		t.Errorf("the logo: %d %s", logo.status, logo.body)
	}
	sign := fields{"account_number": "7000", "registration_code": "qx4t 88zk", "email": "ann@alpine.example", "username": "ann.alpine"}
	eventually(t, "the code", func() error {
		if p := ann.fill("/signup", sign); p.url.Path != "/signup/check-email" {
			return fmt.Errorf("%s", p.text())
		}
		return nil
	})
	mail := up.inbox.expect(t, "ann@alpine.example")
	if !strings.Contains(mail.From, "bills@acme.example") || !strings.HasPrefix(mail.link(t), "http://"+portal+"/activate/") {
		t.Errorf("the mail is from %s with the link %s", mail.From, mail.link(t))
	}
	ann.fill(mail.link(t), fields{"password": passphrase, "password_confirmation": passphrase}).is(http.StatusOK, "/login")
	ann.fill("/login", fields{"username": "ann.alpine", "password": passphrase}).is(http.StatusOK, "/account").says("Alpine 0 AG")

	// One more account by its own number and code; and nobody else gets into the first.
	ann.fill("/account/add", fields{"account_number": "700-1", "registration_code": "7F3K-9QWD"}).is(http.StatusOK, "/account").says("Alpine 0 AG").says("Alpine 1 AG")
	ann.get("/account/invoices").says("R-0").says("R-1").says("1,234.50")

	// To the payment page and back, with a card that was never seen here.
	ann.get("/account/payment").says("Visa").says("4242").follows("Pay or change").is(http.StatusOK, "/account/payment").says("Welcome back")
	if len(paid) != 1 || paid[0] != "700-0" {
		t.Errorf("the payment page was asked about %q", paid)
	}

	// A closed account leaves the log-in at once, where no grace is given; a sign-up for one ends.
	bob := up.visitor(t)
	bob.fill("/signup", fields{"account_number": "700-2", "registration_code": "M2XA-5RTW", "email": "bob@alpine.example", "username": "bob.alpine"}).is(http.StatusOK, "/signup/check-email")
	link := up.inbox.expect(t, "bob@alpine.example").link(t)
	for _, account := range []string{"700-1", "700-2"} {
		says("closed"+account, "account.closed", fmt.Sprintf(`{"accountNumber":"%s","closedAt":"%s"}`, account, time.Now().UTC().Format(time.RFC3339)))
	}
	up.facts(t, "cancelled")
	bob.get(link).is(http.StatusGone, link)
	if accounts := ann.get("/account").says("Alpine 0 AG").text(); strings.Contains(accounts, "Alpine 1 AG") {
		t.Errorf("the closed account is still there:\n%s", accounts)
	}
}
