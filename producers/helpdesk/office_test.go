package helpdesk

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/mongotel/billcenter/schema/store/storetest"
)

func TestPages(t *testing.T) {
	t.Parallel()
	d := open(t)
	for _, c := range []struct {
		name, path string
		broken     error
		status     int
		says       string
	}{
		{name: "the search", path: "/", status: 200, says: `name="q"`},
		{name: "an account in another spelling", path: "/?tenant=mongo&q=1004827", status: 303, says: "/accounts/mongo/100482-7"},
		{name: "the parameter of earlier links", path: "/?tenant=mongo&number=1004827", status: 303, says: "/accounts/mongo/100482-7"},
		{name: "an invoice", path: "/?q=INV-1", status: 303, says: "/accounts/mongo/100482-7"},
		{name: "an account that billing never named", path: "/?tenant=mongo&q=5", status: 404, says: "never named"},
		{name: "what is nothing", path: "/?tenant=mongo&q=%00", status: 404, says: "never named"},
		{name: "another tenant", path: "/?tenant=other&q=1004827", status: 404, says: "never named"},
		{name: "an account", path: "/accounts/mongo/100482-7", status: 200, says: "can-enroll"},
		{name: "its company, escaped", path: "/accounts/mongo/100482-7", status: 200, says: "Bob&#39;s &lt;Building&gt;"},
		{name: "its address, masked", path: "/accounts/mongo/100482-7", status: 200, says: "a***@"},
		{name: "what may be said before", path: "/accounts/mongo/100482-7", status: 200, says: "You may say only:"},
		{name: "no account", path: "/accounts/mongo/5", status: 404, says: "never named"},
		{name: "what can be no number", path: "/accounts/mongo/%00", status: 422, says: "not possible"},
		{name: "another tenant's account", path: "/accounts/other/100482-7", status: 404, says: "never named"},
		{name: "the dead letters", path: "/deadletters", status: 200, says: "is not a JSON object"},
		{name: "the dead letters of a reason", path: "/deadletters?reason=unknown-tenant", status: 200, says: "1 letter, unknown-tenant"},
		{name: "a dead letter", path: "/deadletters/7", status: 200, says: "is not configured"},
		{name: "no dead letter", path: "/deadletters/8", status: 404, says: "no such dead letter"},
		{name: "what is no number of one", path: "/deadletters/x", status: 404, says: "no such dead letter"},
		{name: "the broker is away", path: "/deadletters", broken: errors.New("away"), status: 503, says: "does not answer"},
		{name: "the mails", path: "/mails?state=failed", status: 200, says: "There are none"},
		{name: "the audit trail", path: "/audit", status: 200, says: "sign-in"},
		{name: "who one is", path: "/me", status: 200, says: "look customers up"},
		{name: "the events", path: "/events", status: 200, says: "billing.&lt;tenant&gt;.invoice.emailed"},
		{name: "one event, its fields and a sample", path: "/events/InvoiceEmailed", status: 200, says: "invoice.amountDueMinor"},
		{name: "an event by its type", path: "/events/net.billcenter.enrollment.registered.v1", status: 200, says: "Registered"},
		{name: "an event that is none", path: "/events/Nope", status: 404, says: "no event of that name"},
		{name: "the AsyncAPI document", path: "/events/asyncapi.yaml", status: 200, says: "asyncapi: 3"},
		{name: "a schema", path: "/events/schemas/net.billcenter.invoice.emailed.v1.json", status: 200, says: "json-schema.org"},
		{name: "the style", path: "/office.css", status: 200, says: "font:"},
		{name: "the funnel", path: "/funnel", status: 200, says: "the funnel's /funnel"},
		{name: "a page that panics", path: "/funnel?broken", status: 500, says: "Internal"},
		{name: "the funnel's exports", path: "/funnel.csv", status: 200, says: "the funnel's /funnel.csv"},
		{name: "the funnel's journeys", path: "/funnel/journeys/mongo/ref", status: 200, says: "the funnel's /funnel/journeys/mongo/ref"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d.t, d.letters.fail = t, c.broken
			a := d.as(Supervisor, Operator).get(c.path)
			a.is(t, c.status, c.says)
			if a.header.Get("Content-Security-Policy") == "" {
				t.Error("is not guarded against scripts")
			}
		})
	}
}

