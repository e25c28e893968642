package portal

import (
	"errors"
	"net/http"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// activatePage is the Body of the page on which a password is chosen.
type activatePage struct {
	Company, Username, Until string
	Fields                   []field
	Answer                   answer
}

// deadLinkPage is the Body of the page of a link that leads nowhere any more.
type deadLinkPage struct {
	Answer    answer
	Renewable bool
}

// activateForm shows what the link leads to and changes nothing: mail scanners follow links. A visit is recorded once, and
// none for HEAD, which no person sends.
func (p *portal) activateForm(w http.ResponseWriter, r *http.Request) error {
	visit := enrollment.Visit{
		Automated:  automated(r, secure(tenantIn(r.Context()))),
		Unrecorded: r.Method == http.MethodHead,
	}
	_, invitation, err := p.open(r, visit)
	if err != nil {
		return p.deadLink(w, r, err)
	}
	return p.showActivate(w, r, invitation, answer{Status: http.StatusOK})
}

// activate takes the password. A rejected one costs nothing: the link is consumed by the same transaction that stores the
// password's hash.
func (p *portal) activate(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(w, r)
	if err != nil {
		return err
	}
	if f["renew"] == "1" {
		return p.renew(w, r)
	}
	tenant := tenantIn(r.Context())
	// Looked at before the password is, so that nobody's password manager keeps one that was refused.
	link, invitation, err := p.open(r, enrollment.Visit{Unrecorded: true})
	if err != nil {
		return p.deadLink(w, r, err)
	}
	broken := chosen(f, tenant.Policy.PasswordMin, invitation.Username, string(invitation.Email), invitation.AccountNumber, tenant.Name)
	if broken != nil {
		return p.showActivate(w, r, invitation, explain(r.Context(), broken...))
	}
	hash, err := p.passwords.hash(r.Context(), enrollment.NormalizePassword(f.value(enrollment.FieldPassword)))
	if err != nil {
		return err
	}
	username, err := p.store.Activate(r.Context(), tenant.ID, link, hash)
	if err != nil {
		return p.deadLink(w, r, err)
	}
	if err := p.keepActivated(w, r, username); err != nil {
		return err
	}
	p.throwAway(w, r, pendingNote)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}

// renew starts over from a link whose time is up, at a person's wish and to the same address, in the language of this page.
func (p *portal) renew(w http.ResponseWriter, r *http.Request) error {
	link, err := enrollment.ParseLink(r.PathValue("token"))
	if err != nil {
		return p.deadLink(w, r, err)
	}
	admission, err := p.store.Renew(r.Context(), tenantIn(r.Context()).ID, link, wish(r, form{}))
	if err != nil {
		return p.deadLink(w, r, err)
	}
	if err := p.keepPending(w, r, admission.Enrollment); err != nil {
		return err
	}
	return p.backToCheckEmail(w, r)
}

func (p *portal) open(r *http.Request, v enrollment.Visit) (enrollment.Signed, enrollment.Invitation, error) {
	link, err := enrollment.ParseLink(r.PathValue("token"))
	if err != nil {
		return enrollment.Signed{}, enrollment.Invitation{}, err
	}
	invitation, err := p.store.Open(r.Context(), tenantIn(r.Context()).ID, link, v)
	return link, invitation, err
}

func (p *portal) showActivate(w http.ResponseWriter, r *http.Request, i enrollment.Invitation, a answer) error {
	tenant := tenantIn(r.Context())
	a.Tenant = tenant
	v := voiceIn(r.Context())
	fields := []field{
		{
			Name: enrollment.FieldPassword, Label: v.say("Password"), Type: "password", Autocomplete: "new-password",
			Hint: v.passwordHint(tenant.Policy.PasswordMin),
		},
		{Name: enrollment.FieldConfirmation, Label: v.say("Password once more"), Type: "password", Autocomplete: "new-password"},
	}
	return p.show(w, r, a.Status, view{
		Name: "activate", Title: v.say("Choose a password"), Step: stepPassword, Problem: len(a.Problems) > 0,
		Body: activatePage{
			Company: i.CompanyName, Username: i.Username, Until: longMoment(r.Context(), i.ExpiresAt), Fields: fields, Answer: a.on(fields),
		},
	})
}

// deadLinkTitle tells the dead ends apart at a glance.
func (v *voice) deadLinkTitle(reason enrollment.Reason) string {
	switch reason {
	case enrollment.LinkExpired:
		return v.say("This link has expired")
	case enrollment.LinkSuperseded:
		return v.say("There is a newer link")
	case enrollment.LinkCancelled:
		return v.say("This sign-up was cancelled")
	case enrollment.LinkUsed:
		return v.say("Your account is active already")
	case enrollment.LinkDamaged:
		return v.say("This link is damaged")
	default:
		return v.say("This link cannot be used")
	}
}

// deadLink answers whatever else than a password form a link leads to.
func (p *portal) deadLink(w http.ResponseWriter, r *http.Request, err error) error {
	var refusal *enrollment.Refusal
	if !errors.As(err, &refusal) {
		return err
	}
	v := voiceIn(r.Context())
	a := explain(r.Context(), refusal)
	if refusal.Reason == enrollment.UsernameTaken { // at a renewal: there is no form to take another one here
		a.Actions = append([]action{v.signUpAgain()}, a.Actions...)
	}
	if refusal.Reason == enrollment.AccountClosed { // what was entered is not the matter: the link leads nowhere any more
		a.Status = http.StatusGone
	}
	a.writeHeader(w.Header())
	return p.show(w, r, a.Status, view{
		Name: "dead-link", Title: v.deadLinkTitle(refusal.Reason),
		Body: deadLinkPage{Answer: a, Renewable: refusal.Reason == enrollment.LinkExpired},
	})
}

func (v *voice) passwordHint(least int) string {
	return v.say("At least %d characters, of any kind. Four or five words in a row are easy to remember and hard to guess.", least)
}
