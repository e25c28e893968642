package helpdesk

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// OIDC is how staff sign in: OpenID Connect's authorization code flow with PKCE.
type OIDC struct {
	BaseURL      string // of the back office; BaseURL + /oidc/callback is the redirect URI to register at the provider
	Issuer       string
	ClientID     string
	ClientSecret enrollment.Secret // empty: a public client
	RolesClaim   string            // of the ID token; dots lead into objects, as in realm_access.roles
}

const (
	callbackPath = "/oidc/callback"

	// attemptLife is how long somebody may take to sign in at the provider.
	attemptLife     = 10 * time.Minute
	providerTimeout = 10 * time.Second
)

// provider is the identity provider. It is looked up when first needed, so that the office starts while it is away.
type provider struct {
	OIDC
	mu    sync.Mutex
	found *oidc.Provider
}

func (p *provider) find(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found == nil {
		found, err := oidc.NewProvider(ctx, p.Issuer)
		if err != nil {
			return nil, fmt.Errorf("look the identity provider up: %w", err)
		}
		p.found = found
	}
	return p.found, nil
}

// client bounds every talk with the provider.
func client(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, &http.Client{Timeout: providerTimeout})
}

func (p *provider) config(found *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.ClientID, ClientSecret: p.ClientSecret.Reveal(), Endpoint: found.Endpoint(),
		RedirectURL: strings.TrimSuffix(p.BaseURL, "/") + callbackPath, Scopes: []string{oidc.ScopeOpenID, "profile", "email"},
	}
}

// signingIn travels with the browser while its user is at the provider: what binds the answer to this browser.
type signingIn struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"` // PKCE
	To       string `json:"t"` // where they wanted to go
}

func (f *office) logIn(w http.ResponseWriter, r *http.Request) {
	if f.idp == nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	found, err := f.idp.find(client(r.Context()))
	if err != nil {
		f.providerFails(w, r, err)
		return
	}
	attempt := signingIn{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), To: ownPath(r.URL.Query().Get("to"))}
	text, err := json.Marshal(attempt)
	if err != nil {
		f.fail(w, r, err)
		return
	}
	f.setCookie(w, f.prefixed("staff-login"), base64.RawURLEncoding.EncodeToString(text), int(attemptLife.Seconds()))
	http.Redirect(w, r, f.idp.config(found).AuthCodeURL(attempt.State, oidc.Nonce(attempt.Nonce), oauth2.S256ChallengeOption(attempt.Verifier)), http.StatusSeeOther)
}

// ownPath is a path of this site; whatever else somebody may have put into a link leads home.
func ownPath(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\t\r\n") {
		return "/"
	}
	return to
}

// callback takes what the provider says about who signed in.
func (f *office) callback(w http.ResponseWriter, r *http.Request) {
	if f.idp == nil {
		http.NotFound(w, r)
		return
	}
	attempt, ok := f.attempt(r)
	f.setCookie(w, f.prefixed("staff-login"), "", -1)
	q := r.URL.Query()
	switch {
	case !ok || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(attempt.State)) != 1:
		f.tell(w, r, http.StatusForbidden, message{Title: "Start again", Text: "Signing in took too long, or began in another browser.", SignIn: true})
		return
	case q.Get("error") != "":
		f.tell(w, r, http.StatusForbidden, message{Title: "Not signed in", Text: "The identity provider did not let you in.", SignIn: true})
		return
	}
	by, err := f.idp.vouch(client(r.Context()), q.Get("code"), attempt)
	if err != nil {
		f.providerFails(w, r, err)
		return
	}
	if len(by.Roles) == 0 {
		f.Log.WarnContext(r.Context(), "somebody without a role wanted in", "actor", by.Subject)
		f.tell(w, r, http.StatusForbidden, message{Title: "Not for you", Text: "You are known, but have no role in the back office: agent, supervisor, analyst or operator. Who runs the identity provider can give you one."})
		return
	}
	if err := f.open(w, r, by, sessionIdle); err != nil {
		f.fail(w, r, err)
		return
	}
	http.Redirect(w, r, ownPath(attempt.To), http.StatusSeeOther)
}

func (f *office) attempt(r *http.Request) (signingIn, bool) {
	var a signingIn
	cookie, err := r.Cookie(f.prefixed("staff-login"))
	if err != nil {
		return a, false
	}
	text, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil || json.Unmarshal(text, &a) != nil {
		return a, false
	}
	return a, a.State != "" && a.Nonce != "" && a.Verifier != ""
}

func (f *office) providerFails(w http.ResponseWriter, r *http.Request, err error) {
	f.Log.ErrorContext(r.Context(), "the identity provider does not vouch", "error", err)
	status, text := http.StatusServiceUnavailable, "The identity provider does not answer as it should. Try again in a moment."
	if errors.Is(err, errNotVouched) {
		status, text = http.StatusForbidden, "What the identity provider answered is not for this office or not for this attempt."
	}
	f.tell(w, r, status, message{Title: "Not signed in", Text: text, SignIn: true})
}

var errNotVouched = errors.New("the ID token is not valid here")

// vouch exchanges the code for an ID token and reads who it is about. Signature, issuer, audience, time and nonce are checked.
func (p *provider) vouch(ctx context.Context, code string, a signingIn) (enrollment.Staff, error) {
	found, err := p.find(ctx)
	if err != nil {
		return enrollment.Staff{}, err
	}
	token, err := p.config(found).Exchange(ctx, code, oauth2.VerifierOption(a.Verifier))
	if err != nil {
		if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok { // its text repeats the whole answer
			return enrollment.Staff{}, fmt.Errorf("%w: the code was refused: %s", errNotVouched, refused.ErrorCode)
		}
		return enrollment.Staff{}, fmt.Errorf("exchange the code: %w", err)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := found.Verifier(&oidc.Config{ClientID: p.ClientID}).Verify(ctx, raw)
	if err != nil {
		return enrollment.Staff{}, fmt.Errorf("%w: %w", errNotVouched, err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(a.Nonce)) != 1 {
		return enrollment.Staff{}, fmt.Errorf("%w: the nonce is another attempt's", errNotVouched)
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return enrollment.Staff{}, fmt.Errorf("%w: %w", errNotVouched, err)
	}
	by := enrollment.Staff{Subject: id.Issuer + "#" + id.Subject, Name: id.Subject, Roles: known(listed(claims, p.RolesClaim))}
	for _, claim := range []string{"email", "preferred_username", "name"} {
		if name, ok := claims[claim].(string); ok && name != "" {
			by.Name = name
		}
	}
	return by, nil
}

// listed reads a claim that is a list of words, or one word. A claim of the whole name goes before one inside objects.
func listed(claims map[string]any, name string) []string {
	value, ok := claims[name]
	if !ok {
		outer, inner, dotted := strings.Cut(name, ".")
		if object, isObject := claims[outer].(map[string]any); dotted && isObject {
			return listed(object, inner)
		}
		return nil
	}
	switch v := value.(type) {
	case string:
		return strings.Fields(v)
	case []any:
		var words []string
		for _, each := range v {
			if word, ok := each.(string); ok {
				words = append(words, word)
			}
		}
		return words
	}
	return nil
}
