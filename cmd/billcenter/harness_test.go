package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/net/html"

	"github.com/mongotel/billcenter/deploy/local"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/schema"
)

const (
	passphrase = "grey otters dance at noon"
	patience   = 2 * time.Minute // for what happens on its own; much more than it takes, as machines that test are busy
)

// system is a running `billcenter up`, as its users reach it.
type system struct {
	running
	dir   string
	inbox inbox
}

// start runs `billcenter up` in this process on free ports and stops it with the test.
func start(t *testing.T, flags ...string) *system {
	t.Helper()
	dir, err := os.MkdirTemp("", "billcenter-up-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &system{dir: dir}
	madeBefore.copyTo(t, filepath.Join(dir, "data"))
	ready := filepath.Join(dir, "ready.json")
	args := append([]string{"up", "--data-dir", filepath.Join(dir, "data"), "--ready-file", ready}, anyPorts()...)
	ctx, cancel := context.WithCancel(context.Background())
	var out, errs bytes.Buffer
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, append(args, flags...), strings.NewReader(""), &out, &errs) }()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("up ended with %d: %s", code, errs.String())
		}
		if t.Failed() {
			logged, _ := os.ReadFile(filepath.Join(dir, "data", "billcenter.log"))
			t.Logf("log:\n%s", tail(withoutRequests(string(logged)), 30))
		}
	})
	s.wait(t, ready, func() (bool, string) {
		select {
		case code := <-ended:
			ended <- code
			return true, fmt.Sprintf("exit %d: %s", code, errs.String())
		default:
			return false, ""
		}
	})
	return s
}

// made is a data folder with a database in it as the first start of an `up` leaves it. Most tests begin with a copy, which takes a
// tenth of the time; those that run processes make their own.
type made struct {
	sync.Once
	dir string
	err error
}

var madeBefore made

func (m *made) copyTo(t *testing.T, folder string) {
	t.Helper()
	m.Do(func() { m.dir, m.err = makeDatabase() })
	if m.err != nil {
		t.Fatal(m.err)
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", filepath.Join(m.dir, "postgres"), folder).CombinedOutput(); err != nil {
		t.Fatalf("copy the database: %v: %s", err, out)
	}
}

func makeDatabase() (string, error) {
	dir, err := os.MkdirTemp("", "billcenter-made-")
	if err != nil {
		return dir, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return dir, err
	}
	pg, err := local.StartPostgres(context.Background(), local.PostgresOptions{DataDir: filepath.Join(dir, "postgres")})
	if err != nil {
		return dir, err
	}
	db, err := sqlx.Open("postgres", pg.URL(""))
	if err == nil {
		_, err = schema.Migrate(context.Background(), db.DB)
		db.Close()
	}
	return dir, errors.Join(err, pg.Stop())
}

// withoutRequests leaves out what the pages were asked for and what Postgres says about itself.
func withoutRequests(log string) string {
	var kept []string
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "portal: request") && !strings.Contains(line, `"part":"postgres"`) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func tail(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func anyPorts() []string {
	var flags []string
	for _, f := range []string{"portal", "staff", "ops", "nats", "smtp", "inbox"} {
		flags = append(flags, "--"+f+"-addr", "127.0.0.1:0")
	}
	return flags
}

// wait reads the ready file once it is there.
func (s *system) wait(t *testing.T, ready string, ended func() (bool, string)) {
	t.Helper()
	eventually(t, "the ready file", func() error {
		if over, why := ended(); over {
			t.Fatalf("up did not start: %s", why)
		}
		b, err := os.ReadFile(ready)
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &s.running)
	})
	s.inbox = inbox{s.Inbox}
}

// eventually asks until the answer is nil, at first often.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	var err error
	pause := 10 * time.Millisecond
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(pause) {
		if err = ask(); err == nil {
			return
		}
		pause = min(pause*5/4, 300*time.Millisecond)
	}
	t.Fatalf("%s: %v", what, err)
}

