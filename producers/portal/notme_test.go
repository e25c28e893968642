package portal

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

func TestWhoDidNotSignUpCancels(t *testing.T) {
	s := newScene(t)
	mallory, ada := s.customer(), s.customer()
	mallory.signUp().leadsTo(s, "/signup/check-email")
	link := s.link(address)

	// Looking changes nothing, whoever looks: mail scanners follow every link.
	for range 2 {
		ask := ada.get(link + "/not-me")
		ask.is(s, 200, "You did not sign up?", "a***@b***.example", "Bob's Building", "Nobody has access yet", "Cancel the sign-up", "(718) 942-9990")
		checkStructure(t, ask.body)
	}
	ada.ask("HEAD", link+"/not-me", "", nil).is(s, 200)
	if n := storetest.One[int](s, s.db, `SELECT count(*) FROM enrollment_moves`); n != 1 || s.facts("activation-opened") != 0 || s.facts("cancelled") != 0 {
		t.Errorf("looking moved something: %d moves, %d openings", n, s.facts("activation-opened"))
	}
	foreign := s.customer().ask("POST", link+"/not-me", "", map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"})
	foreign.is(s, 403, "Nothing was changed")
	s.customer().ask("POST", link+"/not-me", "", nil).is(s, 403)

	for range 2 { // the button may be pressed twice
		done := ada.post(link+"/not-me", nil)
		done.is(s, 200, "The sign-up is cancelled", "was not used up")
		checkStructure(t, done.body)
	}
	ada.get(link+"/not-me").is(s, 200, "The sign-up is cancelled")
	if n := s.facts("cancelled"); n != 1 {
		t.Errorf("%d facts", n)
	}
	for _, p := range []page{mallory.get(link), mallory.activate(link, password), mallory.post(link, url.Values{"renew": {"1"}})} {
		p.is(s, 410, "This sign-up was cancelled")
		if strings.Contains(string(p.body), "Send me a new e-mail") {
			t.Error("offers a mail that it would refuse")
		}
	}
	mallory.get("/signup/check-email").is(s, 200, "This sign-up has ended")
	s.customer().signUp("email", "bob@bobsbuilding.example").leadsTo(s, "/signup/check-email") // code and username are free
	s.customer().activate(s.link("bob@bobsbuilding.example"), password).leadsTo(s, "/login")
}

func TestWhereThereIsNothingToCancel(t *testing.T) {
	for name, tell := range map[string]func(*scene, *customer, string) (status int, says []string){
		"a password was chosen": func(s *scene, c *customer, link string) (int, []string) {
			c.activate(link, password)
			return 410, []string{"This sign-up is finished", "Set another password", "Then tell support"}
		},
		"the time is over": func(s *scene, c *customer, link string) (int, []string) {
			s.db.Pass(s, 8*24*time.Hour)
			return 410, []string{"This sign-up has ended", "nobody got access"}
		},
		"another address": func(s *scene, c *customer, link string) (int, []string) {
			c.post("/signup/email", url.Values{"email": {"ada@bob.example"}})
			return 410, []string{"This sign-up left your mailbox"}
		},
		"the account was closed": func(s *scene, c *customer, link string) (int, []string) {
			s.billing(events.AccountClosed{AccountNumber: accountNumber, ClosedAt: time.Now().Add(-time.Minute).UTC()})
			return 410, []string{"This sign-up has ended"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			c := s.customer()
			c.signUp()
			link := s.link(address)
			status, says := tell(s, c, link)
			before := storetest.One[string](s, s.db, `SELECT string_agg(state, ',') FROM enrollments`)
			for _, p := range []page{s.customer().get(link + "/not-me"), s.customer().post(link+"/not-me", nil)} {
				p.is(s, status, append(says, "(718) 942-9990", "helpdesk@mongotel.com")...)
				checkStructure(t, p.body)
			}
			if after := storetest.One[string](s, s.db, `SELECT string_agg(state, ',') FROM enrollments`); after != before {
				t.Errorf("was %s, is %s", before, after)
			}
		})
	}
	s := newScene(t)
	s.customer().signUp()
	damaged := s.link(address)
	for _, path := range []string{damaged[:len(damaged)-2] + "AA/not-me", damaged[:20] + "/not-me", damaged + "/not-me/x"} {
		for _, p := range []page{s.customer().get(path), s.customer().post(path, nil)} {
			p.is(s, http.StatusNotFound, "This link is damaged")
		}
	}
}

func TestASignUpDoesNotTellThatItsAddressHasALogIn(t *testing.T) {
	answer := func(to string) string {
		s := newScene(t)
		s.enrolled() // ada
		s.billingSends("SECOND-CODE-2", time.Minute)
		c := s.customer()
		p := c.signUp("registration_code", "SECOND-CODE-2", "username", "second", "email", to, "request_id", "request-0001")
		p.leadsTo(s, "/signup/check-email")
		asked := storetest.One[bool](s, s.db, `SELECT body LIKE '%"hasLogIn":true%' FROM outbox WHERE subject = 'mail.mongo.activation.requested' ORDER BY id DESC LIMIT 1`)
		if asked != (to == address) {
			t.Errorf("%s: the mail says that there is a log-in: %t", to, asked)
		}
		shown := c.get("/signup/check-email")
		shown.is(s, 200, "a***@b***.example")
		varies := regexp.MustCompile(`value="[0-9a-f-]{36}"|Possible in \d+ seconds`)
		return varies.ReplaceAllString(string(p.body)+string(shown.body), "")
	}
	if known, unknown := answer(address), answer("amy@bobsbuilding.example"); known != unknown {
		t.Errorf("the pages differ:\n%s\n---\n%s", known, unknown)
	}
}
