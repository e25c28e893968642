package portal

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/tenants"
)

// answer is a refusal in words: what is wrong, where, and what the customer can do now.
type answer struct {
	Status     int
	RetryAfter time.Duration
	Heading    string
	Problems   []problem
	Actions    []action
	Tenant     *tenants.Tenant // whose support is named
}

// problem is one sentence about one field, or about the whole form.
type problem struct {
	Field enrollment.Field
	Text  string
}

// action is one thing to do now: Before, a link (or none), After.
type action struct{ Before, Link, Text, After string }

var (
	logIn          = action{Link: "/login", Text: "Log in", After: " with the username you chose."}
	forgotPassword = action{Link: "/forgot-password", Text: "Forgot your password?"}
	askColleague   = action{Before: "Ask in your company who enrolled: a colleague may have used this code."}
	codeHelp       = action{Link: "/help/code", Text: "See what to do when the code does not work", After: "."}
	signUpAgain    = action{Link: "/signup", Text: "Sign up again", After: " with the same account number and registration code."}
	startOver      = action{Link: "/", Text: "Go to the start page", After: "."}
)

// explain is the one place where a refusal becomes words. Several are the errors of one form.
func explain(t *tenants.Tenant, refusals ...*enrollment.Refusal) answer {
	a := answer{Status: http.StatusUnprocessableEntity, Heading: "Please check what you entered", Tenant: t}
	for _, r := range refusals {
		a.Problems = append(a.Problems, problem{fieldOf(r), sentence(t, r)})
		if r.Reason == enrollment.NotRecognised {
			a.Problems = append(a.Problems, problem{enrollment.FieldCode, "Check the registration code as well: every character counts."})
		}
		for _, next := range nextSteps(r.Reason) {
			a.Actions = appendNew(a.Actions, next)
		}
		switch r.Reason {
		case enrollment.TooManyTries, enrollment.TooSoon:
			a.Status, a.RetryAfter, a.Heading = http.StatusTooManyRequests, r.RetryAfter, "Please wait a moment"
		case enrollment.LinkExpired, enrollment.LinkSuperseded, enrollment.LinkUsed:
			a.Status = http.StatusGone
		case enrollment.LinkDamaged:
			a.Status = http.StatusNotFound
		}
	}
	return a
}

// fieldOf is the field to put right: the refusal's own, or the one that its reason is about.
func fieldOf(r *enrollment.Refusal) enrollment.Field {
	if r.Field != "" {
		return r.Field
	}
	switch r.Reason {
	case enrollment.NotRecognised, enrollment.AccountClosed:
		return enrollment.FieldAccountNumber
	case enrollment.CodeUsed, enrollment.CodeSuperseded, enrollment.CodeExpired, enrollment.CodeRetired:
		return enrollment.FieldCode
	case enrollment.UsernameTaken, enrollment.LogInFailed:
		return enrollment.FieldUsername
	case enrollment.TooManyCorrections:
		return enrollment.FieldEmail
	default:
		return ""
	}
}

func sentence(t *tenants.Tenant, r *enrollment.Refusal) string {
	switch r.Reason {
	case enrollment.NotRecognised:
		return "This account number and registration code do not belong together. Compare both with the box at the bottom of your newest billing e-mail."
	case enrollment.CodeUsed:
		return "This registration code has been used: the account it belongs to is open."
	case enrollment.CodeSuperseded:
		return fmt.Sprintf("This registration code was replaced. A newer one was e-mailed on %s: use the one in that e-mail.", date(t, r.NewerSentOn))
	case enrollment.CodeExpired:
		return "This registration code has expired."
	case enrollment.CodeRetired:
		return "This registration code no longer works, because somebody tried too many wrong ones on this account. Billing was asked to send a new code to the account’s billing address."
	case enrollment.AccountClosed:
		return "This account was closed, so it cannot be enrolled."
	case enrollment.UsernameTaken:
		return "That username is taken." + suggested("These are free: ", r.Suggestions)
	case enrollment.TooManyTries:
		return fmt.Sprintf("That was tried too often. Try again in %s. Nothing is locked: the right details work after the wait.", wait(r.RetryAfter))
	case enrollment.TooSoon:
		return fmt.Sprintf("We sent an e-mail a moment ago. You can ask for another one in %s.", wait(r.RetryAfter))
	case enrollment.TooManyMails:
		return "This sign-up has had all its e-mails. The link in every one of them still works."
	case enrollment.TooManyCorrections:
		return "The address of this sign-up was corrected as often as possible."
	case enrollment.PasswordCommon:
		return "This password is on lists that burglars try first. Choose one that nobody else would think of."
	case enrollment.PasswordContext:
		return fmt.Sprintf("This password is made of your username, your address, your account number or the name %s. Choose other words.", t.Name)
	case enrollment.PasswordMismatch:
		return "The two passwords differ. Type the same one twice."
	case enrollment.LinkExpired:
		return "The time to use this link is over. Your registration code was not used up."
	case enrollment.LinkSuperseded:
		return "The e-mail address was corrected after this link was sent. Use the link in the e-mail to the new address."
	case enrollment.LinkUsed:
		return "A password was chosen with this link before, so there is nothing left to do here."
	case enrollment.LinkDamaged:
		return "This link is not complete. Some mail programs break long links: copy all of it from the e-mail into the address bar."
	case enrollment.LogInFailed:
		return "Username and password do not belong together."
	default:
		return formSentence(r)
	}
}

