package events_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/mongotel/billcenter/events"
)

const schemaBase = "https://schemas.billcenter.net/events/"

// compiled returns the schema files of a folder, with formats asserted as a reader should.
func compiled(t testing.TB, files fs.FS) func(file string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseLoader(jsonschema.SchemeURLLoader{}) // no file and no network: every reference is among the files
	names, err := fs.Glob(files, "*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no schemas: %v", err)
	}
	for _, name := range names {
		b, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(schemaBase+name, parse(t, b)); err != nil {
			t.Fatal(err)
		}
	}
	return func(file string) *jsonschema.Schema {
		s, err := c.Compile(schemaBase + file)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func parse(t testing.TB, b []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func dataSchema(def events.Definition) string { return string(def.Type) + ".json" }

func TestEverySampleIsValidBySchema(t *testing.T) {
	schema := compiled(t, events.Schemas())
	for _, def := range events.Catalog() {
		sample := parse(t, events.Sample(def))
		if err := schema("cloudevent.json").Validate(sample); err != nil {
			t.Errorf("%s: %v", def.Name, err)
		}
		if err := schema(dataSchema(def)).Validate(sample.(map[string]any)["data"]); err != nil {
			t.Errorf("%s: %v", def.Name, err)
		}
	}
}

// verdicts compares what the schema and Go say about data of one type.
type verdicts struct {
	t      *testing.T
	def    events.Definition
	schema *jsonschema.Schema
}

func (v verdicts) of(data map[string]any) (schema, code error) {
	v.t.Helper()
	b, err := json.Marshal(data)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.schema.Validate(parse(v.t, b)), events.Event{Definition: v.def, Data: b}.Check()
}

// Every field of every event is tried with every value of a long list, and left out: schema and Go say the same.
func TestSchemasJudgeAsGoDoes(t *testing.T) {
	schema := compiled(t, events.Schemas())
	shared := map[string]bool{} // fields of fact.json that had the long list
	for _, def := range events.Catalog() {
		t.Run(def.Name, func(t *testing.T) {
			v := verdicts{t, def, schema(dataSchema(def))}
			page := events.PageOf(def)
			if s, code := v.of(full(t, page)); s != nil || code != nil {
				t.Fatalf("the examples of all fields: schema %v, Go %v", s, code)
			}
			for _, f := range page.Fields {
				missing := full(t, page)
				remove(missing, f.Path)
				schemaMissing, goMissing := v.of(missing)
				if (schemaMissing == nil) != (goMissing == nil) {
					t.Errorf("%s left out: schema %v, Go %v", f.Path, schemaMissing, goMissing)
				}
				values := universal
				if !shared[f.Path] {
					values = slices.Concat(universal, valuesFor(f))
					shared[f.Path] = def.Domain == events.Enrollment
				}
				for _, value := range values {
					data := full(t, page)
					set(data, f.Path, value)
					s, code := v.of(data)
					absent := value == nil || value == "" && f.Type == "string" && !slices.ContainsFunc(f.Limits, isTime) || value == 0 && f.Type == "integer"
					if absent && s != nil {
						// Readers take these for absent, where a field may be; publishers leave it out.
						if (code == nil) != (goMissing == nil) {
							t.Errorf("%s of %.40q: Go says %v, and %v when it is left out", f.Path, fmt.Sprint(value), code, goMissing)
						}
						continue
					}
					if (s == nil) != (code == nil) {
						t.Errorf("%s of %.40q: schema %v, Go %v", f.Path, fmt.Sprint(value), s, code)
					}
				}
			}
		})
	}
}

func isTime(limit string) bool { return strings.HasPrefix(limit, "RFC 3339") }

// full is the data with an example of every field.
func full(t *testing.T, page events.Page) map[string]any {
	t.Helper()
	data := map[string]any{}
	for _, f := range page.Fields {
		if f.Type == "object" {
			set(data, f.Path, map[string]any{})
			continue
		}
		set(data, f.Path, json.RawMessage(f.Example))
	}
	return data
}

func set(data map[string]any, path string, value any) {
	object, name := at(data, path)
	object[name] = value
}

func remove(data map[string]any, path string) {
	object, name := at(data, path)
	delete(object, name)
}

func at(data map[string]any, path string) (object map[string]any, name string) {
	for {
		head, rest, deeper := strings.Cut(path, ".")
		if !deeper {
			return data, head
		}
		data, path = data[head].(map[string]any), rest
	}
}

// universal are values to try on a field of whatever type.
var universal = []any{nil, "", "x", 0, 1, -1, 1.5, true, false, []any{}, []any{"x"}, map[string]any{}, map[string]any{"x": 1}}

// valuesFor are those to try on a field of its type.
func valuesFor(f events.Field) []any {
	var values []any
	switch f.Type {
	case "integer":
		for _, n := range []int64{2, 59, 60, 61, 199, 399, 400, 599, 600, 36500, 36501, 2592000, 2592001, math.MaxUint32, math.MaxUint32 + 1, 1<<53 + 1, math.MaxInt64, math.MinInt64} {
			values = append(values, n)
		}
		values = append(values, uint64(math.MaxInt64)+1, 1e300)
	case "string":
		for _, text := range texts {
			values = append(values, text)
		}
		for _, n := range []int{2, 3, 4, 5, 7, 8, 10, 35, 36, 64, 128, 200, 254, 256, 2048} {
			for _, unit := range []string{"a", "7", "😀", "-", " ", "a-"} {
				values = append(values, strings.Repeat(unit, n), strings.Repeat(unit, n+1))
			}
			values = append(values, "a@"+strings.Repeat("b", n-2), "a@"+strings.Repeat("b", n-1), "https://"+strings.Repeat("h", max(n-8, 1)), "https://"+strings.Repeat("h", max(n-7, 2)))
		}
		for _, allowed := range f.Allowed {
			values = append(values, allowed, strings.ToUpper(allowed), strings.ToLower(allowed), allowed+" ")
		}
	}
	return values
}

var texts = slices.Concat(
	strings.Split("Bob's Building|a b|ab\tcd|ab\ncd|ab\x7fcd|ab\u0085cd|ab\u00adcd|ab\u202ecd|ab\u2028cd|ab\ufffdcd|ab\ue000cd|ab\U000e0041cd|ab\u200bcd|\u00a0\u00a0\u00a0\u00a0|"+
		"\u2004\u2004\u2004\u2004|\u1680\u205f\u2000\u2001|\u2004\u2004\u2004\u2004-|----|- - - -|\u2010\u2011\u2012\u2013\u2014\u2015\u2212|\u200b\u200c\u200d\u2060\ufeff|ab-c|ab-c-d|a-b-c-d-|a\u200bb\u200bc|ÄÖÜß|日本語文|e\u0301e\u0301e\u0301e\u0301", "|"),
	// addresses
	strings.Fields(`a@b a@b.c a@b@c @b.c a@ a.b "a"@b a@[1.2.3.4] a@b,c a;b@c a<b>@c a(b)@c a\b@c ä@ö.example a@b. .a@b a%b@c a!b@c =?x?=@y`), []string{"a b@c", "a\u00a0b@c", "A <a@b>", "\u00a0@\u00a0"},
	// languages
	strings.Fields(`en en-US de-CH-1901 e en- -en en--US en_US 12 en-123456789 abcdefgh abcdefghi zh-Hant-TW x-private én a1 en-US-x-ABCDEFGH-ABCDEFGH-ABCDEFG en-US-x-ABCDEFGH-ABCDEFGH-ABCDEFGH`),
	// days and months
	strings.Fields(`2026-11-20 2026-02-28 2026-02-29 2028-02-29 2100-02-29 2026-04-31 2026-13-01 2026-00-01 2026-01-00 1999-12-31 2000-01-01 2100-12-31 2101-01-01 2026-1-1 20261120 2026-11-20Z +2026-11-20 2026-11 2026-00 2026-13 2026-1 1999-12 2000-01 2099-12 2100-01 2100-12 2101-01 0000-01-01`),
	// times
	strings.Fields(`2026-11-20T08:00:00Z 2026-11-20T08:00:00 2026-11-20t08:00:00z 2026-11-20T08:00Z 2026-11-20T8:00:00Z 2026-11-20T08:00:00,5Z 2026-11-20T08:00:00.5Z 2026-11-20T08:00:00.Z 2026-11-20T08:00:00.123456789012Z
		2026-11-20T08:00:00+05:30 2026-11-20T08:00:00-00:00 2026-11-20T08:00:00+0530 2026-11-20T08:00:00+24:00 2026-11-20T08:00:00+23:59 2026-11-20T08:00:00+05:60 2026-11-20T24:00:00Z 2026-11-20T23:59:60Z 2026-06-30T23:59:60Z 2026-11-20T08:60:00Z
		2026-02-29T08:00:00Z 2028-02-29T08:00:00Z 2000-01-01T00:00:00Z 1999-12-31T23:59:59Z 2100-12-31T23:59:59Z 2101-01-01T00:00:00Z 0001-01-01T00:00:00Z 1763625600`), []string{"2026-11-20 08:00:00Z"},
	// UUIDs
	strings.Fields(`01960f2e-6b1d-7c55-9d4e-3a2f8c7b6e10 01960F2E-6B1D-7C55-9D4E-3A2F8C7B6E10 00000000-0000-0000-0000-000000000000 01960f2e6b1d7c559d4e3a2f8c7b6e10 {01960f2e-6b1d-7c55-9d4e-3a2f8c7b6e10} urn:uuid:01960f2e-6b1d-7c55-9d4e-3a2f8c7b6e10 01960f2e-6b1d-7c55-9d4e-3a2f8c7b6e1g 01960f2e-6b1d-7c55-9d4e-3a2f8c7b6e1`),
	// currencies
	strings.Fields(`USD usd US USDX XAU EUR EURUSD`), []string{"D E", "USD EUR"},
	// digits
	strings.Fields(`4242 424 42424 ٤٢٤٢ 42a2 -424 +424`),
	// URLs
	strings.Fields(`http://h/x https://h https://h/ HTTPS://h/x https:// https:///x https:h //h/x /x https://u@h/x https://u:p@h/x https://h/u@x https://h?u@x https://h#u@x https://h:443/x https://:443/x https://h:port/x https://[::1]/x https://[::1 javascript:alert(1) https://h/%zz https://h/%41 https://h/ä mailto:a@b`), []string{"https://h h/x", "https://h/x y", " https://h/x"},
)

// Each character of Unicode, alone and between others: what Go takes for printable, blank or a dash, the patterns do.
func TestPatternsKnowTheSameCharactersAsGo(t *testing.T) {
	schema := compiled(t, events.Schemas())
	account, text := schema("fields.json#/$defs/accountNumber"), schema("fields.json#/$defs/companyName")
	now := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	for r := rune(1); r <= 0x10FFFF; r++ {
		switch r { // on to the next that may differ: past surrogates, ideographs, and private use
		case 0xD800:
			r = 0xE000
		case 0x20000:
			r = 0xDFFFE
		case 0xF0010:
			r = 0x10FFF0
		}
		alone, inside := string(r), "a"+string(r)
		if (account.Validate(alone) == nil) != (events.AccountClosed{AccountNumber: alone, ClosedAt: now}.Validate() == nil) {
			t.Errorf("account number %U: schema %v", r, account.Validate(alone))
		}
		if (text.Validate(inside) == nil) != (events.AccountClosed{AccountNumber: "1", ClosedAt: now, Reason: inside}.Validate() == nil) {
			t.Errorf("text with %U: schema %v", r, text.Validate(inside))
		}
	}
}

// The rules that JSON Schema has no words for, or in which the reader is more lenient than the contract. Each is documented:
// in the AsyncAPI document or at the field.
func TestWhatASchemaDoesNotSay(t *testing.T) {
	schema := compiled(t, events.Schemas())
	for _, tt := range []struct {
		name, event, path string
		value             any
		schema, code      bool
	}{
		{"years are counted in UTC, at the end", "AccountClosed", "closedAt", "2100-12-31T23:59:59-01:00", true, false},
		{"years are counted in UTC, at the beginning", "AccountClosed", "closedAt", "2000-01-01T00:00:00+01:00", true, false},
		{"years are counted in UTC, before the beginning", "AccountClosed", "closedAt", "1999-12-31T23:30:00-01:00", false, true},
		{"integers have no fraction", "ActivationRequested", "validForSeconds", json.RawMessage("3600.0"), true, false},
		{"integers have no exponent", "ActivationRequested", "validForSeconds", json.RawMessage("36e2"), true, false},
		{"names differ in more than letter case", "AccountClosed", "Reason", "moved", true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			def, _ := events.DefinitionNamed(tt.event)
			v := verdicts{t, def, schema(dataSchema(def))}
			data := full(t, events.PageOf(def))
			set(data, tt.path, tt.value)
			s, code := v.of(data)
			if (s == nil) != tt.schema || (code == nil) != tt.code {
				t.Errorf("schema %v, Go %v", s, code)
			}
		})
	}
}

func TestSchemasTakeUnknownFieldsAtEveryLevel(t *testing.T) {
	schema := compiled(t, events.Schemas())
	for _, def := range events.Catalog() {
		page := events.PageOf(def)
		data := full(t, page)
		set(data, "addedLater", map[string]any{"deep": []any{1, "x"}})
		for _, f := range page.Fields {
			if f.Type == "object" {
				set(data, f.Path+".addedLater", 1)
			}
		}
		v := verdicts{t, def, schema(dataSchema(def))}
		if s, code := v.of(data); s != nil || code != nil {
			t.Errorf("%s: schema %v, Go %v", def.Name, s, code)
		}
	}
}
