package portal

import (
	"errors"
	"net/http"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// notMePage is the Body of the page for whoever got an activation mail and did not sign up.
type notMePage struct {
	Email     enrollment.Address
	Company   string // empty: billing told none
	Cancelled bool
	Answer    answer
}

// notMeForm asks before it cancels, since mail scanners follow links. That somebody looked here is no opening of the link.
func (p *portal) notMeForm(w http.ResponseWriter, r *http.Request) error {
	_, i, err := p.open(r, enrollment.Visit{Unrecorded: true})
	if err != nil {
		return p.nothingToCancel(w, r, err)
	}
	return p.showNotMe(w, r, notMePage{Email: i.Email, Company: i.CompanyName})
}

func (p *portal) notMe(w http.ResponseWriter, r *http.Request) error {
	if _, err := readForm(w, r); err != nil {
		return err
	}
	link, err := enrollment.ParseLink(r.PathValue("token"))
	if err == nil {
		err = p.store.Disown(r.Context(), tenantIn(r.Context()).ID, link)
	}
	if err != nil {
		return p.nothingToCancel(w, r, err)
	}
	return p.showNotMe(w, r, notMePage{Cancelled: true})
}

func (p *portal) showNotMe(w http.ResponseWriter, r *http.Request, body notMePage) error {
	v := voiceIn(r.Context())
	title := v.say("You did not sign up?")
	if body.Cancelled {
		title = v.say("The sign-up is cancelled")
	}
	body.Answer.Tenant = tenantIn(r.Context())
	return p.show(w, r, http.StatusOK, view{Name: "not-me", Title: title, Body: body})
}

// nothingToCancel says to somebody who did not sign up why there is nothing to cancel, and what to do where that is not well.
func (p *portal) nothingToCancel(w http.ResponseWriter, r *http.Request, err error) error {
	v := voiceIn(r.Context())
	var no *enrollment.Refusal
	if !errors.As(err, &no) {
		return err
	}
	var title, why string
	var actions []action
	switch no.Reason {
	case enrollment.LinkCancelled: // by this page, or by somebody else: there is nothing left to do
		return p.showNotMe(w, r, notMePage{Cancelled: true})
	case enrollment.LinkUsed:
		title = v.say("This sign-up is finished")
		why = v.say("Somebody followed the link in this e-mail and chose a password, so there is nothing to cancel any more.")
		actions = []action{
			v.step("/forgot-password", "Was it not you, nor anybody at your company? [Set another password]: its link comes to this mailbox, and whoever is logged in is logged out."),
			v.step("", "Then tell support, so that the access can be ended."),
		}
	case enrollment.LinkSuperseded:
		title = v.say("This sign-up left your mailbox")
		why = v.say("The e-mail address was corrected after this e-mail was sent. Its link no longer works, and there is nothing to cancel.")
	case enrollment.LinkExpired, enrollment.AccountClosed:
		title = v.say("This sign-up has ended")
		why = v.say("It ended by itself, and nobody got access with it. There is nothing to cancel.")
	default:
		return p.deadLink(w, r, err)
	}
	return p.show(w, r, http.StatusGone, view{
		Name: "dead-link", Title: title,
		Body: deadLinkPage{Answer: answer{Problems: []problem{{Text: why}}, Actions: actions, Tenant: tenantIn(r.Context())}},
	})
}
