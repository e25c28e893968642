package portal

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

// reasons are all that explain has words for, with what else such a refusal carries.
var reasons = []enrollment.Refusal{
	{Reason: enrollment.NotRecognised},
	{Reason: enrollment.CodeUsed},
	{Reason: enrollment.CodeSuperseded, NewerSentOn: time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)},
	{Reason: enrollment.CodeExpired},
	{Reason: enrollment.CodeRetired},
	{Reason: enrollment.AccountClosed},
	{Reason: enrollment.UsernameTaken, Suggestions: []string{"Bob’sBuilding2", "Bob’sBuilding-billing"}},
	{Reason: enrollment.TooManyTries, RetryAfter: 45 * time.Second},
	{Reason: enrollment.TooSoon, RetryAfter: 20 * time.Second},
	{Reason: enrollment.TooManyMails},
	{Reason: enrollment.TooManyCorrections},
	{Reason: enrollment.Missing, Field: enrollment.FieldAccountNumber},
	{Reason: enrollment.TooLong, Field: enrollment.FieldEmail, Limit: 254},
	{Reason: enrollment.TooShort, Field: enrollment.FieldUsername, Limit: 3},
	{Reason: enrollment.BadCharacters, Field: enrollment.FieldCode},
	{Reason: enrollment.HasSpaces, Field: enrollment.FieldUsername, Suggestions: []string{"BobBuilding"}},
	{Reason: enrollment.MixedScripts, Field: enrollment.FieldUsername},
	{Reason: enrollment.BadAddress, Field: enrollment.FieldEmail},
	{Reason: enrollment.PasswordCommon, Field: enrollment.FieldPassword},
	{Reason: enrollment.PasswordContext, Field: enrollment.FieldPassword},
	{Reason: enrollment.PasswordMismatch, Field: enrollment.FieldConfirmation},
	{Reason: enrollment.LinkExpired},
	{Reason: enrollment.LinkSuperseded},
	{Reason: enrollment.LinkUsed},
	{Reason: enrollment.LinkCancelled},
	{Reason: enrollment.LinkDamaged},
	{Reason: enrollment.LogInFailed},
	{Reason: enrollment.PasswordWrong, Field: enrollment.FieldCurrent},
	{Reason: enrollment.LastUser},
}

func TestPages(t *testing.T) {
	for name, scene := range everyPage(t) {
		t.Run(name, func(t *testing.T) {
			page := render(t, "en-US", scene)
			checkStructure(t, page.body.Bytes())
			for _, secret := range []string{"typed-secret", "<evil>", "<Building>", "javascript:"} {
				if strings.Contains(page.body.String(), secret) {
					t.Errorf("page contains %s", secret)
				}
			}
			for _, contact := range []string{"(718) 942-9990", "611", "helpdesk@mongotel.com"} {
				if !strings.Contains(page.body.String(), contact) {
					t.Errorf("page does not say %s", contact)
				}
			}
		})
	}
}

