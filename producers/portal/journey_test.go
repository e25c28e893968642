package portal

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

// TestEnrolling is the manual, step by step.
func TestEnrolling(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	c.get("/").is(s, 200, "Sign up for an Account", "Log in")
	c.get("/signup").is(s, 200, "Account Number", "Registration Code", "Email", "Username", "Register")

	c.signUp("registration_code", " 7f3k 9qwd m2xa ").leadsTo(s, "/signup/check-email")
	c.get("/signup/check-email").is(s, 200, "Check your e-mail", "a***@b***.example", "Send the e-mail again")

	link := s.link(address)
	c.get(link).is(s, 200, "Choose a password", "Bob's Building")
	c.activate(link, password).leadsTo(s, "/login")

	logIn := c.get("/login")
	logIn.is(s, 200, "Your account is active")
	if got := logIn.value(s, "username"); got != username {
		t.Errorf("log-in is filled in with %q", got)
	}
	c.get("/account").leadsTo(s, "/login") // activation logs nobody in

	c.logIn("BOB'SBUILDING", password).leadsTo(s, "/account")
	c.get("/account").is(s, 200, "Bob's Building", accountNumber, "INV-"+code, "$1,234.50", "November 20, 2026")
	c.get("/account")
	c.get("/login").leadsTo(s, "/account")
	for fact, want := range map[string]int{"activation-opened": 1, "activated": 1, "signed-in": 1, "invoice-viewed": 1} {
		if got := s.facts(fact); got != want {
			t.Errorf("%d facts %s, want %d", got, fact, want)
		}
	}
}

func TestLookingAtALinkChangesNothing(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	c.signUp()
	link := s.link(address)
	for range 3 {
		c.ask("HEAD", link, "", nil).is(s, 200)
		c.ask("OPTIONS", link, "", nil).is(s, 204)
	}
	if n := s.facts("activation-opened"); n != 0 {
		t.Errorf("HEAD left %d facts", n)
	}
	s.customer().ask("GET", link, "", map[string]string{"User-Agent": "Mozilla/5.0 (compatible; MailScanner)"}).is(s, 200)
	if !strings.Contains(storetest.One[string](s, s.db, `SELECT string_agg(body, '') FROM outbox WHERE subject LIKE '%activation-opened'`), `"automationSuspected":true`) {
		t.Error("a scanner's visit is not labelled")
	}
	c.activate(link, password).leadsTo(s, "/login")
}

func TestARejectedPasswordKeepsTheLink(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	c.signUp()
	link := s.link(address)
	for name, try := range map[string]struct {
		password, confirmation, says string
	}{
		"none":                   {"", "", "Enter the password."},
		"a short one":            {"only 14 chars.", "only 14 chars.", "at least 15 characters"},
		"a long one":             {strings.Repeat("x ö", 43), strings.Repeat("x ö", 43), "at most 128 characters"},
		"a common one":           {"password1234567", "password1234567", "lists that burglars try"},
		"one of known words":     {"bobsbuilding100482-7", "bobsbuilding100482-7", "made of your username"},
		"one that is mistyped":   {password, password + "s", "The two passwords differ"},
		"one that is typed once": {password, "", "The two passwords differ"},
	} {
		t.Run(name, func(t *testing.T) {
			p := c.post(link, url.Values{"password": {try.password}, "password_confirmation": {try.confirmation}})
			p.is(s, 422)
			if !strings.Contains(p.problems(s), try.says) {
				t.Errorf("says %q", p.problems(s))
			}
			if len(try.password) > 10 && strings.Contains(string(p.body), try.password) {
				t.Error("page repeats the password")
			}
		})
	}
	c.activate(link, password).leadsTo(s, "/login")
}

func TestAPasswordIsTheSameFromEveryKeyboard(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	c.signUp()
	composed, decomposed := "caf\u00e9 staple bruise kettle", "cafe\u0301 staple bruise kettle"
	c.post(s.link(address), url.Values{"password": {composed}, "password_confirmation": {decomposed}}).leadsTo(s, "/login")
	c.logIn(username, decomposed).leadsTo(s, "/account")
	s.customer().logIn(username, composed).leadsTo(s, "/account")
}

func TestDeadLinks(t *testing.T) {
	for name, tell := range map[string]func(*scene, *customer) (path string, status int, says []string){
		"used": func(s *scene, c *customer) (string, int, []string) {
			link := s.link(address)
			c.activate(link, password)
			return link, 410, []string{"Your account is active already", "Log in"}
		},
		"superseded": func(s *scene, c *customer) (string, int, []string) {
			link := s.link(address)
			c.post("/signup/email", url.Values{"email": {"ada@bob.example"}}).leadsTo(s, "/signup/check-email")
			return link, 410, []string{"There is a newer link", "the new address"}
		},
		"expired": func(s *scene, c *customer) (string, int, []string) {
			link := s.link(address)
			s.db.Pass(s, 8*24*time.Hour)
			return link, 410, []string{"This link has expired", "Send me a new e-mail"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			c := s.customer()
			c.signUp()
			path, status, says := tell(s, c)
			for _, p := range []page{c.get(path), c.activate(path, "correct staple bruise saucer"), s.customer().activate(path, "short")} {
				p.is(s, status, append(says, "(718) 942-9990", "611", "helpdesk@mongotel.com")...)
				checkStructure(t, p.body)
			}
		})
	}
}

