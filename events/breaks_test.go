package events_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// The compatibility check. Consumers are upgraded before publishers, and events stay on streams for up to 400 days: what a
// released schema takes, the present one must take, and a field that was there must stay. Both schemas are reduced to the
// conditions that they put on each path, through every reference and allOf, so that moving a definition is no change.

// rules are the conditions on one path of an event.
type rules struct {
	types    []string // nil: any
	enum     []string // nil: any; canonical JSON
	required []string
	minimum  map[string]float64 // by keyword: the greatest
	maximum  map[string]float64 // by keyword: the least
	closed   bool               // additionalProperties: false
	others   []string           // every other condition, as `keyword: canonical JSON`
}

// annotations are keywords that refuse nothing.
var annotations = []string{"$schema", "$id", "$defs", "$comment", "title", "description", "examples", "default", "deprecated"}

// breaks lists what the released schemas of a folder take and the present ones do not, one line each.
func breaks(released, present fs.FS) ([]string, error) {
	names, err := fs.Glob(released, "*.json")
	if err != nil {
		return nil, err
	}
	before, now := folder{released, map[string]any{}}, folder{present, map[string]any{}}
	var found []string
	for _, name := range names {
		if name == "fields.json" { // definitions, which count where they are used
			continue
		}
		old, err := before.rules(name)
		if err != nil {
			return nil, fmt.Errorf("released %s: %w", name, err)
		}
		current, err := now.rules(name)
		if errors.Is(err, fs.ErrNotExist) {
			found = append(found, name+": removed")
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("present %s: %w", name, err)
		}
		for _, at := range slices.Sorted(maps.Keys(old)) { // a path that is new may have any rules, being optional
			where := strings.TrimSuffix(name, ".json") + at
			if current[at] == nil {
				found = append(found, where+": removed or renamed")
				continue
			}
			for _, narrowed := range current[at].narrower(old[at]) {
				found = append(found, where+": "+narrowed)
			}
		}
	}
	return found, nil
}

// narrower lists what r refuses that old takes.
func (r *rules) narrower(old *rules) []string {
	var found []string
	for _, name := range added(r.required, old.required) {
		found = append(found, name+" became required")
	}
	if r.types != nil && (old.types == nil || len(added(old.types, r.types)) > 0) && !(slices.Contains(r.types, "number") && slices.Equal(old.types, []string{"integer"})) {
		found = append(found, fmt.Sprintf("type narrowed from %v to %v", old.types, r.types))
	}
	if gone := added(old.enum, r.enum); r.enum != nil && (old.enum == nil || len(gone) > 0) {
		found = append(found, fmt.Sprintf("values narrowed by %v", gone))
	}
	for keyword, limit := range r.minimum {
		if was, ok := old.minimum[keyword]; !ok || limit > was {
			found = append(found, fmt.Sprintf("%s raised to %v", keyword, limit))
		}
	}
	for keyword, limit := range r.maximum {
		if was, ok := old.maximum[keyword]; !ok || limit < was {
			found = append(found, fmt.Sprintf("%s lowered to %v", keyword, limit))
		}
	}
	if r.closed && !old.closed {
		found = append(found, "other fields are not taken any more")
	}
	for _, condition := range added(r.others, old.others) {
		keyword, _, _ := strings.Cut(condition, ":")
		found = append(found, keyword+" is new or another")
	}
	slices.Sort(found)
	return found
}

func added(to, from []string) []string {
	return slices.DeleteFunc(slices.Clone(to), func(s string) bool { return slices.Contains(from, s) })
}

// folder holds schema files, parsed.
type folder struct {
	files  fs.FS
	parsed map[string]any
}

func (f folder) load(name string) (map[string]any, error) {
	if s, ok := f.parsed[name].(map[string]any); ok {
		return s, nil
	}
	b, err := fs.ReadFile(f.files, name)
	if err != nil {
		return nil, err
	}
	var s map[string]any
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	f.parsed[name] = s
	return s, nil
}

