package portal

import (
	"errors"
	"net/http"

	"github.com/google/uuid"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// checkEmailPage is the Body of the page about the activation mail.
type checkEmailPage struct {
	Stage      string // what the page is about: see stageOf
	Pending    enrollment.Pending
	SentAt     string
	OpenUntil  string
	RequestID  string
	CanResend  bool
	ResendIn   string // empty: now
	CanCorrect bool
	Fields     []field
	Answer     answer
}

// stageOf makes of what became of a sign-up the seven things that the page can say.
func stageOf(p enrollment.Pending) string {
	if p.Closed {
		return "closed"
	}
	switch p.State {
	case enrollment.Mailed:
		return "sent"
	case enrollment.Undeliverable:
		return "undeliverable"
	case enrollment.Activated:
		return "activated"
	case enrollment.Expired, enrollment.Cancelled:
		return "over"
	default:
		return "sending"
	}
}

func (p *portal) checkEmail(w http.ResponseWriter, r *http.Request) error {
	return p.showCheckEmail(w, r, form{}, answer{Status: http.StatusOK})
}

func (p *portal) resend(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(w, r)
	if err != nil {
		return err
	}
	id, ok := p.pending(r)
	if !ok {
		return p.backToCheckEmail(w, r)
	}
	err = p.store.Resend(r.Context(), tenantIn(r.Context()).ID, id, wish(r, f))
	return p.afterMail(w, r, form{}, err)
}

func (p *portal) correctAddress(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(w, r)
	if err != nil {
		return err
	}
	id, ok := p.pending(r)
	if !ok {
		return p.backToCheckEmail(w, r)
	}
	var to enrollment.Address
	var broken rules
	broken.oneLine(f, enrollment.FieldEmail, func() (err error) {
		to, err = enrollment.ParseAddress(f.value(enrollment.FieldEmail))
		return err
	})
	if broken != nil {
		return p.showCheckEmail(w, r, f, explain(r.Context(), broken...))
	}
	err = p.store.CorrectAddress(r.Context(), tenantIn(r.Context()).ID, id, to, wish(r, f))
	return p.afterMail(w, r, f, err)
}

// afterMail says how asking for a mail ended. Where the enrollment has moved on since the page was loaded, the page itself
// says what it is now.
func (p *portal) afterMail(w http.ResponseWriter, r *http.Request, f form, err error) error {
	var refusal *enrollment.Refusal
	var moved *enrollment.ImpossibleMove
	switch {
	case errors.As(err, &refusal):
		switch refusal.Reason {
		case enrollment.LinkUsed, enrollment.LinkExpired, enrollment.LinkSuperseded:
			return p.backToCheckEmail(w, r)
		}
		return p.showCheckEmail(w, r, f, explain(r.Context(), refusal))
	case err == nil, errors.As(err, &moved), errors.Is(err, enrollment.ErrUnknown):
		return p.backToCheckEmail(w, r)
	default:
		return err
	}
}

func (p *portal) backToCheckEmail(w http.ResponseWriter, r *http.Request) error {
	http.Redirect(w, r, "/signup/check-email", http.StatusSeeOther)
	return nil
}

func (p *portal) showCheckEmail(w http.ResponseWriter, r *http.Request, f form, a answer) error {
	tenant := tenantIn(r.Context())
	a.Tenant = tenant
	a.writeHeader(w.Header())
	body := checkEmailPage{Stage: "unknown", Answer: a}
	v := view{
		Name: "check-email", Title: voiceIn(r.Context()).say("Check your e-mail"), Step: stepCheckEmail, Problem: len(a.Problems) > 0,
		Here: "/signup/check-email", Script: deliveryScriptPath,
	}

	if id, ok := p.pending(r); ok {
		pending, err := p.store.Pending(r.Context(), tenant.ID, id)
		switch {
		case err == nil:
			body = p.pendingPage(r, pending, f, a)
		case !errors.Is(err, enrollment.ErrUnknown):
			return err
		}
	}
	switch body.Stage {
	case "unknown", "over":
		v.Step, v.Script = 0, ""
	case "closed":
		v.Step, v.Title, v.Script = 0, voiceIn(r.Context()).say("The account was closed"), ""
	case "activated":
		v.Step, v.Script = stepLogIn, ""
	}
	v.Body = body
	return p.show(w, r, a.Status, v)
}

func (p *portal) pendingPage(r *http.Request, pending enrollment.Pending, f form, a answer) checkEmailPage {
	v := voiceIn(r.Context())
	fields := []field{{
		Name: enrollment.FieldEmail, Label: v.say("New e-mail address"), Type: "email", Autocomplete: "email", Capitals: "none",
		Hint:  v.say("Links in e-mails to the old address stop working."),
		Value: f.value(enrollment.FieldEmail),
	}}
	body := checkEmailPage{
		Stage:      stageOf(pending),
		Pending:    pending,
		RequestID:  uuid.NewString(),
		CanResend:  pending.MailsLeft > 0,
		CanCorrect: pending.CorrectionsLeft > 0,
	}
	if !body.CanCorrect {
		fields = nil
	}
	body.Answer, body.Fields = a.on(fields), fields
	if !pending.MailedAt.IsZero() {
		body.SentAt = moment(r.Context(), pending.MailedAt)
	}
	if pending.State == enrollment.Mailed && !pending.ExpiresAt.IsZero() {
		body.OpenUntil = longMoment(r.Context(), pending.ExpiresAt)
	}
	if pending.ResendAfter > 0 {
		body.ResendIn = v.wait(pending.ResendAfter)
	}
	return body
}

// wish is what a form says of itself: its id, and in which language and browser it was read.
func wish(r *http.Request, f form) enrollment.Wish {
	return enrollment.Wish{RequestID: orNew(requestID(f)), Locale: voiceIn(r.Context()).String(), Browser: browserOf(r.UserAgent())}
}

// orNew gives a request that came without an id one of its own.
func orNew(requestID string) string {
	if requestID == "" {
		return uuid.NewString()
	}
	return requestID
}
