package helpdesk

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/mongotel/billcenter/producers/helpdesk/idptest"
)

func openWith(t *testing.T, p *idptest.Provider, claim string) *desk {
	return open(t, func(o *Options) {
		o.OIDC = &OIDC{Issuer: p.URL, ClientID: idptest.ClientID, ClientSecret: idptest.ClientSecret, RolesClaim: claim}
	})
}

// signsIn follows the redirects from a page through the provider to the callback, and returns the callback's answer.
func (b *browser) signsIn(path string) answer {
	b.d.t.Helper()
	login := b.get(path)
	if login.status != http.StatusSeeOther || !strings.HasPrefix(login.to, "/login") {
		b.d.t.Fatalf("%s leads to %d %q", path, login.status, login.to)
	}
	there := b.get(login.to)
	if there.status != http.StatusSeeOther {
		return there
	}
	back := b.do(http.NewRequestWithContext(b.d.t.Context(), http.MethodGet, there.to, nil))
	return b.do(http.NewRequestWithContext(b.d.t.Context(), http.MethodGet, back.to, nil))
}

func TestStaffSignInAtTheProvider(t *testing.T) {
	p := idptest.Open(t)
	d := openWith(t, p, "roles")
	p.Says(map[string]any{"roles": []string{"agent", "cook"}})
	b := d.browser()
	b.signsIn("/accounts/mongo/100482-7?x=1").is(t, 303, "/accounts/mongo/100482-7?x=1")
	b.get("/accounts/mongo/100482-7").is(t, 200, "can-enroll")
	b.get("/audit").is(t, 403, "supervisor")
	me := b.get("/me")
	me.is(t, 200, "Grace Hopper")
	me.is(t, 200, p.URL+"#248289761001")
	b.post("/accounts/mongo/100482-7/unlock", url.Values{"reason": {"the caller asked"}}).is(t, 303, "/accounts/mongo/100482-7?done=unlock-none")
	b.post("/logout", nil).is(t, 200, "signed out")
	b.get("/accounts/mongo/100482-7").is(t, 303, "/login?to=%2Faccounts%2Fmongo%2F100482-7")
	b.post("/accounts/mongo/100482-7/unlock", url.Values{"reason": {"the caller asked"}}).is(t, 401, "Nothing was done")
	d.browser().get("/enter/"+linkToken).is(t, 404, "damaged")
}

func TestRolesAreReadFromWhateverClaim(t *testing.T) {
	t.Parallel()
	p := idptest.Open(t)
	for _, c := range []struct {
		claim  string
		claims map[string]any
		want   string
	}{
		{"roles", map[string]any{"roles": "agent supervisor"}, "agent, supervisor"},
		{"groups", map[string]any{"groups": []any{"operator", 7, "Agent"}}, "operator"},
		{"realm_access.roles", map[string]any{"realm_access": map[string]any{"roles": []string{"analyst"}}}, "analyst"},
		{"https://b.example/roles", map[string]any{"https://b.example/roles": []string{"analyst"}}, "analyst"},
		{"roles", map[string]any{"roles": []string{"cook"}}, ""},
		{"roles", map[string]any{"roles": map[string]any{"agent": true}}, ""},
		{"a.b", map[string]any{"a": "agent"}, ""},
		{"roles", nil, ""},
	} {
		p.Says(c.claims)
		d := openWith(t, p, c.claim)
		b := d.browser()
		if c.want == "" {
			b.signsIn("/").is(t, 403, "have no role")
			b.get("/").is(t, 303, "/login?to=%2F")
			continue
		}
		b.signsIn("/").is(t, 303, "/")
		b.get("/me").is(t, 200, "Roles: "+c.want+". You may")
	}
}

// What the provider did not say about this person, for this office and this attempt, lets nobody in.
func TestForgedAnswers(t *testing.T) {
	p := idptest.Open(t)
	d := openWith(t, p, "roles")
	for _, lie := range idptest.Lies("roles", "agent") {
		t.Run(lie.Name, func(t *testing.T) {
			d.t = t
			lie.Tell(p)
			b := d.browser()
			b.signsIn("/").is(t, 403, "not for this")
			b.get("/").is(t, 303, "/login?to=%2F")
		})
	}
	d.t = t
	p.Says(map[string]any{"roles": "agent"})

	b := d.browser()
	there := b.get("/login")
	back := b.do(http.NewRequestWithContext(t.Context(), http.MethodGet, there.to, nil))
	callback := strings.TrimPrefix(back.to, d.url)
	d.browser().get(callback).is(t, 403, "another browser")
	b.get(callback+"x").is(t, 403, "another browser")
	b.get(callback).is(t, 403, "another browser") // the attempt was used up by the wrong answer

	p.Down(true)
	d.browser().get(callback).is(t, 403, "another browser")
	p.Down(false)
	d.browser().signsIn("/").is(t, 303, "/")
	for _, secret := range append(p.Codes(), idptest.ClientSecret) {
		if strings.Contains(d.log.String(), secret) {
			t.Errorf("%s is logged:\n%s", secret, d.log)
		}
	}
}

func TestTheProviderIsAway(t *testing.T) {
	p := idptest.Open(t)
	p.Down(true)
	d := openWith(t, p, "roles")
	d.browser().get("/login").is(t, 503, "does not answer")
	p.Down(false)
	p.Says(map[string]any{"roles": "agent"})
	d.browser().signsIn("/").is(t, 303, "/")
}

func TestSigningInLeadsToOwnPagesOnly(t *testing.T) {
	for to, want := range map[string]string{
		"/funnel?a=b": "/funnel?a=b", "": "/", "funnel": "/", "//evil.example": "/", `/\evil.example`: "/", "https://evil.example/": "/", "https:evil": "/",
		"javascript:alert(1)": "/", "/\t/evil.example": "/", "/%zz": "/",
	} {
		if got := ownPath(to); got != want {
			t.Errorf("%q leads to %q, want %q", to, got, want)
		}
	}
}

func TestTheOfficeHasAnHTTPSAddress(t *testing.T) {
	for base, good := range map[string]bool{
		"https://staff.example": true, "http://127.0.0.1:8090": true, "http://localhost:8090": true,
		"http://staff.example": false, "https://staff.example/office": false, "staff.example": false, "": false, "https://": false,
	} {
		_, err := New(Options{OIDC: &OIDC{BaseURL: base}})
		if (err == nil) != good {
			t.Errorf("%q: %v", base, err)
		}
	}
}

func TestCookiesAreBoundToHTTPS(t *testing.T) {
	f := &office{base: &url.URL{Scheme: "https", Host: "staff.example"}}
	w := httptest.NewRecorder()
	f.setCookie(w, f.cookieName(), "v", 60)
	if c := w.Header().Get("Set-Cookie"); !strings.HasPrefix(c, "__Host-staff=v; Path=/;") || !strings.Contains(c, "Secure") || strings.Contains(c, "Domain") {
		t.Errorf("the cookie is %q", c)
	}
}
