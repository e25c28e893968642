package events

import (
	"bytes"
	"encoding/json"
)

// Unknown returns the data's fields that this build does not know, by path ("invoice.taxMinor"); nil for none. They are kept
// for a later build, never acted on.
func (e Event) Unknown() map[string]json.RawMessage {
	s := newScanner(e.Data)
	s.space()
	if s.peek() != '{' {
		return nil
	}
	var unknown map[string]json.RawMessage
	err := s.besides(shapes[e.Definition.Type], "", 0, func(path string, start, end int) {
		if unknown == nil {
			unknown = map[string]json.RawMessage{}
		}
		unknown[path] = e.Data[start:end]
	})
	if err != nil {
		return nil // it is not the strict JSON that Decode leaves in Data
	}
	return unknown
}

// besides reads an object and tells where its members stand that are not part of a shape.
func (s *scanner) besides(known shape, path string, depth int, found func(path string, start, end int)) error {
	return s.object(depth, func(name string) error {
		p, ok := known[name]
		if ok && p.shape != nil && s.peek() == '{' {
			return s.besides(p.shape, path+name+".", depth+1, found)
		}
		start := s.i
		err := s.value(depth + 1)
		if !ok && err == nil {
			found(path+name, start, s.i)
		}
		return err
	})
}

// Compact returns JSON without insignificant white space: the form in which two copies of an event's data compare.
// The result may be data itself.
func Compact(data []byte) []byte {
	if compact(data) {
		return data
	}
	var b bytes.Buffer
	b.Grow(len(data))
	if err := json.Compact(&b, data); err != nil {
		return data
	}
	return b.Bytes()
}

// compact reports whether valid JSON has no white space outside of its strings: most programs write it so, and looking is
// ten times cheaper than copying.
func compact(data []byte) bool {
	inText := false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			inText = !inText
		case inText && c == '\\':
			i++ // whatever is escaped ends nothing
		case !inText && c <= ' ':
			return false
		}
	}
	return true
}
