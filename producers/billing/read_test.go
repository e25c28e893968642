package billing_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/producers/billing"
)

var mongo = billing.Origin{Tenant: "mongo", Source: "//mongo.billcenter.net/billing"}

const (
	bob = `{"accountNumber":"100482-7","companyName":"Bob's Building","billingEmail":"ap@bobsbuilding.example","emailedAt":"2026-11-20T08:00:00Z",` +
		`"registrationCode":"7F3K-9QWD-M2XA","registrationCodeExpiresAt":"2027-01-04T08:00:00Z","locale":"en-US",` +
		`"invoice":{"number":"INV-2026-11-100482","issuedOn":"2026-11-20","dueOn":"2026-12-20","currency":"USD","amountDueMinor":12345,"documentUrl":"https://billing.example/inv/1"}}`
	ada    = `{"accountNumber":"000731-4","billingEmail":"ada@sakura.example","emailedAt":"2026-11-20T08:00:00Z","invoice":{"number":"INV-2"}}`
	header = "accountNumber,companyName,billingEmail,emailedAt,registrationCode,registrationCodeExpiresAt,locale,invoice.number,invoice.issuedOn,invoice.dueOn,invoice.currency,invoice.amountDueMinor,invoice.documentUrl\n"
	bobRow = `100482-7,Bob's Building,ap@bobsbuilding.example,2026-11-20T08:00:00Z,7F3K-9QWD-M2XA,2027-01-04T08:00:00Z,en-US,INV-2026-11-100482,2026-11-20,2026-12-20,USD,12345,https://billing.example/inv/1` + "\n"
	adaRow = "000731-4,,ada@sakura.example,2026-11-20T08:00:00Z,,,,INV-2,,,,,\n"
)

func sample(t testing.TB, name string) []byte {
	t.Helper()
	def, ok := events.DefinitionNamed(name)
	if !ok {
		t.Fatalf("no message %s", name)
	}
	return events.Sample(def)
}

// read returns what a file holds: records, faults, and the error that ended it.
func read(file string, from billing.Origin) (records []billing.Record, faults []*billing.Fault, err error) {
	for record, err := range billing.Read(strings.NewReader(file), from) {
		fault, ok := errors.AsType[*billing.Fault](err)
		switch {
		case ok:
			faults = append(faults, fault)
		case err != nil:
			return records, faults, err
		default:
			records = append(records, record)
		}
	}
	return records, faults, nil
}

// readAll returns the records of a file without faults.
func readAll(t *testing.T, file string) []billing.Record {
	t.Helper()
	records, faults, err := read(file, mongo)
	if err != nil || faults != nil {
		t.Fatalf("%v %v", faults, err)
	}
	return records
}

// event decodes a record as the consumer of the stream does.
func event(t *testing.T, r billing.Record) (events.Event, events.Message) {
	t.Helper()
	e, err := events.Decode(r.Event.Subject, r.Event.Header, r.Event.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Check(); err != nil {
		t.Fatal(err)
	}
	m := e.Definition.New()
	if err := json.Unmarshal(e.Data, m); err != nil {
		t.Fatal(err)
	}
	return e, m
}

func TestEveryFormOfAFileSaysTheSame(t *testing.T) {
	want := readAll(t, bob+"\n"+ada+"\n")
	if len(want) != 2 {
		t.Fatalf("%d records", len(want))
	}
	for _, tt := range []struct {
		name, file string
	}{
		{"NDJSON without a last line break", bob + "\n" + ada},
		{"NDJSON with CRLF", bob + "\r\n" + ada + "\r\n"},
		{"NDJSON with a byte order mark", "\ufeff" + bob + "\n" + ada},
		{"NDJSON with blank lines", "\n \n" + bob + "\n\r\n\t\n" + ada + "\n\n"},
		{"NDJSON with names in another order", `{"invoice":{"number":"INV-2026-11-100482","issuedOn":"2026-11-20","dueOn":"2026-12-20","currency":"USD","amountDueMinor":12345,"documentUrl":"https://billing.example/inv/1"},` +
			strings.TrimPrefix(bob[:strings.Index(bob, `"invoice"`)-1], "{") + "}\n" + ada},
		{"NDJSON with blanks and escapes", strings.ReplaceAll(strings.ReplaceAll(bob, ":\"", " : \""), "ccountNumber", `\u0063countNumber`) + "\n" + ada},
		{"objects over several lines", indent(t, bob) + "\n" + indent(t, ada)},
		{"CSV", header + bobRow + adaRow},
		{"CSV without a last line break", header + bobRow + strings.TrimSpace(adaRow)},
		{"CSV with CRLF", strings.ReplaceAll(header+bobRow+adaRow, "\n", "\r\n")},
		{"CSV with a byte order mark", "\ufeff" + header + bobRow + adaRow},
		{"CSV with everything quoted", quoted(header + bobRow + adaRow)},
		{"CSV with empty rows", "\n" + header + "\n" + bobRow + ",,,,,,,,,,,,\n" + adaRow + "\n"},
		{"CSV with blanks in the header", strings.ReplaceAll(header, ",", " , ") + bobRow + adaRow},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := readAll(t, tt.file)
			if len(got) != 2 {
				t.Fatalf("%d records", len(got))
			}
			for i := range got {
				if diff := cmp.Diff(want[i].Event, got[i].Event); diff != "" {
					t.Error(diff)
				}
			}
			if end := got[1].End; end < int64(len(tt.file)-3) || end > int64(len(tt.file)) {
				t.Errorf("the last record ends at %d of %d", end, len(tt.file))
			}
		})
	}
}

