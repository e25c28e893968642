package helpdesk

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// A session ends after sessionIdle without a request, and after sessionLife whatever happens. Who came in by the link has no
// other way back in, so idling does not end theirs.
const (
	sessionIdle = 30 * time.Minute
	sessionLife = 12 * time.Hour
)

// link is the way in on one's own machine. It works once.
type link struct {
	token string
	used  atomic.Bool
}

// visitor is who looks from the same machine without having come in.
var visitor = enrollment.Staff{Name: "a visitor on this machine", Roles: []string{string(Analyst)}}

// forStaff lets in who has the duty; the empty duty is everybody's who is known.
func (f *office) forStaff(d duty, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		by, err := f.identify(r)
		switch {
		case errors.Is(err, enrollment.ErrUnknown):
			f.askIn(w, r)
			return
		case err != nil:
			f.fail(w, r, err)
			return
		case d != "" && !may(by.Roles, d):
			f.refuse(w, r, by, d)
			return
		}
		if r.Method == http.MethodPost {
			if err := read(w, r); err != nil {
				f.fail(w, r, err)
				return
			}
		}
		if err := h(w, r, by); err != nil {
			f.fail(w, r, err)
		}
	})
}

// identify tells who asks; ErrUnknown: nobody that is known.
func (f *office) identify(r *http.Request) (enrollment.Staff, error) {
	if cookie, err := r.Cookie(f.cookieName()); err == nil && cookie.Value != "" {
		by, err := f.Store.StaffSession(r.Context(), cookie.Value)
		if !errors.Is(err, enrollment.ErrUnknown) {
			return by, err
		}
	}
	if f.idp == nil && fromThisMachine(r) {
		return visitor, nil
	}
	return enrollment.Staff{}, enrollment.ErrUnknown
}

// askIn sends who is not known to where they sign in. A form is not sent on: it would come back as a look.
func (f *office) askIn(w http.ResponseWriter, r *http.Request) {
	if f.idp != nil && r.Method == http.MethodGet {
		http.Redirect(w, r, "/login?"+url.Values{"to": {r.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
		return
	}
	f.tell(w, r, http.StatusUnauthorized, message{Title: "Sign in", Text: "You are not signed in, or your session is over. Nothing was done.", SignIn: f.idp != nil})
}

func (f *office) refuse(w http.ResponseWriter, r *http.Request, by enrollment.Staff, d duty) {
	text := fmt.Sprintf("To %s one has to be %s.", d, oneOf(who(d)))
	if by.Subject == "" {
		text += " Open the link that “billcenter up” printed beside “Staff”; it works once."
	}
	f.tell(w, r, http.StatusForbidden, message{Title: "Not for you", Text: text})
}

func oneOf(roles []Role) string {
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = string(r)
	}
	return strings.Join(words, " or ")
}

// enter lets in who has the link. HEAD and a browser's look ahead do not use it up.
func (f *office) enter(w http.ResponseWriter, r *http.Request) {
	by, err := f.identify(r)
	switch {
	case err == nil && by.Subject != "":
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	case f.link == nil || subtle.ConstantTimeCompare([]byte(r.PathValue("token")), []byte(f.link.token)) != 1:
		f.tell(w, r, http.StatusNotFound, message{Title: "Not found", Text: "This link is damaged, or of an earlier start."})
		return
	case r.Method != http.MethodGet || strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch"):
		w.WriteHeader(http.StatusNoContent)
		return
	case !f.link.used.CompareAndSwap(false, true):
		f.tell(w, r, http.StatusGone, message{Title: "Used", Text: "This link was used. Start “billcenter up” again for another one."})
		return
	}
	roles := make([]string, len(Roles))
	for i, role := range Roles {
		roles[i] = string(role)
	}
	if err := f.open(w, r, enrollment.Staff{Subject: "link", Name: "who started it", Roles: roles}, sessionLife); err != nil {
		f.link.used.Store(false) // nobody came in
		f.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// open begins a session under a new token.
func (f *office) open(w http.ResponseWriter, r *http.Request, by enrollment.Staff, idle time.Duration) error {
	token := rand.Text() + rand.Text() // 256 bits
	if err := f.Store.OpenStaffSession(r.Context(), token, by, idle, sessionLife); err != nil {
		return err
	}
	f.setCookie(w, f.cookieName(), token, int(sessionLife.Seconds()))
	f.Log.InfoContext(r.Context(), "staff came in", "actor", by.Subject, "roles", by.Roles)
	return nil
}

func (f *office) logOut(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(f.cookieName()); err == nil {
		if err := f.Store.EndStaffSession(r.Context(), cookie.Value); err != nil {
			f.fail(w, r, err)
			return
		}
	}
	f.setCookie(w, f.cookieName(), "", -1)
	f.tell(w, r, http.StatusOK, message{Title: "Signed out", Text: "You are signed out.", SignIn: f.idp != nil})
}

func (f *office) me(w http.ResponseWriter, _ *http.Request, by enrollment.Staff) error {
	page := struct {
		Title  string
		By     enrollment.Staff
		Duties []duty
	}{Title: "You", By: by}
	for _, d := range []duty{lookUp, act, readMails, readFunnel, readLetters, workLetters, readAudit, readContract} {
		if may(by.Roles, d) {
			page.Duties = append(page.Duties, d)
		}
	}
	return f.show(w, http.StatusOK, "me", page)
}

// secure reports whether the office is reached over https. Plain http is for loopback.
func (f *office) secure() bool { return f.base != nil && f.base.Scheme == "https" }

// cookieName binds the session to this host and to https where there is https.
func (f *office) cookieName() string { return f.prefixed("staff") }

func (f *office) prefixed(name string) string {
	if f.secure() {
		return "__Host-" + name
	}
	return name
}

func (f *office) setCookie(w http.ResponseWriter, name, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: f.secure(), SameSite: http.SameSiteLaxMode})
}

// refuseForeignPosts lets a POST through that comes from this host's own pages, as the portal does.
func (f *office) refuseForeignPosts(site http.Handler) http.Handler {
	refuse := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.tell(w, r, http.StatusForbidden, message{Title: "Not from here", Text: "This was not sent by a page of the back office. Nothing was done."})
	})
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

// onItsHost refuses requests for other hosts: a page elsewhere must not read this one by giving its name our address.
func (f *office) onItsHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var fits bool
		if f.base != nil {
			fits = strings.EqualFold(r.Host, f.base.Host)
		} else {
			fits = loopback(hostname(r.Host))
		}
		if !fits {
			where := "this machine's own addresses"
			if f.base != nil {
				where = f.base.Host
			}
			http.Error(w, fmt.Sprintf("%d: the back office answers on %s only", http.StatusMisdirectedRequest, where), http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.Trim(host, "[]")
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// fromThisMachine looks at the connection, not at what a client says.
func fromThisMachine(r *http.Request) bool { return loopback(hostname(r.RemoteAddr)) }
