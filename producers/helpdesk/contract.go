package helpdesk

import (
	"net/http"

	"github.com/mongotel/billcenter/events"
)

// contract shows the events: all of them, or one with its fields, limits and a sample.
func (f *office) contract(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if name == "" {
		f.show(w, r, http.StatusOK, view{Title: "Events", Catalog: events.Catalog()})
		return
	}
	d, ok := events.DefinitionNamed(name)
	if !ok {
		f.show(w, r, http.StatusNotFound, view{Title: "Events", Catalog: events.Catalog(), Problem: "The contract has no event of that name."})
		return
	}
	page := events.PageOf(d)
	f.show(w, r, http.StatusOK, view{Title: page.Name, Event: &page})
}

// document sends a file of the contract as it is.
func document(contentType string, content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(content) // the reader may have gone
	}
}
