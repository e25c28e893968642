package funnel_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/mongotel/billcenter/consumers/funnel"
	"github.com/mongotel/billcenter/schema/journey"
)

const schemaID = "https://schemas.billcenter.net/funnel/report.json"

func reportSchema(t *testing.T) map[string]any {
	t.Helper()
	b, err := os.ReadFile("report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return v.(map[string]any)
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseLoader(jsonschema.SchemeURLLoader{}) // no file and no network
	if err := c.AddResource(schemaID, reportSchema(t)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(schemaID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// printed is a report as a reader has it.
func printed(t testing.TB, r funnel.Report) any {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestEveryReportIsValidBySchema(t *testing.T) {
	schema := compiled(t)
	rapid.Check(t, func(rt *rapid.T) {
		h := someHistory(rt)
		if err := schema.Validate(printed(t, count(t, h))); err != nil {
			rt.Fatalf("%s%v", h, err)
		}
	})
	t.Run("of nothing at all", func(t *testing.T) {
		q := funnel.Query{Trend: funnel.Daily, Breakdown: "locale"}.Defaults(noon)
		if err := schema.Validate(printed(t, count(t, history{query: q}))); err != nil {
			t.Error(err)
		}
	})
}

func TestTheSchemaRefuses(t *testing.T) {
	schema := compiled(t)
	q := as(100 * time.Hour)
	q.Trend, q.Breakdown = funnel.Weekly, "locale"
	for _, tt := range []struct {
		name   string
		damage func(report map[string]any)
	}{
		{"a field that is not there", func(r map[string]any) { r["visitors"] = 1 }},
		{"a report without its watermark", func(r map[string]any) { delete(r, "watermark") }},
		{"a list that is null", func(r map[string]any) { r["trend"] = nil }},
		{"a step that is none", func(r map[string]any) { r["steps"].([]any)[0].(map[string]any)["step"] = "Visited" }},
		{"a rate beyond one", func(r map[string]any) { r["overall"].(map[string]any)["rate"] = 1.5 }},
		{"half an attempt", func(r map[string]any) { r["overall"].(map[string]any)["entered"] = 0.5 }},
		{"a period that is no date", func(r map[string]any) { r["trend"].([]any)[0].(map[string]any)["period"] = "2026-W23" }},
		{"a window in words", func(r map[string]any) { r["window"] = "30 days" }},
		{"a bound in words", func(r map[string]any) { r["from"] = "yesterday" }},
		{"more in a segment", func(r map[string]any) {
			r["breakdown"].(map[string]any)["segments"].([]any)[0].(map[string]any)["share"] = 1
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := printed(t, several(t, q, "Invited 0h")).(map[string]any)
			if err := schema.Validate(r); err != nil {
				t.Fatal(err)
			}
			if tt.damage(r); schema.Validate(r) == nil {
				t.Error("was taken")
			}
		})
	}
}

// The Go types and the schema name the same fields, what Go always writes is required, and every field says what it is.
func TestTheSchemaHasTheFieldsOfTheGoTypes(t *testing.T) {
	schema := reportSchema(t)
	defs := schema["$defs"].(map[string]any)
	for _, tt := range []struct {
		of   any
		node any
	}{
		{funnel.Report{}, schema}, {funnel.StepReport{}, defs["step"]}, {funnel.Bucket{}, defs["bucket"]}, {funnel.ReasonCount{}, defs["reason"]},
		{funnel.Overall{}, defs["overall"]}, {funnel.TrendPoint{}, defs["point"]}, {funnel.Cohort{}, defs["cohort"]},
		{funnel.Breakdown{}, defs["breakdown"]}, {funnel.Segment{}, defs["segment"]},
	} {
		of := reflect.TypeOf(tt.of)
		var want []string
		for _, f := range reflect.VisibleFields(of) {
			name, options, tagged := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous {
				continue
			}
			if name == "" {
				t.Errorf("%s.%s has no name in JSON", of.Name(), f.Name)
			}
			if !tagged || !strings.Contains(options, "omit") {
				name += "*"
			}
			want = append(want, name)
		}
		node := tt.node.(map[string]any)
		var got []string
		for name, field := range node["properties"].(map[string]any) {
			field := field.(map[string]any)
			if field["description"] == nil {
				t.Errorf("%s: %s says nothing about itself", of.Name(), name)
			}
			if unit := field["x-unit"]; unit == nil && (field["type"] == "integer" || field["type"] == "number" || reflect.DeepEqual(field["type"], []any{"number", "null"})) {
				t.Errorf("%s: %s is a number of what?", of.Name(), name)
			}
			if slices.Contains(node["required"].([]any), any(name)) {
				name += "*"
			}
			got = append(got, name)
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-Go +schema, * for always there):\n%s", of.Name(), diff)
		}
		if node["additionalProperties"] != false {
			t.Errorf("%s: other fields are taken", of.Name())
		}
	}
}

func TestTheSchemaKnowsTheSameWords(t *testing.T) {
	defs := reportSchema(t)["$defs"].(map[string]any)
	words := func(def, field string) (words []string) {
		for _, w := range defs[def].(map[string]any)["properties"].(map[string]any)[field].(map[string]any)["enum"].([]any) {
			words = append(words, w.(string))
		}
		return words
	}
	var steps, reasons []string
	for k := journey.Invited; int(k) <= journey.Steps; k++ {
		steps = append(steps, k.String())
	}
	for _, r := range funnel.DropReasons {
		reasons = append(reasons, string(r))
	}
	for _, diff := range []string{
		gocmp.Diff(steps, words("step", "step")), gocmp.Diff(reasons, words("reason", "reason")), gocmp.Diff(funnel.Breakdowns, words("breakdown", "property")),
	} {
		if diff != "" {
			t.Errorf("(-Go +schema):\n%s", diff)
		}
	}
}
