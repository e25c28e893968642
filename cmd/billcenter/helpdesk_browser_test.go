//go:build ci

package main

import (
	"fmt"
	"net/url"
	"testing"

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
		chromedp.WaitVisible(chromedp.Search(`//section[contains(., "undeliverable")]`)), chromedp.WaitVisible(chromedp.CSS("details[open] input[name=email]")),
	)
	b.shot("office-account")
	b.do(
		chromedp.SendKeys(chromedp.CSS("details[open] input[name=email]"), "bob@bobsbuilding.example"),
		chromedp.SendKeys(chromedp.CSS("details[open] input[name=reason]"), "caller spelled the address"),
		chromedp.Click(chromedp.CSS("details[open] button")),
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
		chromedp.Navigate(up.Staff+here), chromedp.SendKeys(chromedp.CSS("details[open] input[name=email]"), "bob@nowhere"),
		chromedp.SendKeys(chromedp.CSS("details[open] input[name=reason]"), "caller spelled the address"),
		chromedp.Click(chromedp.CSS("details[open] button")), chromedp.WaitVisible(chromedp.CSS(".problem")),
	)
	judged("a form that comes back")
	b.shot("office-refused")
}
