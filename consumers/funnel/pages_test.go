package funnel_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/consumers/funnel/simulation"
	"github.com/mongotel/billcenter/schema/journey"
)

// shown is what a page answers.
type shown struct {
	t      *testing.T
	status int
	header http.Header
	body   string
	doc    *html.Node
}

func get(t *testing.T, office http.Handler, path string) shown {
	t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	r.Host = "localhost"
	office.ServeHTTP(w, r)
	doc, err := html.Parse(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return shown{t, w.Code, w.Header(), w.Body.String(), doc}
}

func (s shown) all(element string) []*html.Node {
	var found []*html.Node
	for n := range s.doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == element {
			found = append(found, n)
		}
	}
	return found
}

func (s shown) byID(id string) *html.Node {
	for n := range s.doc.Descendants() {
		if n.Type == html.ElementNode && attribute(n, "id") == id {
			return n
		}
	}
	s.t.Fatalf("no #%s", id)
	return nil
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.TrimSpace(b.String())
}

func pathAsOf(asOf time.Time, path string) string {
	return path + "as_of=" + url.QueryEscape(asOf.Format(time.RFC3339Nano))
}

func TestEveryNumberLeadsToAsManyJourneys(t *testing.T) {
	m, asOf := simulated(t, 300)
	office := office(m)
	for _, query := range []string{
		"", "trend=week&breakdown=locale&", "trend=day&steps=4&breakdown=mailDomainClass&", "trend=month&count=totals&breakdown=codeAgeDays&window=168h&",
		"order=strict&tenant=mongo&zone=America%2FNew_York&trend=week&from=2026-03-10&to=2026-04-20&", "order=any&count=totals&breakdown=tenant&",
		"compare_from=2026-03-02&compare_to=2026-03-16&from=2026-03-16&to=2026-03-30&",
	} {
		t.Run(query, func(t *testing.T) {
			page := get(t, office, pathAsOf(asOf, "/funnel?"+query))
			if page.status != http.StatusOK {
				t.Fatalf("%d: %s", page.status, page.body)
			}
			checked := map[string]bool{}
			for _, a := range page.all("a") {
				list, ok := strings.CutPrefix(attribute(a, "href"), "/funnel/journeys?")
				if !ok {
					continue
				}
				n, err := strconv.Atoi(strings.ReplaceAll(text(a), ",", ""))
				if err != nil {
					t.Fatalf("the link %s is no number", list)
				}
				listed := get(t, office, "/funnel/journeys.ndjson?"+list)
				if lines := strings.Count(listed.body, "\n"); listed.status != http.StatusOK || lines != n {
					t.Errorf("%d leads to %d: %d journeys: %s", n, listed.status, lines, list)
				}
				checked[list] = true
			}
			if len(checked) < 30 {
				t.Errorf("only %d numbers lead anywhere", len(checked))
			}
		})
	}
}

func TestNumbersKeepTheTimeOfTheirReport(t *testing.T) {
	m, _ := simulated(t, 50)
	for _, a := range get(t, office(m), "/funnel").all("a") {
		if to := attribute(a, "href"); strings.HasPrefix(to, "/funnel/journeys") && !strings.Contains(to, "as_of=") {
			t.Errorf("%s may list others by the time it is followed", to)
		}
	}
}

func TestThePageShowsWhatTheReportSays(t *testing.T) {
	m, asOf := simulated(t, 300)
	office := office(m)
	var report funnel.Report
	answer := get(t, office, pathAsOf(asOf, "/funnel.json?trend=week&"))
	if err := json.Unmarshal([]byte(answer.body), &report); err != nil {
		t.Fatal(err)
	}
	page := get(t, office, pathAsOf(asOf, "/funnel?trend=week&"))
	rows := map[string]string{}
	for _, row := range page.all("tr") {
		var cells []string
		for c := range row.ChildNodes() {
			cells = append(cells, text(c))
		}
		rows[strings.Join(cells, " ")] = cells[0]
	}
	for _, s := range report.Steps {
		want := fmt.Sprintf("%s %d %d %d %d", s.Step, s.Entered, s.Converted, s.InProgress, s.Dropped)
		if !slices.ContainsFunc(slices.Collect(maps.Keys(rows)), func(r string) bool { return strings.HasPrefix(r, want) }) {
			t.Errorf("no row %q", want)
		}
		for _, reason := range s.Reasons {
			want := fmt.Sprintf("%s %d ", reason.Reason, reason.Count)
			if !slices.ContainsFunc(slices.Collect(maps.Keys(rows)), func(r string) bool { return strings.HasPrefix(r, want) }) {
				t.Errorf("no row %q", want)
			}
		}
	}
	final := 0
	for _, p := range report.Trend {
		if p.Final {
			final++
		}
	}
	if final == 0 || final == len(report.Trend) {
		t.Fatalf("%d of %d periods are final: nothing to tell apart", final, len(report.Trend))
	}
	if solid, hollow := strings.Count(page.body, `class="point "`), strings.Count(page.body, `class="point open"`); solid != final || hollow != len(report.Trend)-final {
		t.Errorf("%d points are drawn as final and %d as open; %d of %d are final", solid, hollow, final, len(report.Trend))
	}
	for _, want := range []string{"still on their way", "2026-04-26 23:59:00 UTC", "Kaplan–Meier"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("does not say %q", want)
		}
	}
}