// Every page and action by every role: what is not for a role is refused, and nothing happens.
func TestRoles(t *testing.T) {
	t.Parallel()
	d := open(t)
	id := d.registers("bob@bobsbuilding.example")
	reason := url.Values{"reason": {"the caller asked"}, "enrollment": {id.String()}, "email": {"right@bobsbuilding.example"}}
	for _, row := range []struct {
		method, path string
		to           []Role
	}{
		{"GET", "/", Roles[:]},
		{"GET", "/me", Roles[:]},
		{"GET", "/?q=100482-7", []Role{Agent, Supervisor}},
		{"GET", "/accounts/mongo/100482-7", []Role{Agent, Supervisor}},
		{"POST", "/accounts/mongo/100482-7/send-again", []Role{Agent, Supervisor}},
		{"POST", "/accounts/mongo/100482-7/correct-address", []Role{Agent, Supervisor}},
		{"POST", "/accounts/mongo/100482-7/unlock", []Role{Agent, Supervisor}},
		{"POST", "/accounts/mongo/100482-7/retire-code", []Role{Agent, Supervisor}},
		{"POST", "/accounts/mongo/100482-7/sign-out-everywhere", []Role{Agent, Supervisor}},
		{"POST", "/accounts/mongo/100482-7/cancel", []Role{Agent, Supervisor}},
		{"POST", "/accounts/mongo/100482-7/verify-caller", []Role{Agent, Supervisor}},
		{"POST", "/accounts/mongo/100482-7/view-as", []Role{Agent, Supervisor}},
		{"GET", "/account", []Role{Agent, Supervisor}},
		{"GET", "/account/invoices", []Role{Agent, Supervisor}},
		{"POST", "/account/security", []Role{Agent, Supervisor}},
		{"GET", "/brand.css", []Role{Agent, Supervisor}},
		{"POST", "/view/leave", []Role{Agent, Supervisor}},
		{"GET", "/mails", []Role{Agent, Supervisor, Operator}},
		{"GET", "/audit", []Role{Supervisor}},
		{"GET", "/deadletters", []Role{Supervisor, Analyst, Operator}},
		{"GET", "/deadletters/7", []Role{Supervisor, Analyst, Operator}},
		{"POST", "/deadletters/7/replay", []Role{Operator}},
		{"POST", "/deadletters/7/drop", []Role{Operator}},
		{"POST", "/deadletters/replay", []Role{Operator}},
		{"GET", "/funnel", []Role{Supervisor, Analyst, Operator}},
		{"GET", "/funnel.json", []Role{Supervisor, Analyst, Operator}},
		{"GET", "/funnel/journeys", []Role{Supervisor, Analyst, Operator}},
		{"GET", "/events", Roles[:]},
		{"GET", "/events/Registered", Roles[:]},
		{"GET", "/events/asyncapi.yaml", Roles[:]},
	} {
		for _, role := range Roles {
			b := d.as(role)
			before := storetest.One[int](t, d.Database, `SELECT count(*) FROM audit WHERE action <> 'sign-in'`)
			var a answer
			if row.method == "GET" {
				a = b.get(row.path)
			} else {
				a = b.post(row.path, reason)
			}
			after := storetest.One[int](t, d.Database, `SELECT count(*) FROM audit WHERE action <> 'sign-in'`)
			if want := slices.Contains(row.to, role); (a.status != http.StatusForbidden) != want || !want && after != before {
				t.Errorf("%s %s as %s: %d, allowed should be %v; %d deeds", row.method, row.path, role, a.status, want, after-before)
			}
		}
	}
	d.as().get("/events").is(t, http.StatusForbidden, "one has to be")
}

func TestAVisitorOnThisMachineSeesNobodysData(t *testing.T) {
	d := open(t)
	b := d.browser()
	for path, status := range map[string]int{
		"/": 200, "/events": 200, "/funnel": 200, "/deadletters": 200, "/me": 200,
		"/?q=100482-7": 403, "/accounts/mongo/100482-7": 403, "/mails": 403, "/audit": 403,
	} {
		b.get(path).is(t, status, "")
	}
	b.post("/deadletters/7/drop", url.Values{"reason": {"just because"}}).is(t, 403, "billcenter up")
	if len(d.letters.letters) != 2 {
		t.Error("a letter is gone")
	}
}

