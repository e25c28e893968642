package helpdesk

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// mostFound bounds a search's page; who finds more searches for something surer.
const mostFound = 50

type home struct {
	Title, Tenant, Wanted string
	Problems              []problem
	Tenants               []string
	MayLookUp             bool
	Found                 []enrollment.Found
}

// home searches accounts by what a caller can name; one find leads straight to it. The parameter number is another name of q.
func (f *office) home(w http.ResponseWriter, r *http.Request, by enrollment.Staff) error {
	q := r.URL.Query()
	page := home{Title: "Accounts", Tenants: f.Tenants, Tenant: q.Get("tenant"), Wanted: strings.TrimSpace(q.Get("q") + q.Get("number")), MayLookUp: may(by.Roles, lookUp)}
	if page.Tenant == "" && len(f.Tenants) > 0 {
		page.Tenant = f.Tenants[0]
	}
	if page.Wanted == "" {
		return f.show(w, http.StatusOK, "home", page)
	}
	if !page.MayLookUp {
		f.refuse(w, r, by, lookUp)
		return nil
	}
	found, err := f.Store.FindAccounts(r.Context(), page.Tenant, page.Wanted, mostFound)
	if err != nil && !errors.Is(err, enrollment.ErrUnknown) {
		return err
	}
	switch len(found) {
	case 0:
		page.Problems = []problem{{Field: "q", Text: "This tenant has nothing by that name: billing never named it. Compare with the invoice, and look at the dead letters."}}
		return f.show(w, http.StatusNotFound, "home", page)
	case 1:
		http.Redirect(w, r, accountPath(found[0].Tenant, found[0].AccountNumber), http.StatusSeeOther)
		return nil
	}
	page.Found = found
	return f.show(w, http.StatusOK, "home", page)
}

func accountPath(tenant, number string) string {
	return "/accounts/" + url.PathEscape(tenant) + "/" + url.PathEscape(number)
}

// remedies are the deeds that an account's page offers, in its order.
var remedies = []struct {
	Deed        enrollment.Deed
	Name, Means string
	standings   string // of the diagnosis to which it is the answer
	pending     bool   // only where somebody is enrolling
	users       bool   // only where somebody can log in
}{
	{enrollment.SentAgain, "Send the activation mail again", "The same link, to the same address.", "awaiting-activation", true, false},
	{enrollment.CorrectedAddress, "Correct the address", "The mail goes to the new address; older links are dead. Verify the caller first.", "undeliverable", true, false},
	{enrollment.Unlocked, "Lift the waits", "Ends the waits after wrong codes and wrong passwords. What was guessed stays counted.", "locked", false, false},
	{enrollment.RetiredCode, "Retire the code and ask billing for a new one", "Every code that was e-mailed so far is dead. The new one goes to the address of record only, once a day at most.", "code-expired code-retired no-code disowned", false, false},
	{enrollment.CancelledEnrollment, "Cancel the enrollment", "Code and username are free at once; the link in the mail is dead.", "", true, false},
	{enrollment.SignedOutEverywhere, "Sign a user out everywhere", "Ends every session. The password stays.", "", false, true},
	{enrollment.ViewedAs, "View as the customer", "Shows the account pages as the user sees them, read only, for 15 minutes and while the caller counts as verified. Each page is written down, and the user is told.", "", false, true},
}

// remedy is one of them as a page shows it.
type remedy struct {
	Name, Means string
	Open        bool   // it is the answer, or was tried
	Action      string // where its form goes
	Blocked     string // why there is no form; empty: there is one
	Enrollment  string
	Fields      []field
}

type account struct {
	Title    string
	Problems []problem
	Dossier  enrollment.Dossier
	Caller   enrollment.Caller
	Verify   remedy
	MayAct   bool
	Done     string
	Remedies []remedy
}

// done says what a deed came to; the address names it, so that reloading the page does nothing again.
var done = map[string]string{
	"send-again":          "The mail is on its way.",
	"correct-address":     "The address is corrected, and a mail is on its way to it.",
	"unlock":              "The waits are lifted.",
	"unlock-none":         "Nobody had to wait; earlier wrong tries are forgotten.",
	"retire-code":         "The codes are retired, and billing was asked for a new one.",
	"retire-code-only":    "The codes are retired. Billing was asked for a new one a short while ago and is not asked again.",
	"cancel":              "The enrollment is cancelled; code and username are free.",
	"sign-out-everywhere": "All sessions of the user are ended.",
	"verify-caller":       "Recorded. It holds for 30 minutes.",
	"verify-caller-not":   "Recorded. Tell the caller nothing about this account.",
	"view-end":            "You left the view.",
}

func (f *office) account(w http.ResponseWriter, r *http.Request, by enrollment.Staff) error {
	return f.showAccount(w, r, by, http.StatusOK, attempt{})
}

