package events_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
)

// document is the AsyncAPI document as JSON reads.
func document(t *testing.T) map[string]any {
	t.Helper()
	b, err := yaml.YAMLToJSON(events.AsyncAPI())
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, b).(map[string]any)
}

func specification(t *testing.T) *jsonschema.Schema {
	t.Helper()
	b, err := os.ReadFile("testdata/asyncapi-3.0.0.json")
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(jsonschema.SchemeURLLoader{})
	if err := c.AddResource("https://asyncapi.com/definitions/3.0.0.json", parse(t, b)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("https://asyncapi.com/definitions/3.0.0.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheDocumentIsAsyncAPI(t *testing.T) {
	spec, doc := specification(t), document(t)
	if err := spec.Validate(doc); err != nil {
		t.Errorf("%#v", err)
	}
	doc["channels"].(map[string]any)["invoiceEmailed"].(map[string]any)["adress"] = "x"
	if spec.Validate(doc) == nil {
		t.Error("a document with a misspelled keyword passes too")
	}
}

// member follows names into the document; a number is a place in a list.
func member(t *testing.T, v any, names ...any) any {
	t.Helper()
	for i, name := range names {
		switch at := v.(type) {
		case map[string]any:
			next, ok := at[name.(string)]
			if !ok {
				t.Fatalf("the document has no %v", names[:i+1])
			}
			v = next
		case []any:
			v = at[name.(int)]
		default:
			t.Fatalf("%v is not an object or a list", names[:i])
		}
	}
	return v
}

func TestEveryReferenceOfTheDocumentLeadsSomewhere(t *testing.T) {
	doc := document(t)
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, each := range v {
				walk(each)
			}
		case map[string]any:
			for _, each := range v {
				walk(each)
			}
			ref, ok := v["$ref"].(string)
			if !ok {
				return
			}
			if pointer, local := strings.CutPrefix(ref, "#/"); local {
				var names []any
				for name := range strings.SplitSeq(pointer, "/") {
					names = append(names, name)
				}
				member(t, doc, names...)
				return
			}
			if dir, name := path.Split(ref); dir != "./schemas/" {
				t.Errorf("%s is outside of the contract", ref)
			} else if _, err := events.Schemas().Open(name); err != nil {
				t.Errorf("%s: %v", ref, err)
			}
		}
	}
	walk(doc)
}

func TestTheDocumentHasAChannelAndAMessageForEveryEvent(t *testing.T) {
	doc := document(t)
	channels := member(t, doc, "channels").(map[string]any)
	messages := member(t, doc, "components", "messages").(map[string]any)
	if n := len(events.Catalog()); len(channels) != n || len(messages) != n {
		t.Errorf("%d channels and %d messages for %d events", len(channels), len(messages), n)
	}
	for _, def := range events.Catalog() {
		key := strings.ToLower(def.Name[:1]) + def.Name[1:]
		if got := member(t, channels, key, "address"); got != def.Subject("{tenant}") {
			t.Errorf("%s is on %v", def.Name, got)
		}
		member(t, channels, key, "parameters", "tenant")
		if got := member(t, channels, key, "messages", key, "$ref"); got != "#/components/messages/"+key {
			t.Errorf("%s carries %v", def.Name, got)
		}
		message := messages[key]
		if got := member(t, message, "name"); got != def.Name {
			t.Errorf("%s is called %v", def.Name, got)
		}
		data := member(t, message, "payload", "schema", "allOf", 1, "properties")
		if got := member(t, data, "type", "const"); got != string(def.Type) {
			t.Errorf("%s has the type %v", def.Name, got)
		}
		if got := member(t, data, "data", "$ref"); got != "./schemas/"+dataSchema(def) {
			t.Errorf("%s has the schema %v", def.Name, got)
		}
		example := member(t, message, "examples", 0)
		if diff := cmp.Diff(parse(t, events.Sample(def)), member(t, example, "payload")); diff != "" {
			t.Errorf("%s: sample (-) and example (+) differ:\n%s", def.Name, diff)
		}
		body, err := json.Marshal(member(t, example, "payload"))
		if err != nil {
			t.Fatal(err)
		}
		header := map[string][]string{}
		for name, value := range member(t, example, "headers").(map[string]any) {
			header[name] = []string{value.(string)}
		}
		e, err := events.Decode(def.Subject("mongo"), header, body)
		if err != nil || e.MsgID() != header["Nats-Msg-Id"][0] || e.TraceParent != strings.Join(header["traceparent"], "") {
			t.Errorf("%s: headers %v, %v", def.Name, header, err)
		}
	}
}

// Who speaks and who listens: billing to us, we to mail workers and analytics, mail workers to us about their outcomes.
func TestTheDocumentSaysWhoSendsAndWhoReceives(t *testing.T) {
	got := map[string]string{}
	for _, o := range member(t, document(t), "operations").(map[string]any) {
		channel := strings.TrimPrefix(member(t, o, "channel", "$ref").(string), "#/channels/")
		trait := path.Base(member(t, o, "traits", 0, "$ref").(string))
		got[channel+" "+trait] = member(t, o, "action").(string)
	}
	want := map[string]string{}
	for _, def := range events.Catalog() {
		key := strings.ToLower(def.Name[:1]) + def.Name[1:]
		switch def.Domain {
		case events.Billing:
			want[key+" toBillCenter"] = "receive"
		case events.Mail:
			want[key+" toMailWorker"] = "send"
		case events.Requests:
			want[key+" toBilling"] = "send"
		case events.Enrollment:
			want[key+" toAnalytics"] = "send"
		}
	}
	want["activationMailed fromMailWorker"], want["activationMailFailed fromMailWorker"] = "receive", "receive"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The vectors with which a mail worker in another language tests itself are those that the portal is tested with.
func TestTheDocumentHasTheLinkVectorsOfThePortal(t *testing.T) {
	b, err := os.ReadFile("../schema/enrollment/testdata/activation-links.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(parse(t, b), member(t, document(t), "x-activation-link")); diff != "" {
		t.Errorf("the portal's (-) and the document's (+) differ:\n%s", diff)
	}
}

// The table of promises is what the streams are created with.
func TestTheDocumentPromisesWhatTheStreamsKeep(t *testing.T) {
	text := member(t, document(t), "info", "description").(string)
	for _, s := range bus.DefaultTopology().ForTenants("<tenant>") {
		if s.Name == bus.StreamDeadLetter {
			continue // the operator's alone
		}
		row := fmt.Sprintf("| %s | `%s` | %d days | %d minutes | %d bytes |",
			s.Name, strings.Join(s.Subjects, " "), int(s.MaxAge.Hours())/24, int(s.DuplicateWindow.Minutes()), s.MaxMessageBytes)
		if !strings.Contains(text, row) {
			t.Errorf("the document lacks the row %s", row)
		}
		for _, c := range s.Consumers {
			if !strings.Contains(text, "`"+c.Name+"`") {
				t.Errorf("the document does not name the consumer %s", c.Name)
			}
		}
	}
}

func TestTheDocumentNamesEveryReasonOfAFailedMail(t *testing.T) {
	text := member(t, document(t), "info", "description").(string)
	for _, reason := range events.Reasons() {
		if strings.HasPrefix(reason, "mail-") && reason != "mail-not-confirmed" && !strings.Contains(text, "`"+reason+"`") {
			t.Errorf("the document does not explain %s", reason)
		}
	}
	if bytes.Contains(events.AsyncAPI(), []byte("http://")) {
		t.Error("the document links to something insecure")
	}
}
