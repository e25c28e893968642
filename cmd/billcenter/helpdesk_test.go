package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/net/html"

	"github.com/mongotel/billcenter/events/bus"
)

// staff is a browser of the back office; the first one gets in by the link.
func (s *system) staff(t *testing.T) *visitor {
	v := s.visitor(t)
	v.base = s.Staff
	return v
}

// strays are messages of billing that nobody can take.
func (s *system) strays(t *testing.T, bodies ...string) {
	t.Helper()
	nc, err := nats.Connect(s.NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range bodies {
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: "billing.mongo.invoice.emailed", Data: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
}

// A customer mistyped the address and calls; an agent finds out why and helps.
func TestTheHelpdeskHelpsACaller(t *testing.T) {
	t.Parallel()
	up := start(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)
	bob := up.visitor(t)
	bob.fill("/signup", fields{"account_number": account, "registration_code": code, "email": "bob@bobsbuilding.invalid", "username": "bobby"})
	bob.eventually("/signup/check-email", "did not reach you")

	agent := up.staff(t)
	agent.get("/").is(http.StatusOK, "/").says("works once")
	agent.get("/accounts/mongo/"+account).is(http.StatusForbidden, "/accounts/mongo/"+account)
	agent.get(up.StaffLink).is(http.StatusOK, "/")
	up.staff(t).get(up.StaffLink).says("was used")

	here := "/accounts/mongo/" + account
	page := agent.get("/?tenant=mongo&q=Bobby").is(http.StatusOK, here)
	page.says("undeliverable").says("Correct the address").says("mail-rejected").says("SMTP 550")
	if strings.Contains(page.body, code) || strings.Contains(page.body, "bob@bobsbuilding") {
		t.Errorf("the page shows the code or the address:\n%s", page.text())
	}
	pending := fields{"enrollment": hidden(t, page, "enrollment"), "reason": "caller spelled the address"}
	pending["email"] = "bob@bobsbuilding.example"
	agent.do(http.MethodPost, here+"/correct-address", pending.form()).is(http.StatusOK, here).says("The address is corrected")
	up.inbox.expect(t, "bob@bobsbuilding.example")
	agent.eventually(here, "awaiting-activation")
	agent.do(http.MethodPost, here+"/cancel", pending.form()).is(http.StatusOK, here).says("free")
	agent.do(http.MethodPost, here+"/retire-code", pending.form()).is(http.StatusOK, here).says("billing was asked").says("code-retired")
	up.facts(t, "registered", "activation-mail-failed", "email-corrected", "activation-mailed", "cancelled")
	eventually(t, "the request to billing", func() error {
		if n := len(up.stream(t, bus.StreamRequests)); n != 1 {
			return fmt.Errorf("%d requests, want 1", n)
		}
		return nil
	})
	agent.get("/audit").says("caller spelled the address").says("correct-address").says("retire-code")
	agent.get("/mails").says("accepted").says("mail-rejected").says("550")
}

func TestDeadLettersAreReplayedAndDropped(t *testing.T) {
	t.Parallel()
	up := start(t, "--no-demo")
	up.strays(t, "not json", "nor this")
	operator := up.staff(t)
	operator.get(up.StaffLink)
	operator.eventually("/deadletters", "2 letters")
	up.strays(t, `{"specversion":"1.0","id":"x","source":"//b","type":"net.nobody.v1","data":{}}`)
	operator.eventually("/deadletters", "3 letters")
	numbers := func() (ids []string) {
		for _, l := range decode[[]bus.DeadLetter](t, up.command(t, 0, "deadletters", "list", "--json")) {
			ids = append(ids, fmt.Sprint(l.ID))
		}
		return ids
	}
	before := numbers()
	because := fields{"reason": "a message of a test"}
	operator.do(http.MethodPost, "/deadletters/"+before[2]+"/drop", because.form()).is(http.StatusOK, "/deadletters").says("dropped").says("2 letters")
	because["letters"] = "not-json"
	operator.do(http.MethodPost, "/deadletters/replay", because.form()).is(http.StatusOK, "/deadletters").says("2 replayed")
	eventually(t, "both to die again, under new numbers", func() error {
		if now := numbers(); len(now) != 2 || slices.Contains(before, now[0]) || slices.Contains(before, now[1]) {
			return fmt.Errorf("letters %v, before %v", now, before)
		}
		return nil
	})
	operator.get("/audit?deed=replay-dead-letter").says("a message of a test").says("of codes")
}

// form is what a browser sends of it.
func (f fields) form() url.Values {
	form := url.Values{}
	for name, value := range f {
		form.Set(name, value)
	}
	return form
}

// hidden is what a page's first hidden field of a name holds.
func hidden(t *testing.T, p page, name string) string {
	t.Helper()
	for n := range p.doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == "input" && attribute(n, "name") == name && attribute(n, "type") == "hidden" {
			return attribute(n, "value")
		}
	}
	t.Fatalf("%s has no hidden field %s:\n%s", p.url.Path, name, p.text())
	return ""
}
