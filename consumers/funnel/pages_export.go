package funnel

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"
)

// exportReport is the report for programs: /funnel.json and /funnel.csv take the page's own parameters.
func (p *pages) exportReport(w http.ResponseWriter, r *http.Request) {
	s, err := p.settings(r.URL.Query())
	var report Report
	if err == nil {
		report, err = p.answers.Report(r.Context(), s.asked)
	}
	p.export(w, r, err, func(out io.Writer) error {
		if strings.HasSuffix(r.URL.Path, ".csv") {
			return WriteCSV(out, report)
		}
		return json.NewEncoder(out).Encode(report)
	})
}

// exportJourneys lists all attempts behind a number.
func (p *pages) exportJourneys(w http.ResponseWriter, r *http.Request) {
	s, err := p.settings(r.URL.Query())
	var traced []Traced
	if err == nil {
		traced, err = p.answers.Journeys(r.Context(), s.asked, s.selection)
	}
	p.export(w, r, err, func(out io.Writer) error {
		if strings.HasSuffix(r.URL.Path, ".csv") {
			return WriteJourneysCSV(out, traced)
		}
		return WriteJourneysNDJSON(out, traced)
	})
}

var mediaTypes = map[string]string{".json": "application/json", ".csv": "text/csv; charset=utf-8", ".ndjson": "application/x-ndjson"}

// export sends what write writes, whole or not at all: half a file looks like a whole one. A refusal is one line of text.
func (p *pages) export(w http.ResponseWriter, r *http.Request, err error, write func(io.Writer) error) {
	var b bytes.Buffer
	if err == nil {
		err = write(&b)
	}
	if err != nil {
		status, text := p.problem(r, "export the funnel", err)
		if bad, ok := errors.AsType[*InvalidQuery](err); ok {
			text = parameter(bad.Setting) + ": " + bad.Why
		}
		http.Error(w, text, status)
		return
	}
	name := path.Base(r.URL.Path)
	w.Header().Set("Content-Type", mediaTypes[path.Ext(name)])
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	_, _ = w.Write(b.Bytes()) // the reader may have gone
}
