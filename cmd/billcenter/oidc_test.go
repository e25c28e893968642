package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
	"github.com/mongotel/billcenter/producers/helpdesk/idptest"
)

// Staff of an installation sign in at its own OpenID provider, at `run helpdesk` as it is deployed.
func TestStaffSignInWithTheProgram(t *testing.T) {
	t.Parallel()
	broker := bustest.StartConfig(t, bustest.Config{Process: true, Topology: bus.Topology{}})
	w := prepareRoles(t, broker.URL, func(string) []string { return nil })
	idp := idptest.Open(t)
	secret := filepath.Join(w.dir, "client-secret")
	if err := os.WriteFile(secret, []byte(idptest.ClientSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.flags = append(w.flags, "--oidc-issuer", idp.URL, "--oidc-client-id", idptest.ClientID, "--oidc-client-secret-file", secret, "--oidc-roles-claim", "realm_access.roles")
	w.role("codes")
	w.role(helpdeskRole)
	account, code := w.publishOne(t)
	here := "/accounts/mongo/" + account
	browser := func() *visitor {
		v := w.visitor(t)
		v.base = w.staff
		return v
	}
	says := func(role string) { idp.Says(map[string]any{"realm_access": map[string]any{"roles": []string{role}}}) }

	says("agent")
	agent := browser()
	page := agent.get(here).is(http.StatusOK, here).says("can-enroll")
	if strings.Contains(page.body, code) {
		t.Error("the page shows the code")
	}
	agent.get("/me").says(idptest.Name).says(idp.URL + "#" + idptest.Subject).says("Roles: agent. You may")
	agent.get("/audit").is(http.StatusForbidden, "/audit").says("supervisor")
	agent.do(http.MethodPost, here+"/verify-caller", fields{"how": "called-back"}.form()).is(http.StatusOK, here).says("Caller verified")
	agent.do(http.MethodPost, "/logout", nil).is(http.StatusOK, "/logout").says("You are signed out")
	agent.do(http.MethodPost, here+"/unlock", fields{"reason": "caller asked"}.form()).is(http.StatusUnauthorized, here+"/unlock").says("Nothing was done")
	agent.get(here).is(http.StatusOK, here).says("Caller not verified") // another sitting

	says("supervisor")
	browser().get("/audit").is(http.StatusOK, "/audit").says(idptest.Name).says("the caller was called back")
	browser().get("/enter/anything").is(http.StatusNotFound, "/enter/anything")

	// Who has no role that we know, or has it in another claim, is not let in.
	refused := func(what, says string) {
		t.Helper()
		v := browser()
		if p := v.get(here).is(http.StatusForbidden, "/oidc/callback").says(says); strings.Contains(p.body, account) {
			t.Errorf("%s: sees the account", what)
		}
		v.do(http.MethodPost, here+"/unlock", fields{"reason": "caller asked"}.form()).is(http.StatusUnauthorized, here+"/unlock")
	}
	says("cook")
	refused("a role of another system", "have no role")
	idp.Says(map[string]any{"roles": []string{"supervisor"}})
	refused("the role in another claim", "have no role")
	idp.Says(nil)
	refused("no role", "have no role")
	for _, lie := range idptest.Lies("realm_access.roles", "supervisor") { // a claim of the whole name counts, too
		lie.Tell(idp)
		refused(lie.Name, "not for this office")
	}

	w.roles[helpdeskRole].stop()
	log := w.roles[helpdeskRole].out.String()
	for _, leak := range append(idp.Codes(), idptest.ClientSecret) {
		if strings.Contains(log, leak) {
			t.Errorf("the log tells %s", leak)
		}
	}
	if !strings.Contains(log, "does not vouch") || !strings.Contains(log, "staff came in") {
		t.Errorf("the log does not say who came in and who did not:\n%s", tail(log, 30))
	}
}
