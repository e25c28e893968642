package events_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/mongotel/billcenter/events"
)

// The envelope, in structured mode.
func TestEnvelopeSchemaJudgesAsGoDoes(t *testing.T) {
	schema := compiled(t, events.Schemas())("cloudevent.json")
	def, _ := events.DefinitionNamed("InvoiceEmailed")
	long := strings.Repeat("i", 256)
	for _, tt := range []struct {
		name, attribute string
		value           any
		valid           bool
	}{
		{"another version of CloudEvents", "specversion", "0.3", false},
		{"a version that is a number", "specversion", 1.0, false},
		{"an empty id", "id", "", false},
		{"an id of 256", "id", long, true},
		{"an id of 257", "id", long + "i", false},
		{"an id with a line break", "id", "a\nb", false},
		{"an id that is a number", "id", 7, false},
		{"an empty source", "source", "", false},
		{"a source of 257", "source", "//" + long[1:], false},
		{"a source that is no URI", "source", "//[::1", false},
		{"an unknown type", "type", "net.billcenter.invoice.printed.v1", false},
		{"a major version of the future", "type", "net.billcenter.invoice.emailed.v2", false},
		{"a time without a zone", "time", "2026-11-20T08:00:00", false},
		{"a time of 1999", "time", "1999-11-20T08:00:00Z", false},
		{"a subject with a control character", "subject", "a\u0001", false},
		{"data that is no JSON", "datacontenttype", "text/plain", false},
		{"data that is a text", "data", "x", false},
		{"data in base64", "data_base64", "eA==", false},
		{"an extension", "comexampleflag", true, true},
		{"an extension that is a number", "priority", 7, true},
		{"an extension with capitals", "comExample", "x", false},
		{"an extension with a dash", "com-example", "x", false},
		{"an extension that is an object", "comexample", map[string]any{}, false},
		{"an extension with a control character", "comexample", "a\u0007", false},
		{"the tenant of the subject", "tenant", "mongo", true},
		{"no tenant at all", "tenant", "Mongo!", false},
		{"invalid data", "data", map[string]any{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var event map[string]any
			if err := json.Unmarshal(events.Sample(def), &event); err != nil {
				t.Fatal(err)
			}
			event[tt.attribute] = tt.value
			b, err := json.Marshal(event)
			if err != nil {
				t.Fatal(err)
			}
			e, code := events.Decode(def.Subject("mongo"), structuredHeader, b)
			if code == nil {
				code = e.Check()
			}
			if s := schema.Validate(parse(t, b)); (s == nil) != tt.valid || (code == nil) != tt.valid {
				t.Errorf("schema %v, Go %v", s, code)
			}
		})
	}
}
