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
)

// ContentType is the media type of structured mode, the one that we publish.
const ContentType = "application/cloudevents+json"

// Header names on the wire. NATS compares them case-sensitively.
const (
	HeaderContentType = "Content-Type"
	HeaderTraceParent = "traceparent"
	binaryPrefix      = "ce-"
)

// Encoded is an event ready for the wire.
type Encoded struct {
	Subject string // NATS subject
	MsgID   string
	Header  map[string][]string
	Body    []byte
}

// wire is structured mode as we write it; the order is the reader's: who, what, when, then the data.
type wire struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            Type            `json:"type"`
	Subject         string          `json:"subject,omitempty"`
	Time            string          `json:"time,omitempty"`
	DataContentType string          `json:"datacontenttype"`
	DataSchema      string          `json:"dataschema"`
	TraceParent     string          `json:"traceparent,omitempty"`
	Data            json.RawMessage `json:"data"`
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
		DataContentType: "application/json", DataSchema: def.Type.DataSchema(), TraceParent: e.TraceParent, Data: data,
	}
	if !e.Time.IsZero() {
		w.Time = e.Time.UTC().Format(time.RFC3339Nano)
	}
	body, err := marshal(w)
	if err != nil {
		return Encoded{}, fmt.Errorf("encode %s %s: %w", def.Type, e.ID, err)
	}
	header := map[string][]string{HeaderContentType: {ContentType}}
	if e.TraceParent != "" {
		header[HeaderTraceParent] = []string{e.TraceParent}
	}
	return Encoded{Subject: def.Subject(tenant), MsgID: e.MsgID(), Header: header, Body: body}, nil
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
// Every fault is a *Malformed.
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
	if t, ok := header[HeaderTraceParent]; ok && len(t) == 1 && e.TraceParent == "" {
		e.TraceParent = t[0]
	}
	if want := e.Definition.Subject(tenant); want != subject {
		return Event{}, malformed(TypeMismatch, "type", "belongs on the subject "+e.Definition.Subject("<tenant>"))
	}
	return e, nil
}

// read tells the modes apart: the content type decides; without one, ce- headers mean binary, and a JSON object is taken as
// structured, so that a command line that sends no headers can publish.
func read(header map[string][]string, body []byte) (attributes map[string]string, data []byte, err error) {
	binary := map[string]string{}
	contentType := ""
	for name, values := range header {
		lower := strings.ToLower(name)
		isAttribute := strings.HasPrefix(lower, binaryPrefix)
		if !isAttribute && lower != "content-type" {
			continue
		}
		if len(values) != 1 {
			return nil, nil, malformed(NotACloudEvent, lower, "has more than one value")
		}
		if !isAttribute {
			contentType = values[0]
			continue
		}
		if _, twice := binary[lower[len(binaryPrefix):]]; twice {
			return nil, nil, malformed(NotACloudEvent, lower, "appears twice")
		}
		binary[lower[len(binaryPrefix):]] = percentDecoded(values[0])
	}
	media := ""
	if contentType != "" {
		if media, _, err = mime.ParseMediaType(contentType); err != nil {
			return nil, nil, malformed(NotACloudEvent, "content-type", "is not a media type")
		}
	}
	switch {
	case media == ContentType:
		return structured(body)
	case strings.HasPrefix(media, "application/cloudevents"):
		return nil, nil, malformed(NotACloudEvent, "content-type", "is not application/cloudevents+json; send one event a message, as JSON")
	case len(binary) > 0:
		if media != "" {
			binary["datacontenttype"] = media
		}
		if err := scan(body); err != nil {
			return nil, nil, inField("data", err)
		}
		return binary, body, nil
	default:
		return structured(body)
	}
}

func percentDecoded(v string) string {
	if s, err := url.PathUnescape(v); err == nil {
		return s
	}
	return v
}

func structured(body []byte) (map[string]string, []byte, error) {
	if err := scan(body); err != nil {
		return nil, nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, nil, malformed(NotJSON, "", "is not a JSON object")
	}
	attributes := make(map[string]string, len(fields))
	var data []byte
	for name, raw := range fields {
		switch {
		case name == "data":
			data = raw
		case name == "data_base64":
			return nil, nil, malformed(NotACloudEvent, "data_base64", "is not taken; send the JSON object in data")
		case string(raw) == "null": // CloudEvents JSON format: the same as absent
		case raw[0] == '"':
			var s string
			if err := json.Unmarshal(raw, &s); err != nil {
				return nil, nil, malformed(NotJSON, name, "is not a valid JSON string")
			}
			attributes[name] = s
		case raw[0] == '{' || raw[0] == '[':
			return nil, nil, malformed(NotACloudEvent, name, "is an object or array; an attribute is a string, a number or a boolean")
		default:
			if slices.Contains(knownAttributes, name) {
				return nil, nil, malformed(NotACloudEvent, name, "is not a string")
			}
			attributes[name] = string(raw)
		}
	}
	if _, ok := attributes["specversion"]; !ok {
		return nil, nil, malformed(NotACloudEvent, "specversion", `is missing; send a CloudEvents 1.0 object ("specversion":"1.0"), or ce- headers`)
	}
	if len(data) == 0 || data[0] != '{' {
		return nil, nil, malformed(NotACloudEvent, "data", "is not a JSON object")
	}
	return attributes, data, nil
}

var (
	knownAttributes = []string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "traceparent", "tenant"}
	attributeName   = regexp.MustCompile(`^[a-z0-9]{1,64}$`)
)

// take moves the attributes into the event and checks each.
func (e *Event) take(a map[string]string) error {
	if v := a["specversion"]; v != "1.0" {
		return malformed(NotACloudEvent, "specversion", `is not "1.0"`)
	}
	e.ID, e.Source, e.Subject, e.TraceParent, e.DataSchema = a["id"], a["source"], a["subject"], a["traceparent"], a["dataschema"]
	if err := checkIdentity(e.ID, e.Source); err != nil {
		return err
	}
	if err := e.takeType(a["type"]); err != nil {
		return err
	}
	if v, ok := a["datacontenttype"]; ok {
		if media, _, err := mime.ParseMediaType(v); err != nil || media != "application/json" {
			return malformed(NotACloudEvent, "datacontenttype", "is not application/json")
		}
	}
	if v, ok := a["time"]; ok {
		t, err := time.Parse(time.RFC3339, v)
		if err != nil || !inRange(t) {
			return malformed(NotACloudEvent, "time", "is not an RFC 3339 time with a zone, between 2000 and 2100")
		}
		e.Time = t
	}
	if v, ok := a["tenant"]; ok && v != e.Tenant {
		return malformed(TenantMismatch, "tenant", "differs from the subject's tenant; only the subject says it")
	}
	for name, v := range a {
		if slices.Contains(knownAttributes, name) {
			continue
		}
		if !attributeName.MatchString(name) {
			return malformed(NotACloudEvent, "extension", "has a name that is not [a-z0-9]{1,64}")
		}
		if e.Extensions == nil {
			e.Extensions = map[string]string{}
		}
		e.Extensions[name] = v
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
