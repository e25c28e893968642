package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ContentType is the media type of structured mode, the one that we publish.
const ContentType = "application/cloudevents+json"

// Header names on the wire. NATS compares them case-sensitively.
const (
	HeaderContentType = "Content-Type"
	HeaderTraceParent = "traceparent"
	binaryPrefix      = "ce-"
)

const dataContentType = "application/json"

// Encoded is an event ready for the wire.
type Encoded struct {
	Subject string // NATS subject
	MsgID   string
	Header  map[string][]string
	Body    []byte
}

// wire is structured mode as we write it; the order is the reader's: who, what, when, then the data.
type wire struct {
	SpecVersion     string `json:"specversion"`
	ID              string `json:"id"`
	Source          string `json:"source"`
	Type            Type   `json:"type"`
	Subject         string `json:"subject,omitempty"`
	Time            string `json:"time,omitempty"`
	DataContentType string `json:"datacontenttype"`
	DataSchema      string `json:"dataschema"`
	TraceParent     string `json:"traceparent,omitempty"`
	// data follows; Encode appends it, since encoding/json would read it once more
}

// DataSchema is the URI that names the schema of a type's data.
func (t Type) DataSchema() string {
	return "https://schemas.billcenter.net/events/" + string(t) + ".json"
}

// Encode writes a valid message as structured JSON for a tenant's subject.
func Encode(tenant string, e Envelope, m Message) (Encoded, error) {
	if !ValidTenant(tenant) {
		return Encoded{}, malformed(TenantInvalid, "subject", "names a tenant that is not [a-z0-9-]{1,32}")
	}
	if err := checkIdentity(e.ID, e.Source); err != nil {
		return Encoded{}, err
	}
	if err := m.Validate(); err != nil {
		return Encoded{}, fmt.Errorf("encode %s %s: %w", m.EventType(), e.ID, err)
	}
	def, ok := DefinitionOf(m.EventType())
	if !ok {
		return Encoded{}, fmt.Errorf("encode %s: the type is not in the catalog", m.EventType())
	}
	data, err := marshal(m)
	if err != nil {
		return Encoded{}, fmt.Errorf("encode %s %s: %w", def.Type, e.ID, err)
	}
	w := wire{
		SpecVersion: "1.0", ID: e.ID, Source: e.Source, Type: def.Type, Subject: e.Subject,
		DataContentType: dataContentType, DataSchema: def.Type.DataSchema(), TraceParent: e.TraceParent,
	}
	if !e.Time.IsZero() {
		w.Time = e.Time.UTC().Format(time.RFC3339Nano)
	}
	body, err := marshal(w)
	if err != nil {
		return Encoded{}, fmt.Errorf("encode %s %s: %w", def.Type, e.ID, err)
	}
	body = slices.Concat(body[:len(body)-1], []byte(`,"data":`), data, []byte("}"))
	header := StructuredHeader()
	if e.TraceParent != "" {
		header[HeaderTraceParent] = []string{e.TraceParent}
	}
	return Encoded{Subject: def.Subject(tenant), MsgID: e.MsgID(), Header: header, Body: body}, nil
}

// StructuredHeader is the header of an event in structured mode.
func StructuredHeader() map[string][]string {
	return map[string][]string{HeaderContentType: {ContentType}}
}

// marshal is json.Marshal without its escaping of <, > and &, which no reader of ours needs.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// Decode reads what came on a subject, in structured or in binary mode, and checks the envelope: attributes, tenant, and
// that the type lives on the subject. The data is strict JSON but not validated yet: see Data and Check.
// Every fault is a *Malformed. The event's Data is a part of body, not a copy.
func Decode(subject string, header map[string][]string, body []byte) (Event, error) {
	tenant, err := SubjectTenant(subject)
	if err != nil {
		return Event{}, err
	}
	attributes, data, err := read(header, body)
	if err != nil {
		return Event{}, err
	}
	e := Event{Tenant: tenant, Data: data}
	if err := e.take(attributes); err != nil {
		return Event{}, err
	}
	if t := header[HeaderTraceParent]; len(t) == 1 && e.TraceParent == "" && traceParent.MatchString(t[0]) {
		e.TraceParent = t[0]
	}
	if want := e.Definition.Subject(tenant); want != subject {
		return Event{}, malformed(TypeMismatch, "type", "belongs on the subject "+e.Definition.Subject("<tenant>"))
	}
	return e, nil
}

