package conformance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// customer is somebody's browser on the portal.
type customer struct {
	base string
	http *http.Client
}

func (r *run) customer() *customer {
	jar, _ := cookiejar.New(nil) // fails only on options, of which there are none
	return &customer{base: strings.TrimRight(r.Portal, "/"), http: &http.Client{
		Jar: jar, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// page is an answer of the portal.
type page struct {
	status     int
	location   string
	retryAfter string
	doc        *html.Node
}

func (c *customer) get(ctx context.Context, path string) (page, error) {
	return c.ask(ctx, http.MethodGet, path, nil)
}

const largestPage = 1 << 20

func (c *customer) ask(ctx context.Context, method, path string, form url.Values) (page, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return page{}, err
	}
	r.Header.Set("User-Agent", "Mozilla/5.0 (compatible; billcenter events conformance)")
	r.Header.Set("Accept-Language", "en-US")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", c.base)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return page{}, withoutPath(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, largestPage))
	if err != nil {
		return page{}, withoutPath(err)
	}
	doc, err := html.Parse(bytes.NewReader(body))
	if err != nil {
		return page{}, err
	}
	return page{answer.StatusCode, answer.Header.Get("Location"), answer.Header.Get("Retry-After"), doc}, nil
}

// withoutPath leaves the address out of an error: it may be an activation link.
func withoutPath(err error) error {
	if u, ok := err.(*url.Error); ok {
		return fmt.Errorf("ask the portal: %w", u.Err)
	}
	return err
}

// waitError says that the portal makes this source wait, after wrong tries that earlier runs made on purpose.
type waitError struct{ after string }

func (e *waitError) Error() string {
	return "the portal makes this address wait after wrong tries, of earlier runs for instance; run again in " + e.after + " s"
}

// application is what the customer types.
type application struct{ account, code, email, username string }

// signUp opens the form, fills it in over what it holds, and sends it.
func (c *customer) signUp(ctx context.Context, a application) (page, error) {
	blank, err := c.get(ctx, "/signup")
	if err != nil {
		return page{}, err
	}
	form := url.Values{}
	for n := range blank.doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == "input" && attribute(n, "type") == "hidden" {
			form.Set(attribute(n, "name"), attribute(n, "value"))
		}
	}
	form.Set("account_number", a.account)
	form.Set("registration_code", a.code)
	form.Set("email", a.email)
	form.Set("username", a.username)
	answer, err := c.ask(ctx, http.MethodPost, "/signup", form)
	if err == nil && answer.status == http.StatusTooManyRequests {
		err = &waitError{answer.retryAfter}
	}
	return answer, err
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// says reports whether the page shows a text.
func (p page) says(text string) bool {
	var b strings.Builder
	for n := range p.doc.Descendants() {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
	}
	return strings.Contains(strings.Join(strings.Fields(b.String()), " "), text)
}

// asks reports whether the page has a field of that name.
func (p page) asks(name string) bool {
	for n := range p.doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == "input" && attribute(n, "name") == name {
			return true
		}
	}
	return false
}

// applies is the application of an account's customer, whose address and username no other run has.
func (r *run) applies(a account, code, domain string) application {
	return application{
		account: a.number, code: code,
		email: fmt.Sprintf("customer-%s-%d@%s", r.id, a.n, domain), username: fmt.Sprintf("conf-%s-%d", r.id, a.n),
	}
}

// signsUp expects that account and code are accepted.
func (t *trial) signsUp(ctx context.Context, a account, code string) bool {
	return t.signsUpAs(ctx, t.applies(a, code, t.MailDomain))
}

func (t *trial) signsUpAs(ctx context.Context, a application) bool {
	answer, err := t.customer().signUp(ctx, a)
	if t.failed(err) {
		return false
	}
	if answer.status != http.StatusSeeOther || answer.location != "/signup/check-email" {
		t.fault("a sign-up that is to be accepted was answered %d, expected 303 to /signup/check-email", answer.status)
		return false
	}
	t.enrollments.Add(1)
	t.saw("sign-up accepted")
	return true
}

// refused expects that account and code are refused for that reason: 422, and a fact that says so. It returns the page.
// ref is what facts call the account; empty where that is unknown.
func (t *trial) refused(ctx context.Context, a account, code, ref, reason string) (page, bool) {
	var after uint64
	t.asSeen(func() { after = t.lastFact })
	answer, err := t.customer().signUp(ctx, t.applies(a, code, t.MailDomain))
	if t.failed(err) {
		return page{}, false
	}
	if answer.status != http.StatusUnprocessableEntity {
		if answer.status == http.StatusSeeOther {
			t.enrollments.Add(1)
		}
		t.fault("a sign-up that is to be refused (%s) was answered %d, expected 422", reason, answer.status)
		return answer, false
	}
	if !t.await(ctx, t.Within, func() bool {
		for _, f := range t.facts {
			if f.sequence > after && f.Definition.Name == "RegistrationRefused" && f.said.Reason == reason && (ref == "" || f.said.AccountRef == ref) {
				return true
			}
		}
		return false
	}) {
		t.fault("no RegistrationRefused with reason %s after %s%s", reason, t.Within, t.blind())
		return answer, false
	}
	t.saw("refused: %s", reason)
	return answer, true
}
