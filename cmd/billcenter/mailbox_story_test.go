package main

import (
	"net/http"
	"strings"
	"testing"
)

// Somebody signs up with another person's mailbox: its owner ends that with the mail's other link, and the code is as good as before.
func TestTheOwnerOfAMailboxHasTheLastWord(t *testing.T) {
	t.Parallel()
	up := start(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)
	sign := fields{"account_number": account, "registration_code": code, "email": "ada@bobsbuilding.example", "username": "Bob’sBuilding"}
	mallory := up.visitor(t)
	mallory.fill("/signup", sign).is(http.StatusOK, "/signup/check-email")

	mail := up.inbox.expect(t, "ada@bobsbuilding.example")
	link := mail.link(t)
	for _, words := range []string{"Somebody gave your address on", "with Firefox on Linux.", link + "/not-me", "Bob's Building", "account number ending in " + account[len(account)-4:]} {
		if !strings.Contains(mail.Text, words) {
			t.Errorf("the mail does not say %q:\n%s", words, mail.Text)
		}
	}
	if strings.Contains(mail.Text, account) || strings.Contains(mail.Text, "127.0.0.1,") || strings.Contains(mail.Text, "has a log-in") {
		t.Errorf("the mail says too much:\n%s", mail.Text)
	}

	up.scanner(t).get(link+"/not-me").is(http.StatusOK, link+"/not-me")
	mallory.get("/signup/check-email").says("Check your e-mail")
	ada := up.visitor(t)
	ada.fill(link+"/not-me", nil).is(http.StatusOK, link+"/not-me").says("The sign-up is cancelled")
	ada.fill(link+"/not-me", nil).says("The sign-up is cancelled")
	mallory.fill(link, fields{"password": passphrase, "password_confirmation": passphrase}).is(http.StatusGone, link).says("was cancelled")
	up.facts(t, "registered", "cancelled")

	sign["email"] = "bob@bobsbuilding.example"
	bob := up.visitor(t)
	bob.fill("/signup", sign).is(http.StatusOK, "/signup/check-email")
	bobs := up.inbox.expect(t, "bob@bobsbuilding.example").link(t)
	bob.fill(bobs, fields{"password": passphrase, "password_confirmation": passphrase}).is(http.StatusOK, "/login")
	ada.get(bobs+"/not-me").is(http.StatusGone, bobs+"/not-me").says("This sign-up is finished")
}

// An address that has a log-in is told of it by the mail alone, and the account can be added to that log-in with the same code.
func TestWhoHasALogInIsToldByMailAlone(t *testing.T) {
	t.Parallel()
	up := start(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)
	ana := up.visitor(t)
	ana.fill("/signup", fields{"account_number": account, "registration_code": code, "email": "ana@bobsbuilding.example", "username": "AnaBuilding"})
	ana.fill(up.inbox.expect(t, "ana@bobsbuilding.example").link(t), fields{"password": passphrase, "password_confirmation": passphrase}).is(http.StatusOK, "/login")

	account, code = up.inbox.expect(t, "buchhaltung@mueller-soehne.example").box(t)
	ana.speaks = "es"
	page := ana.fill("/signup", fields{"account_number": account, "registration_code": code, "email": "Ana@bobsbuilding.example", "username": "Ana.Mueller"})
	if page.is(http.StatusOK, "/signup/check-email"); strings.Contains(page.text(), "ya tiene un usuario") {
		t.Errorf("the page tells who has a log-in:\n%s", page.text())
	}
	mail := up.inbox.expectSubject(t, "Ana@bobsbuilding.example", "Termine")
	if !strings.Contains(mail.Text, "Esta dirección ya tiene un usuario.") || !strings.Contains(mail.Text, up.Portal+"/login\n") || !strings.Contains(mail.HTML, `href="`+up.Portal+`/login"`) {
		t.Errorf("the mail does not say that there is a log-in:\n%s", mail.Text)
	}
	_, words, _ := strings.Cut(mail.Text, "«")
	words, _, _ = strings.Cut(words, "»")
	ana.fill("/login", fields{"username": "anabuilding", "password": passphrase}).is(http.StatusOK, "/account").follows(words).is(http.StatusOK, "/account/add")
	ana.fill("/account/add", fields{"account_number": account, "registration_code": code}).is(http.StatusOK, "/account").says(account)
	ana.get(mail.link(t)).is(http.StatusGone, mail.link(t)).says("se canceló")
}
