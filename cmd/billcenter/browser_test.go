//go:build ci

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// The manual's nine steps followed literally in a real browser, from the billing e-mail in the inbox to the invoices.
func TestBrowserFollowsTheManual(t *testing.T) {
	up := start(t)
	b := openTab(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)

	// Step 1: go to the portal and click “Sign up for an Account.”
	b.do(chromedp.Navigate(up.Portal+"/"), chromedp.Click(chromedp.Search(`//a[contains(., "Sign up for an Account")]`)), chromedp.WaitVisible(chromedp.CSS(`input[name=account_number]`)))
	b.shot("1-sign-up")
	// Steps 2 to 6: account number, registration code, email, username, “Register.”
	b.do(
		chromedp.SendKeys(chromedp.CSS(`input[name=account_number]`), account),
		chromedp.SendKeys(chromedp.CSS(`input[name=registration_code]`), code),
		chromedp.SendKeys(chromedp.CSS(`input[name=email]`), "bob@bobsbuilding.example"),
		chromedp.SendKeys(chromedp.CSS(`input[name=username]`), "Bob’sBuilding"),
		chromedp.Click(chromedp.Search(`//button[contains(., "Register")]`)),
		chromedp.WaitVisible(chromedp.Search(`//h1[contains(., "Check your")]`)),
	)
	b.shot("6-check-email")
	// Step 7: check your email and open the registration email.
	up.inbox.expect(t, "bob@bobsbuilding.example")
	b.do(chromedp.Navigate(up.Inbox+"/"), chromedp.Click(chromedp.Search(`//a[contains(., "bob@bobsbuilding.example") or contains(., "ctivate")]`)), chromedp.WaitVisible(chromedp.CSS(`iframe`)))
	b.shot("7-inbox")
	// Step 8: follow the instructions: a new password.
	b.do(chromedp.Navigate(up.inbox.expect(t, "bob@bobsbuilding.example").link(t)), chromedp.WaitVisible(chromedp.CSS(`input[name=password]`)))
	b.shot("8-activate")
	b.do(
		chromedp.SendKeys(chromedp.CSS(`input[name=password]`), passphrase),
		chromedp.SendKeys(chromedp.CSS(`input[name=password_confirmation]`), passphrase),
		chromedp.Click(chromedp.CSS(`main button[type=submit], form button[type=submit]`)),
		chromedp.WaitVisible(chromedp.CSS(`input[name=username]`)),
	)
	if got := b.text(`document.querySelector("input[name=username]").value`); got != "Bob’sBuilding" {
		t.Errorf("the log-in page holds the username %q", got)
	}
	// Step 9: log in, in any spelling.
	b.do(
		chromedp.Evaluate[chromedp.Void](`document.querySelector("input[name=username]").value = ""`),
		chromedp.SendKeys(chromedp.CSS(`input[name=username]`), "bob'sbuilding"),
		chromedp.SendKeys(chromedp.CSS(`input[name=password]`), passphrase),
		chromedp.Click(chromedp.CSS(`main button[type=submit]`)),
		chromedp.WaitVisible(chromedp.CSS(`table`)),
	)
	b.shot("9-account")
	if page := b.text(`document.body.innerText`); !strings.Contains(page, "INV-") || !strings.Contains(page, account) {
		t.Errorf("the account page shows no invoice of %s:\n%s", account, page)
	}
}

// tab is a page of a headless Chromium.
type tab struct {
	t     *testing.T
	ctx   context.Context
	shots string // folder for screenshots; empty: none
}

func openTab(t *testing.T, more ...chromedp.ExecAllocatorOption) *tab {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("no chromium: apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 1000),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	options = append(options, more...)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if _, err := chromedp.Run(ctx, chromedp.Title()); err != nil { // starts the browser, which must outlive the timeout's context
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	return &tab{t: t, ctx: ctx, shots: os.Getenv("BILLCENTER_SCREENSHOTS")}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.shot("failed")
		b.t.Fatal(err)
	}
}

func (b *tab) text(expression string) string {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// shot keeps a picture for people, where they asked for it.
func (b *tab) shot(name string) {
	b.t.Helper()
	if b.shots == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(b.shots, name+".png"), png, 0o600)
	}
	if err != nil {
		b.t.Error(err)
	}
}