// rules are those of a schema file by path; that of the data itself is "".
func (f folder) rules(name string) (map[string]*rules, error) {
	root, err := f.load(name)
	if err != nil {
		return nil, err
	}
	c := &collector{f, map[string]*rules{}}
	return c.rules, c.collect(name, root, "")
}

type collector struct {
	folder
	rules map[string]*rules
}

// collect adds the conditions of a schema, found in file, to those on the path.
func (c *collector) collect(file string, schema map[string]any, at string) error {
	r := c.rules[at]
	if r == nil {
		r = &rules{minimum: map[string]float64{}, maximum: map[string]float64{}}
		c.rules[at] = r
	}
	for keyword, value := range schema {
		if slices.Contains(annotations, keyword) || strings.HasPrefix(keyword, "x-") {
			continue
		}
		var err error
		switch keyword {
		case "$ref":
			err = c.follow(file, value.(string), at)
		case "allOf":
			err = c.all(file, value.([]any), at)
		case "properties":
			for name, property := range value.(map[string]any) {
				err = c.collect(file, property.(map[string]any), at+"/"+name)
				if err != nil {
					return err
				}
			}
		case "required":
			r.required = append(r.required, plain(value)...)
		case "type":
			r.types = both(r.types, plain(value))
		case "enum":
			r.enum = both(r.enum, canonical(value.([]any)))
		case "const":
			r.enum = both(r.enum, canonical([]any{value}))
		case "minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties":
			r.minimum[keyword] = max(value.(float64), limit(r.minimum, keyword, value.(float64)))
		case "maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties":
			r.maximum[keyword] = min(value.(float64), limit(r.maximum, keyword, value.(float64)))
		case "additionalProperties":
			if open, ok := value.(bool); !ok {
				r.others = append(r.others, keyword+": "+canonical([]any{value})[0])
			} else if !open {
				r.closed = true
			}
		default: // pattern, format, items, if, not, anyOf, dependentRequired, propertyNames, and what is yet to be invented
			r.others = append(r.others, keyword+": "+canonical([]any{value})[0])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", keyword, err)
		}
	}
	return nil
}

func (c *collector) all(file string, parts []any, at string) error {
	for _, part := range parts {
		schema := part.(map[string]any)
		if file == "cloudevent.json" && schema["if"] != nil {
			continue // the data of a type, which is compared file by file; another type may join
		}
		if err := c.collect(file, schema, at); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) follow(file, ref, at string) error {
	other, fragment, _ := strings.Cut(ref, "#")
	if other == "" {
		other = file
	}
	schema, err := c.load(other)
	if err != nil {
		return err
	}
	if fragment != "" {
		definitions, _ := schema["$defs"].(map[string]any)
		definition, ok := definitions[path.Base(fragment)].(map[string]any)
		if !ok {
			return fmt.Errorf("%s leads nowhere", ref)
		}
		schema = definition
	}
	return c.collect(other, schema, at)
}

// both are the values that two lists allow; nil allows all.
func both(a, b []string) []string {
	if a == nil {
		return b
	}
	return slices.DeleteFunc(slices.Clone(b), func(s string) bool { return !slices.Contains(a, s) })
}

func plain(value any) []string {
	if one, ok := value.(string); ok {
		return []string{one}
	}
	var all []string
	for _, each := range value.([]any) {
		all = append(all, each.(string))
	}
	return all
}

func canonical(values []any) []string {
	all := make([]string, len(values))
	for i, v := range values {
		b, err := json.Marshal(v) // names of objects come sorted
		if err != nil {
			panic(err) // it has just been read from JSON
		}
		all[i] = string(b)
	}
	return all
}

func limit(limits map[string]float64, keyword string, otherwise float64) float64 {
	if l, ok := limits[keyword]; ok {
		return l
	}
	return otherwise
}