func TestDamagedLinks(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	c.signUp()
	link := s.link(address)
	for name, path := range map[string]string{
		"cut off": link[:len(link)-4],
		"made up": link[:len(link)-20] + "AAAAAAAAAAAAAAAAAAAA",
		"empty":   "/activate/",
		"endless": "/activate/" + strings.Repeat("A", 10000),
		"deeper":  link + "/x",
	} {
		t.Run(name, func(t *testing.T) {
			for _, p := range []page{c.get(path), c.activate(path, password), c.post(path, url.Values{"renew": {"1"}})} {
				p.is(s, 404, "This link is damaged", "copy all of it", "(718) 942-9990")
				checkStructure(t, p.body)
			}
		})
	}
	c.activate(link+").", password).leadsTo(s, "/login") // the end of a sentence is no damage
}

func TestAnExpiredLinkIsRenewedByAPerson(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	c.signUp()
	link := s.link(address)
	s.db.Pass(t, 8*24*time.Hour)
	c.get(link).is(s, 410)
	if n := storetest.One[int](s, s.db, `SELECT count(*) FROM enrollments`); n != 1 {
		t.Fatalf("looking made %d enrollments", n)
	}
	another := s.customer()
	another.post(link, url.Values{"renew": {"1"}}).leadsTo(s, "/signup/check-email")
	another.get("/signup/check-email").is(s, 200, "a***@b***.example")
	var id enrollment.ID
	if err := s.db.DB.Get(&id, `SELECT id FROM enrollments WHERE state = 'registered'`); err != nil {
		t.Fatal(err)
	}
	fresh := "/activate/" + enrollment.Mint(s.db.Ring.LinkKeys()[0], storetest.Mongo, enrollment.Link{Enrollment: id, Generation: 1}, address).Reveal()
	another.activate(fresh, password).leadsTo(s, "/login")
}

func TestCheckEmail(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	c.get("/signup/check-email").is(s, 200, "Which sign-up is it?", "Sign up again")
	c.post("/signup/resend", nil).leadsTo(s, "/signup/check-email") // with nothing to send again

	c.signUp()
	tooSoon := c.post("/signup/resend", nil)
	tooSoon.is(s, 429, "You can ask for another one in")
	if tooSoon.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s.db.Pass(t, 2*time.Minute)
	c.post("/signup/resend", nil).leadsTo(s, "/signup/check-email")

	wrong := c.post("/signup/email", url.Values{"email": {"ada@localhost"}})
	wrong.is(s, 422, "no e-mail address that mail can reach")
	if got := wrong.value(s, "email"); got != "ada@localhost" {
		t.Errorf("address is %q afterwards", got)
	}
	for _, to := range []string{"a@one.example", "a@two.example", "a@three.example"} {
		c.post("/signup/email", url.Values{"email": {to}}).leadsTo(s, "/signup/check-email")
	}
	c.post("/signup/email", url.Values{"email": {"a@four.example"}}).is(s, 422, "corrected as often as possible")
	c.get("/signup/check-email").is(s, 200, "a***@t***.example", "corrected as often as possible")

	c.activate(s.link("a@three.example"), password).leadsTo(s, "/login")
	s.customer().get("/signup/check-email").is(s, 200, "Which sign-up is it?") // others see nothing of it
}

func TestAnotherBrowserFinishes(t *testing.T) {
	s := newScene(t)
	first, second := s.customer(), s.customer()
	first.signUp()
	second.activate(s.link(address), password).leadsTo(s, "/login")
	first.get("/signup/check-email").is(s, 200, "Your account is active", "Log in")
	first.post("/signup/resend", nil).leadsTo(s, "/signup/check-email")
	first.post("/signup/email", url.Values{"email": {"a@b.example"}}).leadsTo(s, "/signup/check-email")
}

func TestTwentyRegistrationsAreOneEnrollment(t *testing.T) {
	s := newScene(t)
	var pages [20]page
	atOnce(len(pages), func(i int) { pages[i] = s.customer().signUp("request_id", "request-0001") })
	for _, p := range pages {
		p.leadsTo(s, "/signup/check-email")
	}
	if n := storetest.One[int](s, s.db, `SELECT count(*) FROM enrollments`); n != 1 {
		t.Errorf("%d enrollments", n)
	}
	if n := storetest.One[int](s, s.db, `SELECT count(*) FROM outbox WHERE subject = 'mail.mongo.activation.requested'`); n != 1 {
		t.Errorf("%d mails", n)
	}
}

func TestTwentyActivationsAreOnePassword(t *testing.T) {
	s := newScene(t)
	s.customer().signUp()
	link := s.link(address)
	passwords := make([]string, 20)
	statuses := make([]int, len(passwords))
	for i := range passwords {
		passwords[i] = password + strings.Repeat("!", i)
	}
	atOnce(len(passwords), func(i int) { statuses[i] = s.customer().activate(link, passwords[i]).StatusCode })
	won := -1
	for i, status := range statuses {
		switch {
		case status == http.StatusSeeOther && won < 0:
			won = i
		case status != http.StatusGone:
			t.Errorf("request %d got %d", i, status)
		}
	}
	if won < 0 {
		t.Fatal("nobody won")
	}
	s.customer().logIn(username, passwords[won]).leadsTo(s, "/account")
}

func atOnce(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}