func TestSettingsThatCannotBeAreRefusedBesideTheirField(t *testing.T) {
	m, _ := simulated(t, 10)
	office := office(m)
	for _, c := range []struct{ query, field, value, says string }{
		{"from=yesterday", "from", "yesterday", "neither a date"},
		{"from=2026-04-01&to=2026-03-01", "to", "2026-03-01", "not after"},
		{"window=soon", "window", "soon", "no duration"},
		{"window=0s", "window", "0s", "no length"},
		{"window=-1h", "window", "-1h", "not longer than nothing"},
		{"steps=7", "steps", "7", "from 2 to 6"},
		{"steps=0", "steps", "0", "from 2 to 6"},
		{"order=random", "order", "random", "none of"},
		{"count=%3Cb%3E", "count", "<b>", "none of"},
		{"breakdown=shoe-size", "breakdown", "shoe-size", "none of"},
		{"trend=hour", "trend", "hour", "none of"},
		{"zone=Mars", "zone", "Mars", "IANA"},
		{"as_of=now", "as_of", "now", "neither a date"},
		{"tenant=nobody", "tenant", "nobody", "none of globex, mongo"},
		{"compare_from=x", "compare_from", "x", "neither a date"},
		{"compare_from=2026-04-01&compare_to=2026-03-01", "compare_to", "2026-03-01", "not after"},
	} {
		t.Run(c.query, func(t *testing.T) {
			page := get(t, office, "/funnel?"+c.query)
			checkStructure(t, page)
			field := page.byID(c.field)
			value := attribute(field, "value")
			if field.Data == "select" {
				for o := range field.ChildNodes() {
					if slices.ContainsFunc(o.Attr, func(a html.Attribute) bool { return a.Key == "selected" }) {
						value = attribute(o, "value")
					}
				}
			}
			if page.status != http.StatusUnprocessableEntity || value != c.value || attribute(field, "aria-invalid") != "true" {
				t.Errorf("%d, and the field holds %q, want %q marked as wrong", page.status, value, c.value)
			}
			if said := text(page.byID(c.field + "-error")); !strings.Contains(said, c.says) {
				t.Errorf("says %q, want %q", said, c.says)
			}
			if export := get(t, office, "/funnel.json?"+c.query); !strings.HasPrefix(c.query, "compare") && export.status != http.StatusUnprocessableEntity {
				t.Errorf("the export answers %d", export.status)
			}
		})
	}
	for _, query := range []string{"widow=1h", "tenant=mongo&tenant=globex"} {
		if page := get(t, office, "/funnel?"+query); page.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", query, page.status)
		}
	}
	for _, query := range []string{"step=Nope", "outcome=lost", "reason=x", "period=2026-03-02", "value=", "limit=0", "up_to=1h", "over=x", "mature=maybe"} {
		if page := get(t, office, "/funnel/journeys?"+query); page.status != http.StatusUnprocessableEntity {
			t.Errorf("journeys of %s: %d", query, page.status)
		}
	}
}

func TestAFormLeadsToTheShortestAddress(t *testing.T) {
	m, _ := simulated(t, 10)
	office := office(m)
	page := get(t, office, "/funnel?tenant=mongo&from=&to=&window=720h&steps=6&order=sequential&count=uniques&trend=week&breakdown=&zone=&as_of=&compare_from=&compare_to=")
	if to := page.header.Get("Location"); page.status != http.StatusSeeOther || to != "/funnel?tenant=mongo&trend=week" {
		t.Errorf("%d to %q", page.status, to)
	}
	if page := get(t, office, "/funnel?trend=week&tenant=mongo"); page.status != http.StatusOK {
		t.Errorf("what needs no shortening: %d", page.status)
	}
	if page := get(t, office, "/funnel?order=strict&count=totals&window=36h30m"); page.status != http.StatusOK || attribute(page.byID("window"), "value") != "36h30m" {
		t.Errorf("what is not as by default: %d", page.status)
	}
}

