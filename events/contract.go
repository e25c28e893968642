package events

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// The contract in documents, for who does not read Go: one JSON Schema (2020-12) per event data, one for the envelope
// (cloudevent.json), what they share (fact.json, fields.json), and all of it in one AsyncAPI document. Tests hold them to
// what Validate says.

//go:embed schemas/*.json
var schemas embed.FS

//go:embed asyncapi.yaml
var asyncAPI string

// AsyncAPI is the AsyncAPI 3.0 document of the contract, YAML. It refers to the files of Schemas as schemas/<name>.
func AsyncAPI() []byte { return []byte(asyncAPI) }

// Schemas are the schema files by name; they refer to each other by name alone.
func Schemas() fs.FS {
	sub, err := fs.Sub(schemas, "schemas")
	if err != nil {
		panic(fmt.Sprintf("events: %v", err)) // the name is valid, and nothing else can be wrong
	}
	return sub
}

// Schema is the JSON Schema of a definition's data; see Schemas for the files that it refers to. It panics if def is not of
// the Catalog.
func Schema(def Definition) []byte { return schemaFile(string(def.Type) + ".json") }

// EnvelopeSchema is the JSON Schema of a whole event in structured mode: attributes, and data by its type.
func EnvelopeSchema() []byte { return schemaFile("cloudevent.json") }

func schemaFile(name string) []byte {
	b, err := schemas.ReadFile("schemas/" + name)
	if err != nil {
		panic(fmt.Sprintf("events: no schema: %v", err))
	}
	return b
}

// Page is what there is to read about one event.
type Page struct {
	Name        string  `json:"name"` // InvoiceEmailed
	Type        Type    `json:"type"`
	Subject     string  `json:"subject"` // with <tenant> in the tenant's place
	Title       string  `json:"title"`
	Description string  `json:"description"`
	Publisher   string  `json:"publisher"`
	Readers     string  `json:"readers"`
	When        string  `json:"when"`   // it is published
	Fields      []Field `json:"fields"` // of its data; those of an object follow it, one deeper
	Sample      string  `json:"sample"` // a whole event, indented JSON
}

// Field is one field of an event's data.
type Field struct {
	Name        string   `json:"name"`     // "number"
	Path        string   `json:"path"`     // in the data: "invoice.number"
	Depth       int      `json:"depth"`    // 0: of the data itself
	Required    bool     `json:"required"` // within the object that it is in
	Type        string   `json:"type"`     // string, integer, boolean or object
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Unit        string   `json:"unit,omitempty"` // of a number
	Limits      []string `json:"limits,omitempty"`
	Allowed     []string `json:"allowed,omitempty"` // all values, when the list is closed
	Example     string   `json:"example,omitempty"` // JSON; empty for an object
}

// PageOf is the page of a definition. It panics if def is not of the Catalog.
func PageOf(def Definition) Page {
	s := readSchema(string(def.Type) + ".json")
	p := Page{
		Name: def.Name, Type: def.Type, Subject: def.Subject("<tenant>"), Title: s.Title, Description: s.Description,
		Publisher: s.Event.Publisher, Readers: s.Event.Readers, When: s.Event.When, Sample: string(Sample(def)),
	}
	p.Fields = s.fields(nil, "", 0)
	return p
}

// schema is as much of JSON Schema as our files use for what a reader is told.
type schema struct {
	Ref         string            `json:"$ref"`
	AllOf       []schema          `json:"allOf"`
	Title       string            `json:"title"`
	Description string            `json:"description"`
	Type        string            `json:"type"`
	Required    []string          `json:"required"`
	Properties  properties        `json:"properties"`
	Enum        []string          `json:"enum"`
	Format      string            `json:"format"`
	Form        string            `json:"x-form"`
	Unit        string            `json:"x-unit"`
	MinLength   *int              `json:"minLength"`
	MaxLength   *int              `json:"maxLength"`
	Minimum     json.Number       `json:"minimum"`
	Maximum     json.Number       `json:"maximum"`
	Examples    []json.RawMessage `json:"examples"`
	Definitions map[string]schema `json:"$defs"`
	Event       struct {
		Publisher string `json:"publisher"`
		Readers   string `json:"readers"`
		When      string `json:"when"`
	} `json:"x-event"`
}

// properties keeps the order of the file, which is the order to read them in.
type properties []namedSchema

type namedSchema struct {
	name string
	schema
}

func (p *properties) UnmarshalJSON(b []byte) error {
	members, err := scan(b)
	if err != nil {
		return err
	}
	for _, m := range members {
		n := namedSchema{name: m.name}
		if err := json.Unmarshal(b[m.start:m.end], &n.schema); err != nil {
			return fmt.Errorf("property %s: %w", m.name, err)
		}
		*p = append(*p, n)
	}
	return nil
}

// readSchema returns a schema file in which every reference has been replaced by what it refers to.
func readSchema(file string) schema {
	return parsed(file).resolved(file)
}

func parsed(file string) schema {
	var s schema
	if err := json.Unmarshal(schemaFile(file), &s); err != nil {
		panic(fmt.Sprintf("events: schema %s: %v", file, err))
	}
	return s
}

