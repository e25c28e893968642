package helpdesk

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// pile is dead letters without a broker; cmd/billcenter tries them with one.
type pile struct {
	letters  []Letter
	replayed []uint64
	dropped  []uint64
	fail     error
}

func (p *pile) All(context.Context) ([]Letter, error) { return p.letters, p.fail }

func (p *pile) Letter(_ context.Context, id uint64) (Letter, error) {
	for _, l := range p.letters {
		if l.ID == id {
			return l, p.fail
		}
	}
	return Letter{}, ErrNoLetter
}

func (p *pile) take(id uint64, into *[]uint64) error {
	if p.fail != nil {
		return p.fail
	}
	p.letters = slices.DeleteFunc(p.letters, func(l Letter) bool { return l.ID == id })
	*into = append(*into, id)
	return nil
}

func (p *pile) Replay(_ context.Context, id uint64) error { return p.take(id, &p.replayed) }
func (p *pile) Drop(_ context.Context, id uint64) error   { return p.take(id, &p.dropped) }

// shown is the customer's pages, which cmd/billcenter tries for real.
type shown struct{}

func (shown) ShowAs(w http.ResponseWriter, r *http.Request, v enrollment.View) {
	fmt.Fprintf(w, "%s %s of %s in %s", r.Method, r.URL.Path, v.Username, v.Tenant)
}

// desk is a back office on a real database, with one account and two dead letters.
type desk struct {
	*storetest.Database
	t       *testing.T
	letters *pile
	log     *strings.Builder
	url     string
}

const linkToken = "THE-LINK"

func open(t *testing.T, change ...func(*Options)) *desk {
	t.Helper()
	d := &desk{Database: storetest.New(t), t: t, log: &strings.Builder{}, letters: &pile{letters: []Letter{
		{ID: 9, Consumer: "codes", Tenant: "_", Reason: "not-json", Detail: "is not a JSON object", DeadAt: time.Now()},
		{ID: 7, Consumer: "codes", Tenant: "mongo", Reason: "unknown-tenant", Detail: "is not configured", DeadAt: time.Now()},
	}}}
	d.bills(1, events.InvoiceEmailed{
		AccountNumber: "100482-7", CompanyName: "Bob's <Building>", BillingEmail: "ap@bobsbuilding.example",
		EmailedAt: time.Now().Add(-time.Hour), RegistrationCode: "7F3K-9QWD-M2XA", Invoice: &events.Invoice{Number: "INV-1"},
	})
	o := Options{Store: d.Store, Letters: d.letters, Customers: shown{}, Tenants: []string{"mongo"}, Link: linkToken, Log: slog.New(slog.NewTextHandler(d.log, nil)),
		Funnel: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("broken") {
				panic("broken")
			}
			_, _ = io.WriteString(w, "the funnel's "+r.URL.Path)
		})}
	server := httptest.NewUnstartedServer(nil)
	server.Start()
	t.Cleanup(server.Close)
	d.url = server.URL
	for _, c := range change {
		c(&o)
	}
	if o.OIDC != nil {
		o.OIDC.BaseURL, o.Link = d.url, ""
	}
	office, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = office
	return d
}

func (d *desk) bills(id int, m events.Message) {
	d.t.Helper()
	encoded, err := events.Encode("mongo", events.Envelope{ID: string(rune('0' + id)), Source: "//mongo.billcenter.net/billing"}, m)
	if err != nil {
		d.t.Fatal(err)
	}
	event, err := events.Decode(encoded.Subject, encoded.Header, encoded.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := d.TakeBilling(d.t.Context(), []events.Received{{Event: event, Message: m, Sequence: uint64(id)}}); err != nil {
		d.t.Fatal(err)
	}
}

// registers signs a customer up for the account.
func (d *desk) registers(email string) enrollment.ID {
	d.t.Helper()
	u, err := enrollment.ParseUsername("Bob’sBuilding")
	if err != nil {
		d.t.Fatal(err)
	}
	admitted, err := d.Register(d.t.Context(), enrollment.Application{
		Tenant: "mongo", AccountNumber: "100482-7", Code: "7F3K-9QWD-M2XA", Email: enrollment.Address(email), Username: u, RequestID: "r1",
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return admitted.Enrollment
}

// enrolls brings a customer of the account all the way.
func (d *desk) enrolls(email string) (username string) {
	d.t.Helper()
	id := d.registers(email)
	link, err := enrollment.ParseLink(enrollment.Mint(d.Ring.LinkKeys()[0], "mongo", enrollment.Link{Enrollment: id, Generation: 1}, enrollment.Address(email)).Reveal())
	if err != nil {
		d.t.Fatal(err)
	}
	if username, err = d.Activate(d.t.Context(), "mongo", link, "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"); err != nil {
		d.t.Fatal(err)
	}
	return username
}

// browser is one with cookies, which does not follow redirects.
type browser struct {
	*http.Client
	d *desk
}

func (d *desk) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return &browser{&http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, d}
}

// as is a browser in which somebody with those roles is signed in.
func (d *desk) as(roles ...Role) *browser {
	d.t.Helper()
	who := enrollment.Staff{Subject: "idp#grace", Name: "Grace", Roles: []string{}}
	for _, r := range roles {
		who.Roles = append(who.Roles, string(r))
	}
	token := "token of " + strings.Join(who.Roles, " ")
	token = strings.ReplaceAll(token, " ", "-")
	if err := d.OpenStaffSession(d.t.Context(), token, who, time.Hour, time.Hour); err != nil && !strings.Contains(err.Error(), "23505") {
		d.t.Fatal(err)
	}
	b := d.browser()
	at, err := url.Parse(d.url)
	if err != nil {
		d.t.Fatal(err)
	}
	b.Jar.SetCookies(at, []*http.Cookie{{Name: "staff", Value: token}})
	return b
}

type answer struct {
	status   int
	body, to string
	header   http.Header
}

func (b *browser) do(r *http.Request, err error) answer {
	b.d.t.Helper()
	if err != nil {
		b.d.t.Fatal(err)
	}
	got, err := b.Do(r)
	if err != nil {
		b.d.t.Fatal(err)
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		b.d.t.Fatal(err)
	}
	for _, secret := range []string{"7F3K", "ap@bobsbuilding", "bob@bobsbuilding", "right@bobsbuilding"} {
		if r.Method == http.MethodPost && strings.HasPrefix(secret, "right") { // a form that comes back holds what was typed
			continue
		}
		if strings.Contains(string(body), secret) && !strings.HasPrefix(r.URL.Path, "/events") {
			b.d.t.Errorf("%s shows %s", r.URL, secret)
		}
	}
	return answer{got.StatusCode, string(body), got.Header.Get("Location"), got.Header}
}

func (b *browser) get(path string) answer {
	b.d.t.Helper()
	return b.do(http.NewRequestWithContext(b.d.t.Context(), http.MethodGet, b.d.url+path, nil))
}

func (b *browser) post(path string, form url.Values, header ...string) answer {
	b.d.t.Helper()
	r, err := http.NewRequestWithContext(b.d.t.Context(), http.MethodPost, b.d.url+path, strings.NewReader(form.Encode()))
	if err == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Del(header[i])
			if header[i+1] != "" {
				r.Header.Set(header[i], header[i+1])
			}
		}
	}
	return b.do(r, err)
}

func (a answer) is(t *testing.T, status int, says string) {
	t.Helper()
	if a.status != status || !strings.Contains(a.body, says) && a.to != says {
		t.Errorf("%d to %q, want %d and %q in:\n%s", a.status, a.to, status, says, a.body)
	}
}
