package helpdesk

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"unicode/utf8"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// maxForm is the most that a form may send.
const maxForm = 16 << 10

// show renders a page whole before it sends anything of it. data has at least the field Title.
func (f *office) show(w http.ResponseWriter, status int, page string, data any) error {
	var b bytes.Buffer
	if err := f.pages[page].ExecuteTemplate(&b, "layout", data); err != nil {
		return fmt.Errorf("render %s: %w", page, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the reader may have gone
	return nil
}

// message is a page that says one thing.
type message struct {
	Title, Text string
	SignIn      bool // offer to sign in
}

// tell shows a message. It is the last resort, so its own failure is a plain answer.
func (f *office) tell(w http.ResponseWriter, r *http.Request, status int, m message) {
	if err := f.show(w, status, "message", m); err != nil {
		f.Log.ErrorContext(r.Context(), "the back office cannot answer", "route", r.Pattern, "error", err)
		http.Error(w, m.Text, status)
	}
}

// fail turns what a handler could not do into a page.
func (f *office) fail(w http.ResponseWriter, r *http.Request, err error) {
	var bad *unreadable
	switch {
	case errors.Is(err, enrollment.ErrUnknown):
		f.tell(w, r, http.StatusNotFound, message{Title: "Not found", Text: "This tenant has nothing by that name: billing never named it. Compare with the invoice, and look at the dead letters."})
	case errors.As(err, new(*enrollment.Refusal)):
		f.tell(w, r, http.StatusUnprocessableEntity, message{Title: "That cannot be", Text: words(err)})
	case errors.As(err, &bad):
		f.tell(w, r, bad.status, message{Title: "The form cannot be read", Text: bad.why})
	default:
		f.Log.ErrorContext(r.Context(), "the back office cannot answer", "route", r.Pattern, "error", err)
		w.Header().Set("Retry-After", "10")
		f.tell(w, r, http.StatusServiceUnavailable, message{Title: "Not now", Text: "The database or the broker does not answer. Try again in a moment."})
	}
}

// words says a refusal to staff.
func words(err error) string {
	no, ok := errors.AsType[*enrollment.Refusal](err)
	if !ok {
		return ""
	}
	switch no.Reason {
	case enrollment.TooSoon:
		return fmt.Sprintf("A mail was sent a moment ago; the next may be asked for in %d seconds.", int(no.RetryAfter.Seconds())+1)
	case enrollment.TooManyMails:
		return "This enrollment had its five mails. Correct the address, or cancel it and have the customer sign up again."
	case enrollment.TooManyCorrections:
		return "The address of this enrollment was corrected three times. Cancel it and have the customer sign up again."
	case enrollment.LinkUsed:
		return "The customer activated meanwhile: have them log in."
	case enrollment.LinkExpired:
		return "That enrollment is over: have the customer sign up again."
	case enrollment.AccountClosed:
		return "Billing closed the account."
	case enrollment.TooShort:
		return fmt.Sprintf("Give a reason of at least %d characters.", no.Limit)
	case enrollment.TooLong:
		return fmt.Sprintf("That is too long: %d characters at most.", no.Limit)
	case enrollment.CallerNotVerified:
		return "Verify the caller first, and record how: nothing was opened."
	case enrollment.Missing:
		if no.Field == enrollment.FieldHow {
			return "Choose how the caller was verified."
		}
		return "Enter the e-mail address."
	case enrollment.BadAddress:
		return "That is not an e-mail address that mail can reach."
	}
	return "That is not possible: " + string(no.Reason) + "."
}

// unreadable is a form that no page of ours sent.
type unreadable struct {
	status int
	why    string
}

func (u *unreadable) Error() string { return u.why }

// read parses a small form, each of whose fields is there once at most and is text that the database can keep.
func read(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		if errors.As(err, new(*http.MaxBytesError)) {
			return &unreadable{http.StatusRequestEntityTooLarge, "It is too large."}
		}
		return &unreadable{http.StatusBadRequest, "It is damaged."}
	}
	for _, values := range r.PostForm {
		if len(values) > 1 {
			return &unreadable{http.StatusBadRequest, "It gives a field twice."}
		}
		if !isText(values[0]) {
			return &unreadable{http.StatusBadRequest, "It holds something that is not text."}
		}
	}
	return nil
}

func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// guarded lets no answer run a script, be framed, be kept or tell other sites where a reader comes from, and no panic pass
// unheard: net/http tells of it only where nobody looks.
func (f *office) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if f.base != nil && f.base.Scheme == "https" {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		defer func() {
			if fault := recover(); fault != nil {
				f.Log.ErrorContext(r.Context(), "the back office panics", "route", r.Pattern, "fault", fmt.Sprint(fault), "stack", string(debug.Stack()))
				http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}
