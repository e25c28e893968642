package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// Which usernames exist is told to nobody who has not shown an account number and its code.
func TestATakenUsernameIsToldOnlyToWhoHoldsThePair(t *testing.T) {
	s := stage(t)
	s.pending("1")
	s.bills(mongo, invoice("2", "MB07-22YL", daysAgo(1)))
	_, a := s.pending("3")
	for _, form := range []enrollment.Application{
		s.form(mongo, "2", "A WRONG GUESS", named(t, a.Username.Display)),
		s.form(mongo, "UNKNOWN", "MB07-22YL", named(t, a.Username.Display)),
	} {
		_, err := s.register(form)
		if no := refused(t, err, enrollment.NotRecognised); len(no.Suggestions) > 0 {
			t.Errorf("suggests %v", no.Suggestions)
		}
	}
	_, err := s.register(s.form(mongo, "2", "MB07-22YL", named(t, a.Username.Display)))
	refused(t, err, enrollment.UsernameTaken)
}

func TestANewInvoiceLeavesAPendingEnrollmentAndOpensItsOwnCode(t *testing.T) {
	s := stage(t)
	id, a := s.pending("100482-7")
	before := s.dump(`SELECT * FROM enrollments`) + s.dump(`SELECT * FROM usernames`)
	s.bills(mongo, invoice("100482-7", "NEWER-CODE", daysAgo(0.5)))
	if diff := cmp.Diff(before, s.dump(`SELECT * FROM enrollments`)+s.dump(`SELECT * FROM usernames`)); diff != "" {
		t.Errorf("the new invoice changed the pending enrollment:\n%s", diff)
	}
	colleague := s.admits(s.form(mongo, "100482-7", "NEWER-CODE"))
	if colleague == id {
		t.Error("the new code continues the old code's enrollment")
	}
	ok(t, s.activate(mongo, s.link(mongo, id, 1, a.Email)))
	if got := s.state(colleague); got != enrollment.Registered {
		t.Errorf("the colleague's enrollment is %s", got)
	}
}

// Whoever opened the link and chose no password can go every way that was open before.
func TestAnOpenedLinkWithoutAPasswordEndsNothing(t *testing.T) {
	s := stage(t)
	id, a := s.pending("100482-7")
	_, err := s.open(s.link(mongo, id, 1, a.Email), enrollment.Visit{})
	ok(t, err)
	s.Pass(t, enrollment.MailSpacing)
	s.forgetOutbox()
	ok(t, s.resend(id, "again"))
	only[events.ActivationRequested](t, s.announced())
	admitted, err := s.register(s.form(mongo, "100482-7", "QX4T-88ZK"))
	ok(t, err)
	if admitted.Enrollment != id || !admitted.Continued {
		t.Errorf("%+v, want %s continued", admitted, id)
	}
	ok(t, s.activate(mongo, s.link(mongo, id, 2, s.asks(id).Email)))
}

func TestWhoContinuesInAnotherLanguageIsWrittenToInIt(t *testing.T) {
	s := stage(t)
	id, a := s.pending("100482-7")
	s.Pass(t, enrollment.MailSpacing)
	a.Locale, a.RequestID = "es-US", "another form"
	for _, to := range []enrollment.Address{a.Email, "other@company.example"} {
		s.forgetOutbox()
		a.Email = to
		if got := s.admits(a); got != id {
			t.Errorf("admitted as %s, want %s", got, id)
		}
		if mail := only[events.ActivationRequested](t, s.announced()); mail.Locale != "es-US" {
			t.Errorf("the mail to %s is in %s", to, mail.Locale)
		}
	}
	s.Pass(t, enrollment.MailSpacing)
	s.forgetOutbox()
	ok(t, s.resend(id, "again"))
	if mail := only[events.ActivationRequested](t, s.announced()); mail.Locale != "es-US" {
		t.Errorf("the mail that was sent again is in %s", mail.Locale)
	}
}

