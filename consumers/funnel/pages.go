package funnel

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/mongotel/billcenter/schema/journey"
)

// Answers is what the pages ask; *Funnel knows. An *InvalidQuery is for the reader to correct.
type Answers interface {
	Report(ctx context.Context, q Query) (Report, error)
	Compare(ctx context.Context, a, b Query) (Comparison, error)
	Journeys(ctx context.Context, q Query, s Selection) ([]Traced, error)
	Facts(ctx context.Context, u journey.Unit) ([]journey.Recorded, error) // in order
}

// PagesOptions are the pages' neighbours; all are required.
type PagesOptions struct {
	Layout  *template.Template // shows .Title and the templates "styles" and "content"
	Tenants []string
	Log     *slog.Logger
}

//go:embed pages
var files embed.FS

type pages struct {
	PagesOptions
	answers                   Answers
	report, journeys, journey *template.Template
}

// NewPages returns the funnel's pages: /funnel and its exports, the journeys behind a number at /funnel/journeys, and the facts
// behind a journey. Their whole state is in the URL, and they run no script.
func NewPages(a Answers, o PagesOptions) http.Handler {
	p := &pages{PagesOptions: o, answers: a}
	p.report, p.journeys, p.journey = p.template("report.html"), p.template("journeys.html"), p.template("journey.html")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /funnel", p.showReport)
	mux.HandleFunc("GET /funnel.json", p.exportReport)
	mux.HandleFunc("GET /funnel.csv", p.exportReport)
	mux.HandleFunc("GET /funnel/journeys", p.showJourneys)
	mux.HandleFunc("GET /funnel/journeys.csv", p.exportJourneys)
	mux.HandleFunc("GET /funnel/journeys.ndjson", p.exportJourneys)
	mux.HandleFunc("GET /funnel/journeys/{tenant}/{account}", p.showJourney)
	mux.HandleFunc("GET /funnel/funnel.css", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "pages/funnel.css") })
	return mux
}

func (p *pages) template(file string) *template.Template {
	t := template.Must(p.Layout.Clone()).Funcs(template.FuncMap{
		"thousands": thousands, "percent": percent, "span": span, "instant": instant,
		"since1970": func(ns int64) time.Time { return time.Unix(0, ns) },
	})
	return template.Must(t.ParseFS(files, "pages/parts.html", "pages/"+file))
}

// reportPage is what report.html shows.
type reportPage struct {
	Title, Problem string
	Form           form
	Report         *reportView // nil: there is none to show
	Comparison     *comparisonView
}

func (p *pages) showReport(w http.ResponseWriter, r *http.Request) {
	s, err := p.settings(r.URL.Query())
	if err == nil && s.superfluous(r.URL.Query()) { // a form sends its empty fields, too; what is passed on should say what matters
		http.Redirect(w, r, withQuery("/funnel", s.values()), http.StatusSeeOther)
		return
	}
	page := reportPage{Title: "Funnel"}
	if err == nil {
		page.Report, page.Comparison, err = p.ask(r.Context(), s)
	}
	status := http.StatusOK
	if err != nil {
		status, page.Problem = p.problem(r, "read the funnel", err)
	}
	page.Form = p.form(r.URL.Query(), err)
	p.show(w, r, p.report, status, page)
}

// ask answers everything that one page shows. What is wrong with the compared range is told of its own fields.
func (p *pages) ask(ctx context.Context, s settings) (*reportView, *comparisonView, error) {
	report, err := p.answers.Report(ctx, s.asked)
	if err != nil {
		return nil, nil, err
	}
	view := newReportView(s, report)
	other, compared := s.compared()
	if !compared {
		return view, nil, nil
	}
	if err := other.Defaults(report.AsOf).Check(); err != nil {
		return nil, nil, ofComparison(err)
	}
	other.AsOf = report.AsOf
	this := s.asked
	this.AsOf = report.AsOf
	c, err := p.answers.Compare(ctx, this, other)
	if err != nil {
		return nil, nil, ofComparison(err)
	}
	return view, newComparisonView(this, other, c), nil
}

