package events_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/events"
)

func TestEveryEventAndFieldIsExplained(t *testing.T) {
	for _, def := range events.Catalog() {
		var file struct {
			ID         string `json:"$id"`
			Dialect    string `json:"$schema"`
			Additional *bool  `json:"additionalProperties"`
			Event      struct{ Name, Subject string }
			About      struct{ Name, Subject string } `json:"x-event"`
		}
		if err := json.Unmarshal(events.Schema(def), &file); err != nil {
			t.Fatal(err)
		}
		if file.ID != def.Type.DataSchema() || file.Dialect != "https://json-schema.org/draft/2020-12/schema" {
			t.Errorf("%s: $id is %s, $schema is %s", def.Name, file.ID, file.Dialect)
		}
		if file.About.Name != def.Name || file.About.Subject != def.Subject("<tenant>") {
			t.Errorf("%s: x-event names %v", def.Name, file.About)
		}
		if file.Additional == nil || !*file.Additional {
			t.Errorf("%s: does not say that other fields are taken", def.Name)
		}
		p := events.PageOf(def)
		if p.Title == "" || p.Publisher == "" || p.Readers == "" || p.When == "" || !strings.Contains(p.Description, "are ignored and kept") {
			t.Errorf("%s: the page has gaps", def.Name)
		}
		for _, f := range p.Fields {
			if f.Title == "" || f.Description == "" || f.Type == "" {
				t.Errorf("%s: %s has no title, description or type", def.Name, f.Path)
			}
			limited := len(f.Limits) > 0 || len(f.Allowed) > 0 || f.Type == "boolean" || f.Type == "object"
			if !limited || f.Example == "" && f.Type != "object" || f.Unit == "" && f.Type == "integer" {
				t.Errorf("%s: %s has no limits, example or unit", def.Name, f.Path)
			}
		}
	}
}

// The Go structs and the schemas name the same fields with the same types, and what Go always writes is required.
func TestSchemasHaveTheFieldsOfTheGoTypes(t *testing.T) {
	for _, def := range events.Catalog() {
		want := goFields(reflect.TypeOf(def.New()).Elem(), "")
		got := map[string]string{}
		for _, f := range events.PageOf(def).Fields {
			got[f.Path] = f.Type
			switch always := strings.HasSuffix(want[f.Path], "*"); {
			case always && f.Required:
				got[f.Path] += "*"
			case f.Required && def.Domain == events.Enrollment && f.Path == "reason":
				// Shared by all facts, required by some: TestSchemasJudgeAsGoDoes knows which.
			case f.Required:
				t.Errorf("%s: %s is required, and Go may leave it out", def.Name, f.Path)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: Go (-) and schema (+) differ:\n%s", def.Name, diff)
		}
	}
}

// goFields are the JSON types of a struct's fields by path; a * marks those that are always written.
func goFields(of reflect.Type, path string) map[string]string {
	all := map[string]string{}
	for _, f := range reflect.VisibleFields(of) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || name == "" {
			continue
		}
		kind := f.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		typ := map[reflect.Kind]string{
			reflect.String: "string", reflect.Bool: "boolean", reflect.Int: "integer", reflect.Int64: "integer", reflect.Uint32: "integer", reflect.Struct: "object",
		}[kind.Kind()]
		if kind == reflect.TypeFor[time.Time]() {
			typ = "string"
		} else if typ == "object" {
			for p, t := range goFields(kind, path+name+".") {
				all[p] = t
			}
		}
		if !strings.Contains(options, "omit") {
			typ += "*"
		}
		all[path+name] = typ
	}
	return all
}

func TestADescriptionFitsATerminalAndNamesEveryField(t *testing.T) {
	for _, def := range events.Catalog() {
		text := events.Describe(def)
		for line := range strings.Lines(text) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > 100 && strings.Count(strings.TrimSpace(line), " ") > 1 && !strings.Contains(line, `": "`) && !strings.HasPrefix(line, "schema") {
				t.Errorf("%s: a line of %d columns: %s", def.Name, n, line)
			}
		}
		for _, want := range []string{def.Name, string(def.Type), def.Subject("<tenant>"), "published by", "read by", `  "specversion": "1.0",`} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the text lacks %q", def.Name, want)
			}
		}
		for _, f := range events.PageOf(def).Fields {
			mark := "    "
			if f.Required {
				mark = "  * "
			}
			if !strings.Contains(text, "\n"+strings.Repeat("    ", f.Depth)+mark+f.Name+": "+f.Type) {
				t.Errorf("%s: the text lacks %s", def.Name, f.Path)
			}
		}
	}
}
