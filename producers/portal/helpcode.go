package portal

import (
	"errors"
	"net/http"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// helpPage is the Body of the page about a code that does not work.
type helpPage struct {
	Asked    bool
	AskAgain string // always a day from now, whatever came of the wish: the true time would tell that there is such an account
	Fields   []field
	Answer   answer
}

func (p *portal) helpForm(w http.ResponseWriter, r *http.Request) error {
	return p.showHelp(w, r, form{}, helpPage{Answer: answer{Status: http.StatusOK}})
}

func (p *portal) askForCode(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(w, r)
	if err != nil {
		return err
	}
	takeApart(f)
	tenant := tenantIn(r.Context())
	number := f.value(enrollment.FieldAccountNumber)
	var broken rules
	broken.oneLine(f, enrollment.FieldAccountNumber, func() error {
		_, err := enrollment.AccountKey(number, tenant.Policy.LeadingZerosOptional)
		return err
	})
	if broken != nil {
		return p.showHelp(w, r, f, helpPage{Answer: explain(r.Context(), broken...)})
	}
	err = p.store.AskForCode(r.Context(), tenant.ID, number, source(r, p.proxies))
	var refusal *enrollment.Refusal
	if errors.As(err, &refusal) {
		return p.showHelp(w, r, f, helpPage{Answer: explain(r.Context(), refusal)})
	} else if err != nil {
		return err
	}
	again := moment(r.Context(), time.Now().Add(enrollment.CodeReissueSpacing))
	return p.showHelp(w, r, f, helpPage{Asked: true, AskAgain: again, Answer: answer{Status: http.StatusOK}})
}

func (p *portal) showHelp(w http.ResponseWriter, r *http.Request, f form, page helpPage) error {
	v := voiceIn(r.Context())
	page.Answer.Tenant = tenantIn(r.Context())
	page.Answer.writeHeader(w.Header())
	page.Fields = []field{v.accountNumberField(f.value(enrollment.FieldAccountNumber))}
	page.Answer = page.Answer.on(page.Fields)
	return p.show(w, r, page.Answer.Status, view{
		Name: "help-code", Title: v.say("The registration code does not work"), Problem: len(page.Answer.Problems) > 0, Body: page,
	})
}

// accountNumberField and codeField are the two lines of the box at the bottom of a billing e-mail.
func (v *voice) accountNumberField(value string) field {
	return field{
		Name: enrollment.FieldAccountNumber, Label: v.say("Account Number"), Mark: "1", Type: "text", Class: "figures", Autocomplete: "off",
		Hint: v.say("As shown in the box at the bottom of your billing e-mail."), Value: value,
	}
}

func (v *voice) codeField(value string) field {
	return field{
		Name: enrollment.FieldCode, Label: v.say("Registration Code"), Mark: "2", Type: "text", Class: "figures", Autocomplete: "off", Capitals: "characters",
		Hint: v.say("The one-time code from the same box. Blanks, dashes and small letters make no difference."), Value: value,
	}
}

// takeApart sorts out a form into one of whose fields more of the box was pasted than belongs there.
func takeApart(f form) {
	for _, name := range []enrollment.Field{enrollment.FieldAccountNumber, enrollment.FieldCode} {
		account, code := enrollment.TakeApart(f.value(name))
		if account != "" {
			f[string(enrollment.FieldAccountNumber)] = account
		}
		if code != "" {
			f[string(enrollment.FieldCode)] = code
		}
	}
}