func TestAJourneyShowsItsFactsInOrder(t *testing.T) {
	m, _ := simulated(t, 10)
	hostile := journey.Unit{Tenant: simulation.Tenant, Account: "=a//../b?c#<i>"}
	at := time.Date(2026, 3, 2, 8, 0, 0, 1, time.UTC)
	for i, name := range []string{"Invited", "ActivationOpened"} {
		m.told[hostile] = append(m.told[hostile], journey.Recorded{Name: name, StreamSequence: uint64(i + 7), Told: journey.Told{
			ID: "id-" + name, At: at.Add(time.Duration(i) * time.Hour).UnixNano(), Kind: journey.KindOf(name, true), Properties: journey.Properties{CodeAgeDays: "0"},
		}})
	}
	office := office(m)
	list := get(t, office, "/funnel/journeys?")
	checkStructure(t, list)
	to := ""
	for _, a := range list.all("a") {
		if text(a) == hostile.Account {
			to = attribute(a, "href")
		}
	}
	page := get(t, office, to)
	checkStructure(t, page)
	if page.status != http.StatusOK {
		t.Fatalf("%s: %d", to, page.status)
	}
	order := []string{hostileEscaped, "2026-03-02 08:00:00.000000001 UTC", "Invited", "id-Invited", "no. 7 of ENROLLMENT", "ActivationOpenedByMachine", "id-ActivationOpened"}
	rest := page.body
	for _, want := range order {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("%q is not there, or not in its place, in:\n%s", want, page.body)
		}
		rest = after
	}
	if page := get(t, office, "/funnel/journeys/mongo/never-heard-of"); page.status != http.StatusNotFound {
		t.Errorf("an account that no fact names: %d", page.status)
	}

	exported := get(t, office, "/funnel/journeys.csv?")
	rows, err := csv.NewReader(strings.NewReader(exported.body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(rows, func(r []string) bool { return r[1] == "'"+hostile.Account }) {
		t.Error("a spreadsheet would take the reference for a formula")
	}
}

const hostileEscaped = "=a//../b?c#&lt;i&gt;"

func TestExportsSayWhatTheyAre(t *testing.T) {
	m, asOf := simulated(t, 50)
	office := office(m)
	for path, kind := range map[string]string{
		"/funnel.csv": "text/csv; charset=utf-8", "/funnel.json": "application/json",
		"/funnel/journeys.csv": "text/csv; charset=utf-8", "/funnel/journeys.ndjson": "application/x-ndjson",
	} {
		answer := get(t, office, pathAsOf(asOf, path+"?"))
		name := path[strings.LastIndexByte(path, '/')+1:]
		if answer.status != http.StatusOK || answer.header.Get("Content-Type") != kind || answer.header.Get("Content-Disposition") != `attachment; filename="`+name+`"` || len(answer.body) < 100 {
			t.Errorf("%s: %d, %v", path, answer.status, answer.header)
		}
	}
}

func TestAStoreThatDoesNotAnswerIsTold(t *testing.T) {
	m, _ := simulated(t, 10)
	m.fail = errors.New("away")
	office := office(m)
	for _, path := range []string{"/funnel", "/funnel.json", "/funnel.csv", "/funnel/journeys", "/funnel/journeys.csv", "/funnel/journeys/mongo/somebody"} {
		if page := get(t, office, path); page.status != http.StatusServiceUnavailable || !strings.Contains(page.body, "Try again") || strings.Contains(page.body, "away") {
			t.Errorf("%s: %d: %s", path, page.status, page.body)
		}
	}
}

func TestEveryWordIsExplained(t *testing.T) {
	m, asOf := simulated(t, 300)
	page := get(t, office(m), pathAsOf(asOf, "/funnel?trend=week&breakdown=locale&compare_from=2026-03-02&"))
	checkStructure(t, page) // every link into the page has its end
	for _, reason := range funnel.DropReasons {
		if says := text(page.byID("means-" + string(reason)).NextSibling); !strings.HasSuffix(says, ".") {
			t.Errorf("%s means %q", reason, says)
		}
	}
	for k := journey.Invited; k.Step(); k++ {
		if says := text(page.byID("means-" + k.String()).NextSibling); !strings.HasSuffix(says, ".") {
			t.Errorf("%s means %q", k, says)
		}
	}
}

func TestAnEmptyFunnelIsAPage(t *testing.T) {
	m := &memory{}
	office := office(m)
	for _, path := range []string{"/funnel", "/funnel?trend=day&breakdown=tenant", "/funnel?trend=day&from=2026-03-01&to=2026-03-03&compare_from=2026-03-03", "/funnel/journeys"} {
		page := get(t, office, path)
		checkStructure(t, page)
		if page.status != http.StatusOK {
			t.Errorf("%s: %d", path, page.status)
		}
	}
}

// BenchmarkPage is what showing a year of days by many values costs, besides counting.
func BenchmarkPage(b *testing.B) {
	m, asOf := simulated(b, 2000)
	office := office(m)
	path := pathAsOf(asOf, "/funnel?trend=day&breakdown=codeAgeDays&from=2025-04-27&to=2026-04-27&")
	for b.Loop() {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = "localhost"
		office.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
		_, _ = io.Copy(io.Discard, w.Body)
	}
}
