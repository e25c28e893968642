package helpdesk

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc/oidctest"
)

// idp is an OpenID provider at which everybody is signed in already: it speaks the authorization code flow with PKCE, and
// says about them what a test wants.
type idp struct {
	*httptest.Server
	t         *testing.T
	key       *ecdsa.PrivateKey
	claims    map[string]any // beside, or instead of, what it says by itself
	signer    *ecdsa.PrivateKey
	challenge string
	nonce     string
	down      bool
}

const (
	clientID     = "billcenter-office"
	clientSecret = "s3cr3t/of+the client" // which basic authentication encodes
)

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func openIDP(t *testing.T) *idp {
	p := &idp{t: t, key: newKey(t)}
	p.signer = p.key
	documents := &oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: p.key.Public(), KeyID: "k", Algorithm: "ES256"}}, Algorithms: []string{"ES256"}}
	mux := http.NewServeMux()
	mux.Handle("/", documents)
	mux.HandleFunc("/auth", p.authorize)
	mux.HandleFunc("/token", p.token)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.down {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	documents.SetIssuer(p.URL)
	return p
}

func (p *idp) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("response_type") != "code" || q.Get("client_id") != clientID || !strings.Contains(q.Get("scope"), "openid") || q.Get("code_challenge_method") != "S256" || q.Get("nonce") == "" || q.Get("state") == "" {
		http.Error(w, "invalid_request", http.StatusBadRequest)
		return
	}
	p.challenge, p.nonce = q.Get("code_challenge"), q.Get("nonce")
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {"good-code"}, "state": {q.Get("state")}}.Encode(), http.StatusSeeOther)
}

func (p *idp) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	w.Header().Set("Content-Type", "application/json")
	if id != clientID || secret != url.QueryEscape(clientSecret) || r.PostFormValue("code") != "good-code" || base64.RawURLEncoding.EncodeToString(sum[:]) != p.challenge {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_grant"})
		return
	}
	claims := map[string]any{"iss": p.URL, "aud": clientID, "sub": "248289761001", "nonce": p.nonce, "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "name": "Grace Hopper"}
	for name, value := range p.claims {
		claims[name] = value
	}
	text, err := json.Marshal(claims)
	if err != nil {
		p.t.Error(err)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": oidctest.SignIDToken(p.signer, "k", "ES256", string(text))})
}

func openWith(t *testing.T, p *idp, claim string) *desk {
	return open(t, func(o *Options) {
		o.OIDC = &OIDC{Issuer: p.URL, ClientID: clientID, ClientSecret: clientSecret, RolesClaim: claim}
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
	p := openIDP(t)
	d := openWith(t, p, "roles")
	p.claims = map[string]any{"roles": []string{"agent", "cook"}}
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
	p := openIDP(t)
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
		p.claims = c.claims
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
	p := openIDP(t)
	d := openWith(t, p, "roles")
	good := map[string]any{"roles": "agent"}
	with := func(name string, value any) map[string]any { return map[string]any{"roles": "agent", name: value} }
	for _, c := range []struct {
		name   string
		claims map[string]any
		signer bool
	}{
		{"for another client", with("aud", "another"), false},
		{"of another issuer", with("iss", "https://evil.example"), false},
		{"of another attempt", with("nonce", "another"), false},
		{"without a nonce", with("nonce", ""), false},
		{"expired", with("exp", time.Now().Add(-time.Hour).Unix()), false},
		{"signed by somebody else", good, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d.t, p.claims, p.signer = t, c.claims, p.key
			if c.signer {
				p.signer = newKey(t)
			}
			b := d.browser()
			b.signsIn("/").is(t, 403, "not for this")
			b.get("/").is(t, 303, "/login?to=%2F")
		})
	}
	d.t, p.claims, p.signer = t, good, p.key

	b := d.browser()
	there := b.get("/login")
	back := b.do(http.NewRequestWithContext(t.Context(), http.MethodGet, there.to, nil))
	callback := strings.TrimPrefix(back.to, d.url)
	d.browser().get(callback).is(t, 403, "another browser")
	b.get(callback+"x").is(t, 403, "another browser")
	b.get(callback).is(t, 403, "another browser") // the attempt was used up by the wrong answer

	p.down = true
	d.browser().get(callback).is(t, 403, "another browser")
	p.down = false
	d.browser().signsIn("/").is(t, 303, "/")
	if strings.Contains(d.log.String(), clientSecret) || strings.Contains(d.log.String(), "good-code") {
		t.Errorf("a secret is logged:\n%s", d.log)
	}
}

func TestTheProviderIsAway(t *testing.T) {
	p := openIDP(t)
	p.down = true
	d := openWith(t, p, "roles")
	d.browser().get("/login").is(t, 503, "does not answer")
	p.down, p.claims = false, map[string]any{"roles": "agent"}
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
