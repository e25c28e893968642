package portal

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// securityPage is the Body of the page about the log-in.
type securityPage struct {
	Username string
	Email    enrollment.Address
	Places   []place
	Happened []happened
	Fields   []field
	Answer   answer
	Notice   string
}

// place is a browser that is logged in.
type place struct {
	Session                      uuid.UUID
	Browser, Source, Since, Used string
	Here                         bool
}

// happened is something that was done with the log-in.
type happened struct{ When, What, Source string }

func (p *portal) security(w http.ResponseWriter, r *http.Request, _ enrollment.Customer) error {
	return p.showSecurity(w, r, answer{Status: http.StatusOK})
}

// prove compares the present password of who is logged in, for what a browser that was left open must not do. The try is
// counted as at a log-in, and so are many of them; what the password was for takes back the one that was right.
func (p *portal) prove(r *http.Request, c enrollment.Customer, typed string) (*enrollment.Refusal, error) {
	var refusal *enrollment.Refusal
	if errors.As(given(enrollment.FieldCurrent, typed), &refusal) {
		return refusal, nil
	}
	key, _ := enrollment.UsernameKey(c.Username)
	credential, err := p.store.AttemptLogIn(r.Context(), tenantIn(r.Context()).ID, key, source(r, p.proxies))
	if errors.As(err, &refusal) {
		return refusal, nil
	} else if err != nil {
		return nil, err
	}
	right, err := p.passwords.verify(r.Context(), credential.PasswordHash, enrollment.NormalizePassword(typed))
	if err != nil {
		return nil, err
	}
	if !right || credential.User != p.user(r) {
		return &enrollment.Refusal{Reason: enrollment.PasswordWrong, Field: enrollment.FieldCurrent}, nil
	}
	return nil, nil
}

// changePassword leaves the browser that asks logged in, under a new session.
func (p *portal) changePassword(w http.ResponseWriter, r *http.Request, c enrollment.Customer) error {
	f, err := readForm(w, r)
	if err != nil {
		return err
	}
	tenant, user, from := tenantIn(r.Context()), p.user(r), source(r, p.proxies)
	context := []string{c.Username, string(c.Email), tenant.Name}
	for _, a := range c.Accounts {
		context = append(context, a.AccountNumber)
	}
	if broken := chosen(f, tenant.Policy.PasswordMin, context...); broken != nil {
		var all rules
		all.add(given(enrollment.FieldCurrent, f.value(enrollment.FieldCurrent)))
		return p.showSecurity(w, r, explain(r.Context(), append(all, broken...)...))
	}
	no, err := p.prove(r, c, f.value(enrollment.FieldCurrent))
	if err != nil {
		return err
	}
	if no != nil {
		return p.showSecurity(w, r, explain(r.Context(), no))
	}
	hash, err := p.passwords.hash(r.Context(), enrollment.NormalizePassword(f.value(enrollment.FieldPassword)))
	if err != nil {
		return err
	}
	epoch, err := p.store.ChangePassword(r.Context(), tenant.ID, user, hash, from)
	if err != nil {
		return err
	}
	if err := p.startSession(r, user, epoch); err != nil {
		return err
	}
	p.sessions(r).Put(r.Context(), sessionNotice, noticePasswordChanged)
	http.Redirect(w, r, "/account/security", http.StatusSeeOther)
	return nil
}

func (p *portal) signOutEverywhere(w http.ResponseWriter, r *http.Request, _ enrollment.Customer) error {
	if err := p.store.SignOutEverywhere(r.Context(), tenantIn(r.Context()).ID, p.user(r), source(r, p.proxies)); err != nil {
		return err
	}
	return p.logOut(w, r)
}

// endSession logs another browser out. This one has the button in the masthead, so that nobody logs out by mistake.
func (p *portal) endSession(w http.ResponseWriter, r *http.Request, _ enrollment.Customer) error {
	f, err := readForm(w, r)
	if err != nil {
		return err
	}
	id, err := uuid.Parse(f["session"])
	if err != nil {
		p.notFound(w, r)
		return nil
	}
	err = p.store.EndSessionOf(r.Context(), tenantIn(r.Context()).ID, p.user(r), id, source(r, p.proxies))
	if errors.Is(err, enrollment.ErrUnknown) {
		p.notFound(w, r)
		return nil
	} else if err != nil {
		return err
	}
	p.sessions(r).Put(r.Context(), sessionNotice, noticeSessionEnded)
	http.Redirect(w, r, "/account/security", http.StatusSeeOther)
	return nil
}

