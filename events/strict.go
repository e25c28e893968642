package events

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// encoding/json takes the last of two equal names, matches names in any case, turns broken UTF-8 and lone surrogates into
// U+FFFD (so that two account numbers may become one), and lets \u0000 through to a database that refuses it. An event
// with any of these is a fault at its source; scan finds them before anything is decoded.

const (
	maxDepth = 32
	maxSize  = 1 << 20 // bytes; the broker's own limit for a message
)

// member is one name of an object, and its value: where it stands and, of a string, its text.
type member struct {
	name, text string
	start, end int
}

// scan checks that b is one JSON object of the strict kind and nothing else, and returns its members in their order.
func scan(b []byte) ([]member, error) {
	switch {
	case len(b) == 0:
		return nil, malformed(NotJSON, "", "the message is empty; send one JSON object")
	case len(b) > maxSize:
		return nil, malformed(NotJSON, "", "is larger than 1 MiB")
	case len(b) >= 3 && string(b[:3]) == "\ufeff":
		return nil, malformed(NotJSON, "", "begins with a byte order mark; send UTF-8 without one")
	}
	s := newScanner(b)
	s.space()
	if s.peek() != '{' {
		return nil, malformed(NotJSON, "", "is not a JSON object")
	}
	members := make([]member, 0, 12)
	err := s.object(0, func(name string) error {
		m := member{name: name, start: s.i}
		var err error
		if s.peek() == '"' {
			m.text, err = s.str()
		} else {
			err = s.value(1)
		}
		m.end = s.i
		members = append(members, m)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.space()
	if s.i != len(s.text) {
		return nil, s.fault("has data after the JSON object")
	}
	return members, nil
}

// scanner reads strict JSON once, front to back. Names and strings without escapes share the memory of its text.
type scanner struct {
	text string
	i    int
	path []string
}

func newScanner(b []byte) *scanner { return &scanner{text: string(b), path: make([]string, 0, 4)} }

// fault names the place and what is wrong there, never what stands there.
func (s *scanner) fault(why string) error {
	names := make([]string, len(s.path))
	for i, name := range s.path {
		names[i] = presentable(name)
	}
	return malformed(NotJSON, strings.Join(names, "."), why+" (at byte "+strconv.Itoa(s.i)+")")
}

// presentable keeps a name that no contract would have out of texts and headers: it may be anything, of any length.
func presentable(name string) string {
	alphanumeric := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_'
	}
	if len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return !alphanumeric(r) }) {
		return "(other name)"
	}
	return name
}

// peek returns the next byte, and 0, which no JSON text has, at the end.
func (s *scanner) peek() byte {
	if s.i < len(s.text) {
		return s.text[s.i]
	}
	return 0
}

func (s *scanner) space() {
	for s.i < len(s.text) && (s.text[s.i] == ' ' || s.text[s.i] == '\n' || s.text[s.i] == '\r' || s.text[s.i] == '\t') {
		s.i++
	}
}

// value passes over a value of any kind.
func (s *scanner) value(depth int) error {
	if s.i == len(s.text) {
		return s.fault("ends too early")
	}
	switch s.text[s.i] {
	case '{':
		return s.object(depth, func(string) error { return s.value(depth + 1) })
	case '[':
		return s.array(depth)
	case '"':
		_, err := s.str()
		return err
	default:
		_, err := s.scalar()
		return err
	}
}

// object reads an object and calls read at the value of each member, which read passes over.
func (s *scanner) object(depth int, read func(name string) error) error {
	if depth >= maxDepth {
		return s.fault("is nested more than 32 deep")
	}
	s.i++
	s.space()
	if s.peek() == '}' {
		s.i++
		return nil
	}
	var seen names
	for {
		s.space()
		if s.i == len(s.text) {
			return s.fault("ends too early")
		}
		if s.text[s.i] != '"' {
			return s.fault("has no name where one is due")
		}
		name, err := s.str()
		if err != nil {
			return err
		}
		s.path = append(s.path, name)
		if !seen.add(name) {
			return s.fault("appears twice")
		}
		s.space()
		if s.peek() != ':' {
			return s.fault("has no colon after the name")
		}
		s.i++
		s.space()
		if err := read(name); err != nil {
			return err
		}
		s.path = s.path[:len(s.path)-1]
		if done, err := s.next('}'); done || err != nil {
			return err
		}
	}
}

