//go:build ci

package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// The page about the mail says what became of it while it is open: it is not loaded again, and who types into it goes on typing.
func TestBrowserSeesWhatBecomesOfTheMail(t *testing.T) {
	up := start(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)

	// No mail goes out while its ledger is held.
	held, err := up.db(t).BeginTxx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = held.Rollback() })
	if _, err := held.Exec(`LOCK TABLE mails IN EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}

	b := openTab(t)
	b.do(
		chromedp.Navigate(up.Portal+"/signup"),
		chromedp.SendKeys(chromedp.CSS(`input[name=account_number]`), account),
		chromedp.SendKeys(chromedp.CSS(`input[name=registration_code]`), code),
		chromedp.SendKeys(chromedp.CSS(`input[name=email]`), "bob@bobsbuilding.example"),
		chromedp.SendKeys(chromedp.CSS(`input[name=username]`), "Bob’sBuilding"),
		chromedp.Click(chromedp.Search(`//button[contains(., "Register")]`)),
		chromedp.WaitVisible(chromedp.CSS(`#delivery`)),
		chromedp.Evaluate[chromedp.Void](`window.thisVisit = true; document.querySelector("main input[name=email]").focus()`),
		chromedp.SendKeys(chromedp.CSS(`main input[name=email]`), "half-typ"),
	)
	says := func(what, want string) {
		t.Helper()
		eventually(t, what, func() error {
			if got := b.text(`document.getElementById("delivery").innerText`); !strings.Contains(got, want) {
				return fmt.Errorf("it says %q", got)
			}
			return nil
		})
	}
	undisturbed := func() {
		t.Helper()
		const now = `JSON.stringify([window.thisVisit === true, document.activeElement.name, document.querySelector("main input[name=email]").value])`
		if got := b.text(now); got != `[true,"email","half-typ"]` {
			t.Errorf("whoever types is disturbed: %s", got)
		}
	}
	says("the mail is on its way", "We are sending it to b***@b***.example.")
	if got := b.text(`document.getElementById("delivery").getAttribute("role")`); got != "status" {
		t.Errorf("what changes is read out as %q", got)
	}
	b.shot("delivery sending")
	undisturbed()

	if err := held.Rollback(); err != nil {
		t.Fatal(err)
	}
	says("the mail was sent", "We sent it to b***@b***.example.")
	if facts := b.text(`document.getElementById("delivery-facts").innerText`); !strings.Contains(facts, "Sent on") || !strings.Contains(facts, "The link works until") {
		t.Errorf("the facts are still %s", facts)
	}
	undisturbed()
	b.shot("delivery sent")

	link := up.inbox.expect(t, "bob@bobsbuilding.example").link(t)
	up.visitor(t).fill(link, fields{"password": passphrase, "password_confirmation": passphrase}).is(http.StatusOK, "/login")
	says("the account is active", "has been chosen")
	undisturbed()
	if title := b.text(`document.querySelector("h1").innerText`); title != "Your account is active" {
		t.Errorf("the title is still %q", title)
	}
	if again := b.text(`document.querySelector("form[action='/signup/resend']").checkVisibility() ? "offered" : ""`); again != "" {
		t.Error("another mail is still offered")
	}
	b.shot("delivery activated")
	b.do(chromedp.Click(chromedp.CSS(`#delivery a`)), chromedp.WaitVisible(chromedp.CSS(`main input[name=password]`)))
}