func TestBareDataBecomesAnEvent(t *testing.T) {
	e, m := event(t, readAll(t, bob)[0])
	emailed := m.(*events.InvoiceEmailed)
	if e.Tenant != "mongo" || e.Source != mongo.Source || e.Subject != "100482-7" || !e.Time.Equal(emailed.EmailedAt) {
		t.Errorf("%+v", e.Envelope)
	}
	if *emailed.Invoice.AmountDueMinor != 12345 || emailed.RegistrationCode != "7F3K-9QWD-M2XA" {
		t.Errorf("%+v", emailed)
	}
	// Pinned: a new release must not publish under new ids what an old one has published.
	if want := "14448bbba182afdd5cf1c131ffe0eca2"; e.ID != want {
		t.Errorf("the id is %s, was %s", e.ID, want)
	}
}

func TestTheDataAndTheTenantDecideTheID(t *testing.T) {
	id := func(file, tenant string) string {
		records, _, err := read(file, billing.Origin{Tenant: tenant, Source: mongo.Source})
		if err != nil || len(records) != 1 {
			t.Fatalf("%d records, %v", len(records), err)
		}
		return records[0].Event.MsgID
	}
	same := id(bob, "mongo")
	for name, other := range map[string]string{
		"another tenant":                        id(bob, "zeta"),
		"another code":                          id(strings.Replace(bob, "M2XA", "M2XB", 1), "mongo"),
		"another time":                          id(strings.Replace(bob, "08:00:00Z", "08:00:01Z", 1), "mongo"),
		"another field that this build ignores": id(strings.Replace(bob, `"locale"`, `"taxMinor":1,"locale"`, 1), "mongo"),
	} {
		if other == same {
			t.Errorf("%s has the same id", name)
		}
	}
}

func TestFieldsThatNobodyKnowsAreKept(t *testing.T) {
	e, _ := event(t, readAll(t, strings.Replace(bob, `"number":`, `"taxMinor":1.50,"number":`, 1))[0])
	if got := string(e.Unknown()["invoice.taxMinor"]); got != "1.50" {
		t.Errorf("%q", got)
	}
}

func TestWholeEventsKeepWhatTheySay(t *testing.T) {
	for _, name := range []string{"InvoiceEmailed", "AccountClosed", "PaymentMethodChanged"} {
		for form, file := range map[string]string{"as printed": string(sample(t, name)), "on one line": string(events.Compact(sample(t, name)))} {
			t.Run(name+" "+form, func(t *testing.T) {
				record := readAll(t, file+"\n")[0]
				if diff := cmp.Diff(string(events.Compact(sample(t, name))), string(record.Event.Body)); diff != "" {
					t.Error(diff)
				}
				e, _ := event(t, record)
				if record.Event.MsgID != e.Source+"#"+e.ID || record.Event.Subject != e.Definition.Subject("mongo") {
					t.Errorf("%s on %s", record.Event.MsgID, record.Event.Subject)
				}
			})
		}
	}
}

func TestWholeEventsKeepExtensionsAndTrace(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	file := strings.Replace(string(events.Compact(sample(t, "AccountClosed"))), `"data":`, `"billingrun":"7","tenant":"mongo","traceparent":"`+parent+`","data":`, 1)
	record := readAll(t, file)[0]
	e, _ := event(t, record)
	if e.Extensions["billingrun"] != "7" || e.TraceParent != parent || record.Event.Header["traceparent"][0] != parent {
		t.Errorf("%v %v", e.Extensions, record.Event.Header)
	}
}

