package billing

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash/maphash"
	"strings"

	"github.com/mongotel/billcenter/events"
)

// maxEvent is what the stream takes of one event, less room for its headers.
const maxEvent = 500 << 10

// encode turns one JSON object of a file into an event: a whole CloudEvent as it is, bare data as an InvoiceEmailed.
func encode(from Origin, object []byte) (events.Encoded, error) {
	asEvent := encodeData
	if isCloudEvent(object) {
		asEvent = encodeWhole
	}
	e, err := asEvent(from, object)
	if err == nil && len(e.Body) > maxEvent {
		return events.Encoded{}, &events.Malformed{Fault: events.NotJSON, Why: "is larger than the 500 KiB that the stream takes of an event"}
	}
	return e, err
}

// isCloudEvent tells a whole event, even one that lacks its specversion, from bare data.
func isCloudEvent(object []byte) bool {
	if !bytes.Contains(object, []byte(`"specversion"`)) && !bytes.Contains(object, []byte(`"data"`)) {
		return false
	}
	var attributes struct{ SpecVersion, Type, Data json.RawMessage }
	if err := json.Unmarshal(object, &attributes); err != nil {
		return bytes.Contains(object, []byte(`"specversion"`))
	}
	return attributes.SpecVersion != nil || attributes.Type != nil && attributes.Data != nil
}

var invoiceEmailed, _ = events.DefinitionOf(events.InvoiceEmailed{}.EventType())

// encodeWhole checks a whole event. It keeps all that the event says, id and source first of all.
func encodeWhole(from Origin, object []byte) (events.Encoded, error) {
	var named struct{ Type events.Type }
	def := invoiceEmailed // Decode says what is wrong with a type that is missing or unknown
	if err := json.Unmarshal(object, &named); err == nil {
		if known, ok := events.DefinitionOf(named.Type); ok {
			def = known
		}
	}
	if def.Domain != events.Billing && !from.Foreign {
		return events.Encoded{}, &events.Malformed{Fault: events.TypeMismatch, Field: "type", Why: "is none of billing's own: " + strings.Join(ownTypes(), ", ")}
	}
	e, err := events.Decode(def.Subject(from.Tenant), events.StructuredHeader(), object)
	if err != nil {
		return events.Encoded{}, err
	}
	if err := e.Check(); err != nil {
		return events.Encoded{}, err
	}
	if strings.TrimSpace(e.MsgID()) != e.MsgID() {
		return events.Encoded{}, &events.Malformed{Fault: events.NotACloudEvent, Field: "id", Why: "has blanks around it"}
	}
	header := events.StructuredHeader()
	if e.TraceParent != "" {
		header[events.HeaderTraceParent] = []string{e.TraceParent}
	}
	return events.Encoded{Subject: def.Subject(from.Tenant), MsgID: e.MsgID(), Header: header, Body: events.Compact(object)}, nil
}

func ownTypes() []string {
	var types []string
	for _, def := range events.Catalog() {
		if def.Domain == events.Billing {
			types = append(types, string(def.Type))
		}
	}
	return types
}

// encodeData makes an event of bare data. The data decides the id, so that a second run, or a second line that says the same,
// is the same event.
func encodeData(from Origin, object []byte) (events.Encoded, error) {
	e, err := events.Decode(invoiceEmailed.Subject(from.Tenant), map[string][]string{
		"ce-specversion": {"1.0"}, "ce-id": {"data"}, "ce-source": {from.Source}, "ce-type": {string(invoiceEmailed.Type)},
	}, object)
	if err != nil {
		return events.Encoded{}, inData(err)
	}
	emailed, err := events.Data[events.InvoiceEmailed](e)
	if err != nil {
		return events.Encoded{}, inData(err)
	}
	data, err := canonical(object)
	if err != nil {
		return events.Encoded{}, err
	}
	return events.Encode(from.Tenant, events.Envelope{
		ID: dataID(from.Tenant, data), Source: from.Source, Subject: emailed.AccountNumber, Time: emailed.EmailedAt,
	}, asGiven{emailed, data})
}

// inData gives a fault's field the path that it has in bare data.
func inData(err error) error {
	m, ok := events.AsMalformed(err)
	if !ok {
		return err
	}
	bare := *m
	bare.Field = strings.TrimPrefix(strings.TrimPrefix(m.Field, "data"), ".")
	return &bare
}

// canonical writes JSON with sorted names and without blanks, so that the same data is the same text.
func canonical(object []byte) ([]byte, error) {
	var fields map[string]any
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(fields); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// dataID is the id of an event that came as bare data: 128 bits of a hash over the tenant and the canonical data.
func dataID(tenant string, data []byte) string {
	h := sha256.New()
	h.Write([]byte(tenant + "\n"))
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// asGiven is an InvoiceEmailed that is written with all that its publisher said, fields that we do not know included.
type asGiven struct {
	events.InvoiceEmailed
	data json.RawMessage
}

func (a asGiven) MarshalJSON() ([]byte, error) { return a.data, nil }

// recent remembers the last 50,000 to 100,000 events, in memory that does not grow with the file.
type recent struct {
	seed     maphash.Seed
	new, old map[uint64]seenAt
}

type seenAt struct {
	content uint64
	line    int
}

const generation = 50_000

// add returns the line on which the event's id was last seen, or 0, and whether that said the same.
func (r *recent) add(e events.Encoded, line int) (earlier int, same bool) {
	if r.new == nil || len(r.new) == generation {
		if r.new == nil {
			r.seed = maphash.MakeSeed()
		}
		r.new, r.old = make(map[uint64]seenAt), r.new
	}
	id, content := maphash.String(r.seed, e.MsgID), maphash.Bytes(r.seed, e.Body)
	seen, ok := r.new[id]
	if !ok {
		seen, ok = r.old[id]
	}
	if ok {
		return seen.line, seen.content == content
	}
	r.new[id] = seenAt{content: content, line: line}
	return 0, false
}
