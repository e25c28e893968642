package portal

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSignUpRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*scene)
		fields []string
		field  string // the message is beside it
		says   string
		leads  []string
	}{
		"a wrong code": {nil, []string{"registration_code", "7F3K-9QWD-M2XB"}, "registration_code", "do not belong together", []string{"/help/code", "/login"}},
		"a used code": {
			func(s *scene) { s.enrolled() },
			nil, "registration_code", "has been used", []string{"/login", "/forgot-password", "/help/code"},
		},
		"a superseded code": {
			func(s *scene) {
				s.billingSends("NEWER-CODE-22", 20*24*time.Hour)
				s.db.Pass(s, 30*24*time.Hour)
				s.billingSends("NEWEST-CODE-3", 8*24*time.Hour)
			},
			[]string{"registration_code", "NEWER-CODE-22"}, "registration_code", "A newer one was e-mailed on", []string{"/help/code"},
		},
		"an expired code": {
			func(s *scene) { s.db.Pass(s, 50*24*time.Hour) },
			nil, "registration_code", "has expired", []string{"/help/code"},
		},
		"a username that is taken": {
			func(s *scene) { s.enrolled(); s.billingSends("SECOND-CODE-2", time.Minute) },
			[]string{"registration_code", "SECOND-CODE-2", "username", "bob'sbuilding"}, "username", "is taken. These are free:", []string{"/login"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			if c.before != nil {
				c.before(s)
			}
			p := s.customer().signUp(c.fields...)
			p.is(s, 422, c.says, "What you can do now", "(718) 942-9990", "611", "helpdesk@mongotel.com")
			checkStructure(t, p.body)
			if n := p.find(s, "id", c.field+"-error"); n == nil {
				t.Errorf("no message beside %s", c.field)
			}
			for _, link := range c.leads {
				if !strings.Contains(string(p.body), `<a href="`+link+`">`) {
					t.Errorf("leads not to %s", link)
				}
			}
			if got := p.value(s, "email"); got != address {
				t.Errorf("e-mail is %q afterwards", got)
			}
		})
	}
}

func TestFormErrorsAreToldAtOnceAndReachNoStore(t *testing.T) {
	s := newFront(t)
	c := s.customer()
	for name, f := range map[string]struct{ field, value, says string }{
		"no account number":               {"account_number", "", "Enter the account number."},
		"an account number of blanks":     {"account_number", "   ", "Enter the account number."},
		"an account number too long":      {"account_number", strings.Repeat("1", 65), "at most 64 characters"},
		"full-width digits":               {"account_number", "１００４８２", "has a character that cannot be part of it"},
		"no code":                         {"registration_code", "", "Enter the registration code."},
		"a code too short":                {"registration_code", "7f3", "at least 4 characters"},
		"a line break in the code":        {"registration_code", code + "\r\n", "has a character that cannot be part of it"},
		"no e-mail":                       {"email", "", "Enter the e-mail address."},
		"an e-mail with a name":           {"email", "Ada <ada@bob.example>", "no e-mail address"},
		"an e-mail with a comment":        {"email", "ada@bob.example (Ada)", "no e-mail address"},
		"a quoted e-mail":                 {"email", `"ada@x"@bob.example`, "no e-mail address"},
		"an e-mail to a number":           {"email", "ada@[127.0.0.1]", "no e-mail address"},
		"an e-mail with a second line":    {"email", "ada@bob.example\r\nBcc: eve@evil.example", "has a character that cannot be part of it"},
		"a route":                         {"email", "ada%evil.example@bob.example", "no e-mail address"},
		"a look-alike letter":             {"email", "mıke@bob.example", "no e-mail address"},
		"no username":                     {"username", "", "Enter the username."},
		"a username too short":            {"username", "ab", "at least 3 characters"},
		"a username with a space":         {"username", "Bobs Building", "has no spaces. How about BobsBuilding"},
		"a username of two alphabets":     {"username", "аda_admin", "mixes letters"},
		"a username with a hidden letter": {"username", "ada\u202enimda", "has a character that cannot be part of it"},
	} {
		t.Run(name, func(t *testing.T) {
			p := c.signUp(f.field, f.value)
			p.is(s, 422)
			checkStructure(t, p.body)
			beside := p.find(s, "id", f.field+"-error")
			if beside == nil || !strings.Contains(text(beside), f.says) {
				t.Errorf("beside %s: no %q in %q", f.field, f.says, p.problems(s))
			}
		})
	}
	all := c.post("/signup", nil)
	all.is(s, 422, "Enter the account number.", "Enter the registration code.", "Enter the e-mail address.", "Enter the username.")
	c.post("/login", nil).is(s, 422, "Enter the username.", "Enter the password.")
}

