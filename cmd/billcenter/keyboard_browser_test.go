//go:build ci

package main

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A customer who has a keyboard only: from the front page to the invoices, past a mistake, seeing at each stop where the focus is.
func TestBrowserObeysTheKeyboardAlone(t *testing.T) {
	up := start(t)
	b := openTab(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)

	// focused tells what has the focus: its name, id or text; and that its place is seen.
	focused := func() string {
		return b.text(`(() => { const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();
			if (e === document.body) return "";
			const seen = r.width > 0 && r.bottom > 0 && r.top < innerHeight && (s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2);
			return (e.name || e.id || e.innerText.trim()) + (seen ? "" : " UNSEEN"); })()`)
	}
	reach := func(wanted string) {
		t.Helper()
		var stops []string
		for range 40 {
			b.do(chromedp.KeyEvent(kb.Tab))
			stop := focused()
			if strings.HasSuffix(stop, "UNSEEN") {
				t.Errorf("the focus is on %q, and nothing shows it", stop)
			}
			if stops = append(stops, stop); strings.TrimSuffix(stop, " UNSEEN") == wanted {
				return
			}
		}
		t.Fatalf("Tab never reaches %q: %q", wanted, stops)
	}
	enter := func(then string) {
		t.Helper()
		b.do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(chromedp.Search(then)))
	}
	typed := func(field, text string) {
		t.Helper()
		reach(field)
		b.do(chromedp.KeyEvent(text))
	}

	b.do(chromedp.Navigate(up.Portal + "/"))
	reach("Skip to the content")
	reach("Sign up for an Account")
	enter(`//input[@name="account_number"]`)
	typed("account_number", account)
	enter(`//*[@id="problem"]`)
	if at := focused(); !strings.HasPrefix(at, "problem") {
		t.Errorf("after a mistake the focus is on %q, not on the summary", at)
	}
	// Followed by a click: of a synthetic Enter the second half would go to the field, and send the form.
	reach("Enter the registration code.")
	b.do(chromedp.Evaluate[chromedp.Void](`document.activeElement.click()`), chromedp.WaitVisible(chromedp.CSS(`#registration_code:focus`)))
	b.do(chromedp.KeyEvent(code))
	typed("email", "bob@bobsbuilding.example")
	typed("username", "Bobby")
	reach("Register")
	enter(`//h1[contains(., "Check your")]`)

	b.do(chromedp.Navigate(up.inbox.expect(t, "bob@bobsbuilding.example").link(t)))
	typed("password", passphrase)
	typed("password_confirmation", passphrase)
	enter(`//h1[contains(., "Log in")]`)
	typed("password", passphrase) // the username stands there
	enter(`//table`)
	reach("Invoices")
	enter(`//h1[contains(., "Invoices")]`)
	reach("Log out")
	enter(`//h1[contains(., "Log in")]`)
}
