//go:build ci

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestBrowserFindsNoBarriers lets axe-core judge the pages in the states that a customer and an agent come to see, by the
// rules of WCAG 2.2 AA.
func TestBrowserFindsNoBarriers(t *testing.T) {
	up := start(t)
	judge := axe(t)
	b := openTab(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)
	press := func(button string) chromedp.Action[chromedp.Void] {
		return chromedp.Click(chromedp.Search(`//main//button[contains(., "` + button + `")]`))
	}
	judged := func(state string, steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		b.do(append(steps, chromedp.WaitReady(chromedp.CSS(`main, body.page`)))...)
		for _, width := range []int64{1280, 390} {
			b.do(chromedp.EmulateViewport(width, 900))
			if found := judge(b); found != "" {
				t.Errorf("%s, %d pixels wide:\n%s", state, width, found)
			}
			if wide := b.text(`String(document.documentElement.scrollWidth)`); width == 390 && wide != "390" {
				t.Errorf("%s: on a screen of 390 the page is %s wide", state, wide)
			}
			b.shot(fmt.Sprintf("barriers %s %d", strings.ReplaceAll(state, "/", " "), width))
		}
	}
	typed := func(name, text string) chromedp.Action[chromedp.Void] { // in the place of what the page kept
		input := `main input[name=` + name + `]`
		return func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
			if _, err := chromedp.WaitVisible(chromedp.CSS(input))(ctx, target); err != nil {
				return chromedp.Void{}, err
			}
			if _, err := chromedp.Evaluate[chromedp.Void](`document.querySelector("`+input+`").value = ""`)(ctx, target); err != nil {
				return chromedp.Void{}, err
			}
			return chromedp.SendKeys(chromedp.CSS(input), text)(ctx, target)
		}
	}
	b.do(chromedp.Navigate(`data:text/html,<html><body><main><img src="x"></main></body></html>`))
	if found := judge(b); !strings.Contains(found, "image-alt") {
		t.Fatalf("a picture without a text is not found, only: %s", found)
	}

	for _, path := range []string{"/", "/signup", "/login", "/help/code", "/forgot-password", "/forgot-username", "/activate/damaged", "/reset-password/damaged", "/nowhere", "/?lang=es", "/signup?lang=es"} {
		judged(path, chromedp.Navigate(up.Portal+path))
	}
	judged("sign-up with nothing entered", chromedp.Navigate(up.Portal+"/signup?lang=en"), press("Register"))
	judged("sign-up with a wrong code", typed("account_number", account), typed("registration_code", "AAAA-AAAA-AAAA"), typed("email", "bob@bobsbuilding.example"), typed("username", "Bob’sBuilding"), press("Register"))
	judged("check e-mail", chromedp.Navigate(up.Portal+"/signup"), typed("account_number", account), typed("registration_code", code),
		typed("email", "bob@bobsbuilding.example"), typed("username", "Bob’sBuilding"), press("Register"), chromedp.WaitVisible(chromedp.Search(`//h1[contains(., "Check your")]`)))
	link := up.inbox.expect(t, "bob@bobsbuilding.example").link(t)
	judged("not me", chromedp.Navigate(link+"/not-me"))
	judged("choose a password", chromedp.Navigate(link))
	judged("choose a password, all suggestions", chromedp.Click(chromedp.CSS(`main summary`)), chromedp.WaitVisible(chromedp.CSS(`.suggestion li`)))
	judged("passwords that differ", typed("password", passphrase), typed("password_confirmation", passphrase+"!"), chromedp.Click(chromedp.CSS(`main button[type=submit]`)), chromedp.WaitVisible(chromedp.CSS(`#problem`)))
	judged("activated", typed("password", passphrase), typed("password_confirmation", passphrase), chromedp.Click(chromedp.CSS(`main button[type=submit]`)), chromedp.WaitVisible(chromedp.CSS(`main input[name=username]`)))
	judged("a link that was used", chromedp.Navigate(link))
	judged("nothing to cancel", chromedp.Navigate(link+"/not-me"))
	judged("log-in refused", chromedp.Navigate(up.Portal+"/login"), typed("username", "bob'sbuilding"), typed("password", "not the password"), chromedp.Click(chromedp.CSS(`main button[type=submit]`)), chromedp.WaitVisible(chromedp.CSS(`#problem`)))
	judged("/account", chromedp.Navigate(up.Portal+"/login"), typed("username", "bob'sbuilding"), typed("password", passphrase), chromedp.Click(chromedp.CSS(`main button[type=submit]`)), chromedp.WaitVisible(chromedp.CSS(`main table`)))
	judged("/account/users, alone", chromedp.Navigate(up.Portal+"/account/users"))
	colleague(t, up, account)
	for _, path := range []string{"/account/invoices", "/account/payment", "/account/security", "/account/users"} {
		judged(path, chromedp.Navigate(up.Portal+path))
	}
	judged("end an access", chromedp.Click(chromedp.Search(`//main//a[contains(., "End access")]`)), chromedp.WaitVisible(chromedp.CSS(`#current_password`)))
	judged("end an access, refused", chromedp.SendKeys(chromedp.CSS(`#current_password`), "not the password\r"), chromedp.WaitVisible(chromedp.CSS(`#problem`)))
	judged("an access ended", typed("current_password", passphrase+"\r"), chromedp.WaitVisible(chromedp.CSS(`.notice`)))
	for _, path := range []string{"/", "/events", "/events/InvoiceEmailed", "/funnel?trend=week&breakdown=locale", "/funnel?window=0s"} {
		judged("back office "+path, chromedp.Navigate(up.Staff+path))
	}
}

// colleague has somebody else enroll with a later code of the account, and log in.
func colleague(t *testing.T, up *system, account string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "later.ndjson")
	const later = `{"accountNumber":%q,"companyName":"Bob's Building","billingEmail":"ap@bobsbuilding.example","emailedAt":%q,"registrationCode":"LATE-RCOD-E234","invoice":{"number":"LATER-1"}}`
	if err := os.WriteFile(file, fmt.Appendf(nil, later, account, time.Now().UTC().Format(time.RFC3339)), 0o600); err != nil {
		t.Fatal(err)
	}
	up.command(t, 0, "publish", file)
	grace := up.visitor(t)
	eventually(t, "the later code is stored", func() error {
		p := grace.fill("/signup", fields{"account_number": account, "registration_code": "LATE-RCOD-E234", "email": "grace@bobsbuilding.example", "username": "Grace"})
		if !strings.Contains(p.text(), "grace@") && !strings.Contains(p.text(), "Check your") {
			return errors.New(p.text())
		}
		return nil
	})
	grace.fill(mustParse(t, up.inbox.expect(t, "grace@bobsbuilding.example").link(t)).Path, fields{"password": passphrase, "password_confirmation": passphrase})
	grace.fill("/login", fields{"username": "Grace", "password": passphrase}).is(200, "/account")
}

// axe installs axe-core and returns what judges the page of a tab: one line for each rule that is broken, with where.
func axe(t *testing.T) func(b *tab) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json"} {
		content, err := os.ReadFile(filepath.Join("..", "..", ".ci", "axe", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci (apt-get install nodejs npm): %v\n%s", err, out)
	}
	script, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	const run = `axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then(r =>
		r.violations.map(v => v.id + ": " + v.help + "\n" + v.nodes.map(n => "    " + n.target.join(" ") + "\n      " + n.html).join("\n")).join("\n"))`
	return func(b *tab) string {
		t.Helper()
		b.do(chromedp.Evaluate[chromedp.Void](string(script) + "; undefined"))
		found, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](run, chromedp.EvalAwaitPromise))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
}