// attributes of an event as they came, extensions among them. They are few, so a list is quicker than a map.
type attributes []attribute

type attribute struct{ name, value string }

func (a attributes) get(name string) (string, bool) {
	for _, each := range a {
		if each.name == name {
			return each.value, true
		}
	}
	return "", false
}

// read tells the modes apart: the content type decides; without one, ce- headers mean binary, and a JSON object is taken as
// structured, so that a command line that sends no headers can publish.
func read(header map[string][]string, body []byte) (attributes, []byte, error) {
	binary, media, err := fromHeader(header)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case media == ContentType:
		return structured(body)
	case strings.HasPrefix(media, "application/cloudevents"):
		return nil, nil, malformed(NotACloudEvent, "content-type", "is not application/cloudevents+json; send one event a message, as JSON")
	case len(binary) == 0:
		return structured(body)
	}
	if _, err := scan(body); err != nil {
		return nil, nil, inField("data", err)
	}
	if media != "" { // the place that the NATS binding gives the data's content type
		binary = slices.DeleteFunc(binary, func(a attribute) bool { return a.name == "datacontenttype" })
		binary = append(binary, attribute{"datacontenttype", media})
	}
	return binary, body, nil
}

// fromHeader returns the attributes in the ce- headers and the media type of the body. NATS keeps the case of a header's
// name, so both may come in any.
func fromHeader(header map[string][]string) (binary attributes, media string, err error) {
	typed := false
	for name, values := range header {
		lower := strings.ToLower(name)
		attributeName, isAttribute := strings.CutPrefix(lower, binaryPrefix)
		if !isAttribute && lower != "content-type" {
			continue
		}
		if len(values) != 1 {
			return nil, "", malformed(NotACloudEvent, lower, "has more than one value")
		}
		if isAttribute {
			if _, twice := binary.get(attributeName); twice {
				return nil, "", malformed(NotACloudEvent, lower, "appears twice")
			}
			binary = append(binary, attribute{attributeName, percentDecoded(values[0])})
			continue
		}
		if typed {
			return nil, "", malformed(NotACloudEvent, lower, "appears twice")
		}
		typed = true
		if media, err = mediaType(values[0]); err != nil {
			return nil, "", malformed(NotACloudEvent, lower, "is not a media type")
		}
	}
	return binary, media, nil
}

// mediaType parses a content type; the two that nearly every event has are known by sight.
func mediaType(v string) (string, error) {
	if v == "" || v == ContentType || v == dataContentType {
		return v, nil
	}
	media, _, err := mime.ParseMediaType(v)
	return media, err
}

func percentDecoded(v string) string {
	if s, err := url.PathUnescape(v); err == nil {
		return s
	}
	return v
}

func structured(body []byte) (attributes, []byte, error) {
	members, err := scan(body)
	if err != nil {
		return nil, nil, err
	}
	a := make(attributes, 0, len(members))
	var data []byte
	for _, m := range members {
		raw := body[m.start:m.end]
		switch {
		case m.name == "data":
			data = raw
		case m.name == "data_base64":
			return nil, nil, malformed(NotACloudEvent, "data_base64", "is not taken; send the JSON object in data")
		case string(raw) == "null": // CloudEvents JSON format: the same as absent
		case raw[0] == '"':
			a = append(a, attribute{m.name, m.text})
		case raw[0] == '{' || raw[0] == '[':
			return nil, nil, malformed(NotACloudEvent, presentable(m.name), "is an object or array; an attribute is a string, a number or a boolean")
		case slices.Contains(knownAttributes, m.name):
			return nil, nil, malformed(NotACloudEvent, m.name, "is not a string")
		default:
			a = append(a, attribute{m.name, string(raw)})
		}
	}
	if _, ok := a.get("specversion"); !ok {
		return nil, nil, malformed(NotACloudEvent, "specversion", `is missing; send a CloudEvents 1.0 object ("specversion":"1.0"), or ce- headers`)
	}
	if len(data) == 0 || data[0] != '{' {
		return nil, nil, malformed(NotACloudEvent, "data", "is not a JSON object")
	}
	return a, data, nil
}

