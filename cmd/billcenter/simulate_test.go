package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/consumers/funnel/simulation"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// Sixty customers, of every fate that the pages can lead to, and the report says what became of each.
func TestTheFunnelSaysTheTruthAboutSimulatedCustomers(t *testing.T) {
	if testing.Short() {
		t.Skip("plays sixty customers on the real pages; left out with -short")
	}
	t.Parallel()
	simulates(t, "1")
}

// simulates plays each seed's customers, in turn, on one machine.
func simulates(t *testing.T, seeds ...string) {
	up := start(t, "--no-demo")
	for _, seed := range seeds {
		out := up.command(t, 0, "simulate", "--customers", "60", "--seed", seed, "--hurry", "--check", "--json")
		r := decode[simulated](t, out)
		if r.Agrees == nil || !*r.Agrees || r.Steps[0].Entered != 60 || len(r.Found) != 0 {
			t.Fatalf("seed %s: %s", seed, out)
		}
		// The command that is printed says the same to whoever runs it, whatever other runs there were.
		report := decode[funnel.Report](t, up.command(t, 0, strings.Fields(strings.TrimPrefix(r.Command, "billcenter "))...))
		if diff := cmp.Diff(r.Steps, simulation.Of(report)); diff != "" {
			t.Errorf("seed %s: %s (-truth +report):\n%s", seed, r.Command, diff)
		}
	}
}

// The ways that take weeks, as facts of a foreign program: shuffled, each told twice, and a tenth of them after the others were
// counted.
func TestTheFunnelSaysTheTruthAboutFactsInAnyOrder(t *testing.T) {
	t.Parallel()
	tells(t, 1)
}