// labels are the fields as a sentence names them.
var labels = map[enrollment.Field]string{
	enrollment.FieldAccountNumber: "account number",
	enrollment.FieldCode:          "registration code",
	enrollment.FieldEmail:         "e-mail address",
	enrollment.FieldUsername:      "username",
	enrollment.FieldPassword:      "password",
	enrollment.FieldConfirmation:  "password once more",
}

// formSentence says which rule of the form a value breaks.
func formSentence(r *enrollment.Refusal) string {
	label := labels[r.Field]
	switch r.Reason {
	case enrollment.Missing:
		return "Enter the " + label + "."
	case enrollment.TooLong:
		return fmt.Sprintf("The %s can have at most %d characters.", label, r.Limit)
	case enrollment.TooShort:
		return fmt.Sprintf("The %s needs at least %d characters.", label, r.Limit)
	case enrollment.BadCharacters:
		return fmt.Sprintf("The %s has a character that cannot be part of it.", label)
	case enrollment.HasSpaces:
		return "A username has no spaces." + suggested("How about ", r.Suggestions)
	case enrollment.MixedScripts:
		return "The username mixes letters of different alphabets. Use one alphabet."
	case enrollment.BadAddress:
		return "This is no e-mail address that mail can reach. It looks like name@company.com."
	default:
		return fmt.Sprintf("The %s was not accepted.", label)
	}
}

func suggested(intro string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " " + intro + strings.Join(names, ", ") + "."
}

// nextSteps lists what is open now; support is added by the page.
func nextSteps(reason enrollment.Reason) []action {
	switch reason {
	case enrollment.NotRecognised, enrollment.CodeExpired, enrollment.CodeRetired, enrollment.CodeSuperseded:
		return []action{codeHelp, {Before: "Enrolled before? ", Link: "/login", Text: "Log in", After: "."}}
	case enrollment.CodeUsed:
		return []action{logIn, forgotPassword, askColleague, codeHelp}
	case enrollment.UsernameTaken:
		return []action{
			{Before: "Take another username. Nothing else has to change."},
			{Before: "If it is yours, ", Link: "/login", Text: "log in", After: "."},
		}
	case enrollment.TooManyTries:
		return []action{forgotPassword, codeHelp}
	case enrollment.LogInFailed:
		return []action{forgotPassword, {Before: "No account yet? ", Link: "/signup", Text: "Sign up for an Account", After: "."}}
	case enrollment.LinkUsed:
		return []action{logIn, forgotPassword}
	case enrollment.LinkExpired, enrollment.LinkDamaged:
		return []action{signUpAgain, codeHelp, {Before: "Chose a password before? ", Link: "/login", Text: "Log in", After: "."}}
	case enrollment.LinkSuperseded:
		return []action{signUpAgain, codeHelp}
	case enrollment.TooManyMails, enrollment.TooManyCorrections, enrollment.AccountClosed:
		return []action{codeHelp}
	default:
		return nil
	}
}

func appendNew(to []action, a action) []action {
	for _, have := range to {
		if have == a {
			return to
		}
	}
	return append(to, a)
}

// beside returns what is to be said next to a field.
func (a answer) beside(f enrollment.Field) string {
	for _, p := range a.Problems {
		if p.Field == f {
			return p.Text
		}
	}
	return ""
}

// on fits the answer to a page: each of its fields gets its message, and a problem of no field there leads nowhere.
func (a answer) on(fields []field) answer {
	here := make(map[enrollment.Field]bool)
	for i := range fields {
		here[fields[i].Name] = true
		fields[i].Message = a.beside(fields[i].Name)
	}
	a.Problems = slices.Clone(a.Problems)
	for i := range a.Problems {
		if !here[a.Problems[i].Field] {
			a.Problems[i].Field = ""
		}
	}
	return a
}

// writeHeader sets what the answer wants in the head.
func (a answer) writeHeader(h http.Header) {
	if a.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(a.RetryAfter.Seconds()))))
	}
}

// date writes a day, moment a moment, on the tenant's clocks.
func date(t *tenants.Tenant, at time.Time) string {
	return at.In(t.TimeZone).Format("January 2, 2006")
}

func moment(t *tenants.Tenant, at time.Time) string {
	return at.In(t.TimeZone).Format("January 2, 2006, 3:04 PM MST")
}