// resolved is the schema with what it refers to and is composed of; its own words go before theirs.
func (s schema) resolved(file string) schema {
	for i := range s.Properties {
		s.Properties[i].schema = s.Properties[i].resolved(file)
	}
	if s.Ref != "" {
		other, fragment, _ := strings.Cut(s.Ref, "#")
		if other == "" {
			other = file
		}
		base := parsed(other)
		if name, ok := strings.CutPrefix(fragment, "/$defs/"); ok {
			base = base.Definitions[name]
		}
		s = s.over(base.resolved(other))
	}
	for _, part := range s.AllOf {
		s = s.over(part.resolved(file))
	}
	s.Ref, s.AllOf = "", nil
	return s
}

// over is s, completed by what only base says.
func (s schema) over(base schema) schema {
	merged := s
	merged.Title = first(s.Title, base.Title)
	merged.Description = first(s.Description, base.Description)
	merged.Type = first(s.Type, base.Type)
	merged.Format = first(s.Format, base.Format)
	merged.Form = first(s.Form, base.Form)
	merged.Unit = first(s.Unit, base.Unit)
	merged.Minimum = first(s.Minimum, base.Minimum)
	merged.Maximum = first(s.Maximum, base.Maximum)
	merged.MinLength = first(s.MinLength, base.MinLength)
	merged.MaxLength = first(s.MaxLength, base.MaxLength)
	if len(s.Enum) == 0 {
		merged.Enum = base.Enum
	}
	if len(s.Examples) == 0 {
		merged.Examples = base.Examples
	}
	merged.Required = slices.Concat(base.Required, s.Required)
	merged.Properties = slices.Clone(base.Properties)
	for _, own := range s.Properties {
		i := slices.IndexFunc(merged.Properties, func(p namedSchema) bool { return p.name == own.name })
		if i < 0 {
			merged.Properties = append(merged.Properties, own)
			continue
		}
		merged.Properties[i].schema = own.over(merged.Properties[i].schema)
	}
	return merged
}

func first[V comparable](own, base V) V {
	var none V
	if own != none {
		return own
	}
	return base
}

func (s schema) fields(all []Field, path string, depth int) []Field {
	for _, p := range s.Properties {
		f := Field{
			Name: p.name, Path: path + p.name, Depth: depth, Required: slices.Contains(s.Required, p.name), Type: p.Type,
			Title: p.Title, Description: p.Description, Unit: p.Unit, Limits: p.limits(), Allowed: p.Enum,
		}
		if len(p.Examples) > 0 {
			f.Example = string(Compact(p.Examples[0]))
		}
		all = p.fields(append(all, f), f.Path+".", depth+1)
	}
	return all
}

// limits puts the constraints into words, the tightest to look at first.
func (s schema) limits() []string {
	var l []string
	switch {
	case s.MinLength != nil && s.MaxLength != nil && *s.MinLength == *s.MaxLength:
		l = append(l, fmt.Sprintf("%d characters", *s.MinLength))
	case s.MinLength != nil && s.MaxLength != nil:
		l = append(l, fmt.Sprintf("%d to %d characters", *s.MinLength, *s.MaxLength))
	}
	if s.Minimum != "" && s.Maximum != "" {
		l = append(l, fmt.Sprintf("%s to %s", s.Minimum, s.Maximum))
	}
	if form := first(s.Form, s.Format); form != "" {
		l = append(l, form)
	}
	return l
}

const (
	pageWidth  = 100 // columns
	pageIndent = 4
)

// Describe is the page of a definition for a terminal: at most 100 columns, no escapes. It panics if def is not of the
// Catalog.
func Describe(def Definition) string {
	p := PageOf(def)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %s\n\n", p.Name, p.Title)
	b.WriteString(wrapped(p.Description, 0))
	b.WriteByte('\n')
	for _, row := range [][2]string{
		{"type", string(p.Type)}, {"subject", p.Subject}, {"schema", p.Type.DataSchema()},
		{"published by", p.Publisher}, {"read by", p.Readers}, {"when", p.When},
	} {
		fmt.Fprintf(&b, "%-14s%s", row[0], strings.TrimLeft(wrapped(row[1], 14), " "))
	}
	b.WriteString("\nFields of data (* required)\n")
	for _, f := range p.Fields {
		b.WriteString("\n" + f.terminal())
	}
	b.WriteString("\nSample\n\n")
	for line := range strings.Lines(p.Sample) {
		b.WriteString("  " + line)
	}
	return b.String()
}

func (f Field) terminal() string {
	mark := "  "
	if f.Required {
		mark = "* "
	}
	indent := 2 + pageIndent*f.Depth
	head := append([]string{f.Type}, f.Limits...)
	if f.Unit != "" {
		head = append(head, "unit: "+f.Unit)
	}
	text := wrapped(f.Name+": "+strings.Join(head, ", "), indent+len(mark))
	text = text[:indent] + mark + text[indent+len(mark):]
	text += wrapped(f.Description, indent+pageIndent)
	if len(f.Allowed) > 0 {
		text += wrapped("One of "+strings.Join(f.Allowed, ", ")+".", indent+pageIndent)
	}
	if f.Example != "" {
		text += wrapped("Example: "+f.Example, indent+pageIndent)
	}
	return text
}

// wrapped is a text in lines of at most pageWidth columns that begin with indent blanks; a longer word stands alone.
func wrapped(text string, indent int) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		if width := len([]rune(word)); column == 0 || column+1+width > pageWidth {
			if column > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(strings.Repeat(" ", indent))
			b.WriteString(word)
			column = indent + width
		} else {
			b.WriteByte(' ')
			b.WriteString(word)
			column += 1 + width
		}
	}
	b.WriteByte('\n')
	return b.String()
}
