package helpdesk

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/mongotel/billcenter/schema/enrollment"
)

const page = "/accounts/mongo/100482-7"

func TestACallerIsVerifiedBeforeAnythingIsTold(t *testing.T) {
	t.Parallel()
	d := open(t)
	b := d.as(Agent)
	b.get(page).is(t, 200, "Caller not verified")
	b.get(page).is(t, 200, "<b>You may say only:</b> <q>Use the code of the newest")
	b.post(page+"/verify-caller", nil).is(t, 422, "Choose how the caller was verified.")
	b.post(page+"/verify-caller", url.Values{"how": {"nicely"}}).is(t, 422, "Choose how the caller was verified.")
	b.get(page).is(t, 200, "Caller not verified")
	b.post(page+"/verify-caller", url.Values{"how": {"called-back"}}).is(t, 303, page+"?done=verify-caller")
	verified := b.get(page)
	verified.is(t, 200, "The caller was called back at the number of record. That holds for you and this account until")
	if strings.Contains(verified.body, "You may say only") {
		t.Error("the page still says that nothing may be told")
	}
	d.as(Supervisor).get(page).is(t, 200, "Caller not verified")
	b.post(page+"/verify-caller", url.Values{"how": {"not-verified"}}).is(t, 303, page+"?done=verify-caller-not")
	b.get(page+"?done=verify-caller-not").is(t, 200, "Tell the caller nothing")
	b.get(page).is(t, 200, "Caller not verified")
	b.post("/accounts/mongo/5/verify-caller", url.Values{"how": {"in-person"}}).is(t, 404, "never named")
}

func TestAnAgentViewsAsTheCustomer(t *testing.T) {
	t.Parallel()
	d := open(t)
	name := d.enrolls("bob@bobsbuilding.example")
	b := d.as(Agent)
	view := url.Values{"username": {name}, "reason": {"caller asked about INV-1"}}
	over := func(b *browser) {
		t.Helper()
		b.get("/account").is(t, http.StatusGone, "The view is over")
		b.get("/brand.css").is(t, http.StatusGone, "The view is over")
		b.post("/view/leave", nil).is(t, http.StatusGone, "The view is over")
	}
	over(b)
	b.get(page).is(t, 200, "Verify the caller first.")
	b.post(page+"/view-as", view).is(t, 422, "nothing was opened")
	b.post(page+"/verify-caller", url.Values{"how": {"account-pin"}}).is(t, 303, "")
	b.post(page+"/view-as", url.Values{"username": {name}, "reason": {"x"}}).is(t, 422, "at least 5 characters")
	over(b)
	b.post(page+"/view-as", view).is(t, 303, "/account")
	b.get("/account").is(t, 200, "GET /account of "+name+" in mongo")
	b.get("/account/invoices/INV%2F1%00?account=2").is(t, 200, "GET /account/invoices/INV/1\x00 of "+name)
	b.get("/brand.css").is(t, 200, "GET /brand.css")
	b.post("/account/security", nil).is(t, 200, "POST /account/security") // which the customer's pages refuse
	b.post("/account/security", nil, "Sec-Fetch-Site", "cross-site").is(t, 403, "Nothing was done")
	b.post("/view/leave", nil, "Sec-Fetch-Site", "cross-site").is(t, 403, "Nothing was done")
	over(d.as(Supervisor))
	d.browser().get("/account").is(t, 403, "one has to be")
	b.post("/view/leave", nil).is(t, 303, page+"?done=view-end")
	over(b)

	trail, err := d.Audit(t.Context(), "idp#grace", "", 20)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range trail {
		if e.Deed == enrollment.ViewedAs || e.Deed == enrollment.ViewedPage || e.Deed == enrollment.EndedView {
			detail, _, _ := strings.Cut(e.Detail, ", until")
			lines = append(lines, string(e.Deed)+" "+e.Subject+" "+e.Reason+": "+detail)
		}
	}
	line := func(deed, detail string) string {
		return deed + " 100482-7 caller asked about INV-1: user " + name + detail
	}
	want := []string{line("view-end", ", left"), line("view-page", ", POST /account/security"), line("view-page", ", GET /account/invoices/INV%2F1%00"), line("view-page", ", GET /account"), line("view-as", "")}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("the trail (-want +got):\n%s", diff)
	}
	b.get(page).is(t, 200, "staff: view-page")
}

