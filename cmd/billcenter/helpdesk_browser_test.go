//go:build ci

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// An agent answers "why can't I enroll?" and helps, without scripts, on a wide and on a narrow screen.
func TestBrowserHelpsACaller(t *testing.T) {
	up := start(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)
	bob := up.visitor(t)
	bob.fill("/signup", fields{"account_number": account, "registration_code": code, "email": "bob@bobsbuilding.invalid", "username": "bobby"})
	bob.eventually("/signup/check-email", "did not reach you")
	up.strays(t, "not json", `{"specversion":"1.0","id":"x","source":"//b","type":"net.nobody.v1","data":{}}`)

	b := openTab(t, chromedp.Flag("blink-settings", "scriptEnabled=false"))
	b.do(chromedp.Navigate(up.Staff+"/mails"), chromedp.WaitVisible(chromedp.Search(`//h1[contains(., "Not for you")]`)))
	b.shot("office-visitor")
	b.do(chromedp.Navigate(up.StaffLink), chromedp.WaitVisible(chromedp.CSS("input[name=q]")))
	b.shot("office-home")
	b.do(
		chromedp.SendKeys(chromedp.CSS("input[name=q]"), "bobby"), chromedp.Click(chromedp.CSS("main form button")),
		chromedp.WaitVisible(chromedp.Search(`//section[contains(., "undeliverable")]`)), chromedp.WaitVisible(chromedp.CSS(".deed[open] input[name=email]")),
	)
	b.shot("office-account")
	b.do(
		chromedp.SendKeys(chromedp.CSS(".deed[open] input[name=email]"), "bob@bobsbuilding.example"),
		chromedp.SendKeys(chromedp.CSS(".deed[open] input[name=reason]"), "caller spelled the address"),
		chromedp.Click(chromedp.CSS(".deed[open] button")),
		chromedp.WaitVisible(chromedp.CSS(".done")),
	)
	b.shot("office-account-done")
	up.inbox.expect(t, "bob@bobsbuilding.example")
	for name, path := range map[string]string{"account": "/accounts/mongo/" + url.PathEscape(account), "home": "/", "mails": "/mails", "audit": "/audit", "deadletters": "/deadletters", "me": "/me", "events": "/events"} {
		for _, width := range []int64{1280, 390} {
			b.do(chromedp.EmulateViewport(width, 900), chromedp.Navigate(up.Staff+path), chromedp.WaitVisible(chromedp.CSS("h1")))
			b.shot(fmt.Sprintf("office-%s-%d", name, width))
			if wide := b.text(`String(document.documentElement.scrollWidth)`); wide != fmt.Sprint(width) {
				t.Errorf("%s: on a screen of %d the page is %s wide", path, width, wide)
			}
		}
	}
	b.do(
		chromedp.Navigate(up.Staff+"/deadletters"), chromedp.Click(chromedp.CSS(".scroll tbody tr:first-child a")),
		chromedp.WaitVisible(chromedp.Search(`//h1[contains(., "Dead letter ")]`)),
	)
	b.shot("office-deadletter")
	b.do(chromedp.Navigate(up.Staff+"/me"), chromedp.Click(chromedp.CSS("main form button")), chromedp.WaitVisible(chromedp.Search(`//h1[contains(., "Signed out")]`)))
	b.shot("office-signed-out")
}

// axe-core judges the pages that only staff see, those of a form that comes back among them.
func TestBrowserFindsNoBarriersForStaff(t *testing.T) {
	up := start(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)
	bob := up.visitor(t)
	bob.fill("/signup", fields{"account_number": account, "registration_code": code, "email": "bob@bobsbuilding.invalid", "username": "bobby"})
	bob.eventually("/signup/check-email", "did not reach you")
	up.strays(t, "not json")
	judge := axe(t)
	b := openTab(t)
	judged := func(state string) {
		t.Helper()
		for _, width := range []int64{1280, 390} {
			b.do(chromedp.EmulateViewport(width, 900))
			if found := judge(b); found != "" {
				t.Errorf("%s, %d pixels wide:\n%s", state, width, found)
			}
		}
	}
	b.do(chromedp.Navigate(up.Staff + "/audit"))
	judged("not for you")
	b.do(chromedp.Navigate(up.StaffLink), chromedp.WaitVisible(chromedp.CSS("input[name=q]")))
	here := "/accounts/mongo/" + url.PathEscape(account)
	for _, path := range []string{"/", "/?q=nobody", here, here + "?done=unlock", "/mails", "/audit", "/deadletters", "/deadletters/1", "/deadletters/99", "/me"} {
		b.do(chromedp.Navigate(up.Staff + path))
		judged(path)
	}
	b.do(
		chromedp.Navigate(up.Staff+here), chromedp.SendKeys(chromedp.CSS(".deed[open] input[name=email]"), "bob@nowhere"),
		chromedp.SendKeys(chromedp.CSS(".deed[open] input[name=reason]"), "caller spelled the address"),
		chromedp.Click(chromedp.CSS(".deed[open] button")), chromedp.WaitVisible(chromedp.CSS(".problem")),
	)
	judged("a form that comes back")
	b.shot("office-refused")
	b.do(chromedp.Navigate(up.Staff+here), chromedp.Click(chromedp.CSS(".unverified button")), chromedp.WaitVisible(chromedp.CSS("fieldset.wrong")))
	judged("a caller of whom nothing was chosen")
	b.shot("office-caller-refused")
	b.do(chromedp.Navigate(up.Staff+"/deadletters/1"), chromedp.Click(chromedp.CSS(".deeds form:last-of-type button")), chromedp.WaitVisible(chromedp.CSS("#drop-reason-error")))
	judged("a letter that is dropped for no reason")
	b.do(chromedp.Navigate(up.Staff+"/deadletters"), chromedp.Click(chromedp.CSS(".deeds button")), chromedp.WaitVisible(chromedp.CSS("#replay-reason-error")))
	judged("letters that are replayed for no reason")
}

