package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/html"
)

// browser is a simulated customer's. It follows no redirect by itself: where a customer goes next is for the fate to say.
type browser struct {
	base   string // of the tenant's pages, without a slash at the end
	client *http.Client
	agent  string
}

const (
	personsAgent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	scannerAgent = "Mozilla/5.0 (compatible; SafeLinksScanner/1.0)"
)

// newBrowser asks from an address of its own, since the portal counts wrong tries by address. Where names lead elsewhere
// than the portal listens, portal is its address; empty: the name is resolved.
func newBrowser(base, portal string, from netip.Addr, agent string) *browser {
	jar, _ := cookiejar.New(nil) // fails only on options, of which there are none
	dialer := &net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
	return &browser{base: strings.TrimRight(base, "/"), agent: agent, client: &http.Client{
		Jar: jar, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if portal != "" {
				addr = portal
			}
			return dialer.DialContext(ctx, network, addr)
		}},
	}}
}

func (b *browser) close() { b.client.CloseIdleConnections() }

// screen is what a browser shows.
type screen struct {
	status   int
	location string
	wait     string // seconds, when the portal asks for patience
	doc      *html.Node
}

const largestScreen = 1 << 20

func (b *browser) ask(ctx context.Context, method, path string, form url.Values) (screen, error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(ctx, method, b.base+path, body)
	if err != nil {
		return screen{}, errors.New("an address that is none") // not err: it repeats the path, which may be an activation link
	}
	r.Header.Set("User-Agent", b.agent)
	r.Header.Set("Accept-Language", "en-US,en;q=0.9")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", b.base)
	}
	answer, err := b.client.Do(r)
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if err != nil {
		return screen{}, fmt.Errorf("ask the portal: %w", err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(io.LimitReader(answer.Body, largestScreen))
	if err != nil {
		return screen{}, fmt.Errorf("ask the portal: %w", err)
	}
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		return screen{}, fmt.Errorf("read a page: %w", err)
	}
	s := screen{status: answer.StatusCode, wait: answer.Header.Get("Retry-After"), doc: doc}
	if to, err := answer.Location(); err == nil {
		s.location = to.Path
	}
	return s, nil
}

func (b *browser) open(ctx context.Context, path string) (screen, error) {
	s, err := b.ask(ctx, http.MethodGet, path, nil)
	if err == nil && s.status != http.StatusOK {
		err = fmt.Errorf("the page answered %d", s.status)
	}
	return s, err
}

// send opens the page that a form stands on, fills in what the form has fields for, and sends it.
func (b *browser) send(ctx context.Context, page, action string, fields map[string]string) (screen, error) {
	s, err := b.open(ctx, page)
	if err != nil {
		return screen{}, err
	}
	form := s.form(page, action)
	if form == nil {
		return screen{}, errors.New("the page has no form for it")
	}
	for name, value := range fields {
		if !form.Has(name) {
			return screen{}, fmt.Errorf("the form has no field %s", name)
		}
		form.Set(name, value)
	}
	return b.ask(ctx, http.MethodPost, action, form)
}

// form is what a form holds before anybody fills it in; nil: there is none that leads to action. A form without an action
// leads back to its page.
func (s screen) form(page, action string) url.Values {
	for n := range s.doc.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" {
			continue
		}
		if to := attributeOf(n, "action"); to != action && (to != "" || page != action) {
			continue
		}
		values := url.Values{}
		for field := range n.Descendants() {
			if name := attributeOf(field, "name"); field.Data == "input" && name != "" {
				values.Set(name, attributeOf(field, "value"))
			}
		}
		return values
	}
	return nil
}

// says reports whether the page's text has the words.
func (s screen) says(words string) bool {
	for n := range s.doc.Descendants() {
		if n.Type == html.TextNode && strings.Contains(n.Data, words) {
			return true
		}
	}
	return false
}

func attributeOf(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// mailbox reads the activation links from the inbox's API, for all customers at once: each answer of the inbox is everything
// it holds.
type mailbox struct {
	inbox string

	mu    sync.Mutex
	asked time.Time
	paths map[string][]string // by recipient, the newest link first
}

// linkInside finds the path of an activation link in a mail's text.
var linkInside = regexp.MustCompile(`https?://[^/\s]+(/activate/\S+)`)

// link waits for the n-th mail to an address and returns the path of the newest link.
func (m *mailbox) link(ctx context.Context, to string, n int) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for wanted := time.Now(); ; {
		paths, err := m.look(ctx, to, wanted)
		if err != nil {
			return "", err
		}
		if len(paths) >= n {
			return paths[0], nil
		}
		wanted = time.Now()
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return "", fmt.Errorf("mail %d of a customer did not come: %w", n, err)
		}
	}
}

// look answers with what the inbox held at a moment or later.
func (m *mailbox) look(ctx context.Context, to string, since time.Time) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked.After(since) {
		return m.paths[to], nil
	}
	asked := time.Now()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(m.inbox, "/")+"/api/v1/messages", nil)
	if err != nil {
		return nil, &usageError{fmt.Errorf("--inbox-url: %w", err)}
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("read the inbox: %w", err)
	}
	defer answer.Body.Close()
	var all []struct {
		To   []string `json:"to"`
		Text string   `json:"text"`
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read the inbox: it answered %s", answer.Status)
	}
	if err := json.NewDecoder(answer.Body).Decode(&all); err != nil {
		return nil, fmt.Errorf("read the inbox: %w", err)
	}
	m.asked, m.paths = asked, map[string][]string{}
	for _, mail := range all {
		if link := linkInside.FindStringSubmatch(mail.Text); link != nil {
			for _, to := range slices.Compact(mail.To) {
				m.paths[to] = append(m.paths[to], link[1])
			}
		}
	}
	return m.paths[to], nil
}

// pause waits, or returns why nobody waits any more.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
