package portal

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

func TestWhatIsNotAllowedNowIsNotOffered(t *testing.T) {
	p := New(Options{Tenants: oneTenant(t), Keys: storetest.Ring(t), Log: discard()}).(*portal)
	for name, c := range map[string]struct {
		pending         enrollment.Pending
		resend, correct bool
		says            string
	}{
		"everything":         {enrollment.Pending{MailsLeft: 5, CorrectionsLeft: 3}, true, true, "Send the e-mail again"},
		"a mail a bit later": {enrollment.Pending{MailsLeft: 5, CorrectionsLeft: 3, ResendAfter: 40 * time.Second}, true, true, "Possible in 40 seconds"},
		"no more mails":      {enrollment.Pending{CorrectionsLeft: 3}, false, true, "has had all its e-mails"},
		"no more addresses":  {enrollment.Pending{MailsLeft: 5}, true, false, "corrected as often as possible"},
	} {
		t.Run(name, func(t *testing.T) {
			c.pending.State, c.pending.Email = enrollment.Mailed, address
			page := render(t, "en-US", func(w http.ResponseWriter, r *http.Request) error {
				return p.show(w, r, 200, view{Name: "check-email", Title: "x", Body: p.pendingPage(r, c.pending, form{}, answer{})})
			}).body.String()
			if got := strings.Contains(page, `action="/signup/resend"`); got != c.resend {
				t.Errorf("another mail is offered: %v", got)
			}
			if got := strings.Contains(page, `action="/signup/email"`); got != c.correct {
				t.Errorf("another address is offered: %v", got)
			}
			if !strings.Contains(page, c.says) {
				t.Errorf("does not say %q", c.says)
			}
		})
	}
}

func TestReadingMakesNoMailAndVoidsNoLink(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	c.signUp().leadsTo(s, "/signup/check-email")
	link := s.link(address)
	s.db.Pass(t, time.Hour) // a mail might be asked for again
	outgoing := func() int {
		return storetest.One[int](s, s.db, `SELECT count(*) FROM outbox WHERE subject LIKE 'mail.%' OR subject LIKE 'requests.%'`)
	}
	before := outgoing()
	for _, path := range []string{"/", "/login", "/signup", "/signup/check-email", "/help/code", "/forgot-password", "/forgot-username", link} {
		c.get(path).is(s, 200)
	}
	if after := outgoing(); after != before {
		t.Errorf("reading pages asked for %d mails", after-before)
	}
	c.activate(link, password).leadsTo(s, "/login")
}

func TestTheBrowserThatSignedUpIsNotSignedIn(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	c.signUp()
	link := s.link(address)
	c.get("/account").leadsTo(s, "/login")
	s.customer().get(link).is(s, 200)
	c.get("/account").leadsTo(s, "/login")
	s.customer().activate(link, password).leadsTo(s, "/login")
	c.get("/signup/check-email").is(s, 200, "Your account is active")
	c.get("/account").leadsTo(s, "/login")
}

func TestALinkOfAClosedAccountSaysSo(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	c.signUp()
	link := s.link(address)
	s.billing(events.AccountClosed{AccountNumber: accountNumber, ClosedAt: time.Now().Add(-time.Minute).UTC()})
	for _, p := range []page{c.get(link), c.activate(link, password)} {
		if !strings.Contains(p.text(s), "This account was closed") || p.StatusCode != 410 {
			t.Errorf("%d:\n%s", p.StatusCode, p.text(s))
		}
		checkStructure(t, p.body)
	}
	sayClosed := func() {
		t.Helper()
		p := c.get("/signup/check-email")
		p.is(s, 200, "The account was closed", "reach support", "(718) 942-9990")
		if !bytes.Contains(p.body, []byte("<title>The account was closed ")) {
			t.Error("the title says something else")
		}
		if strings.Contains(p.text(s), "Sign up again") || bytes.Contains(p.body, []byte(`action="/signup/`)) {
			t.Errorf("what cannot help is offered:\n%s", p.text(s))
		}
		checkStructure(t, p.body)
	}
	sayClosed() // before anybody came by to cancel it
	if _, err := s.db.CancelClosed(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	sayClosed()
}

// What went wrong is announced and takes the focus; nothing runs out while somebody reads or types.
func TestErrorsAreAnnouncedAndNothingIsTimed(t *testing.T) {
	s := newFront(t)
	p := s.customer().signUp("registration_code", "7f3", "email", "x")
	summary := p.find(s, "id", "problem")
	if attribute(summary, "role") != "alert" || attribute(summary, "tabindex") != "-1" {
		t.Errorf("the summary has the role %q, tabindex %q", attribute(summary, "role"), attribute(summary, "tabindex"))
	}
	code := p.find(s, "name", "registration_code")
	if attribute(code, "aria-invalid") != "true" || !strings.Contains(attribute(code, "aria-describedby"), "registration_code-error") {
		t.Error("the code is not tied to its message")
	}
	for name, scene := range everyPage(t) {
		a := render(t, "en-US", scene)
		doc := page{&http.Response{}, a.body.Bytes()}.document(s)
		for n := range doc.Descendants() {
			if n.Type == html.ElementNode && strings.EqualFold(attribute(n, "http-equiv"), "refresh") {
				t.Errorf("%s: a timer leaves the page", name)
			}
		}
		if a.Header().Get("Refresh") != "" {
			t.Errorf("%s: a timer leaves the page", name)
		}
	}
}