// TestNobodyLearnsWhichAccountsExist compares whole answers, byte for byte.
func TestNobodyLearnsWhichAccountsExist(t *testing.T) {
	s := newScene(t)
	plain := func(p page, typed ...string) string {
		p.Header.Del("Date")
		body := p.body
		for _, value := range typed {
			body = bytes.ReplaceAll(body, []byte(value), bytes.Repeat([]byte("x"), len(value)))
		}
		return p.Status + "\n" + cmp.Diff(http.Header{}, p.Header) + "\n" + string(body)
	}
	unknown := s.customer().signUp("account_number", "999999-9", "request_id", "request-0001")
	wrong := s.customer().signUp("registration_code", "7F3K-9QWD-M2XB", "request_id", "request-0001")
	unknown.is(s, 422)
	for _, field := range []string{"account_number", "registration_code"} {
		if unknown.find(s, "id", field+"-error") == nil {
			t.Errorf("no message beside %s", field)
		}
	}
	typed := []string{accountNumber, "999999-9", code, "7F3K-9QWD-M2XB"}
	if diff := cmp.Diff(plain(unknown, typed...), plain(wrong, typed...)); diff != "" {
		t.Errorf("unknown account and wrong code differ:\n%s", diff)
	}

	s.enrolled()
	nobody := s.customer().logIn("nobodys.name", password)
	notTheirs := s.customer().logIn("bob'sbuildin", password)
	wrongPassword := s.customer().logIn("bob'sbuilding", password+"!")
	if nobody.StatusCode != 422 || wrongPassword.StatusCode != 422 {
		t.Errorf("log-in: statuses %d, %d", nobody.StatusCode, wrongPassword.StatusCode)
	}
	if a, b := nobody.problems(s), wrongPassword.problems(s); a != b {
		t.Errorf("unknown username: %q\nwrong password: %q", a, b)
	}
	if a, b := nobody.problems(s), notTheirs.problems(s); a != b {
		t.Errorf("two unknown usernames: %q, %q", a, b)
	}
}

func TestARefusedFormIsTheSameRequest(t *testing.T) {
	s := newFront(t)
	c := s.customer()
	fresh := c.get("/signup").value(s, "request_id")
	if fresh == "" || fresh == c.get("/signup").value(s, "request_id") {
		t.Errorf("two forms with the id %q", fresh)
	}
	if got := c.signUp("request_id", fresh, "email", "x").value(s, "request_id"); got != fresh {
		t.Errorf("form %q came back as %q", fresh, got)
	}
	if got := c.signUp("request_id", `"><script>`, "email", "x").value(s, "request_id"); got != "" {
		t.Errorf("an id that is not ours came back as %q", got)
	}
}

func TestTooManyTries(t *testing.T) {
	s := newScene(t)
	s.enrolled()
	s.billingSends("SECOND-CODE-2", time.Minute)
	for name, c := range map[string]struct{ wrong, right func(*customer) page }{
		"codes": {
			func(c *customer) page { return c.signUp("registration_code", "AAAA-BBBB-CCCC") },
			func(c *customer) page {
				return c.signUp("registration_code", "SECOND-CODE-2", "username", "bob.second")
			},
		},
		"passwords": {
			func(c *customer) page { return c.logIn(username, "wrong") },
			func(c *customer) page { return c.logIn(username, password) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			browser := s.customer()
			for range 5 {
				c.wrong(browser).is(s, 422)
			}
			for _, stopped := range []page{c.wrong(browser), c.right(browser)} { // who is right waits as well
				stopped.is(s, 429, "Try again in", "seconds", "Nothing is locked", "(718) 942-9990")
				checkStructure(t, stopped.body)
				if seconds, err := strconv.Atoi(stopped.Header.Get("Retry-After")); err != nil || seconds < 1 || seconds > 30 {
					t.Errorf("Retry-After: %q", stopped.Header.Get("Retry-After"))
				}
			}
			s.db.Pass(t, 31*time.Second)
			if p := c.right(browser); p.StatusCode != http.StatusSeeOther {
				t.Errorf("after the wait: %d %s", p.StatusCode, p.problems(s))
			}
		})
	}
}

func TestALookAlikeUsernameIsTaken(t *testing.T) {
	s := newScene(t)
	s.enrolled()
	s.billingSends("SECOND-CODE-2", time.Minute)
	c := s.customer()
	p := c.signUp("registration_code", "SECOND-CODE-2", "username", "B0b'sBui1ding")
	p.is(s, 422, "That username is taken. These are free:")
	checkStructure(t, p.body)
	if p.value(s, "registration_code") != "SECOND-CODE-2" || p.value(s, "username") != "B0b'sBui1ding" {
		t.Error("what was typed is not kept")
	}
	c.signUp("registration_code", "SECOND-CODE-2", "username", "Building-of-Bob").leadsTo(s, "/signup/check-email")
	s.customer().logIn("B0b'sBui1ding", password).is(s, 422, "do not belong together") // the log-in asks for the very name
}
