package portal

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/mongotel/billcenter/schema/store/storetest"
)

// checkStructure holds a page against what every page promises: it can be used without a mouse, without seeing it and
// without script, and the content policy breaks nothing of it.
func checkStructure(t *testing.T, page []byte) {
	t.Helper()
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	s := &structure{labels: map[string]bool{}, ids: map[string]bool{}}
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode {
			s.see(n)
		}
	}
	for _, ref := range s.references {
		if !s.ids[ref] {
			s.fault("refers to #%s, which is not there", ref)
		}
	}
	for _, id := range s.inputs {
		if !s.labels[id] {
			s.fault("input %q has no label", id)
		}
	}
	if s.h1 != 1 {
		s.fault("%d h1", s.h1)
	}
	for _, f := range s.faults {
		t.Error(f)
	}
}

type structure struct {
	ids, labels        map[string]bool
	references, inputs []string
	h1, level, scripts int
	body               string // its class, from where it begins on
	faults             []string
}

func (s *structure) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

func (s *structure) see(n *html.Node) {
	for _, a := range n.Attr {
		if a.Key == "style" || strings.HasPrefix(a.Key, "on") || strings.HasPrefix(a.Val, "javascript:") {
			s.fault("%s has %s, which the content policy forbids", n.Data, a.Key)
		}
	}
	if id := attribute(n, "id"); id != "" {
		if s.ids[id] {
			s.fault("id %q twice", id)
		}
		s.ids[id] = true
	}
	for _, key := range []string{"aria-describedby", "aria-labelledby", "for"} {
		s.references = append(s.references, strings.Fields(attribute(n, key))...)
	}
	switch n.Data {
	case "html":
		if lang := attribute(n, "lang"); lang != "en-US" && lang != "es-US" {
			s.fault("page says not which language it is in")
		}
	case "title":
		if text(n) == "" {
			s.fault("page has no title")
		}
	case "script":
		if path, _, _ := strings.Cut(attribute(n, "src"), "?"); path != deliveryScriptPath || n.FirstChild != nil || s.body != "" {
			s.fault("page has a script that is not ours")
		}
		s.scripts++
	case "body":
		s.body = attribute(n, "class")
		if s.scripts > 0 && s.body != "page-check-email" {
			s.fault("%s has a script", s.body)
		}
	case "style", "iframe", "object":
		s.fault("page has a %s", n.Data)
	case "img":
		if attribute(n, "alt") == "" {
			s.fault("img without alt")
		}
	case "label":
		s.labels[attribute(n, "for")] = true
	case "input":
		s.input(n)
	case "select":
		s.inputs = append(s.inputs, attribute(n, "id"))
	case "a":
		s.link(n)
	case "button":
		if text(n) == "" || attribute(n, "type") != "submit" {
			s.fault("button %q", text(n))
		}
	case "form":
		if attribute(n, "method") != "post" && attribute(n, "role") != "search" {
			s.fault("form that is not posted")
		}
	case "h1", "h2", "h3":
		s.heading(n)
	}
}

func (s *structure) input(n *html.Node) {
	if attribute(n, "type") == "hidden" {
		return
	}
	id := attribute(n, "id")
	s.inputs = append(s.inputs, id)
	if attribute(n, "autocomplete") == "" {
		s.fault("input %q has no autocomplete", id)
	}
	if attribute(n, "type") == "password" && attribute(n, "value") != "" {
		s.fault("input %q shows a password", id)
	}
	wrong, described := attribute(n, "aria-invalid") == "true", strings.Contains(attribute(n, "aria-describedby"), id+"-error")
	if wrong != described {
		s.fault("input %q: invalid %v, but described by a message %v", id, wrong, described)
	}
}

func (s *structure) link(n *html.Node) {
	to := attribute(n, "href")
	if text(n) == "" {
		s.fault("link to %s without a text", to)
	}
	switch {
	case strings.Contains(to, "lang="):
		if attribute(n, "lang") == "" || attribute(n, "hreflang") == "" {
			s.fault("link to another language, %s, does not say which", to)
		}
	case to == "?": // this page, anew
	case strings.HasPrefix(to, "#"):
		s.references = append(s.references, to[1:])
	case strings.HasPrefix(to, "https://"):
		if attribute(n, "rel") != "noreferrer" {
			s.fault("link to %s tells where it is from", to)
		}
	case strings.HasPrefix(to, "/"):
		if path, _, _ := strings.Cut(to, "?"); !slices.Contains(linkedPages, path) && !strings.HasPrefix(path, "/account/invoices/") {
			s.fault("link to %s, which is no page", to)
		}
	case !strings.HasPrefix(to, "tel:") && !strings.HasPrefix(to, "mailto:"):
		s.fault("link to %q", to)
	}
}

func (s *structure) heading(n *html.Node) {
	level := int(n.Data[1] - '0')
	if level == 1 {
		s.h1++
	}
	if level > s.level+1 {
		s.fault("%s %q comes after h%d", n.Data, text(n), s.level)
	}
	s.level = level
}

// linkedPages are where pages may lead; TestLinkedPagesExist asks for each.
var linkedPages = []string{"/", "/signup", "/signup/check-email", "/login", "/account", "/help/code", "/forgot-password", "/forgot-username",
	"/account/invoices", "/account/invoices.csv", "/account/payment", "/account/payment/continue", "/account/security", "/account/add", "/account/users", "/account/users/remove"}

func TestLinkedPagesExist(t *testing.T) {
	site := New(Options{Tenants: oneTenant(t), Keys: storetest.Ring(t), Log: discard()}).(*portal).routes()
	for _, path := range linkedPages {
		if _, pattern := site.Handler(httptest.NewRequest(http.MethodGet, path, nil)); pattern == "/" || pattern == "" {
			t.Errorf("%s is no page", path)
		}
	}
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// text is what a reader sees of a node, blanks folded.
func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