func TestRepeatedRecordsAreToldFromReusedIDs(t *testing.T) {
	closed := string(events.Compact(sample(t, "AccountClosed")))
	other := strings.Replace(closed, "Moved to another provider", "Bankrupt", 1)
	records, faults, err := read(strings.Join([]string{bob, closed, bob, closed, other}, "\n"), mongo)
	if err != nil {
		t.Fatal(err)
	}
	var repeats []int
	for _, r := range records {
		repeats = append(repeats, r.Repeats)
	}
	if diff := cmp.Diff([]int{0, 0, 1, 2}, repeats); diff != "" {
		t.Error(diff)
	}
	if len(faults) != 1 || faults[0].Line != 5 || faults[0].Kind != events.IDReused || !strings.Contains(faults[0].Why, "line 2") {
		t.Errorf("%v", faults)
	}
}

func TestAnEmptyFileHasNoRecords(t *testing.T) {
	for _, file := range []string{"", "\ufeff", "\n\r\n \n", header} {
		if records, faults, err := read(file, mongo); err != nil || len(records)+len(faults) != 0 {
			t.Errorf("%q: %v %v %v", file, records, faults, err)
		}
	}
}

func TestTheFormatIsToldByTheNameOrTheContent(t *testing.T) {
	for name, want := range map[string]billing.Format{
		"-": billing.Auto, "run.csv": billing.CSV, "RUN.CSV": billing.CSV, "run.ndjson": billing.NDJSON, "run.jsonl": billing.NDJSON,
		"event.json": billing.NDJSON, "run.2026": billing.Auto, "csv/run": billing.Auto,
	} {
		if got := billing.FormatOf(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if _, faults, err := read(header+bobRow, billing.Origin{Tenant: "mongo", Source: mongo.Source, Format: billing.NDJSON}); err != nil || len(faults) != 2 {
		t.Errorf("a table was read as NDJSON: %v %v", faults, err)
	}
	if _, _, err := read(bob, billing.Origin{Tenant: "mongo", Source: mongo.Source, Format: billing.CSV}); err == nil {
		t.Error("NDJSON was read as a table")
	}
}

// A table has a column for each of InvoiceEmailed's fields.
func TestColumnsAreTheFieldsOfInvoiceEmailed(t *testing.T) {
	var fields []string
	var walk func(of reflect.Type, path string)
	walk = func(of reflect.Type, path string) {
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if name == "invoice" {
				walk(of.Field(i).Type.Elem(), "invoice.")
				continue
			}
			fields = append(fields, path+name)
		}
	}
	walk(reflect.TypeFor[events.InvoiceEmailed](), "")
	if diff := cmp.Diff(fields, billing.Columns()); diff != "" {
		t.Error(diff)
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func indent(t *testing.T, object string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(object), "", "  "); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func quoted(table string) string {
	var b strings.Builder
	for line := range strings.Lines(table) {
		b.WriteString(`"` + strings.ReplaceAll(strings.TrimSpace(line), ",", `","`) + "\"\n")
	}
	return b.String()
}

func TestAMappingRenamesAndLeavesOutColumns(t *testing.T) {
	const file = "Kundennummer,E-Mail,Versand,Rechnung,Intern\n100482-7,ap@bobsbuilding.example,2026-11-20T08:00:00Z,INV-1,secret note\n"
	mapping := map[string]string{"Kundennummer": "accountNumber", "E-Mail": "billingEmail", "Versand": "emailedAt", "Rechnung": "invoice.number", "Intern": ""}
	read := func(columns map[string]string) (bodies []string, err error) {
		for r, e := range billing.Read(strings.NewReader(file), billing.Origin{Tenant: "mongo", Source: "//mongo.billcenter.net/billing", Format: billing.CSV, Columns: columns}) {
			if e != nil {
				return bodies, e
			}
			bodies = append(bodies, string(r.Event.Body))
		}
		return bodies, nil
	}
	bodies, err := read(mapping)
	if err != nil || len(bodies) != 1 || !strings.Contains(bodies[0], `"accountNumber":"100482-7"`) || strings.Contains(bodies[0], "secret note") {
		t.Errorf("%v, %v", bodies, err)
	}
	if _, err := read(nil); err == nil || strings.Contains(err.Error(), "Kundennummer") {
		t.Errorf("without the mapping: %v", err)
	}
	mapping["Fehlt"] = "locale"
	if _, err := read(mapping); err == nil || !strings.Contains(err.Error(), "mapping") {
		t.Errorf("a mapping of a column that is not there: %v", err)
	}
}
