package events

import (
	"bytes"
	"encoding/json"
)

// Unknown returns the data's fields that this build does not know, by path ("invoice.taxMinor"); nil for none. They are kept
// for a later build, never acted on.
func (e Event) Unknown() map[string]json.RawMessage {
	var unknown map[string]json.RawMessage
	collectUnknown(e.Data, shapes[e.Definition.Type], "", &unknown)
	return unknown
}

func collectUnknown(object []byte, known shape, path string, into *map[string]json.RawMessage) {
	members, err := scan(object)
	if err != nil {
		return // not an object, so it has no fields
	}
	for _, m := range members {
		raw := object[m.start:m.end]
		p, ok := known[m.name]
		switch {
		case !ok && *into == nil:
			*into = map[string]json.RawMessage{path + m.name: raw}
		case !ok:
			(*into)[path+m.name] = raw
		case p.shape != nil && raw[0] == '{':
			collectUnknown(raw, p.shape, path+m.name+".", into)
		}
	}
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
