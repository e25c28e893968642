package portal

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// logInPage is the Body of the log-in form.
type logInPage struct {
	Notice string
	Fields []field
	Answer answer
}

// sessions returns the keeper that goes with the host's scheme.
func (p *portal) sessions(r *http.Request) *scs.SessionManager {
	if secure(tenantIn(r.Context())) {
		return p.https
	}
	return p.http
}

// sessionLoaded marks the context of a request whose session can be asked; scs panics at any other.
type sessionLoaded struct{}

// withSession loads the session before a handler and stores it after. Not scs.LoadAndSave: that one stores while the answer
// is being written, when it is too late to say that it could not.
func (p *portal) withSession(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		s := p.sessions(r)
		w.Header().Add("Vary", "Cookie")
		token := ""
		if cookie, err := r.Cookie(s.Cookie.Name); err == nil {
			token = cookie.Value
		}
		ctx, err := s.Load(r.Context(), token)
		if err != nil {
			return err
		}
		if err := h(w, r.WithContext(context.WithValue(ctx, sessionLoaded{}, true))); err != nil {
			return err
		}
		cache := w.Header().Get("Cache-Control")
		switch s.Status(ctx) {
		case scs.Modified:
			token, until, err := s.Commit(ctx)
			if err != nil {
				return err
			}
			s.WriteSessionCookie(ctx, w, token, until)
		case scs.Destroyed:
			s.WriteSessionCookie(ctx, w, "", time.Time{})
		}
		w.Header().Set("Cache-Control", cache) // scs adds a weaker one
		return nil
	}
}

// user returns who is logged in, or whom staff view; 0 is nobody.
func (p *portal) user(r *http.Request) int64 {
	if v := viewIn(r.Context()); v != nil {
		return v.User
	}
	if r.Context().Value(sessionLoaded{}) == nil {
		return 0
	}
	return p.sessions(r).GetInt64(r.Context(), sessionUser)
}

func (p *portal) signedIn(r *http.Request) bool { return p.user(r) != 0 }

func (p *portal) logInForm(w http.ResponseWriter, r *http.Request) error {
	if p.signedIn(r) {
		http.Redirect(w, r, "/account", http.StatusSeeOther)
		return nil
	}
	username, activated := p.activated(r)
	notice := ""
	if activated {
		notice = voiceIn(r.Context()).say("Your account is active. Log in with the password you have just chosen.")
	}
	if n, ok := p.find(r, resetNote); ok {
		username, notice = n.Username, voiceIn(r.Context()).say("Your password was changed. Log in with the new one.")
	}
	return p.showLogIn(w, r, username, notice, answer{Status: http.StatusOK})
}

// logIn counts the try first, then compares, so that many at once cannot try more often. An unknown username and a wrong
// password get the same answer after the same work.
func (p *portal) logIn(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(w, r)
	if err != nil {
		return err
	}
	tenant := tenantIn(r.Context())
	username, password := f.value(enrollment.FieldUsername), f.value(enrollment.FieldPassword)
	var broken rules
	for _, name := range []enrollment.Field{enrollment.FieldUsername, enrollment.FieldPassword} {
		if f.value(name) == "" {
			broken.add(&enrollment.Refusal{Reason: enrollment.Missing, Field: name})
		}
	}
	if broken != nil {
		return p.showLogIn(w, r, username, "", explain(r.Context(), broken...))
	}

	from := source(r, p.proxies)
	key, _ := enrollment.UsernameKey(username) // "" is nobody's
	credential, err := p.store.AttemptLogIn(r.Context(), tenant.ID, key, from)
	var refusal *enrollment.Refusal
	if errors.As(err, &refusal) {
		return p.showLogIn(w, r, username, "", explain(r.Context(), refusal))
	} else if err != nil {
		return err
	}
	right, err := p.passwords.verify(r.Context(), credential.PasswordHash, enrollment.NormalizePassword(password))
	if err != nil {
		return err
	}
	if !right || credential.User == 0 {
		return p.showLogIn(w, r, username, "", explain(r.Context(), &enrollment.Refusal{Reason: enrollment.LogInFailed}))
	}
	if err := p.store.SignIn(r.Context(), tenant.ID, credential.User, from); err != nil {
		return err
	}
	if err := p.startSession(r, credential.User, credential.Epoch); err != nil {
		return err
	}
	p.throwAway(w, r, activatedNote)
	p.throwAway(w, r, resetNote)
	http.Redirect(w, r, "/account", http.StatusSeeOther)
	return nil
}

// startSession ends what was before, so that a token from before the log-in is worth nothing after it. When all sessions of
// the epoch were ended meanwhile, this one is not stored.
func (p *portal) startSession(r *http.Request, user, epoch int64) error {
	s, ctx := p.sessions(r), r.Context()
	if err := s.RenewToken(ctx); err != nil {
		return err
	}
	if err := s.Clear(ctx); err != nil {
		return err
	}
	s.Put(ctx, sessionTenant, tenantIn(ctx).ID)
	s.Put(ctx, sessionUser, user)
	s.Put(ctx, sessionEpoch, epoch)
	s.Put(ctx, sessionName, rand.Text())
	s.Put(ctx, sessionSince, time.Now().Unix())
	s.Put(ctx, sessionBrowser, browserOf(r.UserAgent()))
	s.Put(ctx, sessionSource, enrollment.SourceKey(source(r, p.proxies)))
	return nil
}

func (p *portal) logOut(w http.ResponseWriter, r *http.Request) error {
	if p.signedIn(r) {
		if err := p.sessions(r).Destroy(r.Context()); err != nil {
			return err
		}
	}
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}

func (p *portal) showLogIn(w http.ResponseWriter, r *http.Request, username, notice string, a answer) error {
	a.Tenant = tenantIn(r.Context())
	a.writeHeader(w.Header())
	words := voiceIn(r.Context())
	fields := []field{
		{Name: enrollment.FieldUsername, Label: words.say("Username"), Type: "text", Autocomplete: "username", Capitals: "none", Value: username},
		{Name: enrollment.FieldPassword, Label: words.say("Password"), Type: "password", Autocomplete: "current-password"},
	}
	v := view{
		Name: "login", Title: words.say("Log in"), Problem: len(a.Problems) > 0,
		Body: logInPage{Notice: notice, Fields: fields, Answer: a.on(fields)},
	}
	if notice != "" {
		v.Step = stepLogIn
	}
	return p.show(w, r, a.Status, v)
}