// An agent verifies a caller and looks at what they see; axe-core judges each page on the way, and a picture of each is kept,
// on paper, too.
func TestBrowserViewsAsTheCustomer(t *testing.T) {
	up := start(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)
	bob := up.visitor(t)
	bob.fill("/signup", fields{"account_number": account, "registration_code": code, "email": "bob@bobsbuilding.example", "username": "Bob’sBuilding"})
	bob.fill(up.inbox.expect(t, "bob@bobsbuilding.example").link(t), fields{"password": passphrase, "password_confirmation": passphrase})
	bob.fill("/login", fields{"username": "Bob’sBuilding", "password": passphrase}).is(http.StatusOK, "/account")
	judge := axe(t)
	b := openTab(t)
	judged := func(state string) {
		t.Helper()
		for _, width := range []int64{1280, 390} {
			b.do(chromedp.EmulateViewport(width, 900))
			if found := judge(b); found != "" {
				t.Errorf("%s, %d pixels wide:\n%s", state, width, found)
			}
			if wide := b.text(`String(document.documentElement.scrollWidth)`); wide != fmt.Sprint(width) {
				t.Errorf("%s: on a screen of %d the page is %s wide", state, width, wide)
			}
			b.shot(fmt.Sprintf("view-%s-%d", strings.ReplaceAll(state, "/", "-"), width))
		}
	}
	b.do(chromedp.Navigate(up.StaffLink), chromedp.Navigate(up.Staff+"/accounts/mongo/"+url.PathEscape(account)))
	judged("not verified")
	b.do(chromedp.Click(chromedp.CSS(`input[value="called-back"]`)), chromedp.Click(chromedp.CSS(".unverified button")), chromedp.WaitVisible(chromedp.CSS(".verified")))
	judged("verified")
	b.paper("account")
	b.do(
		chromedp.Click(chromedp.Search(`//summary[contains(., "View as the customer")]`)), chromedp.SendKeys(chromedp.CSS("#view-as-reason"), "caller asked about the newest invoice"),
		chromedp.Click(chromedp.CSS(".deed[open] button")), chromedp.WaitVisible(chromedp.CSS(".viewing")),
	)
	judged("account")
	for _, path := range []string{"/account/invoices", "/account/payment", "/account/security", "/account/invoices.csv", "/account?lang=es"} {
		b.do(chromedp.Navigate(up.Staff+path), chromedp.WaitVisible(chromedp.CSS(".viewing")))
		judged(path)
	}
	b.do(chromedp.Navigate(up.Staff+"/account"), chromedp.Click(chromedp.CSS("table.invoices a")), chromedp.WaitVisible(chromedp.CSS(".viewing")))
	judged("invoice")
	b.do(chromedp.Click(chromedp.CSS(".viewing button")), chromedp.WaitVisible(chromedp.CSS(".done")))
	judged("left")
	b.do(chromedp.Navigate(up.Staff+"/account"), chromedp.WaitVisible(chromedp.Search(`//h1[contains(., "The view is over")]`)))
	judged("over")
	b.do(chromedp.Navigate(up.Staff + "/audit"))
	judged("audit")
	for _, path := range []string{"/audit", "/mails", "/funnel", "/events/InvoiceEmailed"} {
		b.do(chromedp.Navigate(up.Staff + path))
		b.paper(path)
	}
	b.do(chromedp.EmulateViewport(1280, 900), chromedp.Navigate(up.Portal+"/login"), chromedp.SendKeys(chromedp.CSS("main input[name=username]"), "Bob’sBuilding"), chromedp.SendKeys(chromedp.CSS("main input[name=password]"), passphrase),
		chromedp.Click(chromedp.CSS("main button[type=submit]")), chromedp.WaitVisible(chromedp.CSS("main table")), chromedp.Navigate(up.Portal+"/account/security"))
	b.shot("view-told-to-the-customer")
}

// printed has the style sheets believe that they are on paper; "" ends it.
func printed(media string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: media})
		return err
	})
}

// paper is what comes out of the printer: no forms, and nothing wider than the sheet.
func (b *tab) paper(name string) {
	b.t.Helper()
	const letter = 720 // pixels between the margins
	b.do(chromedp.EmulateViewport(letter, 900), printed("print"))
	if wide := b.text(`String(document.documentElement.scrollWidth)`); wide != fmt.Sprint(letter) {
		widest := b.text(`[...document.querySelectorAll("main *")].filter(n => n.getBoundingClientRect().right > ` + fmt.Sprint(letter) + `).map(n => n.outerHTML.slice(0, 80)).slice(0, 3).join("\n")`)
		b.t.Errorf("%s: on paper of %d the page is %s wide:\n%s", name, letter, wide, widest)
	}
	if forms := b.text(`String([...document.querySelectorAll("form, nav, button")].filter(n => n.offsetParent !== null).length)`); forms != "0" {
		b.t.Errorf("%s: %s forms are printed", name, forms)
	}
	b.shot("paper-" + strings.ReplaceAll(name, "/", "-"))
	b.do(printed(""))
}