func (s *scanner) array(depth int) error {
	if depth >= maxDepth {
		return s.fault("is nested more than 32 deep")
	}
	s.i++
	s.space()
	if s.peek() == ']' {
		s.i++
		return nil
	}
	for {
		s.space()
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if done, err := s.next(']'); done || err != nil {
			return err
		}
	}
}

// next passes over a comma, or over the closing bracket and is done.
func (s *scanner) next(closing byte) (done bool, err error) {
	s.space()
	switch {
	case s.i == len(s.text):
		return false, s.fault("ends too early")
	case s.text[s.i] == closing:
		s.i++
		return true, nil
	case s.text[s.i] == ',':
		s.i++
		return false, nil
	default:
		return false, s.fault("is not valid JSON")
	}
}

// names are those of one object. No event of ours has more than few at one level; a map takes over where somebody sends
// thousands to keep us busy.
type names struct {
	few  [24]string
	n    int
	many map[string]struct{}
}

// add reports whether the name is new.
func (s *names) add(name string) bool {
	if s.n < len(s.few) {
		if slices.Contains(s.few[:s.n], name) {
			return false
		}
		s.few[s.n] = name
		s.n++
		return true
	}
	if s.many == nil {
		s.many = make(map[string]struct{}, 4*len(s.few))
		for _, n := range s.few {
			s.many[n] = struct{}{}
		}
	}
	before := len(s.many)
	s.many[name] = struct{}{}
	return len(s.many) > before
}

// str reads a string and returns it decoded.
func (s *scanner) str() (string, error) {
	start := s.i
	s.i++
	plain := true
	for s.i < len(s.text) {
		c := s.text[s.i]
		switch {
		case c == '"':
			s.i++
			if plain {
				return s.text[start+1 : s.i-1], nil
			}
			var out string
			if err := json.Unmarshal([]byte(s.text[start:s.i]), &out); err != nil {
				return "", s.fault("is not a valid JSON string")
			}
			return out, nil
		case c < 0x20:
			return "", s.fault("holds a raw control character")
		case c == '\\':
			plain = false
			if err := s.escape(); err != nil {
				return "", err
			}
		case c < utf8.RuneSelf:
			s.i++
		default:
			r, n := utf8.DecodeRuneInString(s.text[s.i:])
			if r == utf8.RuneError && n == 1 {
				return "", s.fault("is not valid UTF-8")
			}
			s.i += n
		}
	}
	return "", s.fault("ends too early")
}

func (s *scanner) escape() error {
	if s.i+1 >= len(s.text) {
		return s.fault("ends too early")
	}
	if s.text[s.i+1] != 'u' {
		if strings.IndexByte(`"\/bfnrt`, s.text[s.i+1]) < 0 {
			return s.fault("holds an unknown escape")
		}
		s.i += 2
		return nil
	}
	r, ok := s.hex4(s.i + 2)
	switch {
	case !ok:
		return s.fault("holds a broken \\u escape")
	case r == 0:
		return s.fault("holds \\u0000")
	case r >= 0xDC00 && r <= 0xDFFF:
		return s.fault("holds a lone surrogate")
	case r >= 0xD800 && r <= 0xDBFF:
		low, ok := rune(0), strings.HasPrefix(s.text[s.i+6:], `\u`)
		if ok {
			low, ok = s.hex4(s.i + 8)
		}
		if !ok || low < 0xDC00 || low > 0xDFFF {
			return s.fault("holds a lone surrogate")
		}
		s.i += 12
	default:
		s.i += 6
	}
	return nil
}

func (s *scanner) hex4(at int) (rune, bool) {
	if at+4 > len(s.text) {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s.text[at : at+4]) {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// scalar reads a number, true, false or null and returns its text; json.Valid knows the grammar.
func (s *scanner) scalar() (string, error) {
	start := s.i
	for s.i < len(s.text) && strings.IndexByte(" \t\r\n,]}:\"[{", s.text[s.i]) < 0 {
		s.i++
	}
	if start == s.i || !json.Valid([]byte(s.text[start:s.i])) {
		return "", s.fault("is not valid JSON")
	}
	return s.text[start:s.i], nil
}
