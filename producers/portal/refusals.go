package portal

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

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

func (v *voice) logIn() action {
	return v.step("/login", "[Log in] with the username you chose.")
}

func (v *voice) forgotPassword() action {
	return v.step("/forgot-password", "[Forgot your password?]")
}

func (v *voice) codeHelp() action {
	return v.step("/help/code", "[See what to do when the code does not work].")
}

func (v *voice) signUpAgain() action {
	return v.step("/signup", "[Sign up again] with the same account number and registration code.")
}

func (v *voice) startOver() action { return v.step("/", "[Go to the start page].") }

// explain is the one place where a refusal becomes words. Several are the errors of one form.
func explain(ctx context.Context, refusals ...*enrollment.Refusal) answer {
	v := voiceIn(ctx)
	a := answer{Status: http.StatusUnprocessableEntity, Heading: v.say("Please check what you entered"), Tenant: tenantIn(ctx)}
	for _, r := range refusals {
		a.Problems = append(a.Problems, problem{fieldOf(r), sentence(ctx, r)})
		if r.Reason == enrollment.NotRecognised {
			a.Problems = append(a.Problems, problem{enrollment.FieldCode, v.say("Check the registration code as well: every character counts.")})
		}
		for _, next := range v.nextSteps(r.Reason) {
			a.Actions = appendNew(a.Actions, next)
		}
		switch r.Reason {
		case enrollment.TooManyTries, enrollment.TooSoon:
			a.Status, a.RetryAfter, a.Heading = http.StatusTooManyRequests, r.RetryAfter, v.say("Please wait a moment")
		case enrollment.LinkExpired, enrollment.LinkSuperseded, enrollment.LinkUsed, enrollment.LinkCancelled:
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

func sentence(ctx context.Context, r *enrollment.Refusal) string {
	v := voiceIn(ctx)
	switch r.Reason {
	case enrollment.NotRecognised:
		return v.say("This account number and registration code do not belong together. Compare both with the box at the bottom of your newest billing e-mail.")
	case enrollment.CodeUsed:
		return v.say("This registration code has been used: the account it belongs to is open.")
	case enrollment.CodeSuperseded:
		return v.say("This registration code was replaced. A newer one was e-mailed on %s: use the one in that e-mail.", date(ctx, r.NewerSentOn))
	case enrollment.CodeExpired:
		return v.say("This registration code has expired.")
	case enrollment.CodeRetired:
		return v.say("This registration code no longer works, because somebody tried too many wrong ones on this account. Billing was asked to send a new code to the account’s billing address.")
	case enrollment.AccountClosed:
		return v.say("This account was closed, so it cannot be enrolled.")
	case enrollment.UsernameTaken:
		if len(r.Suggestions) > 0 {
			return v.say("That username is taken. These are free: %s.", strings.Join(r.Suggestions, ", "))
		}
		return v.say("That username is taken.")
	case enrollment.TooManyTries:
		return v.say("That was tried too often. Try again in %s. Nothing is locked: the right details work after the wait.", v.wait(r.RetryAfter))
	case enrollment.TooSoon:
		return v.say("We sent an e-mail a moment ago. You can ask for another one in %s.", v.wait(r.RetryAfter))
	case enrollment.TooManyMails:
		return v.say("This sign-up has had all its e-mails. The link in every one of them still works.")
	case enrollment.TooManyCorrections:
		return v.say("The address of this sign-up was corrected as often as possible.")
	case enrollment.PasswordCommon:
		return v.say("This password is on lists that burglars try first. Choose one that nobody else would think of.")
	case enrollment.PasswordContext:
		return v.say("This password is made of your username, your address, your account number or the name %s. Choose other words.", tenantIn(ctx).Name)
	case enrollment.PasswordMismatch:
		return v.say("The two passwords differ. Type the same one twice.")
	case enrollment.LinkExpired:
		return v.say("The time to use this link is over. Your registration code was not used up.")
	case enrollment.LinkCancelled:
		return v.say("This sign-up was cancelled, so its link leads nowhere any more. The registration code was not used up.")
	case enrollment.LinkSuperseded:
		return v.say("The e-mail address was corrected after this link was sent. Use the link in the e-mail to the new address.")
	case enrollment.LinkUsed:
		return v.say("A password was chosen with this link before, so there is nothing left to do here.")
	case enrollment.LinkDamaged:
		return v.say("This link is not complete. Some mail programs break long links: copy all of it from the e-mail into the address bar.")
	case enrollment.LogInFailed:
		return v.say("Username and password do not belong together.")
	case enrollment.LastUser:
		return v.say("Nobody else sees this account, so this access stays. When a colleague has signed up for it, it can end.")
	case enrollment.PasswordWrong:
		return v.say("This is not your present password.")
	default:
		return v.formSentence(r)
	}
}

// label is a field as a sentence names it.
func (v *voice) label(f enrollment.Field) string {
	switch f {
	case enrollment.FieldAccountNumber:
		return v.say("the account number")
	case enrollment.FieldCode:
		return v.say("the registration code")
	case enrollment.FieldEmail:
		return v.say("the e-mail address")
	case enrollment.FieldUsername:
		return v.say("the username")
	case enrollment.FieldPassword:
		return v.say("the password")
	case enrollment.FieldConfirmation:
		return v.say("the password once more")
	case enrollment.FieldCurrent:
		return v.say("the present password")
	default:
		return v.say("this field")
	}
}

// formSentence says which rule of the form a value breaks.
func (v *voice) formSentence(r *enrollment.Refusal) string {
	label := v.label(r.Field)
	switch r.Reason {
	case enrollment.Missing:
		return v.say("Enter %s.", label)
	case enrollment.TooLong:
		return capital(v.say("%s can have at most %d characters.", label, r.Limit))
	case enrollment.TooShort:
		return capital(v.say("%s needs at least %d characters.", label, r.Limit))
	case enrollment.BadCharacters:
		return capital(v.say("%s has a character that cannot be part of it.", label))
	case enrollment.HasSpaces:
		if len(r.Suggestions) > 0 {
			return v.say("A username has no spaces. How about %s.", strings.Join(r.Suggestions, ", "))
		}
		return v.say("A username has no spaces.")
	case enrollment.MixedScripts:
		return v.say("The username mixes letters of different alphabets. Use one alphabet.")
	case enrollment.BadAddress:
		return v.say("This is no e-mail address that mail can reach. It looks like name@company.com.")
	default:
		return capital(v.say("%s was not accepted.", label))
	}
}

// capital begins a sentence that begins with an argument.
func capital(sentence string) string {
	first, size := utf8.DecodeRuneInString(sentence)
	return string(unicode.ToUpper(first)) + sentence[size:]
}

// nextSteps lists what is open now; support is added by the page.
func (v *voice) nextSteps(reason enrollment.Reason) []action {
	switch reason {
	case enrollment.NotRecognised, enrollment.CodeExpired, enrollment.CodeRetired, enrollment.CodeSuperseded:
		return []action{v.codeHelp(), v.step("/login", "Enrolled before? [Log in].")}
	case enrollment.CodeUsed:
		return []action{
			v.logIn(), v.forgotPassword(),
			v.step("", "Ask in your company who enrolled: a colleague may have used this code."),
			v.codeHelp(),
		}
	case enrollment.UsernameTaken:
		return []action{
			v.step("", "Take another username. Nothing else has to change."),
			v.step("/login", "If it is yours, [log in]."),
		}
	case enrollment.TooManyTries:
		return []action{v.forgotPassword(), v.codeHelp()}
	case enrollment.LogInFailed:
		return []action{v.forgotPassword(), v.step("/signup", "No account yet? [Sign up for an Account].")}
	case enrollment.LinkUsed:
		return []action{v.logIn(), v.forgotPassword()}
	case enrollment.LinkExpired, enrollment.LinkDamaged:
		return []action{v.signUpAgain(), v.codeHelp(), v.step("/login", "Chose a password before? [Log in].")}
	case enrollment.LinkSuperseded, enrollment.LinkCancelled:
		return []action{v.signUpAgain(), v.codeHelp()}
	case enrollment.TooManyMails, enrollment.TooManyCorrections, enrollment.AccountClosed:
		return []action{v.codeHelp()}
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
