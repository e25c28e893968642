package portal

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// contentPolicy allows our style sheets, our drawings, and forms that lead back here; no script, whoever wrote it. Only a view with
// a Script may run one, our own, and ask this host.
const contentPolicy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// answered is an http.ResponseWriter that holds the answer back until it is whole.
type answered struct {
	header http.Header
	status int
	body   bytes.Buffer
	secure bool
}

func newAnswered(secure bool) *answered {
	a := &answered{secure: secure}
	a.clear()
	return a
}

// clear forgets the answer so far, cookies included.
func (a *answered) clear() {
	a.header, a.status = make(http.Header), http.StatusOK
	a.body.Reset()
	a.header.Set("Vary", "Origin, Sec-Fetch-Site")
	a.header.Set("Content-Security-Policy", contentPolicy)
	a.header.Set("Referrer-Policy", "no-referrer") // the address of an activation page is a secret
	a.header.Set("Cache-Control", "no-store")
	a.header.Set("X-Content-Type-Options", "nosniff")
	a.header.Set("Cross-Origin-Opener-Policy", "same-origin")
	a.header.Set("Cross-Origin-Resource-Policy", "same-origin")
	a.header.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	if a.secure {
		a.header.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
	}
}

func (a *answered) Header() http.Header         { return a.header }
func (a *answered) WriteHeader(status int)      { a.status = status }
func (a *answered) Write(b []byte) (int, error) { return a.body.Write(b) }

func (a *answered) send(w http.ResponseWriter) error {
	maps.Copy(w.Header(), a.header)
	if a.status == http.StatusRequestEntityTooLarge {
		w.Header().Set("Connection", "close") // or the rest of the body would be read after all
	}
	if a.body.Len() > 0 {
		w.Header().Set("Content-Length", strconv.Itoa(a.body.Len()))
	}
	w.WriteHeader(a.status)
	_, err := w.Write(a.body.Bytes())
	return err
}

// methods are what a path answers to. HEAD comes with GET.
type methods map[string]handler

func (m methods) allowed() string {
	names := slices.Collect(maps.Keys(m))
	if _, ok := m[http.MethodGet]; ok {
		names = append(names, http.MethodHead)
	}
	names = append(names, http.MethodOptions)
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (p *portal) allow(m methods) http.Handler {
	allowed := m.allowed()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		h, ok := m[method]
		switch {
		case ok:
			if err := h(w, r); err != nil {
				w.(*answered).clear()
				p.answerFailure(w, r, err)
			}
		case r.Method == http.MethodOptions:
			w.Header().Set("Allow", allowed)
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Allow", allowed)
			p.wrongMethod(w, r)
		}
	})
}

// refuseForeignPosts lets a POST through that comes from this host's own pages. Browsers say where one comes from; what says
// nothing is no browser of a customer.
func (p *portal) refuseForeignPosts(site http.Handler) http.Handler {
	refuse := http.HandlerFunc(p.foreign)
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(refuse)
	protected := protection.Handler(site)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		safe := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
		if !safe && r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Site") == "" {
			refuse(w, r)
			return
		}
		protected.ServeHTTP(w, r)
	})
}
