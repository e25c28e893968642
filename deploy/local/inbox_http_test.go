package local

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// request asks the inbox and returns the answer's body.
func request(t *testing.T, in *Inbox, method, path string, change func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+in.HTTPAddr()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

// elements returns the page's elements of one kind.
func elements(t *testing.T, in *Inbox, path string, kind atom.Atom) (all []*html.Node) {
	t.Helper()
	response, body := request(t, in, "GET", path, nil)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", path, response.Status)
	}
	page, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for node := range page.Descendants() {
		if node.DataAtom == kind {
			all = append(all, node)
		}
	}
	return all
}

func attribute(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func text(node *html.Node) string {
	var b strings.Builder
	for n := range node.Descendants() {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
	}
	return b.String()
}

func TestInboxAPI(t *testing.T) {
	in := startInbox(t, filepath.Join(t.TempDir(), "mail"))
	if response, body := request(t, in, "GET", "/api/v1/messages", nil); response.StatusCode != http.StatusOK || strings.TrimSpace(body) != "[]" {
		t.Errorf("an empty inbox: %s %s", response.Status, body)
	}
	mustSend(t, in, newMail(t, "one", "ada@example.com"))
	mustSend(t, in, newMail(t, "two", "ada@example.com", "bob@example.com"))

	response, body := request(t, in, "GET", "/api/v1/messages", nil)
	if got := response.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	var list []map[string]any
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list) != 2 {
		t.Fatalf("%d messages, %v; want 2", len(list), err)
	}
	newest := list[0]
	if at, err := time.Parse(time.RFC3339, newest["receivedAt"].(string)); err != nil || time.Since(at) > time.Minute {
		t.Errorf("receivedAt %v: %v", newest["receivedAt"], err)
	}
	id := newest["id"].(string)
	delete(newest, "headers")
	delete(newest, "receivedAt")
	want := map[string]any{
		"id":         in.Messages()[0].ID,
		"from":       "no-reply@mongo.example",
		"to":         []any{"ada@example.com", "bob@example.com"},
		"subject":    "two",
		"text":       "Grüße,\nfollow https://mongo.example/activate/abc.\n",
		"html":       `<p>Grüße, <a href="https://mongo.example/activate/abc">follow</a>`,
		"returnPath": "bounces@mongo.example",
		"messageId":  "activation-1@mongo.example",
	}
	if diff := cmp.Diff(want, newest); diff != "" {
		t.Errorf("newest message (-want +got):\n%s", diff)
	}

	var one Message
	if _, body := request(t, in, "GET", "/api/v1/messages/"+id, nil); json.Unmarshal([]byte(body), &one) != nil || one.Subject != "two" {
		t.Errorf("one message: %s", body)
	}
	if response, body := request(t, in, "GET", "/api/v1/messages/"+id+"/raw", nil); response.Header.Get("Content-Type") != "message/rfc822" || body != string(in.Messages()[0].Raw) {
		t.Errorf("the source: %s %s", response.Header.Get("Content-Type"), body)
	}
	if response, body := request(t, in, "DELETE", "/api/v1/messages", nil); response.StatusCode != http.StatusNoContent || body != "" {
		t.Errorf("DELETE: %s %q", response.Status, body)
	}
	if got := len(in.Messages()); got != 0 {
		t.Errorf("%d messages after DELETE", got)
	}
}

func TestInboxAPIRefusals(t *testing.T) {
	in := startInbox(t, filepath.Join(t.TempDir(), "mail"))
	for _, tt := range []struct {
		name, method, path string
		change             func(*http.Request)
		want               int
	}{
		{"an unknown message", "GET", "/api/v1/messages/0", nil, 404},
		{"the source of an unknown message", "GET", "/api/v1/messages/0/raw", nil, 404},
		{"an unknown resource", "GET", "/api/v2", nil, 404},
		{"a method that the list does not have", "PUT", "/api/v1/messages", nil, 405},
		{"a method that a message does not have", "DELETE", "/api/v1/messages/0", nil, 405},
		{"a name that a web site made point here", "GET", "/api/v1/messages", func(r *http.Request) { r.Host = "evil.example:8025" }, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			response, body := request(t, in, tt.method, tt.path, tt.change)
			var answer struct{ Error string }
			if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Error == "" || response.StatusCode != tt.want {
				t.Errorf("%s %s, want %d with a JSON error", response.Status, body, tt.want)
			}
		})
	}
}

func TestInboxAnswersToThisMachineOnly(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:8025": true, "LOCALHOST:80": true, "inbox.localhost:8025": true,
		"127.0.0.1:8025": true, "127.8.8.8": true, "[::1]:8025": true, "[::1]": true,
		"": false, "evil.example": false, "localhost.evil.example": false, "evil-localhost": false,
		"192.168.1.2:8025": false, "0.0.0.0": false, "[::ffff:10.0.0.1]": false,
	} {
		if got := isThisMachine(host); got != want {
			t.Errorf("isThisMachine(%q) = %v", host, got)
		}
	}

	in := startInbox(t, filepath.Join(t.TempDir(), "mail"))
	response, _ := request(t, in, "GET", "/", func(r *http.Request) { r.Host = "evil.example" })
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("the page under a foreign name: %s", response.Status)
	}
	mustSend(t, in, newMail(t, "kept", "ada@example.com"))
	response, _ = request(t, in, "POST", "/messages/delete", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
	if response.StatusCode != http.StatusForbidden || len(in.Messages()) != 1 {
		t.Errorf("a form of another site: %s, %d messages", response.Status, len(in.Messages()))
	}
}

