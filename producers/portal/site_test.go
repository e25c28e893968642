package portal

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mongotel/billcenter/schema/store/storetest"
	"github.com/mongotel/billcenter/schema/tenants"
)

func TestHeaders(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	for name, p := range map[string]page{
		"a page": c.get("/signup"), "a redirect": c.signUp(), "a refusal": c.signUp("email", ""),
		"no page": c.get("/nowhere"), "a dead link": c.get("/activate/x"),
	} {
		for key, want := range map[string]string{
			"Content-Security-Policy":    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
			"Referrer-Policy":            "no-referrer",
			"Cache-Control":              "no-store",
			"X-Content-Type-Options":     "nosniff",
			"Cross-Origin-Opener-Policy": "same-origin",
			"Strict-Transport-Security":  "", // plain http
		} {
			if got := p.Header.Get(key); got != want {
				t.Errorf("%s: %s: %q, want %q", name, key, got, want)
			}
		}
	}
}

func TestUnknownHost(t *testing.T) {
	s := newFront(t)
	for _, host := range []string{"evil.example", "mongo.billcenter.net.evil.example", ""} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.web.URL+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		if host == "" {
			r.Host = "10.1.2.3"
		}
		r.Header.Set("X-Forwarded-Host", "localhost")
		p, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		p.Body.Close()
		if p.StatusCode != http.StatusMisdirectedRequest || !strings.HasPrefix(p.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %d %s", host, p.StatusCode, p.Header.Get("Content-Type"))
		}
	}
}

func TestMethods(t *testing.T) {
	s := newFront(t)
	c := s.customer()
	for _, w := range []struct{ method, path, allow string }{
		{"POST", "/", "GET, HEAD, OPTIONS"},
		{"PUT", "/signup", "GET, HEAD, OPTIONS, POST"},
		{"GET", "/logout", "OPTIONS, POST"},
		{"GET", "/signup/resend", "OPTIONS, POST"},
		{"TRACE", "/login", "GET, HEAD, OPTIONS, POST"},
	} {
		p := c.ask(w.method, w.path, "", map[string]string{"Origin": s.web.URL})
		p.is(s, 405)
		if got := p.Header.Get("Allow"); got != w.allow {
			t.Errorf("%s %s: Allow %q, want %q", w.method, w.path, got, w.allow)
		}
	}
	nowhere := c.get("/accounts")
	nowhere.is(s, 404, "There is no such page")
	checkStructure(t, nowhere.body)
}

func TestFormsFromElsewhere(t *testing.T) {
	s := newScene(t)
	fields := url.Values{"account_number": {accountNumber}, "registration_code": {code}, "email": {address}, "username": {username}}.Encode()
	for name, from := range map[string]map[string]string{
		"another site":                  {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
		"another site, an old browser":  {"Origin": "https://evil.example"},
		"another tenant":                {"Origin": "https://evil.billcenter.net", "Sec-Fetch-Site": "same-site"},
		"a sandbox":                     {"Origin": "null"},
		"a browser that says nonsense":  {"Sec-Fetch-Site": "moon"},
		"nowhere: not a browser at all": {},
	} {
		t.Run(name, func(t *testing.T) {
			from["Content-Type"] = "application/x-www-form-urlencoded"
			p := s.customer().ask("POST", "/signup", fields, from)
			p.is(s, 403, "Nothing was changed")
			checkStructure(t, p.body)
		})
	}
	if n := storetest.One[int](t, s.db, `SELECT count(*) FROM enrollments`); n != 0 {
		t.Errorf("%d enrollments", n)
	}
	for name, from := range map[string]map[string]string{
		"a browser of today":  {"Sec-Fetch-Site": "same-origin"},
		"a browser of before": {"Origin": s.web.URL},
	} {
		from["Content-Type"] = "application/x-www-form-urlencoded"
		if p := s.customer().ask("POST", "/signup", fields, from); p.StatusCode != http.StatusSeeOther {
			t.Errorf("%s: %d", name, p.StatusCode)
		}
	}
}

func TestUnreadableForms(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	c.signUp()
	for _, path := range []string{"/signup", "/signup/email", "/signup/resend", s.link(address), "/login"} {
		for _, b := range []struct {
			name, kind, body string
			status           int
		}{
			{"a field twice", "application/x-www-form-urlencoded", "email=a%40b.example&email=c%40d.example", 400},
			{"a broken escape", "application/x-www-form-urlencoded", "email=%zz", 400},
			{"JSON", "application/json", `{}`, 415},
			{"a long password", "application/x-www-form-urlencoded", "password=" + strings.Repeat("x", 1<<20), 413},
		} {
			t.Run(b.name+" to "+strings.SplitN(path, "/", 3)[1], func(t *testing.T) {
				p := c.ask("POST", path, b.body, map[string]string{"Content-Type": b.kind, "Origin": s.web.URL})
				p.is(s, b.status, "Nothing was changed")
				checkStructure(t, p.body)
			})
		}
	}
	// What stands in the address is no field.
	c.ask("POST", "/signup?account_number="+accountNumber+"&username=ada", "", map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "Origin": s.web.URL,
	}).is(s, 422, "Enter the account number.", "Enter the username.")
}

