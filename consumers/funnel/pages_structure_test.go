package funnel_test

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// checkStructure holds a page against what every page promises: it can be used without a mouse, without seeing it and
// without script, its tables and charts say what they are, and the content policy breaks nothing of it.
func checkStructure(t *testing.T, page shown) {
	t.Helper()
	s := &structure{ids: map[string]bool{}, labels: map[string]bool{}, elements: map[string]int{}}
	for n := range page.doc.Descendants() {
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
			s.fault("field %q has no label", id)
		}
	}
	for _, once := range []string{"h1", "main", "header", "nav", "title"} {
		if s.elements[once] == 0 || once != "title" && s.elements[once] > 1 { // a chart has a title, too
			s.fault("%d %s", s.elements[once], once)
		}
	}
	for _, f := range s.faults {
		t.Error(f)
	}
}

type structure struct {
	ids, labels        map[string]bool
	references, inputs []string
	elements           map[string]int
	level              int
	faults             []string
}

func (s *structure) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

func (s *structure) see(n *html.Node) {
	s.elements[n.Data]++
	for _, a := range n.Attr {
		if a.Key == "style" || strings.HasPrefix(a.Key, "on") || strings.HasPrefix(a.Val, "javascript:") {
			s.fault("%s has %s, which the content policy forbids", n.Data, a.Key)
		}
		if strings.Contains(a.Val, "ZgotmplZ") || strings.Contains(a.Val, "NaN") {
			s.fault("%s has %s=%q", n.Data, a.Key, a.Val)
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
	case "script", "style", "iframe", "object", "img":
		s.fault("page has a %s", n.Data)
	case "label":
		s.labels[attribute(n, "for")] = true
	case "input", "select":
		s.inputs = append(s.inputs, attribute(n, "id"))
	case "button":
		if text(n) == "" || attribute(n, "type") != "submit" {
			s.fault("button %q", text(n))
		}
	case "a":
		if text(n) == "" {
			s.fault("link to %s without a text", attribute(n, "href"))
		}
		if to, ok := strings.CutPrefix(attribute(n, "href"), "#"); ok {
			s.references = append(s.references, to)
		}
	case "svg":
		if attribute(n, "aria-hidden") != "true" && (attribute(n, "role") != "img" || attribute(n, "aria-labelledby") == "") {
			s.fault("a chart that says not what it shows")
		}
	case "table":
		if c := n.FirstChild; c.NextSibling.Data != "caption" && c.Data != "caption" {
			s.fault("a table without caption")
		}
	case "th":
		if attribute(n, "scope") == "" || text(n) == "" {
			s.fault("th %q without scope or text", text(n))
		}
	case "h1", "h2", "h3":
		level := int(n.Data[1] - '0')
		if level > s.level+1 {
			s.fault("%s %q comes after h%d", n.Data, text(n), s.level)
		}
		s.level = level
	}
}
