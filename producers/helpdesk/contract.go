package helpdesk

import (
	"net/http"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// catalog lists the events; Problem says why not the one that was asked for.
type catalog struct {
	Title, Problem string
	Events         []events.Definition
}

// contract shows the events: all of them, or one with its fields, limits and a sample.
func (f *office) contract(w http.ResponseWriter, r *http.Request, _ enrollment.Staff) error {
	name := r.PathValue("name")
	if name == "" {
		return f.show(w, http.StatusOK, "events", catalog{Title: "Events", Events: events.Catalog()})
	}
	d, ok := events.DefinitionNamed(name)
	if !ok {
		return f.show(w, http.StatusNotFound, "events", catalog{Title: "Events", Problem: "The contract has no event of that name.", Events: events.Catalog()})
	}
	page := events.PageOf(d)
	return f.show(w, http.StatusOK, "event", struct {
		Title string
		Event events.Page
	}{page.Name, page})
}

// document sends a file of the contract as it is.
func document(contentType string, content []byte) handler {
	return func(w http.ResponseWriter, _ *http.Request, _ enrollment.Staff) error {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(content) // the reader may have gone
		return nil
	}
}
