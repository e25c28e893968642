package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// A stranger finds a billing e-mail: whoever may object hears of it.
func TestWhoMayObjectIsTold(t *testing.T) {
	t.Parallel()
	up := start(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)
	bob := up.visitor(t)
	bob.fill("/signup", fields{"account_number": account, "registration_code": code, "email": "bob@bobsbuilding.example", "username": "bobby"})
	link := up.inbox.expect(t, "bob@bobsbuilding.example").link(t)
	bob.fill(link, fields{"password": passphrase, "password_confirmation": passphrase}).is(http.StatusOK, "/login")

	stranger := up.visitor(t)
	tries := fields{"account_number": account, "registration_code": code, "email": "stranger@example.com", "username": "stranger"}
	stranger.fill("/signup", tries).is(http.StatusUnprocessableEntity, "/signup").says("has been used")
	for _, to := range []string{"ap@bobsbuilding.example", "bob@bobsbuilding.example"} {
		told := up.inbox.expectSubject(t, to, "tried a registration code")
		if !strings.Contains(told.Text, account) || strings.Contains(told.Text, code) || strings.Contains(told.HTML, "href") {
			t.Errorf("%s is told:\n%s", to, told.Text)
		}
	}

	tries["registration_code"] = "WRONG-CODE-2026"
	for range 5 {
		stranger.fill("/signup", tries).is(http.StatusUnprocessableEntity, "/signup").says("do not belong together")
	}
	stranger.fill("/signup", tries).is(http.StatusTooManyRequests, "/signup")
	up.inbox.expectSubject(t, "ap@bobsbuilding.example", "Wrong registration codes")

	bob.fill("/login", fields{"username": "bobby", "password": passphrase}).is(http.StatusOK, "/account")
	bob.fill("/account/security", fields{"current_password": passphrase, "password": passphrase + " anew", "password_confirmation": passphrase + " anew"}).is(http.StatusOK, "/account/security")
	changed := up.inbox.expectSubject(t, "bob@bobsbuilding.example", "password of your")
	if !strings.Contains(changed.Text, "bobby") {
		t.Errorf("told of the password:\n%s", changed.Text)
	}

	agent := up.staff(t)
	agent.get(up.StaffLink)
	for _, kind := range []string{"code-tried", "locked", "password-changed"} {
		agent.eventually("/accounts/mongo/"+account, kind+" mail accepted")
	}
	agent.get("/accounts/mongo/" + account).says("to the billing address").says("to user bobby")
	agent.get("/mails").says("code-tried").says("locked").says("password-changed")
	notices := map[string]int{}
	mails, err := up.inbox.messages()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mails {
		if strings.Contains(m.Text, "What to do now:") {
			notices[strings.Join(m.To, " ")]++
		}
	}
	if fmt.Sprint(notices) != "map[ap@bobsbuilding.example:2 bob@bobsbuilding.example:2]" {
		t.Errorf("notices: %v", notices)
	}
}

func TestWhoSignedUpHearsThatTheAccountWasClosed(t *testing.T) {
	t.Parallel()
	up := start(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)
	bob := up.visitor(t)
	bob.fill("/signup", fields{"account_number": account, "registration_code": code, "email": "bob@bobsbuilding.example", "username": "bobby"})
	up.inbox.expect(t, "bob@bobsbuilding.example")
	up.publishRaw(t, &nats.Msg{Subject: "billing.mongo.account.closed", Data: []byte(fmt.Sprintf(
		`{"specversion":"1.0","id":"closed-1","source":"//mongo.billcenter.net/billing","type":"net.billcenter.account.closed.v1","data":{"accountNumber":%q,"closedAt":%q}}`,
		account, time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)))})
	told := up.inbox.expectSubject(t, "bob@bobsbuilding.example", "the account was closed")
	if strings.Contains(told.Text+told.HTML, account) || !strings.Contains(told.Text, "(718) 942-9990") {
		t.Errorf("who signed up is told:\n%s", told.Text)
	}
	bob.get("/signup/check-email").says("The account was closed").says("(718) 942-9990")
}