// Whose connection comes from elsewhere is nobody, whatever host they name.
func TestAVisitorFromElsewhereSeesNothing(t *testing.T) {
	office, err := New(Options{Link: linkToken, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for from, status := range map[string]int{"192.0.2.1:5000": 401, "[2001:db8::1]:5000": 401, "127.0.0.1:5000": 200, "[::1]:5000": 200} {
		r := httptest.NewRequest(http.MethodGet, "http://localhost:8090/events", nil)
		r.RemoteAddr = from
		r.Header.Set("X-Forwarded-For", "127.0.0.1")
		w := httptest.NewRecorder()
		office.ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("%s: %d, want %d", from, w.Code, status)
		}
	}
}

func TestTheLinkWorksOnce(t *testing.T) {
	d := open(t)
	b := d.browser()
	b.get("/enter/another").is(t, 404, "damaged")
	b.do(http.NewRequestWithContext(t.Context(), http.MethodHead, d.url+"/enter/"+linkToken, nil)).is(t, 204, "")
	if a := b.get("/enter/" + linkToken); a.status != 303 || a.to != "/" {
		t.Fatalf("%d to %q:\n%s", a.status, a.to, a.body)
	} else if c := a.header.Get("Set-Cookie"); !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Lax") {
		t.Errorf("the cookie is %q", c)
	}
	b.get("/accounts/mongo/100482-7").is(t, 200, "can-enroll")
	b.get("/enter/"+linkToken).is(t, 303, "/")
	d.browser().get("/enter/"+linkToken).is(t, 410, "was used")
	b.post("/logout", nil).is(t, 200, "signed out")
	b.get("/accounts/mongo/100482-7").is(t, 403, "one has to be")
	b.get("/enter/"+linkToken).is(t, 410, "was used")
	if strings.Contains(d.log.String(), linkToken) {
		t.Error("the link is logged")
	}
}

func TestOnlyOurOwnPagesAct(t *testing.T) {
	d := open(t)
	b := d.as(Agent)
	form := url.Values{"reason": {"the caller asked"}}
	for _, h := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Sec-Fetch-Site", ""}, {"Sec-Fetch-Site", "", "Origin", "https://evil.example"}, {"Sec-Fetch-Site", "", "Origin", "null"},
	} {
		b.post("/accounts/mongo/100482-7/unlock", form, h...).is(t, 403, "Nothing was done")
	}
	b.post("/accounts/mongo/100482-7/unlock", url.Values{"reason": {"the caller asked", "twice"}}).is(t, 400, "twice")
	b.post("/accounts/mongo/100482-7/unlock", url.Values{"reason": {strings.Repeat("x", maxForm)}}).is(t, 413, "too large")
	if n := storetest.One[int](t, d.Database, `SELECT count(*) FROM audit WHERE action <> 'sign-in'`); n != 0 {
		t.Errorf("%d deeds", n)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.url+"/", nil)
	if err == nil {
		r.Host = "evil.example"
	}
	b.do(r, err).is(t, 421, "own addresses")
}

func TestWhatIsNoTextIsRefused(t *testing.T) {
	d := open(t)
	b := d.as(Agent, Supervisor)
	for _, no := range []string{"abcde\x00", "abcde\xff"} {
		b.post("/accounts/mongo/100482-7/sign-out-everywhere", url.Values{"username": {"bob"}, "reason": {no}}).is(t, 400, "not text")
		b.post("/accounts/mongo/100482-7/view-as", url.Values{"username": {no}, "reason": {"the caller asked"}}).is(t, 400, "not text")
		for _, path := range []string{"/?tenant=", "/?q=", "/mails?tenant=", "/mails?state=", "/audit?actor=", "/audit?deed=", "/accounts/mongo/", "/accounts/mongo%00/"} {
			if got := b.get(path + url.QueryEscape(no)); got.status >= 500 {
				t.Errorf("%s%q: %d", path, no, got.status)
			}
		}
	}
}

