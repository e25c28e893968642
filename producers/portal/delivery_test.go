package portal

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

// The page about the mail looks after it with a script of ours; every other page, and this one at its end, may run none.
func TestOnlyTheMailsPageHasAScript(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	script := regexp.MustCompile(`<script src="(/assets/check-email\.js\?v=[0-9a-f]+)" defer></script>`)
	of := func(p page) (path string) {
		t.Helper()
		checkStructure(t, p.body)
		policy := p.Header.Get("Content-Security-Policy")
		if m := script.FindSubmatch(p.body); m != nil {
			path = string(m[1])
		}
		if strings.HasSuffix(policy, "; script-src 'self'; connect-src 'self'") != (path != "") || strings.Count(string(p.body), "<script") != strings.Count(policy, "script-src") {
			t.Errorf("the script is %q, the policy %s", path, policy)
		}
		return path
	}
	if of(c.get("/signup/check-email")) != "" {
		t.Error("there is nothing to look after")
	}
	c.signUp().leadsTo(s, "/signup/check-email")
	path := of(c.get("/signup/check-email"))
	got := c.get(path)
	if got.StatusCode != http.StatusOK || got.Header.Get("Content-Type") != "text/javascript; charset=utf-8" || !strings.Contains(string(got.body), "DOMParser") {
		t.Errorf("the script: %d, %s", got.StatusCode, got.Header.Get("Content-Type"))
	}
	if of(c.post("/signup/resend", nil)) != path {
		t.Error("the page that refuses another mail looks no more")
	}
	for _, other := range []string{"/", "/signup", "/login", s.link(address), s.link(address) + "/not-me"} {
		if of(c.get(other)) != "" {
			t.Errorf("%s has a script", other)
		}
	}
	s.customer().activate(s.link(address), password).leadsTo(s, "/login")
	if of(c.get("/signup/check-email")) != "" {
		t.Error("nothing follows, and it is looked for")
	}
}

// What the script takes over is there in every stage, and read out while something may follow.
func TestEachStageSaysItWhereTheScriptLooks(t *testing.T) {
	p := New(Options{Tenants: oneTenant(t), Keys: storetest.Ring(t), Log: discard()}).(*portal)
	s := &scene{T: t}
	stages := map[enrollment.State]string{
		enrollment.Registered: "sending", enrollment.Mailed: "sent", enrollment.Undeliverable: "undeliverable",
		enrollment.Activated: "activated", enrollment.Expired: "over", enrollment.Cancelled: "over",
	}
	for _, state := range enrollment.States {
		pending := enrollment.Pending{State: state, Email: address, MailsLeft: 1, CorrectionsLeft: 1}
		a := render(t, "en-US", func(w http.ResponseWriter, r *http.Request) error {
			return p.show(w, r, 200, view{Name: "check-email", Title: "x", Body: p.pendingPage(r, pending, form{}, answer{})})
		})
		shown := page{&http.Response{}, a.body.Bytes()}
		said, title := shown.find(s, "id", "delivery"), shown.find(s, "id", "delivery-title")
		if said == nil || title == nil || text(said) == "" || text(title) == "" {
			t.Fatalf("%s: says nothing where the script looks", state)
		}
		if got := attribute(said, "data-stage"); got != stages[state] {
			t.Errorf("%s is the stage %q", state, got)
		}
		if status := attribute(said, "role") == "status"; status != state.Live() || (shown.find(s, "id", "delivery-facts") != nil) != state.Live() {
			t.Errorf("%s: role %q", state, attribute(said, "role"))
		}
	}
}

// A link's end is told with weekday, date, time and zone, in the words of the mail that brought it.
func TestTheEndOfALinkIsToldAsInItsMail(t *testing.T) {
	p := New(Options{Tenants: oneTenant(t), Keys: storetest.Ring(t), Log: discard()}).(*portal)
	end := time.Date(2026, 11, 23, 13, 5, 0, 0, time.UTC)
	for name, scene := range map[string]handler{
		"check-email": func(w http.ResponseWriter, r *http.Request) error {
			pending := enrollment.Pending{State: enrollment.Mailed, Email: address, MailedAt: end, ExpiresAt: end}
			return p.show(w, r, 200, view{Name: "check-email", Title: "x", Body: p.pendingPage(r, pending, form{}, answer{})})
		},
		"activate": func(w http.ResponseWriter, r *http.Request) error {
			return p.showActivate(w, r, enrollment.Invitation{Username: username, ExpiresAt: end}, answer{Status: 200})
		},
		"reset-password": func(w http.ResponseWriter, r *http.Request) error {
			return p.showReset(w, r, enrollment.Recovery{Username: username, ExpiresAt: end}, answer{Status: 200})
		},
	} {
		for tag, want := range map[string]string{
			"en-US": "Monday, November 23, 2026 at 8:05 AM (EST)",
			"es-US": "lunes, 23 de noviembre de 2026, 8:05 a. m. (EST)",
		} {
			said := strings.ReplaceAll(render(t, tag, scene).body.String(), "\u00a0", " ")
			if !strings.Contains(said, want) {
				t.Errorf("%s in %s does not say %s", name, tag, want)
			}
		}
	}
}
