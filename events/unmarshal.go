package events

import (
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Data is decoded by the shapes of the contract's own structs instead of by encoding/json, for three reasons: a name is
// matched exactly, every fault names its field, and one walk does what takes encoding/json and its corrections five.

// shape is what a struct of the contract looks like as JSON.
type shape map[string]property

// property is one name of a shape; the names of embedded structs belong to the struct around them.
type property struct {
	index []int
	shape shape // of a nested object
}

// shapes are those of the catalog's messages.
var shapes = func() map[Type]shape {
	m := make(map[Type]shape, len(catalog))
	for _, def := range catalog {
		m[def.Type] = shapeOf(reflect.TypeOf(def.New()).Elem())
	}
	return m
}()

var timeType = reflect.TypeFor[time.Time]()

func shapeOf(t reflect.Type) shape {
	s := shape{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || name == "" || name == "-" {
			continue
		}
		p := property{index: f.Index}
		if of := pointed(f.Type); of.Kind() == reflect.Struct && of != timeType {
			p.shape = shapeOf(of)
		}
		s[name] = p
	}
	return s
}

func pointed(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// unmarshal decodes a JSON object into a message of the catalog. Every fault is a *Malformed.
func unmarshal(b []byte, into Message) error {
	s := newScanner(b)
	s.space()
	if s.peek() != '{' {
		return malformed(FieldInvalid, "data", "is not an object")
	}
	return s.into(reflect.ValueOf(into).Elem(), shapes[into.EventType()], 0)
}

// into reads an object into a struct.
func (s *scanner) into(v reflect.Value, known shape, depth int) error {
	return s.object(depth, func(name string) error {
		p, ok := known[name]
		if !ok {
			if err := s.unknown(name, known); err != nil {
				return err
			}
			return s.value(depth + 1)
		}
		if strings.HasPrefix(s.text[s.i:], "null") { // the same as absent
			s.i += len("null")
			return nil
		}
		field := v.FieldByIndex(p.index)
		if field.Kind() == reflect.Pointer {
			field.Set(reflect.New(field.Type().Elem()))
			field = field.Elem()
		}
		if p.shape != nil && s.peek() == '{' {
			return s.into(field, p.shape, depth+1)
		}
		return s.one(field, depth)
	})
}

// unknown takes any name except one that differs from a known one in case only: a reader in another language, or
// encoding/json itself, would take it for that.
func (s *scanner) unknown(name string, known shape) error {
	for k := range known {
		if strings.EqualFold(k, name) {
			s.path[len(s.path)-1] = k
			return s.invalid("is spelled in other case; names are case-sensitive")
		}
	}
	return nil
}

// one reads a value that is not a nested object into its field.
func (s *scanner) one(field reflect.Value, depth int) error {
	is := s.kind()
	want := "true or false"
	switch t := field.Type(); {
	case t == timeType:
		want = "an RFC 3339 time with a zone"
		if is == "a string" {
			return s.time(field)
		}
	case t.Kind() == reflect.String:
		want = "a string"
		if is == "a string" {
			v, err := s.str()
			field.SetString(v)
			return err
		}
	case field.CanInt() || field.CanUint():
		want = "an integer in range"
		if is == "a number" {
			return s.integer(field)
		}
	case t.Kind() == reflect.Bool:
		if is == "true or false" {
			v, err := s.scalar()
			field.SetBool(v == "true")
			return err
		}
	default:
		want = "an object"
	}
	if err := s.value(depth + 1); err != nil {
		return err
	}
	return s.invalid("is " + is + ", not " + want)
}

func (s *scanner) time(field reflect.Value) error {
	v, err := s.str()
	if err != nil {
		return err
	}
	t, ok := parseTime(v)
	if !ok {
		return s.invalid("is not an RFC 3339 time with a zone, such as 2026-11-20T08:00:00Z")
	}
	*field.Addr().Interface().(*time.Time) = t
	return nil
}

// parseTime is time.Parse for RFC 3339 without its indulgence (go.dev/issue/54580): an hour of one digit, a comma for the
// point, and zones that no time.Time can be written with again.
func parseTime(v string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, v)
	if err != nil || v[len("2006-01-02T15")] != ':' || strings.Contains(v, ",") {
		return time.Time{}, false
	}
	if zone := v[len(v)-len("+07:00"):]; !strings.HasSuffix(v, "Z") && (zone[1:3] > "23" || zone[4:] > "59") {
		return time.Time{}, false
	}
	return t, true
}

func (s *scanner) integer(field reflect.Value) error {
	v, err := s.scalar()
	if err != nil {
		return err
	}
	if field.CanInt() {
		n, err := strconv.ParseInt(v, 10, field.Type().Bits())
		if err != nil {
			return s.invalid("is a number, not an integer in range")
		}
		field.SetInt(n)
		return nil
	}
	n, err := strconv.ParseUint(v, 10, field.Type().Bits())
	if err != nil {
		return s.invalid("is a number, not an integer in range")
	}
	field.SetUint(n)
	return nil
}

func (s *scanner) invalid(why string) error {
	return malformed(FieldInvalid, "data."+strings.Join(s.path, "."), why)
}

// kind tells by its first byte what a value is.
func (s *scanner) kind() string {
	switch s.peek() {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "true or false"
	default:
		return "a number"
	}
}
