package portal

import (
	"errors"
	"net/http"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// forgotPage is the Body of the forms with which somebody asks to get back in.
type forgotPage struct {
	Fields []field
	Answer answer
}

func (p *portal) forgotPasswordForm(w http.ResponseWriter, r *http.Request) error {
	return p.showForgotPassword(w, r, form{}, answer{Status: http.StatusOK})
}

// forgotPassword takes a username or an address and answers the same to both, whether somebody is known by it or not.
func (p *portal) forgotPassword(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(w, r)
	if err != nil {
		return err
	}
	typed := f.value(enrollment.FieldUsername)
	var broken rules
	broken.oneLine(f, enrollment.FieldUsername, func() error { return given(enrollment.FieldUsername, typed) })
	if broken != nil {
		return p.showForgotPassword(w, r, f, explain(r.Context(), broken...))
	}
	// What is no address is "", which is nobody's; the same goes for usernames.
	key, _ := enrollment.UsernameKey(typed)
	to, _ := enrollment.ParseAddress(typed)
	return p.sendReset(w, r, enrollment.Forgotten{UsernameKey: key, Address: to}, func(a answer) error {
		return p.showForgotPassword(w, r, f, a)
	})
}

// sendReset asks for the mail; refuse shows the form again, for a source that asks by the dozen.
func (p *portal) sendReset(w http.ResponseWriter, r *http.Request, f enrollment.Forgotten, refuse func(answer) error) error {
	f.Tenant, f.Locale, f.Source = tenantIn(r.Context()).ID, voiceIn(r.Context()).String(), source(r, p.proxies)
	err := p.store.AskForReset(r.Context(), f)
	var refusal *enrollment.Refusal
	if errors.As(err, &refusal) {
		return refuse(explain(r.Context(), refusal))
	} else if err != nil {
		return err
	}
	return p.show(w, r, http.StatusOK, view{Name: "sent", Title: voiceIn(r.Context()).say("Check your e-mail"), Here: r.URL.Path})
}

func (p *portal) showForgotPassword(w http.ResponseWriter, r *http.Request, f form, a answer) error {
	v := voiceIn(r.Context())
	return p.showForgot(w, r, "forgot-password", v.say("Forgot your password?"), f, a, field{
		Name: enrollment.FieldUsername, Label: v.say("Username or e-mail address"), Type: "text", Autocomplete: "username", Capitals: "none",
	})
}

func (p *portal) showForgot(w http.ResponseWriter, r *http.Request, name, title string, f form, a answer, only field) error {
	a.Tenant = tenantIn(r.Context())
	a.writeHeader(w.Header())
	only.Value = f.value(only.Name)
	fields := []field{only}
	return p.show(w, r, a.Status, view{
		Name: name, Title: title, Problem: len(a.Problems) > 0, Body: forgotPage{Fields: fields, Answer: a.on(fields)},
	})
}

// given refuses an empty field.
func given(name enrollment.Field, value string) error {
	if value == "" {
		return &enrollment.Refusal{Reason: enrollment.Missing, Field: name}
	}
	return nil
}

// resetPage is the Body of the page on which a new password is chosen.
type resetPage struct {
	Username, Until string
	Fields          []field
	Answer          answer
}

// resetForm shows what the link leads to and changes nothing.
func (p *portal) resetForm(w http.ResponseWriter, r *http.Request) error {
	_, recovery, err := p.openReset(r)
	if err != nil {
		return p.deadReset(w, r, err)
	}
	return p.showReset(w, r, recovery, answer{Status: http.StatusOK})
}

// reset takes the new password. A rejected one costs nothing, as at the activation.
func (p *portal) reset(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(w, r)
	if err != nil {
		return err
	}
	link, recovery, err := p.openReset(r)
	if err != nil {
		return p.deadReset(w, r, err)
	}
	tenant := tenantIn(r.Context())
	broken := chosen(f, tenant.Policy.PasswordMin, append(recovery.AccountNumbers, recovery.Username, string(recovery.Email), tenant.Name)...)
	if broken != nil {
		return p.showReset(w, r, recovery, explain(r.Context(), broken...))
	}
	hash, err := p.passwords.hash(r.Context(), enrollment.NormalizePassword(f.value(enrollment.FieldPassword)))
	if err != nil {
		return err
	}
	username, err := p.store.ResetPassword(r.Context(), tenant.ID, link, hash, source(r, p.proxies))
	if err != nil {
		return p.deadReset(w, r, err)
	}
	if err := p.leave(w, r, note{Purpose: resetNote, Username: username}, activatedLife); err != nil {
		return err
	}
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}

// chosen applies the rules for a new password that was typed twice. context are texts that it may not be made of.
func chosen(f form, least int, context ...string) rules {
	var broken rules
	password := f.value(enrollment.FieldPassword)
	broken.add(enrollment.CheckPassword(password, least, context...))
	if broken == nil && enrollment.NormalizePassword(password) != enrollment.NormalizePassword(f.value(enrollment.FieldConfirmation)) {
		broken.add(&enrollment.Refusal{Reason: enrollment.PasswordMismatch, Field: enrollment.FieldConfirmation})
	}
	return broken
}

// newPasswordFields are the two inputs of a new password.
func (v *voice) newPasswordFields(least int) []field {
	return []field{
		{Name: enrollment.FieldPassword, Label: v.say("New password"), Type: "password", Autocomplete: "new-password", Hint: v.passwordHint(least)},
		{Name: enrollment.FieldConfirmation, Label: v.say("New password once more"), Type: "password", Autocomplete: "new-password"},
	}
}

func (p *portal) openReset(r *http.Request) (enrollment.Signed, enrollment.Recovery, error) {
	link, err := enrollment.ParseLink(r.PathValue("token"))
	if err != nil {
		return enrollment.Signed{}, enrollment.Recovery{}, err
	}
	recovery, err := p.store.OpenReset(r.Context(), tenantIn(r.Context()).ID, link)
	return link, recovery, err
}

func (p *portal) showReset(w http.ResponseWriter, r *http.Request, recovery enrollment.Recovery, a answer) error {
	tenant, v := tenantIn(r.Context()), voiceIn(r.Context())
	a.Tenant = tenant
	fields := v.newPasswordFields(tenant.Policy.PasswordMin)
	return p.show(w, r, a.Status, view{
		Name: "reset-password", Title: v.say("Choose a new password"), Problem: len(a.Problems) > 0,
		Body: resetPage{Username: recovery.Username, Until: longMoment(r.Context(), recovery.ExpiresAt), Fields: fields, Answer: a.on(fields)},
	})
}

// deadReset tells the dead ends of such a link apart.
func (p *portal) deadReset(w http.ResponseWriter, r *http.Request, err error) error {
	var refusal *enrollment.Refusal
	if !errors.As(err, &refusal) {
		return err
	}
	v := voiceIn(r.Context())
	title, a := v.deadReset(refusal.Reason)
	a.Tenant = tenantIn(r.Context())
	return p.show(w, r, a.Status, view{Name: "dead-link", Title: title, Body: deadLinkPage{Answer: a}})
}

func (v *voice) deadReset(reason enrollment.Reason) (title string, a answer) {
	a.Status = http.StatusGone
	logIn, again := v.step("/login", "[Log in] with the new password."), v.step("/forgot-password", "[Ask for a new link].")
	said := ""
	switch reason {
	case enrollment.LinkExpired:
		title, said = v.say("This link has expired"), v.say("It worked for one hour. Your password was not changed with it.")
		a.Actions = []action{again}
	case enrollment.LinkUsed:
		title, said = v.say("This link has been used"), v.say("A new password was set with it. It works once only.")
		a.Actions = []action{logIn, again}
	case enrollment.LinkSuperseded:
		title, said = v.say("This link is out of date"), v.say("The password was changed in another way after this link was sent.")
		a.Actions = []action{logIn, again}
	default:
		a.Status = http.StatusNotFound
		title = v.say("This link is damaged")
		said = v.say("This link is not complete. Some mail programs break long links: copy all of it from the e-mail into the address bar.")
		a.Actions = []action{again}
	}
	a.Problems = []problem{{Text: said}}
	return title, a
}