var (
	knownAttributes = []string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "traceparent", "tenant"}
	attributeName   = regexp.MustCompile(`^[a-z0-9]{1,64}$`)
	traceParent     = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`) // W3C: any other is ignored
)

// take moves the attributes into the event and checks each.
func (e *Event) take(a attributes) error {
	if v, _ := a.get("specversion"); v != "1.0" {
		return malformed(NotACloudEvent, "specversion", `is not "1.0"`)
	}
	e.ID, _ = a.get("id")
	e.Source, _ = a.get("source")
	e.Subject, _ = a.get("subject")
	e.TraceParent, _ = a.get("traceparent")
	e.DataSchema, _ = a.get("dataschema")
	if err := checkIdentity(e.ID, e.Source); err != nil {
		return err
	}
	t, _ := a.get("type")
	if err := e.takeType(t); err != nil {
		return err
	}
	if v, ok := a.get("datacontenttype"); ok {
		if media, err := mediaType(v); err != nil || media != dataContentType {
			return malformed(NotACloudEvent, "datacontenttype", "is not application/json")
		}
	}
	if v, ok := a.get("time"); ok {
		t, ok := parseTime(v)
		if !ok || !inRange(t) {
			return malformed(NotACloudEvent, "time", "is not an RFC 3339 time with a zone, between 2000 and 2100")
		}
		e.Time = t
	}
	if v, ok := a.get("tenant"); ok && v != e.Tenant {
		return malformed(TenantMismatch, "tenant", "differs from the subject's tenant; only the subject says it")
	}
	return e.takeExtensions(a)
}

// takeExtensions keeps the attributes that we do not know.
func (e *Event) takeExtensions(a attributes) error {
	for _, each := range a {
		known := slices.Contains(knownAttributes, each.name)
		if !known && !attributeName.MatchString(each.name) {
			return malformed(NotACloudEvent, "extension", "has a name that is not [a-z0-9]{1,64}")
		}
		if !utf8.ValidString(each.value) || strings.ContainsFunc(each.value, unicode.IsControl) {
			return malformed(NotACloudEvent, each.name, "holds control characters or is not valid UTF-8")
		}
		if known {
			continue
		}
		if e.Extensions == nil {
			e.Extensions = map[string]string{}
		}
		e.Extensions[each.name] = each.value
	}
	return nil
}

// takeType tells an unknown type from a known one in a major version of the future.
func (e *Event) takeType(t string) error {
	if t == "" {
		return malformed(NotACloudEvent, "type", "is missing")
	}
	if def, ok := DefinitionOf(Type(t)); ok {
		e.Definition = def
		return nil
	}
	base, version, _ := cutLast(t, ".v")
	if version != "" && strings.Trim(version, "0123456789") == "" {
		if _, ok := DefinitionOf(Type(base + ".v1")); ok {
			return malformed(VersionUnknown, "type", "is in a major version that this build does not read")
		}
	}
	return malformed(TypeUnknown, "type", "is not one of the contract's; see `billcenter events list`")
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func checkIdentity(id, source string) error {
	if id == "" {
		return malformed(NotACloudEvent, "id", "is missing or empty; it is unique per source and stays the same when an event is sent again")
	}
	if len(id) > 256 || !printable(id) {
		return malformed(NotACloudEvent, "id", "is longer than 256 bytes or holds control characters")
	}
	if source == "" {
		return malformed(NotACloudEvent, "source", "is missing or empty; it names the publisher: //mongo.billcenter.net/billing")
	}
	if _, err := url.Parse(source); err != nil || len(source) > 256 || !printable(source) {
		return malformed(NotACloudEvent, "source", "is not a URI reference of at most 256 bytes")
	}
	return nil
}