// A wish says the language that its page was read in; staff say none.
func TestAMailAskedForAgainIsInTheLanguageOfItsPage(t *testing.T) {
	s := stage(t)
	id, a := s.pending("100482-7") // on a page in en-US
	in := func(locale string) enrollment.Wish { return enrollment.Wish{RequestID: "in-" + locale, Locale: locale} }
	for _, c := range []struct {
		name string
		ask  func() error
		want string
	}{
		{"again, on a Spanish page", func() error { return s.Resend(t.Context(), mongo, id, in("es-US")) }, "es-US"},
		{"again, by staff", func() error { return s.SendAgain(t.Context(), errand, mongo, id) }, "es-US"},
		{"another address, on an English page", func() error { return s.CorrectAddress(t.Context(), mongo, id, "b@company.example", in("en-US")) }, "en-US"},
		{"another address, by staff", func() error { return s.CorrectAddressFor(t.Context(), errand, mongo, id, a.Email) }, "en-US"},
		{"a new one for an expired link, on a Spanish page", func() error {
			s.Pass(t, hold)
			_, err := s.Renew(t.Context(), mongo, s.link(mongo, id, 3, a.Email), in("es-US"))
			return err
		}, "es-US"},
	} {
		s.Pass(t, enrollment.MailSpacing)
		s.forgetOutbox()
		ok(t, c.ask())
		if mail := only[events.ActivationRequested](t, s.announced()); mail.Locale != c.want {
			t.Errorf("%s: the mail is in %s, want %s", c.name, mail.Locale, c.want)
		}
	}
}

// Only the mail says that its address has a log-in: the sign-up is answered as for any other address.
func TestTheMailKnowsThatItsAddressHasALogIn(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("1", "QX4T-88ZK", daysAgo(1)))
	s.bills(zeros, invoice("1", "QX4T-88ZK", daysAgo(1)))
	s.enrolls(s.form(mongo, "1", "QX4T-88ZK", func(a *enrollment.Application) { a.Email = "Ada@company.example" }))
	for i, c := range []struct {
		name, tenant string
		to           enrollment.Address
		want         bool
	}{
		{"the user's", mongo, "Ada@company.example", true},
		{"the user's in another spelling", mongo, "ada@company.example", true},
		{"a stranger's", mongo, "bob@company.example", false},
		{"a user's of another tenant", zeros, "Ada@company.example", false},
	} {
		s.bills(c.tenant, invoice(fmt.Sprint("A-", i), "7F3K-9QWD", daysAgo(1)))
		s.forgetOutbox()
		id := s.admits(s.form(c.tenant, fmt.Sprint("A-", i), "7F3K-9QWD", func(a *enrollment.Application) { a.Email = c.to }))
		if mail := only[events.ActivationRequested](t, s.announced()); mail.HasLogIn != c.want {
			t.Errorf("%s: the mail says %t", c.name, mail.HasLogIn)
		}
		s.forgetOutbox()
		ok(t, s.CorrectAddress(t.Context(), c.tenant, id, "another@company.example", wish("c")))
		if mail := only[events.ActivationRequested](t, s.announced()); mail.HasLogIn {
			t.Errorf("%s: the mail to another address says so, too", c.name)
		}
	}
}

// Each mail of a sign-up says when and with what its form was sent, not when and by whom a mail was asked for.
func TestAMailSaysWhenAndWithWhatSomebodySignedUp(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("100482-7", "QX4T-88ZK", daysAgo(1)))
	a := s.form(mongo, "100482-7", "QX4T-88ZK", func(a *enrollment.Application) { a.Browser = "Firefox, Windows" })
	id := s.admits(a)
	says := func(what, with string, ago time.Duration) {
		t.Helper()
		mail := only[events.ActivationRequested](t, s.announced())
		if mail.SignedUpWith != with || mail.SignedUpAt == nil || time.Since(*mail.SignedUpAt).Round(time.Hour) != ago {
			t.Errorf("%s: with %q at %v", what, mail.SignedUpWith, mail.SignedUpAt)
		}
		s.forgetOutbox()
		s.Pass(t, time.Hour)
	}
	says("the first", "Firefox, Windows", 0)
	ok(t, s.SendAgain(t.Context(), errand, mongo, id))
	says("sent again by staff", "Firefox, Windows", time.Hour)
	ok(t, s.CorrectAddress(t.Context(), mongo, id, "b@company.example", enrollment.Wish{RequestID: "c", Browser: "Edge, Windows"}))
	says("to another address", "Firefox, Windows", 2*time.Hour)
	again := s.form(mongo, "100482-7", "QX4T-88ZK", func(a *enrollment.Application) { a.Browser = "Safari, iPhone" })
	s.admits(again)
	says("after the form was sent again", "Safari, iPhone", 0)
	s.Pass(t, hold)
	_, err := s.Renew(t.Context(), mongo, s.link(mongo, id, 3, again.Email), enrollment.Wish{RequestID: "r", Browser: "Chrome, Android"})
	ok(t, err)
	says("from an expired link", "Chrome, Android", 0)
}