func (p *portal) showSecurity(w http.ResponseWriter, r *http.Request, a answer) error {
	s, err := p.store.Security(r.Context(), tenantIn(r.Context()).ID, p.user(r))
	if err != nil {
		return err
	}
	a.Tenant = tenantIn(r.Context())
	a.writeHeader(w.Header())
	here := ""
	if viewIn(r.Context()) == nil {
		here = p.sessions(r).GetString(r.Context(), sessionName)
	}
	page := securityPageOf(r, s, a, here)
	page.Notice = p.takeNotice(r)
	return p.show(w, r, a.Status, view{
		Name: "security", Title: voiceIn(r.Context()).say("Security"), Problem: len(a.Problems) > 0, Body: page,
	})
}

// securityPageOf puts it into words. here is the name of the session that asks.
func securityPageOf(r *http.Request, s enrollment.Security, a answer, here string) securityPage {
	v := voiceIn(r.Context())
	fields := append([]field{
		{Name: enrollment.FieldCurrent, Label: v.say("Present password"), Type: "password", Autocomplete: "current-password"},
	}, v.newPasswordFields(tenantIn(r.Context()).Policy.PasswordMin)...)
	page := securityPage{Username: s.Username, Email: s.Email, Fields: fields, Answer: a.on(fields)}
	for _, each := range s.Sessions {
		if at, ok := placeOf(r, each, here); ok {
			page.Places = append(page.Places, at)
		}
	}
	for _, each := range s.Activity {
		from := network(each.Source)
		if each.Source == "helpdesk" {
			from = v.say("by support")
		}
		page.Happened = append(page.Happened, happened{When: moment(r.Context(), each.At), What: v.activity(each), Source: from})
	}
	return page
}

// placeOf reads what a session knows about its browser; false for one that an unknown version wrote.
func placeOf(r *http.Request, s enrollment.Session, here string) (place, bool) {
	_, values, err := jsonCodec{}.Decode(s.Data)
	if err != nil {
		return place{}, false
	}
	name, _ := values[sessionName].(string)
	browser, _ := values[sessionBrowser].(string)
	from, _ := values[sessionSource].(string)
	at := place{Session: s.ID, Browser: browser, Source: network(from), Used: moment(r.Context(), s.UsedAt), Here: name != "" && name == here}
	if since, ok := values[sessionSince].(int64); ok {
		at.Since = moment(r.Context(), time.Unix(since, 0))
	}
	return at, true
}

// network writes a single address without the length of its prefix.
func network(source string) string { return strings.TrimSuffix(source, "/32") }

func (v *voice) activity(a enrollment.Activity) string {
	switch a.What {
	case "signed-in":
		return v.say("Logged in")
	case "password-changed":
		return v.say("Password changed")
	case "password-reset":
		return v.say("New password set with a link from an e-mail")
	case "account-added":
		return v.say("Account added")
	case "signed-out-everywhere":
		return v.say("Logged out everywhere")
	case "session-ended":
		return v.say("One browser logged out from another one")
	case "viewed-by-support":
		return v.say("Support looked at your pages")
	case "colleague-removed":
		return v.say("Ended the access of %s to an account", a.About)
	case "access-left":
		return v.say("Gave up the access to account %s", a.About)
	case "access-lost":
		return v.say("A colleague ended your access to account %s", a.About)
	default:
		return a.What
	}
}

// browserOf names a browser as its owner would: "Firefox, Windows". Unknown ones have no name.
func browserOf(userAgent string) string {
	pick := func(names [][2]string) string {
		for _, n := range names {
			if strings.Contains(userAgent, n[0]) {
				return n[1]
			}
		}
		return ""
	}
	// The order matters: most browsers claim to be others, too.
	browser := pick([][2]string{{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"}, {"CriOS/", "Chrome"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}})
	system := pick([][2]string{{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"Mac OS X", "Mac"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"}})
	return strings.Trim(browser+", "+system, ", ")
}