func TestInboxPages(t *testing.T) {
	in := startInbox(t, filepath.Join(t.TempDir(), "mail"))
	if got := elements(t, in, "/", atom.Li); len(got) != 0 {
		t.Errorf("an empty inbox lists %d messages", len(got))
	}
	m := newMail(t, `<b>Welcome</b>`, "ada@example.com")
	mustSend(t, in, m)
	address := "/messages/" + in.Messages()[0].ID

	items := elements(t, in, "/", atom.Li)
	if len(items) != 1 || !strings.Contains(text(items[0]), "<b>Welcome</b>") || !strings.Contains(text(items[0]), "Mongotel Bill Center") {
		t.Fatalf("the list does not show the message")
	}
	if got := attribute(items[0].FirstChild, "href"); got != address {
		t.Errorf("the list links to %q, want %q", got, address)
	}

	frames := elements(t, in, address, atom.Iframe)
	if len(frames) != 1 || !strings.HasSuffix(attribute(frames[0], "srcdoc"), in.Messages()[0].HTML) {
		t.Fatalf("%d frames; want one with the HTML part", len(frames))
	}
	if got := attribute(frames[0], "sandbox"); got != "allow-popups allow-popups-to-escape-sandbox" {
		t.Errorf("the frame's sandbox is %q: links may open, nothing else", got)
	}

	var links []string
	for _, a := range elements(t, in, address+"?view=text", atom.A) {
		if attribute(a, "target") == "_blank" {
			links = append(links, attribute(a, "href"))
		}
	}
	if diff := cmp.Diff([]string{"https://mongo.example/activate/abc"}, links); diff != "" {
		t.Errorf("links in the text (-want +got):\n%s", diff)
	}
	if pre := elements(t, in, address+"?view=text", atom.Pre); len(pre) != 1 || text(pre[0]) != in.Messages()[0].Text {
		t.Errorf("the text view does not show the text")
	}
	if table := elements(t, in, address+"?view=headers", atom.Table); len(table) != 1 || !strings.Contains(text(table[0]), "activation-1@mongo.example") {
		t.Errorf("the headers view does not show the Message-ID")
	}
	if pre := elements(t, in, address+"?view=raw", atom.Pre); len(pre) != 1 || !strings.Contains(text(pre[0]), "boundary=") {
		t.Errorf("the source view does not show the source")
	}

	response, _ := request(t, in, "GET", "/messages/0", nil)
	if response.StatusCode != http.StatusNotFound || response.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("an unknown message: %s, %s", response.Status, response.Header.Get("Content-Type"))
	}
	policy := response.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "script-src") {
		t.Errorf("Content-Security-Policy %q lets scripts run", policy)
	}
	if response, body := request(t, in, "GET", "/inbox.css", nil); !strings.HasPrefix(response.Header.Get("Content-Type"), "text/css") || body == "" {
		t.Errorf("style sheet: %s, %d bytes", response.Header.Get("Content-Type"), len(body))
	}
}

func TestInboxFormsWorkWithoutJavaScript(t *testing.T) {
	in := startInbox(t, filepath.Join(t.TempDir(), "mail"))
	post := func(path string, form url.Values) int {
		response, _ := request(t, in, "POST", path, func(r *http.Request) {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Body = io.NopCloser(strings.NewReader(form.Encode()))
			r.ContentLength = int64(len(form.Encode()))
		})
		return response.StatusCode
	}
	for _, tt := range []struct{ preset, want string }{
		{"later", "451"}, {"never", "550"}, {"login", "530"}, {"silence", "EOF"},
	} {
		if got := post("/answer", url.Values{"answer": {tt.preset}}); got != http.StatusSeeOther {
			t.Errorf("choose %s: %d", tt.preset, got)
		}
		if err := send(t, in, newMail(t, tt.preset, "ada@example.com")); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: the sender sees %v, want %s", tt.preset, err, tt.want)
		}
	}
	var pressed []string
	for _, button := range elements(t, in, "/", atom.Button) {
		if attribute(button, "aria-pressed") == "true" {
			pressed = append(pressed, attribute(button, "value"))
		}
	}
	if diff := cmp.Diff([]string{"silence"}, pressed); diff != "" {
		t.Errorf("buttons shown as chosen (-want +got):\n%s", diff)
	}
	if got := post("/answer", url.Values{"answer": {"accept"}}); got != http.StatusSeeOther {
		t.Errorf("choose accept: %d", got)
	}
	mustSend(t, in, newMail(t, "accept", "ada@example.com"))
	if got := post("/answer", url.Values{"answer": {"explode"}}); got != http.StatusUnprocessableEntity {
		t.Errorf("an unknown answer: %d", got)
	}
	if got := post("/messages/delete", nil); got != http.StatusSeeOther || len(in.Messages()) != 0 {
		t.Errorf("delete all: %d, %d messages left", got, len(in.Messages()))
	}
}