// everyPage is every page in every state that it can be in, by a name for the state.
func everyPage(t *testing.T) map[string]handler {
	p := New(Options{Tenants: oneTenant(t), Keys: storetest.Ring(t), Log: discard()}).(*portal)
	typed := form{
		"request_id": "request-0001", "account_number": `100482-7"><evil>`, "registration_code": "7F3K-9QWD-M2XA",
		"email": "ada@bobsbuilding.example", "username": "Bob’sBuilding", "password": "typed-secret", "password_confirmation": "typed-secret",
	}
	invitation := enrollment.Invitation{Username: "Bob’sBuilding", CompanyName: "Bob's <Building>", ExpiresAt: time.Now()}

	scenes := map[string]handler{
		"home":            p.home,
		"help-code":       p.helpForm,
		"forgot-password": p.forgotPasswordForm,
		"forgot-username": p.forgotUsernameForm,
		"signup":          p.signUpForm,
		"signup when the store is down": func(w http.ResponseWriter, r *http.Request) error {
			return p.showSignUp(w, r, typed, voiceIn(r.Context()).outage())
		},
		"activate": func(w http.ResponseWriter, r *http.Request) error {
			return p.showActivate(w, r, invitation, answer{Status: 200})
		},
		"not-me": func(w http.ResponseWriter, r *http.Request) error {
			return p.showNotMe(w, r, notMePage{Email: address, Company: "Bob's <Building>"})
		},
		"not-me of a company without a name": func(w http.ResponseWriter, r *http.Request) error {
			return p.showNotMe(w, r, notMePage{Email: address})
		},
		"not-me, cancelled": func(w http.ResponseWriter, r *http.Request) error {
			return p.showNotMe(w, r, notMePage{Cancelled: true})
		},
		"login": func(w http.ResponseWriter, r *http.Request) error {
			return p.showLogIn(w, r, "", "", answer{Status: 200})
		},
		"login after the activation": func(w http.ResponseWriter, r *http.Request) error {
			return p.showLogIn(w, r, "Bob’sBuilding", voiceIn(r.Context()).say("Your account is active"), answer{Status: 200})
		},
		"check-email without a sign-up": p.checkEmail,
		"not found":                     func(w http.ResponseWriter, r *http.Request) error { p.notFound(w, r); return nil },
		"wrong method":                  func(w http.ResponseWriter, r *http.Request) error { p.wrongMethod(w, r); return nil },
		"foreign":                       func(w http.ResponseWriter, r *http.Request) error { p.foreign(w, r); return nil },
		"unavailable":                   func(w http.ResponseWriter, r *http.Request) error { p.unavailable(w, r); return nil },
		"too large": func(w http.ResponseWriter, r *http.Request) error {
			p.cannotRead(w, r, &unreadable{http.StatusRequestEntityTooLarge, ""})
			return nil
		},
	}
	for _, state := range enrollment.States {
		for name, pending := range map[string]enrollment.Pending{
			"at first": {MailsLeft: 5, CorrectionsLeft: 3, ResendAfter: time.Minute},
			"later":    {MailsLeft: 1, CorrectionsLeft: 1, MailedAt: time.Now(), ExpiresAt: time.Now()},
			"at last":  {MailedAt: time.Now(), ExpiresAt: time.Now()},
			"closed":   {MailsLeft: 1, CorrectionsLeft: 1, Closed: true},
		} {
			pending.State, pending.Email, pending.Username, pending.CompanyName = state, "ada@bobsbuilding.example", "Bob’sBuilding", "Bob's <Building>"
			scenes["check-email, "+string(state)+" "+name] = func(w http.ResponseWriter, r *http.Request) error {
				body := p.pendingPage(r, pending, form{}, answer{})
				return p.show(w, r, 200, view{Name: "check-email", Title: voiceIn(r.Context()).say("Check your e-mail"), Step: stepCheckEmail, Script: deliveryScriptPath, Body: body})
			}
		}
	}
	for _, no := range reasons {
		scenes["signup, "+string(no.Reason)] = func(w http.ResponseWriter, r *http.Request) error {
			return p.showSignUp(w, r, typed, explain(r.Context(), &no))
		}
		scenes["activate, "+string(no.Reason)] = func(w http.ResponseWriter, r *http.Request) error {
			return p.showActivate(w, r, invitation, explain(r.Context(), &no))
		}
		scenes["login, "+string(no.Reason)] = func(w http.ResponseWriter, r *http.Request) error {
			return p.showLogIn(w, r, "x", "", explain(r.Context(), &no))
		}
		scenes["dead-link, "+string(no.Reason)] = func(w http.ResponseWriter, r *http.Request) error { return p.deadLink(w, r, &no) }
		scenes["not-me, "+string(no.Reason)] = func(w http.ResponseWriter, r *http.Request) error { return p.nothingToCancel(w, r, &no) }
		scenes["message, "+string(no.Reason)] = func(w http.ResponseWriter, r *http.Request) error { p.refused(w, r, &no); return nil }
		scenes["check-email, "+string(no.Reason)] = func(w http.ResponseWriter, r *http.Request) error {
			pending := enrollment.Pending{State: enrollment.Undeliverable, Email: "ada@bobsbuilding.example", CorrectionsLeft: 1}
			a := explain(r.Context(), &no)
			return p.show(w, r, a.Status, view{Name: "check-email", Title: "x", Body: p.pendingPage(r, pending, typed, a)})
		}
	}
	maps.Copy(scenes, accountPages(p, typed))
	return scenes
}