func TestAViewEndsWithItsTime(t *testing.T) {
	t.Parallel()
	d := open(t)
	name := d.enrolls("bob@bobsbuilding.example")
	b := d.as(Agent)
	b.post(page+"/verify-caller", url.Values{"how": {"in-person"}})
	b.post(page+"/view-as", url.Values{"username": {name}, "reason": {"caller asked about INV-1"}}).is(t, 303, "/account")
	b.get("/account").is(t, 200, "of "+name)
	d.DB.MustExec(`UPDATE views SET began_at = began_at - interval '15 minutes', expires_at = expires_at - interval '15 minutes'`)
	b.get("/account").is(t, http.StatusGone, "The view is over")
}

// A form that is refused comes back as it was sent, with what is wrong above it and beside the field.
func TestAFormThatIsRefusedComesBack(t *testing.T) {
	t.Parallel()
	d := open(t)
	id := d.registers("bob@bobsbuilding.example").String()
	agent, operator := d.as(Agent), d.as(Operator)
	for _, c := range []struct {
		name  string
		b     *browser
		path  string
		form  url.Values
		field string // its id; empty: the whole form is wrong
		says  string
		kept  map[string]string // values by id
	}{
		{"no address", agent, page + "/correct-address", url.Values{"enrollment": {id}, "email": {"nonsense"}, "reason": {"caller spelled it"}},
			"new-address", "not an e-mail address", map[string]string{"new-address": "nonsense", "correct-address-reason": "caller spelled it"}},
		{"no reason", agent, page + "/correct-address", url.Values{"enrollment": {id}, "email": {"right@bobsbuilding.example"}, "reason": {"hm"}},
			"correct-address-reason", "at least 5", map[string]string{"new-address": "right@bobsbuilding.example", "correct-address-reason": "hm", "cancel-reason": ""}},
		{"too soon", agent, page + "/send-again", url.Values{"enrollment": {id}, "reason": {"caller asked"}}, "", "the next may be asked for in", map[string]string{"send-again-reason": "caller asked"}},
		{"no way of verifying", agent, page + "/verify-caller", nil, "how", "Choose how", nil},
		{"no reason to drop a letter", operator, "/deadletters/7/drop", url.Values{"reason": {"x"}}, "drop-reason", "at least 5", map[string]string{"drop-reason": "x", "replay-reason": ""}},
		{"no reason to replay a letter", operator, "/deadletters/7/replay", url.Values{"reason": {"x"}}, "replay-reason", "at least 5", map[string]string{"drop-reason": "", "replay-reason": "x"}},
		{"no reason to replay them all", operator, "/deadletters/replay", url.Values{"reason": {"x"}}, "replay-reason", "at least 5", map[string]string{"replay-reason": "x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d.t = t
			got := c.b.post(c.path, c.form)
			got.is(t, 422, c.says)
			doc, err := html.Parse(strings.NewReader(got.body))
			if err != nil {
				t.Fatal(err)
			}
			byID := map[string]*html.Node{}
			title := ""
			for n := range doc.Descendants() {
				if id := attribute(n, "id"); id != "" {
					if byID[id] != nil {
						t.Errorf("two have the id %s", id)
					}
					byID[id] = n
				}
				if n.DataAtom == atom.Title {
					title = n.FirstChild.Data
				}
			}
			if !strings.HasPrefix(title, "Error: ") {
				t.Errorf("the title is %q", title)
			}
			summary := byID["problem"]
			if summary == nil || attribute(summary, "role") != "alert" || attribute(summary, "tabindex") != "-1" || !has(summary, "autofocus") {
				t.Fatalf("no summary takes the focus:\n%s", got.body)
			}
			leads := ""
			for n := range summary.Descendants() {
				if n.DataAtom == atom.A {
					leads = strings.TrimPrefix(attribute(n, "href"), "#")
				}
			}
			if leads != c.field {
				t.Errorf("the summary leads to %q, want %q", leads, c.field)
			}
			if c.field != "" {
				input := byID[c.field]
				if input == nil || byID[c.field+"-error"] == nil || !strings.Contains(attribute(input, "aria-describedby"), c.field+"-error") {
					t.Errorf("nothing beside the field says what is wrong:\n%s", got.body)
				}
			}
			for id, want := range c.kept {
				if byID[id] == nil || attribute(byID[id], "value") != want {
					t.Errorf("%s does not hold %q", id, want)
				}
			}
			for n := byID[c.field]; n != nil; n = n.Parent {
				if n.DataAtom == atom.Details && !has(n, "open") {
					t.Error("the form is folded away")
				}
			}
		})
	}
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, key string) bool {
	for _, a := range n.Attr {
		if a.Key == key {
			return true
		}
	}
	return false
}
