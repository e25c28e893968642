package main

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/mongotel/billcenter/events/bus"
)

// An agent looks at what a customer sees, in the very browser in which the customer is logged in. The customer is told, and
// neither the customer's session nor the funnel notices anything.
func TestAnAgentViewsAsTheCustomer(t *testing.T) {
	t.Parallel()
	up := start(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)
	bob := up.visitor(t)
	bob.fill("/signup", fields{"account_number": account, "registration_code": code, "email": "bob@bobsbuilding.example", "username": "bobby"})
	bob.fill(up.inbox.expect(t, "bob@bobsbuilding.example").link(t), fields{"password": passphrase, "password_confirmation": passphrase})
	bob.fill("/login", fields{"username": "bobby", "password": passphrase}).is(http.StatusOK, "/account")

	agent := &visitor{t: t, base: up.Staff, client: bob.client, agent: bob.agent, speaks: bob.speaks} // cookies do not tell ports apart
	agent.get(up.StaffLink).is(http.StatusOK, "/")
	here := "/accounts/mongo/" + account
	view := fields{"username": "bobby", "reason": "caller asked about the newest invoice"}
	agent.get(here).says("Caller not verified").says("You may say only").says("Verify the caller first")
	agent.get("/account").is(http.StatusGone, "/account")
	agent.do(http.MethodPost, here+"/view-as", view.form()).is(http.StatusUnprocessableEntity, here+"/view-as").says("nothing was opened")
	agent.do(http.MethodPost, here+"/verify-caller", fields{"how": "called-back"}.form()).is(http.StatusOK, here).says("Caller verified")
	shown := agent.do(http.MethodPost, here+"/view-as", view.form()).is(http.StatusOK, "/account")
	shown.says("You view as bobby, read only").says("Ends at").says("INV-").says(account)
	invoice := shown.follows("INV-")
	invoice.is(http.StatusOK, invoice.url.Path).says("You view as bobby")
	agent.get("/account/invoices").says("You view as bobby").follows("Download this list").is(http.StatusForbidden, "/account/invoices.csv").says("Not in this view")
	agent.get("/account/payment").says("You view as bobby")
	agent.get("/account/security").says("You view as bobby").says("Support looked at your pages")
	if css := agent.get("/brand.css"); css.status != http.StatusOK || !strings.Contains(css.body, "--brand") {
		t.Errorf("the pages have no colors: %d %s", css.status, css.body)
	}
	agent.do(http.MethodPost, "/account/security", fields{"current_password": passphrase}.form()).is(http.StatusForbidden, "/account/security")
	agent.do(http.MethodPost, "/account/security/sign-out", nil).is(http.StatusForbidden, "/account/security/sign-out")
	agent.do(http.MethodPost, "/view/leave", nil).is(http.StatusOK, here).says("You left the view")
	agent.get("/account").is(http.StatusGone, "/account").says("The view is over")

	bob.get("/account/security").is(http.StatusOK, "/account/security").says("Support looked at your pages")
	if strings.Contains(bob.get("/account").body, "You view as") {
		t.Error("the customer's own page says that staff look")
	}

	// A second view is not left: its time ends it, and somebody writes that down without being asked.
	agent.do(http.MethodPost, here+"/view-as", view.form()).is(http.StatusOK, "/account")
	up.db(t).MustExec(`UPDATE views SET began_at = began_at - interval '15 minutes', expires_at = expires_at - interval '15 minutes' WHERE ended_at IS NULL`)
	agent.get("/account").is(http.StatusGone, "/account")
	agent.eventually("/audit?deed=view-end", "its time was up")
	agent.get("/audit?deed=view-page").says("GET /account/invoices").says("caller asked about the newest invoice").says(account)
	agent.get("/audit?deed=verify-caller").says("called back at the number of record")

	// What is sent after the view has arrived, so what the view would have told has, too.
	agent.do(http.MethodPost, here+"/retire-code", view.form()).is(http.StatusOK, here)
	eventually(t, "the request to billing", func() error {
		if len(up.stream(t, bus.StreamRequests)) == 0 {
			return errors.New("it has not arrived")
		}
		return nil
	})
	told := map[string]int{}
	for _, m := range up.stream(t, bus.StreamEnrollment) {
		told[m.Subject]++
	}
	if told["enrollment.mongo.signed-in"] != 1 || told["enrollment.mongo.invoice-viewed"] != 1 {
		t.Errorf("the funnel heard %v, want the customer's own log-in and look only", told)
	}
}
