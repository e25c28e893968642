package portal

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
	"github.com/mongotel/billcenter/schema/tenants"
)

func oneTenant(t testing.TB) *tenants.Directory {
	t.Helper()
	d, err := tenants.Mongotel("http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mongo(t testing.TB) *tenants.Tenant {
	t.Helper()
	tenant, ok := oneTenant(t).ByHost("localhost")
	if !ok {
		t.Fatal("nobody on localhost")
	}
	return tenant
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestMain(m *testing.M) {
	hashMemory = 64
	storetest.Main(m)
}

// What billing e-mailed before a story begins, and what the customer makes of it.
const (
	accountNumber = "100482-7"
	code          = "7F3K-9QWD-M2XA"
	address       = "ada@bobsbuilding.example"
	username      = "Bob’sBuilding"
	password      = "correct staple bruise kettle"
)

// scene is a portal that is served, on a database of its own.
type scene struct {
	*testing.T
	db  *storetest.Database
	web *httptest.Server
}

func newScene(t *testing.T) *scene {
	db := storetest.New(t)
	s := &scene{T: t, db: db}
	s.serve(Options{Store: db, Tenants: oneTenant(t), Keys: db.Ring, Log: discard()})
	s.billingSends(code, time.Hour)
	return s
}

// newFront is a portal without a store: what asks for it gets a 503.
func newFront(t *testing.T) *scene {
	s := &scene{T: t}
	s.serve(Options{Tenants: oneTenant(t), Keys: storetest.Ring(t), Log: discard()})
	return s
}

func (s *scene) serve(o Options) {
	site := New(o)
	site.(*portal).passwords.patience = time.Minute // a test's machine may be slow
	s.web = httptest.NewServer(site)
	s.Cleanup(s.web.Close)
}

// billingSends has billing e-mail an invoice with a code, ago before now.
func (s *scene) billingSends(code string, ago time.Duration) {
	s.Helper()
	amount := int64(123450)
	emailed := time.Now().Add(-ago).UTC()
	m := events.InvoiceEmailed{
		AccountNumber: accountNumber, CompanyName: "Bob's Building", BillingEmail: "ap@bobsbuilding.example",
		EmailedAt: emailed, RegistrationCode: code,
		Invoice: &events.Invoice{
			Number: "INV-" + code, IssuedOn: "2026-11-20", DueOn: "2026-12-20", Currency: "USD",
			AmountDueMinor: &amount, DocumentURL: "https://billing.example/inv/1",
		},
	}
	encoded, err := events.Encode(storetest.Mongo, events.Envelope{ID: code, Source: events.Source(storetest.Mongo, "billing"), Time: emailed}, m)
	if err != nil {
		s.Fatal(err)
	}
	event, err := events.Decode(encoded.Subject, encoded.Header, encoded.Body)
	if err != nil {
		s.Fatal(err)
	}
	receipts, err := s.db.TakeBilling(s.Context(), []events.Received{{Event: event, Message: m, Sequence: 1}})
	if err != nil || receipts[0].Fault != nil {
		s.Fatalf("billing's event: %v, %v", receipts, err)
	}
}

// link returns the path of the activation link that was mailed to an address.
func (s *scene) link(to enrollment.Address) string {
	s.Helper()
	var l struct {
		Enrollment enrollment.ID `db:"enrollment"`
		Generation uint32        `db:"generation"`
	}
	if err := s.db.DB.Get(&l, `SELECT enrollment, generation FROM enrollment_addresses WHERE address = $1 ORDER BY generation DESC LIMIT 1`, to); err != nil {
		s.Fatalf("mail to the address: %v", err)
	}
	return "/activate/" + enrollment.Mint(s.db.Ring.LinkKeys()[0], storetest.Mongo, enrollment.Link(l), to).Reveal()
}

// facts counts what was announced of a type, as the end of its name.
func (s *scene) facts(name string) int {
	return storetest.One[int](s, s.db, `SELECT count(*) FROM outbox WHERE subject LIKE 'enrollment.mongo.' || $1`, name)
}

// customer is a browser: it keeps cookies, and shows redirects instead of following them.
type customer struct {
	*scene
	http http.Client
}

func (s *scene) customer() *customer {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.Fatal(err)
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &customer{s, http.Client{Jar: jar, CheckRedirect: stay}}
}

// page is an answer as the customer sees it.
type page struct {
	*http.Response
	body []byte
}

func (c *customer) ask(method, path, body string, header map[string]string) page {
	c.Helper()
	r, err := http.NewRequestWithContext(c.Context(), method, c.web.URL+path, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	r.Header.Set("Accept-Language", "en-US")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	for name, value := range header {
		r.Header.Set(name, value)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		c.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		c.Fatal(err)
	}
	return page{answer, text}
}

func (c *customer) get(path string) page {
	c.Helper()
	return c.ask("GET", path, "", nil)
}

// post sends a form as the portal's own page would.
func (c *customer) post(path string, fields url.Values) page {
	c.Helper()
	return c.ask("POST", path, fields.Encode(), map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "Origin": c.web.URL, "Sec-Fetch-Site": "same-origin",
	})
}

// signUp fills in the form with the billing e-mail at hand; pairs of name and value change it.
func (c *customer) signUp(changes ...string) page {
	c.Helper()
	fields := url.Values{"account_number": {accountNumber}, "registration_code": {code}, "email": {address}, "username": {username}}
	for i := 0; i < len(changes); i += 2 {
		fields.Set(changes[i], changes[i+1])
	}
	return c.post("/signup", fields)
}

func (c *customer) activate(path, password string) page {
	c.Helper()
	return c.post(path, url.Values{"password": {password}, "password_confirmation": {password}})
}

func (c *customer) logIn(username, password string) page {
	c.Helper()
	return c.post("/login", url.Values{"username": {username}, "password": {password}})
}

// enrolled is a customer with an account.
func (s *scene) enrolled() *customer {
	s.Helper()
	c := s.customer()
	c.signUp().leadsTo(s, "/signup/check-email")
	c.activate(s.link(address), password).leadsTo(s, "/login")
	return c
}

func (p page) leadsTo(s *scene, path string) {
	s.Helper()
	if p.StatusCode != http.StatusSeeOther || p.Header.Get("Location") != path {
		s.Fatalf("%d, Location %q; want 303 to %s\n%s", p.StatusCode, p.Header.Get("Location"), path, p.problems(s))
	}
}

// is fails unless the page has the status and says all of it.
func (p page) is(s *scene, status int, says ...string) {
	s.Helper()
	if p.StatusCode != status {
		s.Errorf("status %d, want %d\n%s", p.StatusCode, status, p.text(s))
		return
	}
	for _, words := range says {
		if !strings.Contains(p.text(s), words) {
			s.Errorf("page does not say %q:\n%s", words, p.text(s))
		}
	}
}

func (p page) document(s *scene) *html.Node {
	s.Helper()
	doc, err := html.Parse(bytes.NewReader(p.body))
	if err != nil {
		s.Fatal(err)
	}
	return doc
}

func (p page) text(s *scene) string { return text(p.document(s)) }

// problems is what the summary at the top says.
func (p page) problems(s *scene) string {
	if n := p.find(s, "id", "problem"); n != nil {
		return text(n)
	}
	return ""
}

func (p page) find(s *scene, key, value string) *html.Node {
	for n := range p.document(s).Descendants() {
		if n.Type == html.ElementNode && attribute(n, key) == value {
			return n
		}
	}
	return nil
}

// value is what a field is filled in with.
func (p page) value(s *scene, name string) string {
	if n := p.find(s, "name", name); n != nil {
		return attribute(n, "value")
	}
	return "(no such field)"
}
