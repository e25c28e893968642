package portal

import (
	"bytes"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

const otherPassword = "seven brass lanterns hum"

// resetLink is the path of the link for a new password that was mailed last.
func (s *scene) resetLink() string {
	s.Helper()
	id := storetest.One[enrollment.ID](s, s.db, `SELECT id FROM password_resets WHERE user_id IS NOT NULL ORDER BY requested_at DESC LIMIT 1`)
	return "/reset-password/" + enrollment.MintRecovery(s.db.Ring.LinkKeys()[0], storetest.Mongo, id, address).Reveal()
}

func (s *scene) resetMails() int {
	return storetest.One[int](s, s.db, `SELECT count(*) FROM outbox WHERE subject = 'mail.mongo.password-reset.requested'`)
}

func (c *customer) forgets(typed string) page {
	c.Helper()
	return c.post("/forgot-password", url.Values{"username": {typed}})
}

func TestAForgottenPassword(t *testing.T) {
	s := newScene(t)
	s.enrolled()
	elsewhere := s.customer()
	elsewhere.logIn(username, password).leadsTo(s, "/account")
	c := s.customer()
	c.get("/forgot-password").is(s, 200, "Username or e-mail address")
	c.forgets("BOB'SBUILDING").is(s, 200, "If we know a log-in", "one hour")
	link := s.resetLink()
	for range 3 { // a scanner, and looking twice
		c.ask("HEAD", link, "", nil).is(s, 200)
		c.get(link).is(s, 200, "Choose a new password")
	}
	if got := c.get(link).find(s, "id", "username"); attribute(got, "value") != username {
		t.Errorf("whose password: %q", attribute(got, "value"))
	}
	weak := c.activate(link, "password1234567")
	weak.is(s, 422, "lists that burglars try")
	elsewhere.get("/account").is(s, 200) // a rejected password changes nothing

	c.activate(link, otherPassword).leadsTo(s, "/login")
	logIn := c.get("/login")
	logIn.is(s, 200, "Your password was changed")
	if got := logIn.value(s, "username"); got != username {
		t.Errorf("log-in is filled in with %q", got)
	}
	elsewhere.get("/account").leadsTo(s, "/login")
	c.logIn(username, password).is(s, 422, "do not belong together")
	c.logIn(username, otherPassword).leadsTo(s, "/account")
	c.get(link).is(s, 410, "This link has been used", "Log in")
	c.activate(link, "another try with many words").is(s, 410)
}

func TestTheDeadEndsOfAResetLink(t *testing.T) {
	s := newScene(t)
	s.enrolled()
	c := s.customer()
	c.forgets(address)
	first := s.resetLink()
	s.db.Pass(t, 2*time.Minute)
	c.forgets(address)
	second := s.resetLink()
	c.activate(second, otherPassword).leadsTo(s, "/login")
	c.get(first).is(s, 410, "This link is out of date")
	s.db.Pass(t, 2*time.Minute)
	c.forgets(address)
	third := s.resetLink()
	s.db.Pass(t, time.Hour)
	c.get(third).is(s, 410, "This link has expired", "Ask for a new link")
	for _, damaged := range []string{"/reset-password/", "/reset-password/x", third[:len(third)-1], third + "A", s.link(address), strings.Replace(s.link(address), "activate", "reset-password", 1)} {
		p := c.get(damaged)
		if p.StatusCode != 404 && p.StatusCode != 410 {
			t.Errorf("%s: %d", damaged, p.StatusCode)
		}
		checkStructure(t, p.body)
	}
	c.get(strings.Replace(third, "reset-password", "activate", 1)).is(s, 404)
}

// TestNobodyLearnsWhoExists asks each page that anybody may ask for what exists and for what does not.
func TestNobodyLearnsWhoExists(t *testing.T) {
	s := newScene(t)
	s.enrolled()
	mask := func(p page, typed string) string {
		body := strings.ReplaceAll(string(p.body), typed, "TYPED")
		return regexp.MustCompile(`\d+:\d\d`).ReplaceAllString(body, "TIME")
	}
	for _, w := range []struct{ name, path, field, known, unknown string }{
		{"a username", "/forgot-password", "username", "Bob’sBuilding", "somebody"},
		{"an address", "/forgot-password", "username", address, "eve@bobsbuilding.example"},
		{"an address that has usernames", "/forgot-username", "email", address, "eve@bobsbuilding.example"},
		{"an account", "/help/code", "account_number", accountNumber, "999999-9"},
	} {
		known := s.customer().post(w.path, url.Values{w.field: {w.known}})
		unknown := s.customer().post(w.path, url.Values{w.field: {w.unknown}})
		known.is(s, 200)
		if a, b := mask(known, w.known), mask(unknown, w.unknown); a != b || known.StatusCode != unknown.StatusCode {
			t.Errorf("%s: the answers differ: %d, %d bytes", w.name, len(a), len(b))
		}
		if len(known.Cookies()) != len(unknown.Cookies()) {
			t.Errorf("%s: the cookies differ", w.name)
		}
	}
	if n := s.resetMails(); n != 1 { // three wishes within a minute
		t.Errorf("%d mails", n)
	}
	if n := storetest.One[int](t, s.db, `SELECT count(*) FROM outbox WHERE subject = 'requests.mongo.code-reissue.requested'`); n != 1 {
		t.Errorf("%d requests for a code", n)
	}
}

func TestWishesAreLimitedByTheirSource(t *testing.T) {
	for _, w := range []struct {
		path   string
		fields url.Values
	}{
		{"/forgot-password", url.Values{"username": {"somebody"}}},
		{"/forgot-username", url.Values{"email": {"somebody@b.example"}}},
		{"/help/code", url.Values{"account_number": {"999"}}},
	} {
		t.Run(w.path, func(t *testing.T) {
			s := newScene(t)
			c := s.customer()
			for range enrollment.WrongTriesOnTenant {
				c.post(w.path, w.fields).is(s, 200)
			}
			p := c.post(w.path, w.fields)
			p.is(s, 429, "30 seconds")
			if p.Header.Get("Retry-After") != "30" {
				t.Errorf("Retry-After %q", p.Header.Get("Retry-After"))
			}
			checkStructure(t, p.body)
		})
	}
}

func TestFormsThatLeadBackInKeepWhatWasTyped(t *testing.T) {
	s := newFront(t)
	c := s.customer()
	for _, w := range []struct{ path, field, typed, says string }{
		{"/forgot-password", "username", "", "Enter the username."},
		{"/forgot-username", "email", "not an address", "no e-mail address"},
		{"/help/code", "account_number", " - ", "Enter the account number."},
	} {
		p := c.post(w.path, url.Values{w.field: {w.typed}})
		p.is(s, 422, w.says)
		if p.value(s, w.field) != w.typed || !strings.Contains(p.problems(s), w.says) {
			t.Errorf("%s: %q, %q", w.path, p.value(s, w.field), p.problems(s))
		}
		if p := c.post(w.path, url.Values{w.field: {"a\r\nb"}}); !bytes.Contains(p.body, []byte("aria-invalid")) || p.StatusCode != 422 {
			t.Errorf("%s: a line break is %d", w.path, p.StatusCode)
		}
	}
}

func TestANewCodeIsAskedFor(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	c.get("/help/code").is(s, 200, "Take the newest billing e-mail", "Ask for a new code", "(718) 942-9990")
	c.post("/help/code", url.Values{"account_number": {"Account Number: " + accountNumber}}).is(s, 200, "If there is an account with that number", "you can ask again from")
	body := storetest.One[string](t, s.db, `SELECT body FROM outbox WHERE subject LIKE 'requests.%'`)
	if !strings.Contains(body, `"cause":"customer-asked"`) || !strings.Contains(body, accountNumber) {
		t.Errorf("asked: %s", body)
	}
}
