package portal

import (
	"net/http"

	"github.com/mongotel/billcenter/schema/enrollment"
)

func (p *portal) forgotUsernameForm(w http.ResponseWriter, r *http.Request) error {
	return p.showForgotUsername(w, r, form{}, answer{Status: http.StatusOK})
}

// forgotUsername mails each user of an address its username. The mail is that of a forgotten password, which names it:
// whoever forgot the one often forgot the other.
func (p *portal) forgotUsername(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(w, r)
	if err != nil {
		return err
	}
	var to enrollment.Address
	var broken rules
	broken.oneLine(f, enrollment.FieldEmail, func() (err error) {
		to, err = enrollment.ParseAddress(f.value(enrollment.FieldEmail))
		return err
	})
	if broken != nil {
		return p.showForgotUsername(w, r, f, explain(r.Context(), broken...))
	}
	return p.sendReset(w, r, enrollment.Forgotten{Address: to}, func(a answer) error { return p.showForgotUsername(w, r, f, a) })
}

func (p *portal) showForgotUsername(w http.ResponseWriter, r *http.Request, f form, a answer) error {
	v := voiceIn(r.Context())
	return p.showForgot(w, r, "forgot-username", v.say("Forgot your username?"), f, a, field{
		Name: enrollment.FieldEmail, Label: v.say("Email"), Type: "email", Autocomplete: "email", Capitals: "none",
	})
}