func TestAnOutageLosesNothing(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	c.signUp()
	link := s.link(address)
	enrolled := s.enrolledAs(c, link)
	s.db.DB.Close()

	signUp := s.customer().signUp()
	if signUp.value(s, "registration_code") != code || signUp.value(s, "username") != username {
		t.Error("the form was not kept")
	}
	for name, p := range map[string]page{
		"sign-up": signUp, "link": c.get(link), "activation": c.activate(link, password),
		"log-in": c.logIn(username, password), "account": enrolled.get("/account"), "log-out": enrolled.post("/logout", nil),
		"start page of somebody logged in": enrolled.get("/"),
	} {
		p.is(s, 503, "Nothing was lost", "(718) 942-9990")
		checkStructure(t, p.body)
		if p.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", name)
		}
		if cookies := p.Header.Values("Set-Cookie"); len(cookies) > 0 {
			t.Errorf("%s sets cookies", name)
		}
	}
	s.customer().get("/").is(s, 200) // and so for every page that needs no store
	s.customer().get("/signup").is(s, 200)
	s.customer().get("/login").is(s, 200)
	s.customer().get("/help/code").is(s, 200)
}

// enrolledAs activates the link and logs in.
func (s *scene) enrolledAs(c *customer, link string) *customer {
	s.Helper()
	c.activate(link, password).leadsTo(s, "/login")
	in := s.customer()
	in.logIn(username, password).leadsTo(s, "/account")
	return in
}

func TestTheLogTellsNoSecrets(t *testing.T) {
	var log bytes.Buffer
	s := newScene(t)
	s.serve(Options{Store: s.db, Tenants: oneTenant(t), Keys: s.db.Ring, Log: slog.New(slog.NewJSONHandler(&log, nil))})
	c := s.customer()
	c.signUp("registration_code", "wrong-code-here")
	c.signUp()
	link := s.link(address)
	c.get(link + "?email=" + address)
	s.enrolledAs(c, link).get("/account")
	s.db.DB.Close()
	c.get(link)
	c.signUp()
	s.web.Close() // no request writes any more

	told := log.String()
	for _, secret := range []string{code, "wrong-code-here", address, username, "Bob", password, strings.TrimPrefix(link, "/activate/")} {
		if strings.Contains(told, secret) {
			t.Errorf("the log tells %q", secret)
		}
	}
	for _, line := range []string{`"route":"/activate/{token...}"`, `"status":503`, `"level":"ERROR"`, `"duration":`, `"tenant":"mongo"`} {
		if !strings.Contains(told, line) {
			t.Errorf("the log has no %s", line)
		}
	}
}

func TestSessions(t *testing.T) {
	s := newScene(t)
	s.enrolled()
	account := func(c *customer) int { return c.get("/account").StatusCode }

	c := s.customer()
	planted := &http.Cookie{Name: "session", Value: "planted-by-somebody-else-0000000000000000000"}
	site, err := url.Parse(s.web.URL)
	if err != nil {
		t.Fatal(err)
	}
	c.http.Jar.SetCookies(site, []*http.Cookie{planted})
	in := c.logIn(username, password)
	in.leadsTo(s, "/account")
	first := sessionCookie(t, in)
	if first.Value == planted.Value || len(first.Value) < 43 {
		t.Error("the token is not a new one of 256 bits")
	}
	if !first.HttpOnly || first.SameSite != http.SameSiteLaxMode || first.Path != "/" || first.Domain != "" || first.Secure {
		t.Errorf("cookie: %s", first)
	}
	if n := storetest.One[int](t, s.db, `SELECT count(*) FROM sessions WHERE token_hash = $1`, first.Value); n != 0 {
		t.Error("the store has the token itself")
	}
	if account(c) != 200 {
		t.Error("not logged in")
	}

	again := sessionCookie(t, c.logIn(username, password))
	old := s.customer()
	old.http.Jar.SetCookies(site, []*http.Cookie{first})
	if again.Value == first.Value || account(old) == 200 {
		t.Error("the token from before the second log-in still works")
	}

	c.post("/logout", nil).leadsTo(s, "/login")
	stolen := s.customer()
	stolen.http.Jar.SetCookies(site, []*http.Cookie{again})
	if account(c) == 200 || account(stolen) == 200 {
		t.Error("logged out, but not for everybody who has the token")
	}

	c.logIn(username, password)
	s.db.Pass(t, 29*time.Minute)
	if account(c) != 200 {
		t.Error("29 minutes are too long")
	}
	s.db.Pass(t, 29*time.Minute)
	if account(c) != 200 {
		t.Error("a request does not keep a session")
	}
	s.db.Pass(t, 31*time.Minute)
	if account(c) == 200 {
		t.Error("31 minutes without a request")
	}
}

