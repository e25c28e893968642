package main

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// The manual's nine steps, as a customer of Mongotel lives them.
func TestACustomerEnrolls(t *testing.T) {
	t.Parallel()
	up := start(t)

	// The billing e-mail has the box at its bottom.
	bill := up.inbox.expect(t, "ap@bobsbuilding.example")
	account, code := bill.box(t)

	// Steps 1 to 6: sign up with the manual's own example of a username.
	bob := up.visitor(t)
	bob.get("/").follows("Sign up for an Account")
	page := bob.fill("/signup", fields{
		"account_number": account, "registration_code": code, "email": "bob@bobsbuilding.example", "username": "Bob’sBuilding",
	})
	page.is(http.StatusOK, "/signup/check-email").says("b***@")

	// Steps 7 and 8: the link works, however often a mail scanner looked at it before.
	mail := up.inbox.expect(t, "bob@bobsbuilding.example")
	link := mail.link(t)
	up.scanner(t).get(link).is(http.StatusOK, link)
	bob.fill(link, fields{"password": "too short", "password_confirmation": "too short"}).is(http.StatusUnprocessableEntity, link)
	page = bob.fill(link, fields{"password": passphrase, "password_confirmation": passphrase})
	page.is(http.StatusOK, "/login").value("username", "Bob’sBuilding")

	// The billing address of record is told.
	up.inbox.expectSubject(t, "ap@bobsbuilding.example", "online access")

	// Step 9: log in, in another spelling of the same name, and see the invoice.
	page = bob.fill("/login", fields{"username": "bob'sbuilding", "password": passphrase})
	page.is(http.StatusOK, "/account").says(account).says("INV-")

	// Nobody enrolls twice with one code, and a used link says so.
	bob.get(link).is(http.StatusGone, link).says("log in")
	up.visitor(t).fill("/signup", fields{
		"account_number": account, "registration_code": code, "email": "eve@example.com", "username": "eve.builds",
	}).is(http.StatusUnprocessableEntity, "/signup").says("has been used")

	// Every step became a fact, in order; that of the mail is told by its worker, which a quick customer can overtake.
	up.facts(t, "invited", "registered", "activation-opened", "activated", "signed-in", "invoice-viewed")
	up.facts(t, "registered", "activation-mailed")
}

// The inbox refuses mail to .invalid, as the world does (RFC 2606).
func TestAnUndeliverableAddressIsCorrected(t *testing.T) {
	t.Parallel()
	up := start(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)

	bob := up.visitor(t)
	bob.fill("/signup", fields{"account_number": account, "registration_code": code, "email": "bob@bobsbuilding.invalid", "username": "bobby"})
	bob.eventually("/signup/check-email", "did not reach you")
	bob.fill("/signup/email", fields{"email": "bob@bobsbuilding.example"}).is(http.StatusOK, "/signup/check-email")

	link := up.inbox.expect(t, "bob@bobsbuilding.example").link(t)
	bob.fill(link, fields{"password": passphrase, "password_confirmation": passphrase}).is(http.StatusOK, "/login")
}

func TestAnExpiredEnrollmentReleasesCodeAndName(t *testing.T) {
	t.Parallel()
	up := start(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)
	sign := fields{"account_number": account, "registration_code": code, "email": "bob@bobsbuilding.example", "username": "bobby"}

	bob := up.visitor(t)
	bob.fill("/signup", sign).is(http.StatusOK, "/signup/check-email")
	link := up.inbox.expect(t, "bob@bobsbuilding.example").link(t)
	bob.eventually("/signup/check-email", "We sent it")

	up.pass(t, 73*time.Hour)
	bob.get(link).is(http.StatusGone, link).says("expired")
	up.facts(t, "expired")

	ann := up.visitor(t)
	sign["email"] = "ann@bobsbuilding.example"
	ann.fill("/signup", sign).is(http.StatusOK, "/signup/check-email")
	link = up.inbox.expect(t, "ann@bobsbuilding.example").link(t)
	ann.fill(link, fields{"password": passphrase, "password_confirmation": passphrase}).is(http.StatusOK, "/login")
}

func TestUnknownAccountAndWrongCodeLookTheSame(t *testing.T) {
	t.Parallel()
	up := start(t)
	account, _ := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)
	stranger := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return '0' + (r-'0'+3)%10
		}
		return r
	}, account)

	answer := func(number string) string {
		page := up.visitor(t).fill("/signup", fields{
			"account_number": number, "registration_code": "WRNG-CODE-0000", "email": "eve@example.com", "username": "eve.builds",
			"request_id": "3f6f2f8e-3f4e-4f0a-9d8e-0a4c2b9e1d77",
		})
		page.is(http.StatusUnprocessableEntity, "/signup")
		return strings.ReplaceAll(page.body, number, "NUMBER")
	}
	if known, unknown := answer(account), answer(stranger); known != unknown {
		t.Errorf("the answers differ:\n%s\n---\n%s", known, unknown)
	}
}