func TestAnAgentHelps(t *testing.T) {
	d := open(t)
	b := d.as(Agent)
	const page = "/accounts/mongo/100482-7"
	id := d.registers("bob@bobsbuilding.example").String()
	form := func(more ...string) url.Values {
		v := url.Values{"reason": {"the caller asked"}, "enrollment": {id}}
		for i := 0; i < len(more); i += 2 {
			v.Set(more[i], more[i+1])
		}
		return v
	}
	b.get(page).is(t, 200, "Cancel the enrollment")
	b.post(page+"/send-again", form()).is(t, 422, "the next may be asked for in")
	b.post(page+"/correct-address", form("email", "nonsense")).is(t, 422, "not an e-mail address")
	b.post(page+"/correct-address", form("email", "right@bobsbuilding.example", "reason", " x ")).is(t, 422, "at least 5 characters")
	b.post(page+"/correct-address", form("email", "right@bobsbuilding.example")).is(t, 303, page+"?done=correct-address")
	b.get(page+"?done=correct-address").is(t, 200, "r***@b***.example")
	b.post(page+"/unlock", form()).is(t, 303, page+"?done=unlock-none")
	b.post(page+"/retire-code", form()).is(t, 303, page+"?done=retire-code")
	b.post(page+"/retire-code", form()).is(t, 303, page+"?done=retire-code-only")
	b.post(page+"/cancel", form("enrollment", "not one")).is(t, 404, "never named")
	b.post(page+"/cancel", form()).is(t, 303, page+"?done=cancel")
	b.post(page+"/cancel", form()).is(t, 422, "is over")
	b.post(page+"/sign-out-everywhere", form("username", "nobody")).is(t, 404, "never named")
	b.post(page+"/explode", form()).is(t, 404, "never named")
	b.get(page).is(t, 200, "staff: cancel")
	d.as(Supervisor).get("/audit?deed=cancel").is(t, 200, "the caller asked")
	d.DB.MustExec(`UPDATE staff_sessions SET idle_until = now()`)
	b.get(page).is(t, 403, "one has to be")
}

func TestAnOperatorWorksOnDeadLetters(t *testing.T) {
	d := open(t)
	b := d.as(Operator)
	because := url.Values{"reason": {"the tenant exists now"}}
	b.get("/deadletters").is(t, 200, "not-json")
	b.post("/deadletters/7/replay", nil).is(t, 422, "at least 5 characters")
	b.post("/deadletters/replay", url.Values{"letters": {"not-json"}}).is(t, 422, "at least 5 characters")
	b.post("/deadletters/7/replay", because).is(t, 303, "/deadletters?replayed=1")
	b.post("/deadletters/7/replay", because).is(t, 404, "no longer")
	d.letters.letters = append(d.letters.letters, Letter{ID: 3, Reason: "not-json", Consumer: "codes"}, Letter{ID: 2, Reason: "other", Consumer: "codes"})
	b.post("/deadletters/replay", url.Values{"letters": {"not-json"}, "reason": {"the publisher was mended"}}).is(t, 303, "/deadletters?replayed=2&failed=0")
	b.post("/deadletters/2/drop", url.Values{"reason": {"a test message"}}).is(t, 303, "/deadletters?dropped")
	if !slices.Equal(d.letters.replayed, []uint64{7, 3, 9}) || !slices.Equal(d.letters.dropped, []uint64{2}) {
		t.Errorf("replayed %v, dropped %v", d.letters.replayed, d.letters.dropped)
	}
	trail, err := d.Audit(t.Context(), "idp#grace", "", 10)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range trail {
		lines = append(lines, string(e.Deed)+" "+e.Subject+": "+e.Reason)
	}
	want := []string{
		"drop-dead-letter dead letter 2 of codes: a test message", "replay-dead-letter dead letter 9 of codes: the publisher was mended",
		"replay-dead-letter dead letter 3 of codes: the publisher was mended", "replay-dead-letter dead letter 7 of codes: the tenant exists now", "sign-in idp#grace: ",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("the trail is\n%s", strings.Join(lines, "\n"))
	}
}
