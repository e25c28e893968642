package events_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mongotel/billcenter/events"
)

const invoiceSubject = "billing.mongo.invoice.emailed"

// binary is the invoice in binary mode: attributes as headers, the data as the body.
func binary() (header map[string][]string, body string) {
	_, data, _ := strings.Cut(invoice, `"data":`)
	return map[string][]string{
		"ce-specversion": {"1.0"},
		"ce-id":          {"mail-88127"},
		"ce-source":      {"//zeta.example/ledger"},
		"ce-type":        {"net.billcenter.invoice.emailed.v1"},
		"ce-subject":     {"557731-9"},
		"ce-time":        {"2026-10-03T06:07:08Z"},
		"Content-Type":   {"application/json"},
	}, strings.TrimSuffix(data, "}")
}

func TestStructuredAndBinaryModeAreTheSameEvent(t *testing.T) {
	want := decoded(t, structuredHeader, invoice)
	header, data := binary()
	renamed := func(rename func(string) string) map[string][]string {
		h := map[string][]string{}
		for name, values := range header {
			h[rename(name)] = values
		}
		return h
	}
	without := func(name string) map[string][]string {
		h := maps.Clone(header)
		delete(h, name)
		return h
	}
	for _, tt := range []struct {
		name   string
		header map[string][]string
		body   string
	}{
		{"structured with a charset", map[string][]string{"Content-Type": {"application/cloudevents+json; charset=UTF-8"}}, invoice},
		{"structured with a header in small letters", map[string][]string{"content-type": {events.ContentType}}, invoice},
		{"structured without any header", nil, invoice},
		{"structured as plain JSON", map[string][]string{"Content-Type": {"application/json"}}, invoice},
		{"structured with blanks around", structuredHeader, "\r\n " + invoice + "\n"},
		{"structured with attributes of null", structuredHeader, with(`"subject":`, `"traceparent":null,"comexampleflag":null,"subject":`)},
		{"structured where names have escapes", structuredHeader, with(`"accountNumber"`, `"\u0061ccountNumber"`)},
		{"structured with headers that say otherwise", map[string][]string{"Content-Type": {events.ContentType}, "ce-id": {"another"}}, invoice},
		{"binary", header, data},
		{"binary in the canonical form of HTTP", renamed(func(s string) string { return strings.ReplaceAll(s, "ce-", "Ce-") }), data},
		{"binary in capitals", renamed(strings.ToUpper), data},
		{"binary in small letters", renamed(strings.ToLower), data},
		{"binary without a content type", without("Content-Type"), data},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := decoded(t, tt.header, tt.body)
			if diff := cmp.Diff(want.Envelope, got.Envelope); diff != "" {
				t.Error(diff)
			}
			if got.Extensions != nil || got.Tenant != "mongo" || got.Definition.Name != "InvoiceEmailed" {
				t.Errorf("%q for %q with %v", got.Definition.Name, got.Tenant, got.Extensions)
			}
			if diff := cmp.Diff(emailed(t, want), emailed(t, got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMalformedHeadersAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		values       []string
		field        string
	}{
		{"an attribute with two values", "ce-id", []string{"a", "b"}, "ce-id"},
		{"an attribute with no value", "ce-id", nil, "ce-id"},
		{"an attribute in two casings", "CE-ID", []string{"mail-88127"}, "ce-id"},
		{"a content type with two values", "Content-Type", []string{events.ContentType, "application/json"}, "content-type"},
		{"a content type in two casings", "content-type", []string{"application/json"}, "content-type"},
		{"a content type that is none", "Content-Type", []string{"json;;"}, "content-type"},
		{"a batch", "Content-Type", []string{"application/cloudevents-batch+json"}, "content-type"},
		{"CloudEvents in Avro", "Content-Type", []string{"application/cloudevents+avro"}, "content-type"},
		{"data that is not JSON", "Content-Type", []string{"text/plain"}, "datacontenttype"},
		{"an empty id", "ce-id", []string{""}, "id"},
		{"a percent-encoded NUL", "ce-subject", []string{"5577%0031"}, "subject"},
		{"a percent-encoded byte that is no UTF-8", "ce-subject", []string{"5577%ff31"}, "subject"},
		{"a percent-encoded NUL in an extension", "ce-batch", []string{"%00"}, "batch"},
		{"an attribute without a name", "ce-", []string{"x"}, "extension"},
		{"an attribute with an underscore", "ce-run_id", []string{"x"}, "extension"},
		{"another tenant", "ce-tenant", []string{"zeta"}, "tenant"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			header, body := binary()
			header[tt.header] = tt.values
			m := refused(t, invoiceSubject, header, body)
			if m.Field != tt.field || m.Fault != events.NotACloudEvent && m.Fault != events.TenantMismatch {
				t.Errorf("%v, want the field %q", m, tt.field)
			}
			for _, v := range tt.values {
				if len(v) > 3 && !strings.Contains(v, "/") && strings.Contains(m.Error(), v) {
					t.Errorf("%q repeats the value", m.Error())
				}
			}
		})
	}
}

func TestBinaryDataIsNamedInAFault(t *testing.T) {
	header, body := binary()
	m := refused(t, invoiceSubject, header, strings.Replace(body, `"number":`, `"number":"RE-1","number":`, 1))
	if m.Fault != events.NotJSON || m.Field != "data.invoice.number" {
		t.Errorf("%v", m)
	}
}

func TestHeadersOfOthersAreNoBusinessOfOurs(t *testing.T) {
	e := decoded(t, map[string][]string{"Content-Type": {events.ContentType}, "X-Route": {"a", "b"}, "Nats-Msg-Id": nil}, invoice)
	if e.Extensions != nil {
		t.Errorf("%v", e.Extensions)
	}
}

func TestHeaderValuesArePercentDecoded(t *testing.T) {
	header, body := binary()
	header["ce-subject"] = []string{"Z%C3%BCrich%20100%25"}
	header["ce-route"] = []string{"100% sure"} // no escape, so it stands as it is
	e := decoded(t, header, body)
	if e.Subject != "Zürich 100%" || e.Extensions["route"] != "100% sure" {
		t.Errorf("%q %q", e.Subject, e.Extensions["route"])
	}
}

func TestTraceContextComesAsExtensionOrAsHeader(t *testing.T) {
	const parent, other = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	header := map[string][]string{"Content-Type": {events.ContentType}, "traceparent": {parent}}
	if e := decoded(t, header, invoice); e.TraceParent != parent {
		t.Errorf("from the header: %q", e.TraceParent)
	}
	if e := decoded(t, header, with(`"subject":`, `"traceparent":"`+other+`","subject":`)); e.TraceParent != other {
		t.Errorf("the event's own is not preferred: %q", e.TraceParent)
	}
	for _, values := range [][]string{{parent, other}, {"00-4bf9"}, {parent + "\xff"}} {
		if e := decoded(t, map[string][]string{"traceparent": values}, invoice); e.TraceParent != "" {
			t.Errorf("%q was taken from %q", e.TraceParent, values)
		}
	}
}

func TestUnknownExtensionsAreKept(t *testing.T) {
	e := decoded(t, structuredHeader, with(`"subject":`, `"billingrun":"2026-10","attempt":2,"test":true,"tenant":"mongo","subject":`))
	want := map[string]string{"billingrun": "2026-10", "attempt": "2", "test": "true"}
	if diff := cmp.Diff(want, e.Extensions); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownFieldsAreTakenAndKept(t *testing.T) {
	plain := emailed(t, decoded(t, structuredHeader, invoice))
	e := decoded(t, structuredHeader, with(`"number":`, `"taxMinor":71,"lines":[{"number":1}],"number":`))
	if diff := cmp.Diff(plain, emailed(t, e)); diff != "" {
		t.Errorf("they changed the others: %s", diff)
	}
	unknown := e.Unknown()
	if len(unknown) != 2 || string(unknown["invoice.taxMinor"]) != "71" || string(unknown["invoice.lines"]) != `[{"number":1}]` {
		t.Errorf("%s", unknown)
	}
}

func TestOddButValidValuesAreTakenAsTheyAre(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		read       func(events.InvoiceEmailed) string
		want       string
	}{
		{"leading zeros", with(`"accountNumber":"557731-9"`, `"accountNumber":"000557731"`), account, "000557731"},
		{"blanks in an account number", with(`"accountNumber":"557731-9"`, `"accountNumber":"5577 31\u00a09"`), account, "5577 31\u00a09"},
		{"a path as an account number", with(`"accountNumber":"557731-9"`, `"accountNumber":"../557731"`), account, "../557731"},
		{"an account number outside of ASCII", with(`"accountNumber":"557731-9"`, `"accountNumber":"５５７７３１"`), account, "５５７７３１"},
		{"markup in a company name", with(`Zürcher Uhren`, `<script>{{.}}</script>`), company, "<script>{{.}}</script>"},
		{"a formula as a company name", with(`Zürcher Uhren`, `=cmd|'/C calc'!A0`), company, "=cmd|'/C calc'!A0"},
		{"a company name with a surrogate pair", with(`Zürcher Uhren`, `\ud83d\udd70 Uhren`), company, "🕰 Uhren"},
		{"a company name with escapes", with(`Zürcher Uhren`, `Uhren \"Z\u00fcrcher\" \\ S\u00f6hne`), company, `Uhren "Zürcher" \ Söhne`},
		{"no company name", with(`"companyName":"Zürcher Uhren",`, ``), company, ""},
		{"a company name of null", with(`"Zürcher Uhren"`, `null`), company, ""},
		{"an empty code is none", with(`"registrationCode":"QX4T-88ZK-P0RW","registrationCodeExpiresAt":"2026-11-17T06:07:08Z",`, `"registrationCode":"",`), code, ""},
		{"a code with blanks", with(`QX4T-88ZK-P0RW`, `qx4t 88zk p0rw`), code, "qx4t 88zk p0rw"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.read(emailed(t, decoded(t, structuredHeader, tt.body))); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func account(e events.InvoiceEmailed) string { return e.AccountNumber }
func company(e events.InvoiceEmailed) string { return e.CompanyName }
func code(e events.InvoiceEmailed) string    { return e.RegistrationCode }

func TestTimesKeepTheirInstant(t *testing.T) {
	e := emailed(t, decoded(t, structuredHeader, with(`"emailedAt":"2026-10-03T06:07:08Z"`, `"emailedAt":"2026-10-03T08:07:08.25+02:00"`)))
	if want := time.Date(2026, 10, 3, 6, 7, 8, 250_000_000, time.UTC); !e.EmailedAt.Equal(want) {
		t.Errorf("%s, want %s", e.EmailedAt, want)
	}
}

func TestDataIsReadOnlyAsItsOwnType(t *testing.T) {
	_, err := events.Data[events.AccountClosed](decoded(t, structuredHeader, invoice))
	if _, malformed := events.AsMalformed(err); err == nil || malformed {
		t.Errorf("a mistake of ours is not the event's: %v", err)
	}
}

func TestEncodeRefusesWhatNobodyCouldRead(t *testing.T) {
	valid := emailed(t, decoded(t, structuredHeader, invoice))
	invalid := valid
	invalid.AccountNumber = ""
	id := events.Envelope{ID: "mail-1", Source: "//zeta.example/ledger"}
	for _, tt := range []struct {
		name, tenant string
		envelope     events.Envelope
		message      events.Message
		fault        events.Fault
	}{
		{"a tenant that is none", "Mongo", id, valid, events.TenantInvalid},
		{"no id", "mongo", events.Envelope{Source: id.Source}, valid, events.NotACloudEvent},
		{"no source", "mongo", events.Envelope{ID: id.ID}, valid, events.NotACloudEvent},
		{"a message that is not valid", "mongo", id, invalid, events.FieldMissing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := events.Encode(tt.tenant, tt.envelope, tt.message)
			if m, ok := events.AsMalformed(err); !ok || m.Fault != tt.fault {
				t.Errorf("%v, want %s", err, tt.fault)
			}
		})
	}
}

func decoded(t *testing.T, header map[string][]string, body string) events.Event {
	t.Helper()
	e, err := events.Decode(invoiceSubject, header, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func emailed(t *testing.T, e events.Event) events.InvoiceEmailed {
	t.Helper()
	m, err := events.Data[events.InvoiceEmailed](e)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
