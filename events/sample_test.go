package events_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mongotel/billcenter/events"
)

// The samples are the wire, written down by hand: what Go reads from one and writes again is the same text, byte for byte.
// A renamed tag, a new field, another order or another form of a time shows here.
func TestEverySampleDecodesAndEncodesToItself(t *testing.T) {
	for _, def := range events.Catalog() {
		t.Run(def.Name, func(t *testing.T) {
			sample := events.Sample(def)
			e, err := events.Decode(def.Subject("mongo"), structuredHeader, sample)
			if err != nil {
				t.Fatal(err)
			}
			m, err := messageOf(e)
			if err != nil {
				t.Fatal(err)
			}
			again, err := events.Encode("mongo", e.Envelope, m)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(sample), indented(t, again.Body)); diff != "" {
				t.Errorf("the golden file (-) and what Go writes (+) differ:\n%s", diff)
			}
			if again.Subject != def.Subject("mongo") || again.MsgID != e.Source+"#"+e.ID {
				t.Errorf("published on %s as %s", again.Subject, again.MsgID)
			}
			if unknown := e.Unknown(); unknown != nil || e.Extensions != nil {
				t.Errorf("the sample has what the Go type has not: %v %v", unknown, e.Extensions)
			}
		})
	}
}

func TestEverySampleBelongsToTheCatalog(t *testing.T) {
	files, err := fs.Glob(os.DirFS("samples"), "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if _, ok := events.DefinitionOf(events.Type(strings.TrimSuffix(file, ".json"))); !ok {
			t.Errorf("samples/%s is of no type in the catalog", file)
		}
	}
	if len(files) != len(events.Catalog()) || len(events.Samples()) != len(events.Catalog()) {
		t.Errorf("%d files for %d types", len(files), len(events.Catalog()))
	}
}

// A fact has no name, address, account number, username or code: what would betray one is looked for in the text.
func TestFactsCarryNoPersonalData(t *testing.T) {
	personal := regexp.MustCompile(`(?i)@|bob|building|100482|7F3K|accountNumber|companyName|username|registrationCode|billingEmail|"to"`)
	for _, def := range events.Catalog() {
		if def.Domain == events.Enrollment && personal.Match(events.Sample(def)) {
			t.Errorf("%s carries personal data: %s", def.Name, personal.Find(events.Sample(def)))
		}
	}
}

// Mail work and requests travel through other hands than the customer's: no code, token, link or password is in them.
func TestNoSecretTravelsOutsideOfBilling(t *testing.T) {
	secret := regexp.MustCompile(`(?i)registrationCode|token|password"|https?://[^"]*/(activate|reset)`)
	for _, def := range events.Catalog() {
		if def.Domain != events.Billing && secret.Match(events.Sample(def)) {
			t.Errorf("%s carries a secret: %s", def.Name, secret.Find(events.Sample(def)))
		}
	}
}

var structuredHeader = map[string][]string{events.HeaderContentType: {events.ContentType}}

// messageOf decodes an event's data by the catalog, as events.Data does for a known type.
func messageOf(e events.Event) (events.Message, error) {
	if err := e.Check(); err != nil {
		return nil, err
	}
	m := e.Definition.New()
	return m, json.Unmarshal(e.Data, m)
}

func indented(t testing.TB, compact []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, compact, "", "  "); err != nil {
		t.Fatal(err)
	}
	return b.String() + "\n"
}