// showAccount shows an account's page, and on it the form that was tried and refused.
func (f *office) showAccount(w http.ResponseWriter, r *http.Request, by enrollment.Staff, status int, tried attempt) error {
	d, err := f.Store.Dossier(r.Context(), r.PathValue("tenant"), r.PathValue("number"))
	if err != nil {
		return err
	}
	caller, err := f.Store.Caller(r.Context(), by, d.Tenant, d.AccountNumber)
	if err != nil {
		return err
	}
	page := account{Title: d.AccountNumber, Dossier: d, Caller: caller, MayAct: may(by.Roles, act)}
	page.Verify = remedy{Name: "Record", Action: accountPath(d.Tenant, d.AccountNumber) + "/" + string(enrollment.VerifiedCaller), Fields: []field{checkField()}}
	page.Problems = tried.fill(enrollment.VerifiedCaller, page.Verify.Fields)
	page.Verify.Open = len(page.Problems) > 0
	for _, k := range remedies {
		if k.pending && d.Pending == nil || k.users && len(d.Users) == 0 {
			continue
		}
		shown := remedy{
			Name: k.Name, Means: k.Means, Action: accountPath(d.Tenant, d.AccountNumber) + "/" + string(k.Deed),
			Open: k.standings != "" && strings.Contains(" "+k.standings+" ", " "+d.Diagnosis.Standing+" "),
		}
		if k.pending {
			shown.Enrollment = d.Pending.Enrollment.String()
		}
		if k.users {
			shown.Fields = append(shown.Fields, userField(string(k.Deed), d.Users))
		}
		if k.Deed == enrollment.CorrectedAddress {
			shown.Fields = append(shown.Fields, field{ID: "new-address", Name: enrollment.FieldEmail, Label: "New e-mail address", Type: "email", Limit: enrollment.MaxAddress})
		}
		if k.Deed == enrollment.ViewedAs && !caller.Verified() {
			shown.Blocked = "Verify the caller first."
		}
		shown.Fields = append(shown.Fields, reasonField(string(k.Deed)))
		if wrong := tried.fill(k.Deed, shown.Fields); wrong != nil {
			page.Problems, shown.Open = wrong, true
		}
		page.Remedies = append(page.Remedies, shown)
	}
	if tried.No != nil && page.Problems == nil { // what was tried is not offered any more
		page.Problems = []problem{{Text: words(tried.No)}}
	}
	if page.Problems == nil {
		page.Done = done[r.URL.Query().Get("done")]
	}
	return f.show(w, status, "account", page)
}

// act does what a form asks for. The enrollment is the one that the form was made for, so that nobody acts on another one
// that began meanwhile.
func (f *office) act(w http.ResponseWriter, r *http.Request, by enrollment.Staff) error {
	tenant, number, what := r.PathValue("tenant"), r.PathValue("number"), enrollment.Deed(r.PathValue("deed"))
	errand := enrollment.Errand{By: by, Reason: strings.TrimSpace(r.PostFormValue("reason"))}
	id, err := uuid.Parse(r.PostFormValue("enrollment"))
	if err != nil {
		id = enrollment.ID{}
	}
	came := accountPath(tenant, number) + "?done=" + string(what)
	switch what {
	case enrollment.VerifiedCaller:
		how := enrollment.CallerCheck(r.PostFormValue(string(enrollment.FieldHow)))
		if err = f.Store.VerifyCaller(r.Context(), by, tenant, number, how); how == enrollment.NotVerified {
			came += "-not"
		}
	case enrollment.ViewedAs:
		err = f.Store.BeginView(r.Context(), errand, tenant, number, r.PostFormValue("username"))
		came = viewPath
	case enrollment.SentAgain:
		err = f.Store.SendAgain(r.Context(), errand, tenant, id)
	case enrollment.CorrectedAddress:
		var to enrollment.Address
		if to, err = enrollment.ParseAddress(r.PostFormValue("email")); err == nil {
			err = f.Store.CorrectAddressFor(r.Context(), errand, tenant, id, to)
		}
	case enrollment.CancelledEnrollment:
		err = f.Store.CancelFor(r.Context(), errand, tenant, id)
	case enrollment.Unlocked:
		var lifted int
		if lifted, err = f.Store.Unlock(r.Context(), errand, tenant, number); lifted == 0 {
			came += "-none"
		}
	case enrollment.RetiredCode:
		var asked bool
		if asked, err = f.Store.RetireCode(r.Context(), errand, tenant, number); !asked {
			came += "-only"
		}
	case enrollment.SignedOutEverywhere:
		err = f.Store.SignOutFor(r.Context(), errand, tenant, number, r.PostFormValue("username"))
	default:
		err = enrollment.ErrUnknown
	}
	if tried, no := refused(err, what, r.PostForm); no {
		return f.showAccount(w, r, by, http.StatusUnprocessableEntity, tried)
	}
	if err != nil {
		return err
	}
	f.Log.InfoContext(r.Context(), "staff acted", "actor", by.Subject, "deed", what, "tenant", tenant)
	http.Redirect(w, r, came, http.StatusSeeOther)
	return nil
}
