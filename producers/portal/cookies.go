package portal

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// Notes travel with the browser, signed, so that no row and no session is needed for them.
const (
	pendingNote   = "enrollment" // whose check-your-email page this is
	activatedNote = "activated"  // what to fill in at the log-in
	resetNote     = "reset"      // the same after a password was reset

	// noteSignature keeps the key ring's other signatures from passing for a note's.
	noteSignature = "portal note"

	pendingLife   = 7 * 24 * time.Hour
	activatedLife = 10 * time.Minute
)

// note is what such a cookie says. The signature covers the tenant and the purpose, so that no note passes for another.
type note struct {
	Purpose    string        `json:"p"`
	Tenant     string        `json:"t"`
	Until      int64         `json:"u"` // Unix seconds
	Enrollment enrollment.ID `json:"e,omitzero"`
	Username   string        `json:"n,omitempty"`
}

// cookieName gives a cookie the prefix that binds it to this host and to https. Browsers refuse the prefix on plain http,
// which is served on loopback only.
func cookieName(name string, secure bool) string {
	if secure {
		return "__Host-" + name
	}
	return name
}

func (p *portal) keepPending(w http.ResponseWriter, r *http.Request, id enrollment.ID) error {
	return p.leave(w, r, note{Purpose: pendingNote, Enrollment: id}, pendingLife)
}

func (p *portal) pending(r *http.Request) (enrollment.ID, bool) {
	n, ok := p.find(r, pendingNote)
	return n.Enrollment, ok && n.Enrollment != enrollment.ID{}
}

func (p *portal) keepActivated(w http.ResponseWriter, r *http.Request, username string) error {
	return p.leave(w, r, note{Purpose: activatedNote, Username: username}, activatedLife)
}

func (p *portal) activated(r *http.Request) (username string, ok bool) {
	n, ok := p.find(r, activatedNote)
	return n.Username, ok
}

func (p *portal) leave(w http.ResponseWriter, r *http.Request, n note, life time.Duration) error {
	n.Tenant, n.Until = tenantIn(r.Context()).ID, time.Now().Add(life).Unix()
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	b64 := base64.RawURLEncoding.EncodeToString
	p.setNote(w, r, n.Purpose, b64(text)+"."+b64(p.keys.Sign(noteSignature, text)), int(life.Seconds()))
	return nil
}

// find takes a note that is forged, of another purpose or tenant, or too old, for none.
func (p *portal) find(r *http.Request, purpose string) (note, bool) {
	cookie, err := r.Cookie(cookieName(purpose, secure(tenantIn(r.Context()))))
	if err != nil {
		return note{}, false
	}
	payload, signature, _ := strings.Cut(cookie.Value, ".")
	text, textErr := base64.RawURLEncoding.DecodeString(payload)
	mac, macErr := base64.RawURLEncoding.DecodeString(signature)
	if textErr != nil || macErr != nil || !p.keys.Verify(noteSignature, text, mac) {
		return note{}, false
	}
	var n note
	if err := json.Unmarshal(text, &n); err != nil {
		return note{}, false
	}
	ok := n.Purpose == purpose && n.Tenant == tenantIn(r.Context()).ID && time.Now().Unix() < n.Until
	return n, ok
}

func (p *portal) throwAway(w http.ResponseWriter, r *http.Request, purpose string) {
	p.setNote(w, r, purpose, "", -1)
}

func (p *portal) setNote(w http.ResponseWriter, r *http.Request, purpose, value string, maxAge int) {
	secure := secure(tenantIn(r.Context()))
	http.SetCookie(w, &http.Cookie{
		Name:     cookieName(purpose, secure),
		Value:    value,
		Path:     "/",
		MaxAge:   maxAge,
		HttpOnly: true,
		Secure:   secure,
		SameSite: http.SameSiteLaxMode,
	})
}