// asked is a request to the tenant mongo in one of its locales.
func asked(t *testing.T, in string) *http.Request {
	t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	v := voicesOfOne(t)[in]
	if v == nil {
		t.Fatalf("nobody speaks %s", in)
	}
	return r.WithContext(context.WithValue(context.WithValue(r.Context(), tenantKey{}, mongo(t)), voiceKey{}, v))
}

// voicesOfOne are parsed once: it takes longer than a test of what they say.
func voicesOfOne(t *testing.T) voices {
	t.Helper()
	parsedVoices.Do(func() { parsedVoices.voices = newVoices(oneTenant(t)) })
	return parsedVoices.voices
}

var parsedVoices struct {
	sync.Once
	voices
}

// render runs one page's handler.
func render(t *testing.T, in string, h handler) *answered {
	t.Helper()
	a := newAnswered(false)
	if err := h(a, asked(t, in)); err != nil {
		t.Fatal(err)
	}
	return a
}

// TestExplain holds each refusal against the actions that the design promises with it.
func TestExplain(t *testing.T) {
	for _, c := range []struct {
		reason enrollment.Reason
		status int
		says   []string
		leads  []string
	}{
		{enrollment.NotRecognised, 422, nil, []string{"/help/code", "/login"}},
		{enrollment.CodeUsed, 422, []string{"has been used"}, []string{"/login", "/forgot-password"}},
		{enrollment.CodeSuperseded, 422, []string{"November 20, 2026"}, []string{"/help/code"}}, // the tenant's evening, UTC's next day
		{enrollment.CodeExpired, 422, []string{"expired"}, []string{"/help/code"}},
		{enrollment.CodeRetired, 422, []string{"new code"}, []string{"/help/code"}},
		{enrollment.UsernameTaken, 422, []string{"taken", "Bob’sBuilding2, Bob’sBuilding-billing"}, []string{"/login"}},
		{enrollment.TooManyTries, 429, []string{"45 seconds", "Nothing is locked"}, []string{"/help/code"}},
		{enrollment.TooSoon, 429, []string{"20 seconds"}, nil},
		{enrollment.LinkExpired, 410, []string{"was not used up"}, []string{"/help/code", "/signup"}},
		{enrollment.LinkSuperseded, 410, []string{"new address"}, []string{"/signup"}},
		{enrollment.LinkUsed, 410, nil, []string{"/login", "/forgot-password"}},
		{enrollment.LinkCancelled, 410, []string{"was cancelled", "was not used up"}, []string{"/signup", "/help/code"}},
		{enrollment.LinkDamaged, 404, []string{"not complete"}, []string{"/signup"}},
		{enrollment.LogInFailed, 422, nil, []string{"/forgot-password", "/signup"}},
	} {
		t.Run(string(c.reason), func(t *testing.T) {
			for _, no := range reasons {
				if no.Reason != c.reason {
					continue
				}
				a := explain(asked(t, "en-US").Context(), &no)
				if a.Status != c.status {
					t.Errorf("status %d, want %d", a.Status, c.status)
				}
				for _, words := range c.says {
					if !strings.Contains(a.Problems[0].Text, words) {
						t.Errorf("%q does not say %q", a.Problems[0].Text, words)
					}
				}
				var leads []string
				for _, next := range a.Actions {
					leads = append(leads, next.Link)
				}
				for _, link := range c.leads {
					if !strings.Contains(strings.Join(leads, " "), link) {
						t.Errorf("leads to %v, not to %s", leads, link)
					}
				}
			}
		})
	}
}

func TestEveryRefusalHasItsOwnWords(t *testing.T) {
	said := map[string]enrollment.Reason{}
	for _, no := range reasons {
		words := sentence(asked(t, "en-US").Context(), &no)
		if strings.Contains(words, "was not accepted") {
			t.Errorf("%s has no words of its own", no.Reason)
		}
		if other, twice := said[words]; twice {
			t.Errorf("%s and %s say the same", no.Reason, other)
		}
		said[words] = no.Reason
	}
}