func ofComparison(err error) error {
	if bad, ok := errors.AsType[*InvalidQuery](err); ok && (bad.Setting == "from" || bad.Setting == "to") {
		return &InvalidQuery{"compare-" + bad.Setting, bad.Why}
	}
	return err
}

// journeysPage is what journeys.html shows.
type journeysPage struct {
	Title, Problem, Back, CSV, NDJSON string
	Chosen                            []term // what the list was narrowed down to
	Journeys                          []tracedView
	More                              bool   // there are others
	Reasons                           []term // of those that dropped
}

type tracedView struct {
	Traced
	To string
}

// longestList is how many journeys a page shows; the exports have all.
const longestList = 500

func (p *pages) showJourneys(w http.ResponseWriter, r *http.Request) {
	page, status := journeysPage{Title: "Journeys"}, http.StatusOK
	s, err := p.settings(r.URL.Query())
	if err == nil {
		shown := longestList
		if s.selection.Limit > 0 {
			shown = min(shown, s.selection.Limit)
		}
		page.Back, page.Chosen = withQuery("/funnel", s.report()), s.chosen()
		page.CSV, page.NDJSON = withQuery("/funnel/journeys.csv", s.values()), withQuery("/funnel/journeys.ndjson", s.values())
		var traced []Traced
		selection := s.selection
		selection.Limit = shown + 1 // one more tells that there are more
		traced, err = p.answers.Journeys(r.Context(), s.asked, selection)
		page.More = len(traced) > shown
		for _, t := range traced[:min(shown, len(traced))] {
			if says := reasonsSay[t.Reason]; says != "" && !slices.ContainsFunc(page.Reasons, func(k term) bool { return k.Word == string(t.Reason) }) {
				page.Reasons = append(page.Reasons, term{"means-" + string(t.Reason), string(t.Reason), says})
			}
			page.Journeys = append(page.Journeys, tracedView{t, "/funnel/journeys/" + url.PathEscape(t.Tenant) + "/" + url.PathEscape(t.Account)})
		}
	}
	if err != nil {
		page.Back = "/funnel"
		status, page.Problem = p.problem(r, "list journeys", err)
	}
	p.show(w, r, p.journeys, status, page)
}

// journeyPage is what journey.html shows.
type journeyPage struct {
	Title, Problem, Tenant, Account string
	Facts                           []journey.Recorded
}

func (p *pages) showJourney(w http.ResponseWriter, r *http.Request) {
	page, status := journeyPage{Title: "A journey’s facts", Tenant: r.PathValue("tenant"), Account: r.PathValue("account")}, http.StatusOK
	unit := journey.Unit{Tenant: page.Tenant, Account: page.Account}
	told, err := p.answers.Facts(r.Context(), unit)
	switch {
	case err != nil:
		status, page.Problem = p.problem(r, "read a journey", err)
	case len(told) == 0:
		status, page.Problem = http.StatusNotFound, "No fact names this account reference."
	}
	page.Facts = told
	p.show(w, r, p.journey, status, page)
}

// problem is what an error means to the reader.
func (p *pages) problem(r *http.Request, doing string, err error) (status int, text string) {
	if bad, ok := errors.AsType[*InvalidQuery](err); ok {
		return http.StatusUnprocessableEntity, labelOf(parameter(bad.Setting)) + ": " + bad.Why
	}
	if r.Context().Err() == nil {
		p.Log.ErrorContext(r.Context(), doing, "error", err)
	}
	return http.StatusServiceUnavailable, "The funnel cannot be read now. Try again in a moment."
}

func (p *pages) show(w http.ResponseWriter, r *http.Request, t *template.Template, status int, page any) {
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "layout", page); err != nil {
		p.Log.ErrorContext(r.Context(), "render the funnel", "error", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the reader may have gone
}
