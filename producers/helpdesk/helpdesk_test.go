package helpdesk

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

func TestPages(t *testing.T) {
	db := storetest.New(t)
	emailed := events.InvoiceEmailed{
		AccountNumber: "100482-7", CompanyName: "Bob's <Building>", BillingEmail: "ap@bobsbuilding.example",
		EmailedAt: time.Now().Add(-time.Hour), RegistrationCode: "7F3K-9QWD-M2XA", Invoice: &events.Invoice{Number: "INV-1"},
	}
	encoded, err := events.Encode("mongo", events.Envelope{ID: "1", Source: "//mongo.billcenter.net/billing"}, emailed)
	if err != nil {
		t.Fatal(err)
	}
	event, err := events.Decode(encoded.Subject, encoded.Header, encoded.Body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.TakeBilling(t.Context(), []events.Received{{Event: event, Message: emailed, Sequence: 1}}); err != nil {
		t.Fatal(err)
	}
	var fail error
	letters := func(context.Context) ([]Letter, error) {
		return []Letter{{ID: 7, Reason: "not-json", Detail: "is not a JSON object", DeadAt: time.Now()}}, fail
	}
	funnel := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("broken") {
			panic("broken")
		}
		_, _ = io.WriteString(w, "the funnel's "+r.URL.Path)
	})
	office := httptest.NewServer(New(Options{Accounts: db.Store, Letters: letters, Tenants: []string{"mongo"}, Funnel: funnel, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}))
	defer office.Close()

	for _, c := range []struct {
		name, path, host string
		broken           error
		status           int
		says             string
	}{
		{name: "an account, in another spelling", path: "/?tenant=mongo&number=1004827", status: 200, says: "can-enroll"},
		{name: "its company, escaped", path: "/?tenant=mongo&number=1004827", status: 200, says: "Bob&#39;s &lt;Building&gt;"},
		{name: "its address, masked", path: "/?tenant=mongo&number=1004827", status: 200, says: "a***@"},
		{name: "an account that billing never named", path: "/?tenant=mongo&number=5", status: 404, says: "never named"},
		{name: "what can be no number", path: "/?tenant=mongo&number=%00", status: 422, says: "cannot be"},
		{name: "another tenant", path: "/?tenant=other&number=1004827", status: 404, says: "never named"},
		{name: "the dead letters", path: "/deadletters", status: 200, says: "is not a JSON object"},
		{name: "the broker is away", path: "/deadletters", broken: errors.New("away"), status: 503, says: "does not answer"},
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
		{name: "another host's name for this address", path: "/", host: "evil.example", status: 421, says: "own addresses"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fail = c.broken
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, office.URL+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = c.host
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != c.status || !strings.Contains(string(body), c.says) {
				t.Errorf("%d, want %d and %q in:\n%s", answer.StatusCode, c.status, c.says, body)
			}
			if c.host == "" && answer.Header.Get("Content-Security-Policy") == "" {
				t.Error("is not guarded against scripts")
			}
			if !strings.HasPrefix(c.path, "/events") && (strings.Contains(string(body), "7F3K") || strings.Contains(string(body), "ap@bobsbuilding")) {
				t.Errorf("shows a code or an address:\n%s", body)
			}
		})
	}
}
