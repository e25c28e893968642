package local

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

//go:embed templates
var templates embed.FS

// The page's own style is a file; the mails' is inline. A mail is shown in a frame
// that inherits this policy, so it loads nothing from elsewhere and runs no script.
const contentSecurityPolicy = "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// An inboxHandler shows an Inbox:
//
//	GET    /                          the list, as a page
//	GET    /messages/{id}             one message; ?view=html, text, headers or raw
//	POST   /messages/delete           all of them
//	POST   /answer                    how mails are answered from now on
//	GET    /api/v1/messages           JSON, newest first
//	DELETE /api/v1/messages
//	GET    /api/v1/messages/{id}
//	GET    /api/v1/messages/{id}/raw  as it came over the wire
type inboxHandler struct {
	inbox *Inbox
	pages *template.Template
	mux   *http.ServeMux
}

func newInboxHandler(in *Inbox) http.Handler {
	h := &inboxHandler{inbox: in, mux: http.NewServeMux()}
	h.pages = template.Must(template.New("").Funcs(template.FuncMap{
		"clock":   func(t time.Time) string { return t.Local().Format("2 Jan 2006, 15:04:05") },
		"rfc3339": func(t time.Time) string { return t.Format(time.RFC3339) },
		"linked":  splitLinks,
	}).ParseFS(templates, "templates/*.html"))

	h.mux.HandleFunc("GET /{$}", h.list)
	h.mux.HandleFunc("GET /messages/{id}", h.show)
	h.mux.HandleFunc("POST /messages/delete", h.deleteByForm)
	h.mux.HandleFunc("POST /answer", h.choosePreset)
	h.mux.HandleFunc("GET /inbox.css", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, templates, "templates/inbox.css")
	})
	h.mux.HandleFunc("GET /api/v1/messages", h.apiList)
	h.mux.HandleFunc("DELETE /api/v1/messages", h.apiDelete)
	h.mux.HandleFunc("GET /api/v1/messages/{id}", h.apiShow)
	h.mux.HandleFunc("GET /api/v1/messages/{id}/raw", h.apiRaw)
	h.mux.HandleFunc("/api/v1/messages", methodNotAllowed("DELETE, GET, HEAD"))
	h.mux.HandleFunc("/api/v1/messages/{id}", methodNotAllowed("GET, HEAD"))
	h.mux.HandleFunc("/api/v1/messages/{id}/raw", methodNotAllowed("GET, HEAD"))
	h.mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		apiError(w, http.StatusNotFound, "no such resource; see /api/v1/messages")
	})
	return onlyThisMachine(http.NewCrossOriginProtection().Handler(h.mux))
}

// onlyThisMachine refuses names other than this machine's own. A web site whose name
// was made to point here (DNS rebinding) would otherwise read the mails.
func onlyThisMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Cache-Control", "no-store")
		header.Set("Content-Security-Policy", contentSecurityPolicy)
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("X-Content-Type-Options", "nosniff")
		if isThisMachine(r.Host) {
			next.ServeHTTP(w, r)
		} else if strings.HasPrefix(r.URL.Path, "/api/") {
			apiError(w, http.StatusForbidden, "the inbox answers to localhost only")
		} else {
			http.Error(w, "The inbox answers to localhost only.", http.StatusForbidden)
		}
	})
}

func isThisMachine(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func (h *inboxHandler) list(w http.ResponseWriter, r *http.Request) {
	h.render(w, http.StatusOK, "list.html", map[string]any{
		"Messages": h.inbox.Messages(),
		"SMTPAddr": h.inbox.SMTPAddr(),
		"Presets":  presets(),
		"Preset":   h.inbox.currentPreset(),
	})
}

func (h *inboxHandler) show(w http.ResponseWriter, r *http.Request) {
	m, ok := h.inbox.message(r.PathValue("id"))
	if !ok {
		h.render(w, http.StatusNotFound, "gone.html", nil)
		return
	}
	views := []string{"text", "headers", "raw"}
	if m.HTML != "" {
		views = slices.Insert(views, 0, "html")
	}
	view := r.FormValue("view")
	if !slices.Contains(views, view) {
		view = views[0]
	}
	h.render(w, http.StatusOK, "message.html", map[string]any{
		"Message": m,
		"Views":   views,
		"View":    view,
		// Links open in a tab of their own: the portal does not let itself be framed.
		"Document": `<base target="_blank">` + m.HTML,
		"Source":   strings.ToValidUTF8(string(m.Raw), "\uFFFD"),
	})
}

func (h *inboxHandler) deleteByForm(w http.ResponseWriter, r *http.Request) {
	if err := h.inbox.DeleteAll(); err != nil {
		h.inbox.log.Error("inbox page", "error", err)
		http.Error(w, "Not every message could be deleted.", http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (h *inboxHandler) choosePreset(w http.ResponseWriter, r *http.Request) {
	if !h.inbox.usePreset(r.PostFormValue("answer")) {
		http.Error(w, "There is no such answer.", http.StatusUnprocessableEntity)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// render writes a page only once it is whole.
func (h *inboxHandler) render(w http.ResponseWriter, status int, page string, content any) {
	var b bytes.Buffer
	if err := h.pages.ExecuteTemplate(&b, page, content); err != nil {
		h.inbox.log.Error("inbox page", "page", page, "error", err)
		http.Error(w, "The page cannot be shown.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	b.WriteTo(w)
}

// A piece is a stretch of text that is a link as a whole, or has none.
type piece struct {
	Text string
	Link bool
}

func splitLinks(text string) []piece {
	var pieces []piece
	end := 0
	for _, at := range linkPattern.FindAllStringIndex(text, -1) {
		pieces = append(pieces, piece{text[end:at[0]], false}, piece{text[at[0]:at[1]], true})
		end = at[1]
	}
	return append(pieces, piece{text[end:], false})
}

func (h *inboxHandler) apiList(w http.ResponseWriter, _ *http.Request) {
	h.writeJSON(w, h.inbox.Messages())
}

func (h *inboxHandler) apiDelete(w http.ResponseWriter, _ *http.Request) {
	if err := h.inbox.DeleteAll(); err != nil {
		h.inbox.log.Error("inbox API", "error", err)
		apiError(w, http.StatusInternalServerError, "not every message could be deleted")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *inboxHandler) apiShow(w http.ResponseWriter, r *http.Request) {
	if m, ok := h.inbox.message(r.PathValue("id")); ok {
		h.writeJSON(w, m)
	} else {
		apiError(w, http.StatusNotFound, "no message with this id")
	}
}

func (h *inboxHandler) apiRaw(w http.ResponseWriter, r *http.Request) {
	m, ok := h.inbox.message(r.PathValue("id"))
	if !ok {
		apiError(w, http.StatusNotFound, "no message with this id")
		return
	}
	w.Header().Set("Content-Type", "message/rfc822")
	w.Write(m.Raw)
}

func (h *inboxHandler) writeJSON(w http.ResponseWriter, content any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(content); err != nil {
		h.inbox.log.Warn("inbox API", "error", err) // the reader has gone
	}
}

func apiError(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": text})
}

func methodNotAllowed(allowed string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allowed)
		apiError(w, http.StatusMethodNotAllowed, r.Method+" is not possible here, only "+allowed)
	}
}
