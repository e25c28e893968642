package funnel_test

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/consumers/funnel/simulation"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/producers/helpdesk"
	"github.com/mongotel/billcenter/schema/journey"
)

// memory holds what a store would, of a simulated population; fail is what it says instead.
type memory struct {
	told      map[journey.Unit][]journey.Recorded
	watermark *time.Time
	restated  []journey.Restatement
	fail      error
}

func (m *memory) JourneysSince(_ context.Context, revision int64, visit func(journey.Journey) error) (int64, error) {
	if m.fail != nil || revision > 0 || len(m.told) == 0 {
		return revision, m.fail
	}
	for u, recorded := range m.told {
		var told []journey.Told
		for _, r := range recorded {
			told = append(told, r.Told)
		}
		if err := visit(journey.Of(u, told)); err != nil {
			return 0, err
		}
	}
	return 1, nil
}

func (m *memory) FunnelState(context.Context) (*time.Time, []journey.Restatement, error) {
	return m.watermark, m.restated, m.fail
}

func (m *memory) FactsOf(_ context.Context, tenant, account string) ([]journey.Recorded, error) {
	return m.told[journey.Unit{Tenant: tenant, Account: account}], m.fail
}

// simulated is a store with a population of n, and the moment from which it is looked at.
func simulated(t testing.TB, n int) (*memory, time.Time) {
	t.Helper()
	h, err := simulation.Facts(1, n)
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{told: map[journey.Unit][]journey.Recorded{}}
	for _, r := range h.Facts {
		f, ok := events.FactOf(r.Message)
		if !ok {
			t.Fatalf("%T is no fact", r.Message)
		}
		opened, _ := r.Message.(events.ActivationOpened)
		u := journey.Unit{Tenant: r.Tenant, Account: f.AccountRef}
		m.told[u] = append(m.told[u], journey.Recorded{Name: r.Definition.Name, StreamSequence: r.Sequence, Told: journey.Told{
			ID: r.MsgID(), At: f.OccurredAt.UnixNano(), Sequence: f.Sequence, Enrollment: f.EnrollmentID,
			Kind: journey.KindOf(r.Definition.Name, opened.AutomationSuspected), Reason: journey.ReasonOf(f.Reason), Properties: journey.PropertiesOf(f.Properties),
		}})
	}
	watermark := h.AsOf.Add(-time.Minute)
	m.watermark = &watermark
	return m, h.AsOf
}

// office is the funnel's pages over a store, as the back office shows them to who looks from the same machine.
func office(m *memory) http.Handler {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	f := funnel.New(m, func(string) *time.Location { return time.UTC })
	pages := funnel.NewPages(f, funnel.PagesOptions{Layout: helpdesk.Layout(), Tenants: []string{"globex", simulation.Tenant}, Log: log})
	site, err := helpdesk.New(helpdesk.Options{Funnel: pages, Log: log, Link: "a-link-that-nobody-needs"})
	if err != nil {
		panic(err) // only of an identity provider, and there is none
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host, r.RemoteAddr = "localhost", "127.0.0.1:49152"
		site.ServeHTTP(w, r)
	})
}
