package portal

import (
	"net/http"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// comeBack is how long a client waits after an outage of ours.
const comeBack = 10 * time.Second

// messagePage is the Body of the pages that say one thing.
type messagePage struct{ Answer answer }

// message shows a page that says one thing and what to do now.
func (p *portal) message(w http.ResponseWriter, r *http.Request, title string, a answer) {
	a.Tenant = tenantIn(r.Context())
	a.writeHeader(w.Header())
	v := view{Name: "message", Title: title, Problem: true, Body: messagePage{a}}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		v.Here = "/"
	}
	err := p.show(w, r, a.Status, v)
	if err != nil {
		// There is no page to say it on: the templates are part of the program and every one is rendered in tests.
		p.logFailure(r, err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
}

func (p *portal) notFound(w http.ResponseWriter, r *http.Request) {
	v := voiceIn(r.Context())
	actions := []action{
		v.startOver(),
		v.step("/login", "[Log in]."),
		v.step("/signup", "[Sign up for an Account]."),
	}
	if viewIn(r.Context()) != nil {
		actions = []action{v.step("/account", "Back to the [overview].")}
	}
	p.message(w, r, v.say("There is no such page"), answer{
		Status:   http.StatusNotFound,
		Problems: []problem{{Text: v.say("The address may have been cut off or mistyped.")}},
		Actions:  actions,
	})
}

func (p *portal) wrongMethod(w http.ResponseWriter, r *http.Request) {
	v := voiceIn(r.Context())
	p.message(w, r, v.say("That does not work here"), answer{
		Status:   http.StatusMethodNotAllowed,
		Problems: []problem{{Text: v.say("This page cannot be asked in that way.")}},
		Actions:  []action{v.startOver()},
	})
}

func (p *portal) foreign(w http.ResponseWriter, r *http.Request) {
	v := voiceIn(r.Context())
	p.message(w, r, v.say("This came from somewhere else"), answer{
		Status:   http.StatusForbidden,
		Problems: []problem{{Text: v.say("For your protection, a form is only taken from its own page. Nothing was changed.")}},
		Actions: []action{
			v.step("/", "Open the page again from the [start page] and send it from there."),
			v.step("", "If that does not help, an extension of the browser may hide where forms come from. Try another browser."),
		},
	})
}

// cannotRead answers a body that was no form of ours.
func (p *portal) cannotRead(w http.ResponseWriter, r *http.Request, bad *unreadable) {
	v := voiceIn(r.Context())
	said := map[int]string{
		http.StatusBadRequest:            v.say("The form arrived damaged. Nothing was changed."),
		http.StatusRequestEntityTooLarge: v.say("What was sent is much longer than any form here. Nothing was changed."),
		http.StatusUnsupportedMediaType:  v.say("What was sent is no form. Nothing was changed."),
	}
	p.message(w, r, v.say("We could not read that"), answer{
		Status:   bad.status,
		Problems: []problem{{Text: said[bad.status]}},
		Actions:  []action{v.step("", "Go back, load the page again, and send the form once more."), v.startOver()},
	})
}

// refused answers a refusal that came where no form is shown to put it in.
func (p *portal) refused(w http.ResponseWriter, r *http.Request, refusal *enrollment.Refusal) {
	p.message(w, r, voiceIn(r.Context()).say("This is not possible now"), explain(r.Context(), refusal))
}

// outage says that it is us, not the customer.
func (v *voice) outage() answer {
	return answer{
		Status:     http.StatusServiceUnavailable,
		RetryAfter: comeBack,
		Heading:    v.say("This is on our side"),
		Problems:   []problem{{Text: v.say("We cannot answer right now. Nothing was lost, and your registration code was not used up. Please try again in a moment.")}},
		Actions:    []action{v.step("", "Wait a moment and send it again.")},
	}
}

func (p *portal) unavailable(w http.ResponseWriter, r *http.Request) {
	v := voiceIn(r.Context())
	p.message(w, r, v.say("Please try again in a moment"), v.outage())
}
