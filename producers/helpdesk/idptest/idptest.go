// Package idptest is a small OpenID provider for tests, at which everybody is signed in already: discovery, keys, and the
// authorization code flow with PKCE, with ID tokens that are really signed. It says about people what a test wants, forged
// things among them. It is no provider for anybody to sign in at.
package idptest

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
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc/oidctest"
)

// The one client that is registered.
const (
	ClientID     = "billcenter-office"
	ClientSecret = "s3cr3t/of+the client" // which basic authentication encodes
)

// Subject and Name are who signs in, unless a test says otherwise.
const (
	Subject = "248289761001"
	Name    = "Grace Hopper"
)

// Provider is one that listens.
type Provider struct {
	URL string // the issuer

	t      testing.TB
	key    *ecdsa.PrivateKey
	mu     sync.Mutex
	claims map[string]any
	forged bool
	down   bool
	grants map[string]grant
	codes  []string
}

// grant is what a code stands for. It works once.
type grant struct{ redirect, challenge, nonce string }

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Open starts a provider, which ends with the test.
func Open(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{t: t, key: newKey(t), grants: map[string]grant{}}
	documents := &oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: p.key.Public(), KeyID: "k", Algorithm: "ES256"}}, Algorithms: []string{"ES256"}}
	mux := http.NewServeMux()
	mux.Handle("/", documents)
	mux.HandleFunc("/auth", p.authorize)
	mux.HandleFunc("/token", p.token)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.down {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.URL = server.URL
	documents.SetIssuer(p.URL)
	return p
}

// Says has the next ID tokens make these claims, beside or instead of what the provider says by itself.
func (p *Provider) Says(claims map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claims, p.forged = claims, false
}

// Forges has the next ID tokens make these claims under another key than the published one.
func (p *Provider) Forges(claims map[string]any) {
	p.Says(claims)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forged = true
}

// Down has the provider answer with errors, or end to.
func (p *Provider) Down(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// Codes are the authorization codes so far, which nobody may log.
func (p *Provider) Codes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.codes)
}

func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("response_type") != "code" || q.Get("client_id") != ClientID || !slices.Contains(strings.Fields(q.Get("scope")), "openid") || q.Get("redirect_uri") == "" ||
		q.Get("code_challenge") == "" || q.Get("code_challenge_method") != "S256" || q.Get("nonce") == "" || q.Get("state") == "" {
		http.Error(w, "invalid_request", http.StatusBadRequest)
		return
	}
	code := rand.Text()
	p.grants[code], p.codes = grant{q.Get("redirect_uri"), q.Get("code_challenge"), q.Get("nonce")}, append(p.codes, code)
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusSeeOther)
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	g, known := p.grants[r.PostFormValue("code")]
	delete(p.grants, r.PostFormValue("code"))
	id, secret, _ := r.BasicAuth()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !known || id != ClientID || secret != url.QueryEscape(ClientSecret) || r.PostFormValue("grant_type") != "authorization_code" ||
		r.PostFormValue("redirect_uri") != g.redirect || base64.RawURLEncoding.EncodeToString(sum[:]) != g.challenge {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_grant"})
		return
	}
	claims := map[string]any{"iss": p.URL, "aud": ClientID, "sub": Subject, "nonce": g.nonce, "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "name": Name}
	for name, value := range p.claims {
		claims[name] = value
	}
	text, err := json.Marshal(claims)
	if err != nil {
		p.t.Error(err)
	}
	signer := p.key
	if p.forged {
		signer = newKey(p.t)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": oidctest.SignIDToken(signer, "k", "ES256", string(text))})
}

// Lie is something that no provider says about this person, for this client and this attempt.
type Lie struct {
	Name string
	Tell func(*Provider)
}

// Lies are those that must let nobody in, each told beside roles that would.
func Lies(claim, role string) []Lie {
	say := func(name string, value any) func(*Provider) {
		return func(p *Provider) { p.Says(map[string]any{claim: role, name: value}) }
	}
	return []Lie{
		{"for another client", say("aud", "another")},
		{"of another issuer", say("iss", "https://evil.example")},
		{"of another attempt", say("nonce", "another")},
		{"without a nonce", say("nonce", "")},
		{"expired", say("exp", time.Now().Add(-time.Hour).Unix())},
		{"signed by somebody else", func(p *Provider) { p.Forges(map[string]any{claim: role}) }},
	}
}