// db is the database, to look at or to move its clock.
func (s *system) db(t *testing.T) *sqlx.DB {
	t.Helper()
	db, err := sqlx.Open("postgres", s.Database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// pass lets time pass by moving every instant of the enrollments into the past.
func (s *system) pass(t *testing.T, by time.Duration) {
	t.Helper()
	if _, err := s.db(t).Exec(`
		UPDATE enrollments SET registered_at = registered_at - d, last_mail_at = last_mail_at - d, mailed_at = mailed_at - d, expires_at = expires_at - d
		FROM (SELECT make_interval(secs => $1) AS d) AS moved`, by.Seconds()); err != nil {
		t.Fatal(err)
	}
}

// facts waits until the stream ENROLLMENT holds these facts, in this order, others in between.
func (s *system) facts(t *testing.T, names ...string) {
	t.Helper()
	var seen []string
	eventually(t, fmt.Sprintf("facts %v", names), func() error {
		seen = nil
		for _, m := range s.stream(t, bus.StreamEnrollment) {
			seen = append(seen, m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
		}
		at := 0
		for _, n := range seen {
			if at < len(names) && n == names[at] {
				at++
			}
		}
		if at < len(names) {
			return fmt.Errorf("no %q; there are %v", names[at], seen)
		}
		return nil
	})
}

// stream reads everything that a stream holds now, as a foreign program would.
func (s *system) stream(t *testing.T, name string) []*jetstream.RawStreamMsg {
	t.Helper()
	stream, err := s.jetstream(t).Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var all []*jetstream.RawStreamMsg
	state := stream.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq && seq > 0; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// publishRaw stores a message as it is, without an id by which the broker would know it again.
func (s *system) publishRaw(t *testing.T, m *nats.Msg) {
	t.Helper()
	if _, err := s.jetstream(t).PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func (s *system) jetstream(t *testing.T) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(s.NATS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// inbox reads the mails that arrived, by the API that anybody can use.
type inbox struct{ url string }

type mail struct {
	ID, From, Subject, Text, HTML string
	To                            []string
	MessageID                     string
}

func (i inbox) messages() ([]mail, error) {
	r, err := http.Get(i.url + "/api/v1/messages")
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	var all []mail
	return all, json.NewDecoder(r.Body).Decode(&all)
}

func (i inbox) expect(t *testing.T, to string) mail { return i.expectSubject(t, to, "") }

func (i inbox) expectSubject(t *testing.T, to, subject string) mail {
	t.Helper()
	var found mail
	eventually(t, "a mail to "+to, func() error {
		all, err := i.messages()
		if err != nil {
			return err
		}
		for _, m := range all {
			if slices.Contains(m.To, to) && strings.Contains(strings.ToLower(m.Subject), strings.ToLower(subject)) {
				found = m
				return nil
			}
		}
		return fmt.Errorf("none among %d", len(all))
	})
	return found
}

var (
	accountInBox = regexp.MustCompile(`(?i)account number:?\s*\|?\s*([0-9-]+)`)
	codeInBox    = regexp.MustCompile(`(?i)registration code:?\s*\|?\s*([0-9A-Z-]+)`)
	linkInMail   = regexp.MustCompile(`https?://\S+/activate/\S+`)
)

// box reads what stands at the bottom of a billing e-mail.
func (m mail) box(t *testing.T) (account, code string) {
	t.Helper()
	a, c := accountInBox.FindStringSubmatch(m.Text), codeInBox.FindStringSubmatch(m.Text)
	if a == nil || c == nil {
		t.Fatalf("no box in:\n%s", m.Text)
	}
	return a[1], c[1]
}

func (m mail) link(t *testing.T) string {
	t.Helper()
	l := linkInMail.FindString(m.Text)
	if l == "" {
		t.Fatalf("no link in:\n%s", m.Text)
	}
	return l
}

// visitor is a customer's browser, without JavaScript.
type visitor struct {
	t      *testing.T
	base   string
	client *http.Client
	agent  string
	speaks string // Accept-Language
}

func (s *system) visitor(t *testing.T) *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t: t, base: s.Portal, client: &http.Client{Jar: jar, Timeout: 30 * time.Second},
		agent:  "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		speaks: "en-US,en;q=0.9"}
}

// scanner is what a mail provider sends after links.
func (s *system) scanner(t *testing.T) *visitor {
	v := s.visitor(t)
	v.agent = "Mozilla/5.0 (compatible; SafeLinksScanner/1.0)"
	return v
}

type fields map[string]string

// page is what the browser shows in the end.
type page struct {
	t      *testing.T
	v      *visitor
	status int
	url    *url.URL
	body   string
	doc    *html.Node
}

func (v *visitor) at(path string) string {
	if strings.HasPrefix(path, "http") {
		return path
	}
	return v.base + path
}

func (v *visitor) get(path string) page { return v.do(http.MethodGet, path, nil) }

func (v *visitor) do(method, path string, form url.Values) page {
	v.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequest(method, v.at(path), body)
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("User-Agent", v.agent)
	r.Header.Set("Accept-Language", v.speaks)
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", v.base)
	}
	answer, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	doc, err := html.Parse(bytes.NewReader(b))
	if err != nil {
		v.t.Fatal(err)
	}
	return page{t: v.t, v: v, status: answer.StatusCode, url: answer.Request.URL, body: string(b), doc: doc}
}

// fill opens the form's page, fills it in over what it holds, and sends it.
func (v *visitor) fill(path string, f fields) page {
	v.t.Helper()
	form := url.Values{}
	from := path
	if path == "/signup/email" || path == "/signup/resend" {
		from = "/signup/check-email"
	}
	action := strings.TrimPrefix(v.at(path), v.base)
	for n := range v.get(from).doc.Descendants() {
		if n.Type != html.ElementNode || n.Data != "input" || attribute(n, "type") != "hidden" {
			continue
		}
		if owner := enclosing(n, "form"); owner != nil && strings.HasSuffix(attribute(owner, "action"), action) {
			form.Set(attribute(n, "name"), attribute(n, "value"))
		}
	}
	for name, value := range f {
		form.Set(name, value)
	}
	return v.do(http.MethodPost, path, form)
}

// eventually reloads a page until it says something.
func (v *visitor) eventually(path, text string) {
	v.t.Helper()
	eventually(v.t, path, func() error {
		if p := v.get(path); !strings.Contains(strings.ToLower(p.body), strings.ToLower(text)) {
			return fmt.Errorf("does not say %q:\n%s", text, p.text())
		}
		return nil
	})
}

func (p page) is(status int, path string) page {
	p.t.Helper()
	if want := strings.TrimPrefix(path, p.v.base); p.status != status || p.url.Path != want {
		p.t.Fatalf("%s answered %d, want %d at %s:\n%s", p.url.Path, p.status, status, want, p.text())
	}
	return p
}

func (p page) says(text string) page {
	p.t.Helper()
	if !strings.Contains(strings.ToLower(p.text()), strings.ToLower(text)) {
		p.t.Fatalf("%s does not say %q:\n%s", p.url.Path, text, p.text())
	}
	return p
}

// value checks what a field holds.
func (p page) value(name, want string) page {
	p.t.Helper()
	for n := range p.doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == "input" && attribute(n, "name") == name {
			if got := attribute(n, "value"); got != want {
				p.t.Fatalf("%s holds %q in %s, want %q", p.url.Path, got, name, want)
			}
			return p
		}
	}
	p.t.Fatalf("%s has no field %s", p.url.Path, name)
	return p
}

// follows clicks a link by its text.
func (p page) follows(text string) page {
	p.t.Helper()
	for n := range p.doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == "a" && strings.Contains(content(n), text) {
			return p.v.get(attribute(n, "href"))
		}
	}
	p.t.Fatalf("%s has no link %q", p.url.Path, text)
	return p
}

func (p page) text() string { return content(p.doc) }

func content(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode && d.Parent.Data != "style" && d.Parent.Data != "script" {
			b.WriteString(d.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func enclosing(n *html.Node, tag string) *html.Node {
	for ; n != nil; n = n.Parent {
		if n.Type == html.ElementNode && n.Data == tag {
			return n
		}
	}
	return nil
}

func mustParse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