func TestCookiesOnHTTPS(t *testing.T) {
	s := newScene(t)
	s.enrolled()
	s.billingSends("SECOND-CODE-2", time.Minute)
	secured, err := tenants.Mongotel("https://localhost")
	if err != nil {
		t.Fatal(err)
	}
	s.serve(Options{Store: s.db, Tenants: secured, Keys: s.db.Ring, Log: discard()})
	for name, p := range map[string]page{
		"__Host-session":    s.customer().logIn(username, password),
		"__Host-enrollment": s.customer().signUp("registration_code", "SECOND-CODE-2", "username", "second"),
	} {
		found := false
		for _, cookie := range p.Cookies() {
			if cookie.Name == name {
				found = cookie.Secure && cookie.HttpOnly && cookie.Path == "/" && cookie.Domain == "" && cookie.SameSite == http.SameSiteLaxMode
			}
		}
		if !found {
			t.Errorf("no %s as it must be: %q", name, p.Header.Values("Set-Cookie"))
		}
		if !strings.HasPrefix(p.Header.Get("Strict-Transport-Security"), "max-age=63072000") {
			t.Errorf("Strict-Transport-Security %q", p.Header.Get("Strict-Transport-Security"))
		}
	}
}

func TestStyle(t *testing.T) {
	c := newFront(t).customer()
	for path, want := range map[string]string{
		"/brand.css":         "--brand: #0f4c81; --on-brand: #ffffff; --away: #000000;",
		"/brand.svg":         `fill="#0f4c81"`,
		"/assets/portal.css": "var(--brand)",
	} {
		if p := c.get(path); p.StatusCode != 200 || !strings.Contains(string(p.body), want) {
			t.Errorf("%s: %d without %s", path, p.StatusCode, want)
		}
	}
	if away("#101010") != "#ffffff" {
		t.Error("dark text wants a lighter ground")
	}
}

func TestASessionEndsAfterTwelveHours(t *testing.T) {
	s := newScene(t)
	s.enrolled()
	c := s.customer()
	c.logIn(username, password).leadsTo(s, "/account")
	life := storetest.One[float64](t, s.db, `SELECT extract(epoch FROM (convert_from(data, 'UTF8')::jsonb->>'deadline')::timestamptz - now()) FROM sessions`)
	if life < 11.9*3600 || life > 12*3600 {
		t.Errorf("a new session may live %.0f s", life)
	}
	// Eleven hours and 59 minutes later requests do not prolong it.
	if _, err := s.db.DB.Exec(`
		UPDATE sessions SET data = convert_to(jsonb_set(convert_from(data, 'UTF8')::jsonb, '{deadline}', to_jsonb(now() + interval '1 minute'))::text, 'UTF8')`); err != nil {
		t.Fatal(err)
	}
	c.get("/account").is(s, 200)
	if left := storetest.One[float64](t, s.db, `SELECT extract(epoch FROM expires_at - now()) FROM sessions`); left > 60 {
		t.Errorf("prolonged to %.0f s", left)
	}
}

func TestASessionIsOneTenants(t *testing.T) {
	s := newScene(t)
	s.enrolled()
	c := s.customer()
	c.logIn(username, password)
	if _, err := s.db.DB.Exec(`UPDATE sessions SET data = convert_to(jsonb_set(convert_from(data, 'UTF8')::jsonb, '{values,tenant}', '"other"')::text, 'UTF8')`); err != nil {
		t.Fatal(err)
	}
	c.get("/account").leadsTo(s, "/login")
}

func sessionCookie(t *testing.T, p page) *http.Cookie {
	t.Helper()
	for _, cookie := range p.Cookies() {
		if cookie.Name == "session" {
			return cookie
		}
	}
	t.Fatalf("no session: %d", p.StatusCode)
	return nil
}

func TestNotes(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	c.signUp()
	site, err := url.Parse(s.web.URL)
	if err != nil {
		t.Fatal(err)
	}
	var genuine *http.Cookie
	for _, cookie := range c.http.Jar.Cookies(site) {
		if cookie.Name == "enrollment" {
			genuine = cookie
		}
	}
	if genuine == nil {
		t.Fatal("no note of the enrollment")
	}
	for name, forged := range map[string]http.Cookie{
		"changed":         {Name: "enrollment", Value: "x" + genuine.Value},
		"unsigned":        {Name: "enrollment", Value: strings.SplitN(genuine.Value, ".", 2)[0]},
		"empty":           {Name: "enrollment"},
		"another purpose": {Name: "activated", Value: genuine.Value},
	} {
		t.Run(name, func(t *testing.T) {
			other := s.customer()
			other.http.Jar.SetCookies(site, []*http.Cookie{&forged})
			other.get("/signup/check-email").is(s, 200, "Which sign-up is it?")
			if strings.Contains(other.get("/login").text(s), "Your account is active") {
				t.Error("passed for another note")
			}
		})
	}
}