// tells tells the facts of so many populations, one after the other, to one machine.
func tells(t *testing.T, populations uint64) {
	up := start(t, "--no-demo")
	services := services{NatsURL: up.NATS, PortalURL: up.Portal}
	b, err := services.broker(t.Context(), "test", false, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	tell := func(facts []bus.Outgoing) {
		t.Helper()
		for some := range slices.Chunk(facts, 200) {
			if err := b.Publish(t.Context(), some...); err != nil {
				t.Fatal(err)
			}
		}
		if err := readUpToHere(t.Context(), b, bus.StreamEnrollment, bus.ConsumerFunnel); err != nil {
			t.Fatal(err)
		}
	}
	var customers []simulation.Customer
	for seed := range populations {
		h, err := simulation.Facts(seed, 300)
		if err != nil {
			t.Fatal(err)
		}
		customers = append(customers, h.Customers...)
		said := func() []simulation.Step {
			return simulation.Of(decode[funnel.Report](t, up.command(t, 0, "funnel", "--tenant", simulation.Tenant, "--as-of", h.AsOf.Format(time.RFC3339Nano), "--json")))
		}
		var onTime, late []bus.Outgoing
		r := rand.New(rand.NewPCG(seed, 0))
		for _, i := range r.Perm(len(h.Facts)) {
			e := h.Facts[i]
			encoded, err := events.Encode(e.Tenant, e.Envelope, e.Message)
			if err != nil {
				t.Fatal(err)
			}
			to := &onTime
			if i%10 == 0 {
				to = &late
			}
			for _, copy := range []string{"", "#again"} { // under another id for the broker, which drops what it knows
				*to = append(*to, bus.Outgoing{Subject: encoded.Subject, ID: encoded.MsgID + copy, Header: encoded.Header, Data: encoded.Body})
			}
		}
		for _, part := range [][]bus.Outgoing{onTime, late} {
			r.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
		}
		truth := simulation.Truth(customers, funnel.DefaultWindow, h.AsOf)
		tell(onTime)
		if cmp.Equal(truth, said()) {
			t.Error("a tenth of the facts makes no difference")
		}
		tell(late)
		if diff := cmp.Diff(truth, said()); diff != "" {
			t.Errorf("seed %d (-truth +report):\n%s", seed, diff)
		}
	}
}

func TestSettingsThatWouldMakeTheTruthUncertainAreRefused(t *testing.T) {
	empty := t.TempDir() // here, since a subtest's is named after its flags, and an error may name it
	for _, tc := range []struct{ flags, says string }{
		{"--customers 0", "--customers"},
		{"--customers 10001", "--customers"},
		{"--at-once 0", "--at-once"},
		{"--invited 239h", "--invited"},
		{"--invited 697h", "--invited"},
		{"--tenant nobody", "--tenant"},
		{"", "--nats-url"},
		{"--nats-url nats://127.0.0.1:1 --nats-creds /nowhere", "/nowhere"},
	} {
		t.Run(tc.flags, func(t *testing.T) {
			out, errs := &strings.Builder{}, &strings.Builder{}
			code := run(t.Context(), append([]string{"simulate", "--data-dir", empty}, strings.Fields(tc.flags)...), strings.NewReader(""), out, errs)
			if code == 0 || !strings.Contains(errs.String(), tc.says) || out.Len() > 0 {
				t.Errorf("exit %d: %s%s", code, out, errs)
			}
		})
	}
}

func TestARunsEntriesMeetNoOtherRunAndNoWholeSecond(t *testing.T) {
	whole := time.Date(2026, 11, 6, 12, 0, 0, 0, time.UTC)
	for _, customers := range []int{1, 60, mostCustomers} {
		for _, at := range []time.Duration{0, 1, time.Microsecond, 400 * time.Millisecond, 700 * time.Millisecond, time.Second - 1} {
			first := firstEntry(whole.Add(at), customers)
			last := first.Add(time.Duration(customers-1) * spacing)
			if first.Nanosecond() == 0 || first.Unix() != last.Unix() {
				t.Errorf("%d customers from %s: %s to %s", customers, at, first, last)
			}
			if late := first.Sub(whole.Add(at)); late < -time.Microsecond || late > time.Second/2+spacing {
				t.Errorf("%d customers from %s: begin %s later", customers, at, late)
			}
		}
	}
}

func TestNoTwoCustomersOfARunShareAnAddressOrAUsername(t *testing.T) {
	c := simulateCommand{Customers: mostCustomers, Seed: 1, Tenant: "mongo", Invited: 480 * time.Hour}
	all := c.cast(time.Now(), enrollment.Policy{CodeGrace: 7 * 24 * time.Hour})
	seen := map[string]bool{}
	for _, p := range all.players {
		for _, own := range []string{p.address.String(), p.username, p.account, p.email} {
			if seen[own] {
				t.Fatalf("%s is somebody else's, too", own)
			}
			seen[own] = true
		}
		if !p.address.IsLoopback() || p.address.Compare(netip.MustParseAddr("127.2.0.0")) < 0 {
			t.Fatalf("%s is no address for it", p.address)
		}
		if _, err := enrollment.ParseUsername(p.username); err != nil {
			t.Fatal(p.username, err)
		}
		if _, err := enrollment.ParseAddress(p.email); err != nil {
			t.Fatal(p.email, err)
		}
	}
	if err := all.query.Check(); err != nil {
		t.Error(err)
	}
}

func TestACodeIsSupersededOrGoodAsTheFateNeedsIt(t *testing.T) {
	now := time.Now()
	p := enrollment.Policy{CodeGrace: 7 * 24 * time.Hour, CodeLife: 45 * 24 * time.Hour}
	for _, invited := range []time.Duration{240 * time.Hour, 480 * time.Hour, 696 * time.Hour} {
		c := simulateCommand{Customers: 60, Seed: 1, Tenant: "mongo", Invited: invited}
		all := c.cast(now, p)
		mailings := map[string][]enrollment.Mailing{}
		for _, i := range all.invoices {
			mailings[i.AccountNumber] = append(mailings[i.AccountNumber], enrollment.Mailing{Code: i.RegistrationCode, EmailedAt: i.EmailedAt, ExpiresAt: *i.RegistrationCodeExpiresAt})
			if err := i.Validate(); err != nil {
				t.Fatal(err)
			}
		}
		for _, player := range all.players {
			for _, code := range player.codes {
				standing, _ := enrollment.StandingOf(mailings[player.account], func(m enrollment.Mailing) bool { return m.Code == code }, p)
				want := "<nil>"
				switch {
				case player.Fate == simulation.ExpiredCode:
					want = "code-expired"
				case player.Fate == simulation.SupersededCode && code == player.codes[0]:
					want = "code-superseded"
				}
				if got := fmt.Sprint(standing.Check(now, time.Time{}, p)); !strings.Contains(got, want) {
					t.Errorf("%s, invited %s ago: %s, want %s", player.Fate, invited, got, want)
				}
			}
		}
	}
}

func TestTheBrowserFillsInTheFormOfThePage(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			if r.FormValue("request_id") != "abc" || r.FormValue("email") != "a@b.example" || r.Header.Get("Origin") == "" {
				t.Errorf("%s was sent %v", r.URL.Path, r.Form)
			}
			http.Redirect(w, r, "/next?x=1", http.StatusSeeOther)
			return
		}
		fmt.Fprint(w, `<form action="/other"><input name=no></form><form method=post action="/there"><input type=hidden name=request_id value=abc><input name=email></form>`)
	}))
	defer site.Close()
	b := newBrowser(site.URL, "", netip.MustParseAddr("127.0.0.1"), personsAgent)
	defer b.close()

	s, err := b.send(t.Context(), "/page", "/there", map[string]string{"email": "a@b.example"})
	if err := led("/next", s, err); err != nil {
		t.Error(err)
	}
	if _, err := b.send(t.Context(), "/page", "/there", map[string]string{"username": "x"}); err == nil {
		t.Error("filled in a field that the form does not have")
	}
	if _, err := b.send(t.Context(), "/page", "/nowhere", nil); err == nil {
		t.Error("sent a form that the page does not have")
	}
	if err := led("/login", s, nil); err == nil {
		t.Error("took another page for the log-in")
	}
}

func TestTheMailboxGivesTheNewestLinkOfAnAddress(t *testing.T) {
	asked := 0
	inbox := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		older := `{"to":["a@b.example"],"text":"Go to http://x.example/activate/OLD now"}`
		newer := `{"to":["a@b.example"],"text":"Go to http://x.example:8080/activate/NEW\nnow"}`
		notice := `{"to":["a@b.example"],"text":"Somebody enrolled"}`
		if asked == 1 {
			fmt.Fprintf(w, "[%s,%s]", notice, older)
			return
		}
		fmt.Fprintf(w, "[%s,%s,%s]", newer, notice, older)
	}))
	defer inbox.Close()
	m := &mailbox{inbox: inbox.URL + "/"}
	for _, step := range []struct {
		n    int
		want string
	}{{1, "/activate/OLD"}, {2, "/activate/NEW"}} {
		if got, err := m.link(t.Context(), "a@b.example", step.n); err != nil || got != step.want {
			t.Errorf("link after %d mails: %q, %v", step.n, got, err)
		}
	}
}
