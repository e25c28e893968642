package portal

import (
	"errors"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// signUpPage is the Body of the sign-up form.
type signUpPage struct {
	RequestID string
	Fields    []field
	Answer    answer
}

func (p *portal) signUpForm(w http.ResponseWriter, r *http.Request) error {
	f := form{"request_id": uuid.NewString()}
	// A link in a billing e-mail may bring the account number along. One that no form would take is left out.
	if account := r.URL.Query().Get("account"); len(account) <= enrollment.MaxAccountNumber && !strings.ContainsFunc(account, unicode.IsControl) && utf8.ValidString(account) {
		f[string(enrollment.FieldAccountNumber)] = account
	}
	return p.showSignUp(w, r, f, answer{Status: http.StatusOK})
}

// signUp reserves the code and sends the customer on to the page about the mail. What was typed is checked as far as that
// is possible without the store; only a form without an error gets there.
func (p *portal) signUp(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(w, r)
	if err != nil {
		return err
	}
	takeApart(f)
	application, refusals := p.application(r, f)
	if refusals != nil {
		return p.showSignUp(w, r, f, explain(r.Context(), refusals...))
	}

	admission, err := p.store.Register(r.Context(), application)
	var refusal *enrollment.Refusal
	switch {
	case errors.As(err, &refusal):
		return p.showSignUp(w, r, f, explain(r.Context(), refusal))
	case err != nil: // the form is kept: nobody types it twice because of us
		p.logFailure(r, err)
		return p.showSignUp(w, r, f, voiceIn(r.Context()).outage())
	}
	if err := p.keepPending(w, r, admission.Enrollment); err != nil {
		return err
	}
	http.Redirect(w, r, "/signup/check-email", http.StatusSeeOther)
	return nil
}

// application applies the rules that hold for anybody's form, and reports every one that is broken.
func (p *portal) application(r *http.Request, f form) (enrollment.Application, []*enrollment.Refusal) {
	tenant := tenantIn(r.Context())
	a := enrollment.Application{
		Tenant:        tenant.ID,
		AccountNumber: f.value(enrollment.FieldAccountNumber),
		Code:          enrollment.Secret(f.value(enrollment.FieldCode)),
		Locale:        voiceIn(r.Context()).String(), // of the mails that follow
		RequestID:     orNew(requestID(f)),
		Browser:       browserOf(r.UserAgent()),
		Source:        source(r, p.proxies),
	}
	broken := boxRules(f, a, tenant.Policy)
	broken.oneLine(f, enrollment.FieldEmail, func() (err error) {
		a.Email, err = enrollment.ParseAddress(f.value(enrollment.FieldEmail))
		return err
	})
	broken.oneLine(f, enrollment.FieldUsername, func() (err error) {
		a.Username, err = enrollment.ParseUsername(f.value(enrollment.FieldUsername))
		return err
	})
	return a, broken
}

// showSignUp shows the form with what was typed. Apart from that it depends on the answer alone, so that two refusals for
// the same reason are the same bytes.
func (p *portal) showSignUp(w http.ResponseWriter, r *http.Request, f form, a answer) error {
	a.Tenant = tenantIn(r.Context())
	a.writeHeader(w.Header())
	v := voiceIn(r.Context())
	fields := []field{
		v.accountNumberField(""), v.codeField(""),
		{
			Name: enrollment.FieldEmail, Label: v.say("Email"), Type: "email", Autocomplete: "email", Capitals: "none",
			Hint: v.say("Where Bill Center sends its e-mails to you."),
		},
		{
			Name: enrollment.FieldUsername, Label: v.say("Username"), Type: "text", Autocomplete: "username", Capitals: "none",
			Hint: v.say("For example your company’s name without spaces, like Bob’sBuilding. At least %d characters.", enrollment.MinUsername),
		},
	}
	for i := range fields {
		fields[i].Value = f.value(fields[i].Name)
	}
	return p.show(w, r, a.Status, view{
		Name: "signup", Title: v.say("Sign up for an Account"), Step: stepSignUp, Problem: len(a.Problems) > 0,
		Body: signUpPage{RequestID: requestID(f), Fields: fields, Answer: a.on(fields)},
	})
}

func (f form) value(name enrollment.Field) string { return f[string(name)] }

// requestID returns the form's own id, by which a form that is sent twice is known, or "" for what we would not have made.
func requestID(f form) string {
	id := f["request_id"]
	odd := func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	if len(id) < 8 || len(id) > 64 || strings.ContainsFunc(id, odd) {
		return ""
	}
	return id
}

// rules collects what is wrong with a form.
type rules []*enrollment.Refusal

// oneLine applies a rule to a field, after the one that all fields share: they are one line of text, so a line break in
// one was not typed into it.
func (b *rules) oneLine(f form, name enrollment.Field, rule func() error) {
	if strings.ContainsFunc(f.value(name), unicode.IsControl) {
		b.add(&enrollment.Refusal{Reason: enrollment.BadCharacters, Field: name})
		return
	}
	b.add(rule())
}

// add takes nil for a rule that was kept. The rules of package enrollment return nothing but refusals.
func (b *rules) add(err error) {
	var refusal *enrollment.Refusal
	if errors.As(err, &refusal) {
		*b = append(*b, refusal)
	}
}
