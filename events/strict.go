package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
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

// scan checks that b is one JSON object of the strict kind and nothing else.
func scan(b []byte) error {
	if len(b) == 0 {
		return malformed(NotJSON, "", "the message is empty; send one JSON object")
	}
	if len(b) > maxSize {
		return malformed(NotJSON, "", "is larger than 1 MiB")
	}
	if b[0] == 0xEF && strings.HasPrefix(string(b[:min(3, len(b))]), "\ufeff") {
		return malformed(NotJSON, "", "begins with a byte order mark; send UTF-8 without one")
	}
	s := scanner{b: b}
	s.space()
	if s.i >= len(b) || b[s.i] != '{' {
		return malformed(NotJSON, "", "is not a JSON object")
	}
	if err := s.value(0); err != nil {
		return err
	}
	s.space()
	if s.i != len(b) {
		return s.fault("has data after the JSON object")
	}
	return nil
}

type scanner struct {
	b    []byte
	i    int
	path []string
}

// fault names the place and what is wrong there, never what stands there.
func (s *scanner) fault(why string) error {
	return malformed(NotJSON, strings.Join(s.path, "."), fmt.Sprintf("%s (at byte %d)", why, s.i))
}

func (s *scanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t' || s.b[s.i] == '\n' || s.b[s.i] == '\r') {
		s.i++
	}
}

func (s *scanner) value(depth int) error {
	if depth > maxDepth {
		return s.fault("is nested more than 32 deep")
	}
	if s.i >= len(s.b) {
		return s.fault("ends too early")
	}
	switch s.b[s.i] {
	case '{':
		return s.object(depth)
	case '[':
		return s.array(depth)
	case '"':
		_, err := s.text()
		return err
	default:
		return s.scalar()
	}
}

func (s *scanner) object(depth int) error {
	s.i++
	var room [24]string // no event of ours has more names at one level; more only costs an allocation
	names := room[:0]
	for first := true; ; first = false {
		s.space()
		if s.i >= len(s.b) {
			return s.fault("ends too early")
		}
		if s.b[s.i] == '}' && first {
			s.i++
			return nil
		}
		if s.b[s.i] != '"' {
			return s.fault("has no name where one is due")
		}
		name, err := s.text()
		if err != nil {
			return err
		}
		s.path = append(s.path, name)
		for _, n := range names {
			if n == name {
				return s.fault("appears twice")
			}
		}
		names = append(names, name)
		s.space()
		if s.i >= len(s.b) || s.b[s.i] != ':' {
			return s.fault("has no colon after the name")
		}
		s.i++
		s.space()
		if err := s.value(depth + 1); err != nil {
			return err
		}
		s.path = s.path[:len(s.path)-1]
		s.space()
		if s.i >= len(s.b) {
			return s.fault("ends too early")
		}
		switch s.b[s.i] {
		case ',':
			s.i++
		case '}':
			s.i++
			return nil
		default:
			return s.fault("is not valid JSON")
		}
	}
}

func (s *scanner) array(depth int) error {
	s.i++
	s.space()
	if s.i < len(s.b) && s.b[s.i] == ']' {
		s.i++
		return nil
	}
	for {
		s.space()
		if err := s.value(depth + 1); err != nil {
			return err
		}
		s.space()
		if s.i >= len(s.b) {
			return s.fault("ends too early")
		}
		switch s.b[s.i] {
		case ',':
			s.i++
		case ']':
			s.i++
			return nil
		default:
			return s.fault("is not valid JSON")
		}
	}
}

// text reads a string and returns it decoded.
func (s *scanner) text() (string, error) {
	start := s.i
	s.i++
	plain := true
	for s.i < len(s.b) {
		c := s.b[s.i]
		switch {
		case c == '"':
			s.i++
			raw := s.b[start:s.i]
			if plain {
				return string(raw[1 : len(raw)-1]), nil
			}
			var out string
			if err := json.Unmarshal(raw, &out); err != nil {
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
			r, n := utf8.DecodeRune(s.b[s.i:])
			if r == utf8.RuneError && n == 1 {
				return "", s.fault("is not valid UTF-8")
			}
			s.i += n
		}
	}
	return "", s.fault("ends too early")
}

func (s *scanner) escape() error {
	if s.i+1 >= len(s.b) {
		return s.fault("ends too early")
	}
	if s.b[s.i+1] != 'u' {
		if !strings.ContainsRune(`"\/bfnrt`, rune(s.b[s.i+1])) {
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
		low, ok := rune(0), false
		if s.i+7 < len(s.b) && s.b[s.i+6] == '\\' && s.b[s.i+7] == 'u' {
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
	if at+4 > len(s.b) {
		return 0, false
	}
	var r rune
	for _, c := range s.b[at : at+4] {
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

// scalar reads a number or a literal; json.Valid knows their grammar.
func (s *scanner) scalar() error {
	start := s.i
	for s.i < len(s.b) && !strings.ContainsRune(" \t\r\n,]}:\"[{", rune(s.b[s.i])) {
		s.i++
	}
	if start == s.i || !json.Valid(s.b[start:s.i]) {
		return s.fault("is not valid JSON")
	}
	return nil
}

// unmarshal decodes strict JSON into a struct and turns encoding/json's errors into ours.
func unmarshal(b []byte, into any) error {
	if err := exactNames(b, reflect.TypeOf(into).Elem(), ""); err != nil {
		return err
	}
	err := json.Unmarshal(b, into)
	if err == nil {
		return nil
	}
	if m, ok := AsMalformed(err); ok {
		return m
	}
	if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return malformed(FieldInvalid, "data."+te.Field, "is a "+strings.SplitN(te.Value, " ", 2)[0]+", not "+kind(te.Type))
	}
	return malformed(FieldInvalid, "data", "cannot be read: a time or a date is not in its form")
}

func kind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Int, reflect.Int64, reflect.Uint32:
		return "an integer in range"
	case reflect.Bool:
		return "true or false"
	case reflect.Struct, reflect.Map:
		return "an object"
	default:
		return t.Kind().String()
	}
}

// exactNames refuses names that encoding/json would take for a known one though they differ in case ("AccountNumber").
func exactNames(b []byte, t reflect.Type, path string) error {
	known := map[string]reflect.Type{}
	fieldsOf(t, known)
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return nil // not an object: json.Unmarshal into the struct names the fault
	}
	for name, raw := range fields {
		if ft, ok := known[name]; ok {
			if ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			if ft.Kind() == reflect.Struct && len(raw) > 0 && raw[0] == '{' {
				if err := exactNames(raw, ft, path+name+"."); err != nil {
					return err
				}
			}
			continue
		}
		for k := range known {
			if strings.EqualFold(k, name) {
				return malformed(FieldInvalid, "data."+path+k, "is spelled in other case; names are case-sensitive")
			}
		}
	}
	return nil
}

func fieldsOf(t reflect.Type, into map[string]reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			fieldsOf(f.Type, into)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			into[name] = f.Type
		}
	}
}
