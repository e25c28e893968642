package events_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/events"
)

func releases(t *testing.T) map[string]fs.FS {
	t.Helper()
	folders, err := fs.Glob(os.DirFS("released"), "v*")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no releases: %v", err)
	}
	all := map[string]fs.FS{}
	for _, name := range folders {
		all[name] = os.DirFS(path.Join("released", name))
	}
	return all
}

func sub(t *testing.T, files fs.FS, dir string) fs.FS {
	t.Helper()
	s, err := fs.Sub(files, dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNothingReleasedIsBroken(t *testing.T) {
	for name, release := range releases(t) {
		found, err := breaks(sub(t, release, "schemas"), events.Schemas())
		if err != nil {
			t.Fatal(err)
		}
		for _, each := range found {
			t.Errorf("since %s: %s", name, each)
		}
	}
}

func TestEverySampleEverReleasedIsStillTaken(t *testing.T) {
	schema := compiled(t, events.Schemas())("cloudevent.json")
	for name, release := range releases(t) {
		samples, err := fs.Glob(release, "samples/*.json")
		if err != nil || len(samples) < 22 {
			t.Fatalf("%s has %d samples, %v", name, len(samples), err)
		}
		for _, file := range samples {
			sample, err := fs.ReadFile(release, file)
			if err != nil {
				t.Fatal(err)
			}
			def, ok := events.DefinitionOf(events.Type(strings.TrimSuffix(path.Base(file), ".json")))
			if !ok {
				t.Errorf("%s/%s: the type is gone", name, file)
				continue
			}
			e, err := events.Decode(def.Subject("mongo"), structuredHeader, sample)
			if err == nil {
				err = e.Check()
			}
			if err != nil || e.Unknown() != nil {
				t.Errorf("%s/%s: %v, and unknown are %v", name, file, err, e.Unknown())
			}
			if err := schema.Validate(parse(t, sample)); err != nil {
				t.Errorf("%s/%s: %v", name, file, err)
			}
		}
	}
}

// One deliberate break of each kind, and changes that are none, made in copies of the released schemas.
func TestEachKindOfBreakIsCaught(t *testing.T) {
	const (
		invoice  = "net.billcenter.invoice.emailed.v1"
		mail     = "net.billcenter.activation.requested.v1"
		released = "released/v1/schemas"
	)
	type object = map[string]any
	in := func(s object, names ...string) object {
		for _, name := range names {
			s = s[name].(object)
		}
		return s
	}
	facts := func(what string) []string { // a change of fact.json, in fact.json and all 15 facts
		var all []string
		for _, def := range events.Catalog() {
			if def.Domain == events.Enrollment {
				all = append(all, string(def.Type)+what)
			}
		}
		slices.Sort(all)
		return append([]string{"fact" + what}, all...)
	}
	for _, tt := range []struct {
		name   string
		file   string
		change func(object)
		want   []string
	}{
		{"a field is removed", invoice, func(s object) { delete(in(s, "properties"), "companyName") }, []string{invoice + "/companyName: removed or renamed"}},
		{"a field is renamed", invoice, func(s object) {
			p := in(s, "properties", "invoice", "properties")
			p["no"] = p["number"]
			delete(p, "number")
			in(s, "properties", "invoice")["required"] = []any{"no"}
		}, []string{invoice + "/invoice: no became required", invoice + "/invoice/number: removed or renamed"}},
		{"an optional field becomes required", invoice, func(s object) { s["required"] = append(s["required"].([]any), "locale") }, []string{invoice + ": locale became required"}},
		{"a new field is required", invoice, func(s object) {
			in(s, "properties")["region"] = object{"type": "string"}
			s["required"] = append(s["required"].([]any), "region")
		}, []string{invoice + ": region became required"}},
		{"a type is another", mail, func(s object) { in(s, "properties", "number")["type"] = "string" }, []string{mail + "/number: type narrowed from [integer] to [string]"}},
		{"a field has a list", invoice, func(s object) { in(s, "properties", "companyName")["enum"] = []any{"Bob's Building"} }, []string{invoice + "/companyName: values narrowed by []"}},
		{"a value of a list is gone", "net.billcenter.payment-method.changed.v1", func(s object) { in(s, "properties", "kind")["enum"] = []any{"card", "none"} },
			[]string{`net.billcenter.payment-method.changed.v1/kind: values narrowed by ["bank-account"]`}},
		{"a field has a format", invoice, func(s object) { in(s, "properties", "billingEmail")["format"] = "email" }, []string{invoice + "/billingEmail: format is new or another"}},
		{"a format is another", invoice, func(s object) { in(s, "properties", "invoice", "properties", "documentUrl")["format"] = "uri-template" },
			[]string{invoice + "/invoice/documentUrl: format is new or another"}},
		{"a field has a pattern", invoice, func(s object) { in(s, "properties", "registrationCode")["pattern"] = "^[0-9A-Z-]+$" }, []string{invoice + "/registrationCode: pattern is new or another"}},
		{"a text must be longer", invoice, func(s object) { in(s, "properties", "registrationCode")["minLength"] = 6.0 }, []string{invoice + "/registrationCode: minLength raised to 6"}},
		{"a text must be shorter", invoice, func(s object) { in(s, "properties", "registrationCode")["maxLength"] = 32.0 }, []string{invoice + "/registrationCode: maxLength lowered to 32"}},
		{"a number must be greater", mail, func(s object) { in(s, "properties", "number")["minimum"] = 2.0 }, []string{mail + "/number: minimum raised to 2"}},
		{"a number must be less", mail, func(s object) { in(s, "properties", "number")["maximum"] = 3.0 }, []string{mail + "/number: maximum lowered to 3"}},
		{"other fields are refused", invoice, func(s object) { s["additionalProperties"] = false }, []string{invoice + ": other fields are not taken any more"}},
		{"other fields are refused in an object", invoice, func(s object) { in(s, "properties", "invoice")["additionalProperties"] = false }, []string{invoice + "/invoice: other fields are not taken any more"}},
		{"other fields have a type", invoice, func(s object) { s["additionalProperties"] = object{"type": "string"} }, []string{invoice + ": additionalProperties is new or another"}},
		{"a field needs another", invoice, func(s object) { s["dependentRequired"] = object{"locale": []any{"companyName"}} }, []string{invoice + ": dependentRequired is new or another"}},
		{"a condition that the check has no rule for", invoice, func(s object) { s["not"] = object{"required": []any{"locale"}} }, []string{invoice + ": not is new or another"}},
		{"a condition inside of allOf", mail, func(s object) { s["allOf"] = []any{object{"if": object{"required": []any{"locale"}}, "then": false}} },
			[]string{mail + ": if is new or another", mail + ": then is new or another"}},
		{"a list is narrowed by another one", "net.billcenter.payment-method.changed.v1", func(s object) {
			in(s, "properties", "kind")["allOf"] = []any{object{"enum": []any{"card", "none", "cash"}}}
		}, []string{`net.billcenter.payment-method.changed.v1/kind: values narrowed by ["bank-account"]`}},
		{"a shared definition is narrower", "fields", func(s object) { in(s, "$defs", "username")["maxLength"] = 32.0 },
			[]string{mail + "/username: maxLength lowered to 32", "net.billcenter.password-reset.requested.v1/username: maxLength lowered to 32"}},
		{"all facts are narrower", "fact", func(s object) { in(s, "properties", "sequence")["minimum"] = 2.0 }, facts("/sequence: minimum raised to 2")},
		{"an attribute of the envelope is required", "cloudevent", func(s object) { s["required"] = append(s["required"].([]any), "time") }, []string{"cloudevent: time became required"}},
		{"a type of event is gone from the envelope", "cloudevent", func(s object) {
			types := in(s, "properties", "type")
			types["enum"] = types["enum"].([]any)[1:]
		}, []string{`cloudevent/type: values narrowed by ["net.billcenter.invoice.emailed.v1"]`}},

		{"nothing changes", invoice, func(object) {}, nil},
		{"an optional field is added", invoice, func(s object) { in(s, "properties")["region"] = object{"type": "string", "maxLength": 3.0} }, nil},
		{"a required field becomes optional", invoice, func(s object) { s["required"] = s["required"].([]any)[1:] }, nil},
		{"limits are wider", invoice, func(s object) {
			in(s, "properties", "registrationCode")["minLength"], in(s, "properties", "registrationCode")["maxLength"] = 1.0, 128.0
		}, nil},
		{"a limit is dropped", mail, func(s object) { delete(in(s, "properties", "number"), "maximum") }, nil},
		{"a format is dropped", invoice, func(s object) { delete(in(s, "properties", "invoice", "properties", "documentUrl"), "format") }, nil},
		{"a value joins a list", "net.billcenter.payment-method.changed.v1", func(s object) {
			in(s, "properties", "kind")["enum"] = []any{"card", "bank-account", "none", "wallet"}
		}, nil},
		{"a type joins another", mail, func(s object) { in(s, "properties", "number")["type"] = []any{"integer", "string"} }, nil},
		{"an integer may be any number", mail, func(s object) { in(s, "properties", "number")["type"] = "number" }, nil},
		{"an event joins the contract", "cloudevent", func(s object) {
			types := in(s, "properties", "type")
			types["enum"] = append(types["enum"].([]any), "net.billcenter.invoice.paid.v1")
			s["allOf"] = append(s["allOf"].([]any), object{"if": object{"properties": object{"type": object{"const": "net.billcenter.invoice.paid.v1"}}}, "then": object{}})
		}, nil},
		{"words change", invoice, func(s object) { s["description"], in(s, "properties", "locale")["title"] = "x", "x" }, nil},
		{"a reference is written out", invoice, func(s object) {
			in(s, "properties")["locale"] = object{"type": "string", "minLength": 2.0, "maxLength": 35.0, "pattern": "^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$"}
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changed := fstest.MapFS{}
			files, err := fs.Glob(os.DirFS(released), "*.json")
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range files {
				b, err := os.ReadFile(path.Join(released, name))
				if err != nil {
					t.Fatal(err)
				}
				if name == tt.file+".json" {
					var s object
					if err := json.Unmarshal(b, &s); err != nil {
						t.Fatal(err)
					}
					tt.change(s)
					if b, err = json.Marshal(s); err != nil {
						t.Fatal(err)
					}
				}
				changed[name] = &fstest.MapFile{Data: b}
			}
			got, err := breaks(os.DirFS(released), changed)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("an event is removed", func(t *testing.T) {
		changed := fstest.MapFS{}
		got, err := breaks(os.DirFS(released), changed)
		if err != nil || len(got) != 24 || got[0] != "cloudevent.json: removed" {
			t.Errorf("%v, %v", got, err)
		}
	})
}
