package portal

import (
	"errors"
	"net/http"
	"slices"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// addPage is the Body of the form that adds an account.
type addPage struct {
	Fields []field
	Answer answer
}

func (p *portal) addForm(w http.ResponseWriter, r *http.Request, _ enrollment.Customer) error {
	return p.showAdd(w, r, form{}, answer{Status: http.StatusOK})
}

// add gives the customer one more account, by the rules and limits of a sign-up.
func (p *portal) add(w http.ResponseWriter, r *http.Request, _ enrollment.Customer) error {
	f, err := readForm(w, r)
	if err != nil {
		return err
	}
	takeApart(f)
	tenant := tenantIn(r.Context())
	a := enrollment.Application{
		Tenant: tenant.ID, AccountNumber: f.value(enrollment.FieldAccountNumber), Code: enrollment.Secret(f.value(enrollment.FieldCode)),
		Locale: voiceIn(r.Context()).String(), Source: source(r, p.proxies),
	}
	if broken := boxRules(f, a, tenant.Policy); broken != nil {
		return p.showAdd(w, r, f, explain(r.Context(), broken...))
	}
	err = p.store.AddAccount(r.Context(), p.user(r), a)
	var refusal *enrollment.Refusal
	switch {
	case errors.As(err, &refusal):
		return p.showAdd(w, r, f, explain(r.Context(), refusal))
	case errors.Is(err, enrollment.ErrUnknown):
		return p.logOut(w, r)
	case err != nil:
		return err
	}
	p.sessions(r).Put(r.Context(), sessionNotice, noticeAdded)
	http.Redirect(w, r, "/account", http.StatusSeeOther)
	return nil
}

// boxRules are the rules for the two lines of the box, which say nothing about accounts.
func boxRules(f form, a enrollment.Application, policy enrollment.Policy) rules {
	var broken rules
	broken.oneLine(f, enrollment.FieldAccountNumber, func() error {
		_, err := enrollment.AccountKey(a.AccountNumber, policy.LeadingZerosOptional)
		return err
	})
	broken.oneLine(f, enrollment.FieldCode, func() error {
		_, _, err := enrollment.CodeForms(a.Code)
		return err
	})
	return broken
}

func (p *portal) showAdd(w http.ResponseWriter, r *http.Request, f form, a answer) error {
	v := voiceIn(r.Context())
	a.Tenant = tenantIn(r.Context())
	a.writeHeader(w.Header())
	a.Actions = slices.DeleteFunc(a.Actions, func(next action) bool { return next.Link != "" && next.Link != "/help/code" }) // for who is logged in
	fields := []field{v.accountNumberField(f.value(enrollment.FieldAccountNumber)), v.codeField(f.value(enrollment.FieldCode))}
	return p.show(w, r, a.Status, view{
		Name: "add-account", Title: v.say("Add another account"), Problem: len(a.Problems) > 0, Body: addPage{Fields: fields, Answer: a.on(fields)},
	})
}

// What the next page says about the one before; the session keeps it that long.
const (
	sessionNotice         = "notice"
	noticeAdded           = "account-added"
	noticePasswordChanged = "password-changed"
	noticeSessionEnded    = "session-ended"
	noticeAccessEnded     = "access-ended"
	noticeAccessLeft      = "access-left"
	noticePaid            = "back-from-payment"
	noticePaidLate        = "back-from-payment-late"
)

// takeNotice returns the notice in words and forgets it.
func (p *portal) takeNotice(r *http.Request) string {
	if viewIn(r.Context()) != nil { // it is for the customer, who has not read it yet
		return ""
	}
	s, v := p.sessions(r), voiceIn(r.Context())
	if s.GetString(r.Context(), sessionNotice) == "" { // nothing to change, so that the session is not written
		return ""
	}
	switch s.PopString(r.Context(), sessionNotice) {
	case noticeAdded:
		return v.say("The account was added. Its billing address is told by e-mail.")
	case noticePasswordChanged:
		return v.say("Your password was changed. Every other browser was logged out.")
	case noticeSessionEnded:
		return v.say("The other browser was logged out.")
	case noticeAccessEnded:
		return v.say("The access has ended.")
	case noticeAccessLeft:
		return v.say("You gave up your access to the account.")
	case noticePaid:
		return v.say("Welcome back. What you changed appears here once billing has reported it.")
	case noticePaidLate:
		return v.say("You are back from the payment pages. That took longer than we wait, so look there whether everything went through.")
	default:
		return ""
	}
}
