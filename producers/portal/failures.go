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
	err := p.show(w, r, a.Status, view{Name: "message", Title: title, Problem: true, Body: messagePage{a}})
	if err != nil {
		// There is no page to say it on: the templates are part of the program and every one is rendered in tests.
		p.logFailure(r, err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
}

func (p *portal) notFound(w http.ResponseWriter, r *http.Request) {
	p.message(w, r, "There is no such page", answer{
		Status:   http.StatusNotFound,
		Problems: []problem{{Text: "The address may have been cut off or mistyped."}},
		Actions: []action{
			startOver,
			{Link: "/login", Text: "Log in", After: "."},
			{Link: "/signup", Text: "Sign up for an Account", After: "."},
		},
	})
}

func (p *portal) wrongMethod(w http.ResponseWriter, r *http.Request) {
	p.message(w, r, "That does not work here", answer{
		Status:   http.StatusMethodNotAllowed,
		Problems: []problem{{Text: "This page cannot be asked in that way."}},
		Actions:  []action{startOver},
	})
}

func (p *portal) foreign(w http.ResponseWriter, r *http.Request) {
	p.message(w, r, "This came from somewhere else", answer{
		Status:   http.StatusForbidden,
		Problems: []problem{{Text: "For your protection, a form is only taken from its own page. Nothing was changed."}},
		Actions: []action{
			{Before: "Open the page again from the ", Link: "/", Text: "start page", After: " and send it from there."},
			{Before: "If that does not help, an extension of the browser may hide where forms come from. Try another browser."},
		},
	})
}

// cannotRead answers a body that was no form of ours.
func (p *portal) cannotRead(w http.ResponseWriter, r *http.Request, bad *unreadable) {
	said := map[int]string{
		http.StatusBadRequest:            "The form arrived damaged.",
		http.StatusRequestEntityTooLarge: "What was sent is much longer than any form here.",
		http.StatusUnsupportedMediaType:  "What was sent is no form.",
	}
	p.message(w, r, "We could not read that", answer{
		Status:   bad.status,
		Problems: []problem{{Text: said[bad.status] + " Nothing was changed."}},
		Actions:  []action{{Before: "Go back, load the page again, and send the form once more."}, startOver},
	})
}

// refused answers a refusal that came where no form is shown to put it in.
func (p *portal) refused(w http.ResponseWriter, r *http.Request, refusal *enrollment.Refusal) {
	p.message(w, r, "This is not possible now", explain(tenantIn(r.Context()), refusal))
}

// outage says that it is us, not the customer.
func outage() answer {
	return answer{
		Status:     http.StatusServiceUnavailable,
		RetryAfter: comeBack,
		Heading:    "This is on our side",
		Problems:   []problem{{Text: "We cannot answer right now. Nothing was lost, and your registration code was not used up. Please try again in a moment."}},
		Actions:    []action{{Before: "Wait a moment and send it again."}},
	}
}

func (p *portal) unavailable(w http.ResponseWriter, r *http.Request) {
	p.message(w, r, "Please try again in a moment", outage())
}
