package events_test

import (
	"bytes"
	"compress/gzip"
	"encoding/gob"
	"regexp"
	"strings"
	"testing"

	"github.com/mongotel/billcenter/events"
)

// invoice is a valid event whose values are found in no text of ours, so that a value in a fault's text is a leak.
const invoice = `{"specversion":"1.0","id":"mail-88127","source":"//zeta.example/ledger","type":"net.billcenter.invoice.emailed.v1",` +
	`"subject":"557731-9","time":"2026-10-03T06:07:08Z","datacontenttype":"application/json","data":{` +
	`"accountNumber":"557731-9","companyName":"Zürcher Uhren","billingEmail":"kasse@uhren.example","emailedAt":"2026-10-03T06:07:08Z",` +
	`"registrationCode":"QX4T-88ZK-P0RW","registrationCodeExpiresAt":"2026-11-17T06:07:08Z","locale":"de-CH",` +
	`"invoice":{"number":"RE-40771","issuedOn":"2026-10-02","dueOn":"2026-11-02","currency":"CHF","amountDueMinor":987654321,` +
	`"documentUrl":"https://ledger.example/re/40771"}}}`

// with is the event with one part of its text changed.
func with(old, new string) string {
	if strings.Count(invoice, old) == 0 {
		panic("the event has no " + old)
	}
	return strings.Replace(invoice, old, new, 1)
}

// malformed are bodies that can never be taken, with where and how a producer is told so.
var malformed = []struct {
	name  string
	body  string
	fault events.Fault
	field string
}{
	{"an empty body", ``, events.NotJSON, ""},
	{"blanks only", " \r\n\t ", events.NotJSON, ""},
	{"null", `null`, events.NotJSON, ""},
	{"an array", `[` + invoice + `]`, events.NotJSON, ""},
	{"a string", `"x"`, events.NotJSON, ""},
	{"an empty object", `{}`, events.NotACloudEvent, "specversion"},
	{"data without an envelope", `{"accountNumber":"557731-9"}`, events.NotACloudEvent, "specversion"},
	{"CloudEvents 0.3", with(`"specversion":"1.0"`, `"specversion":"0.3"`), events.NotACloudEvent, "specversion"},
	{"specversion as a number", with(`"specversion":"1.0"`, `"specversion":1.0`), events.NotACloudEvent, "specversion"},
	{"no id", with(`"id":"mail-88127",`, ``), events.NotACloudEvent, "id"},
	{"an id of null", with(`"id":"mail-88127"`, `"id":null`), events.NotACloudEvent, "id"},
	{"an empty id", with(`mail-88127`, ``), events.NotACloudEvent, "id"},
	{"an id as a number", with(`"id":"mail-88127"`, `"id":88127`), events.NotACloudEvent, "id"},
	{"an id of 64 KB", with(`mail-88127`, strings.Repeat("m", 64<<10)), events.NotACloudEvent, "id"},
	{"an id with a line break", with(`mail-88127`, `mail\r\n88127`), events.NotACloudEvent, "id"},
	{"no source", with(`"source":"//zeta.example/ledger",`, ``), events.NotACloudEvent, "source"},
	{"a source that is no URI reference", with(`//zeta.example/ledger`, `//zeta example:x/`), events.NotACloudEvent, "source"},
	{"no type", with(`"type":"net.billcenter.invoice.emailed.v1",`, ``), events.NotACloudEvent, "type"},
	{"a type of somebody else", with(`net.billcenter.invoice.emailed.v1`, `org.zeta.invoice.emailed.v1`), events.TypeUnknown, "type"},
	{"a type that belongs on another subject", with(`net.billcenter.invoice.emailed.v1`, `net.billcenter.account.closed.v1`), events.TypeMismatch, "type"},
	{"a major version of the future", with(`emailed.v1`, `emailed.v2`), events.VersionUnknown, "type"},
	{"a version that is no number", with(`emailed.v1`, `emailed.vNext`), events.TypeUnknown, "type"},
	{"another tenant in the extension", with(`"subject":`, `"tenant":"zeta","subject":`), events.TenantMismatch, "tenant"},
	{"the tenant in other case", with(`"subject":`, `"tenant":"Mongo","subject":`), events.TenantMismatch, "tenant"},
	{"an attribute that is an object", with(`"subject":"557731-9"`, `"subject":{"number":"557731-9"}`), events.NotACloudEvent, "subject"},
	{"an attribute spelled in capitals", with(`"subject":`, `"SUBJECT":`), events.NotACloudEvent, "extension"},
	{"an attribute with a control character", with(`"subject":"557731-9"`, `"subject":"557731\t9"`), events.NotACloudEvent, "subject"},
	{"data as XML", with(`application/json`, `application/xml`), events.NotACloudEvent, "datacontenttype"},
	{"data in base64", with(`"data":`, `"data_base64":"UVg0VC04OFpL","data":`), events.NotACloudEvent, "data_base64"},
	{"no data", with(`"data":`, `"payload":`), events.NotACloudEvent, "payload"},
	{"data of null", `{"specversion":"1.0","id":"mail-88127","source":"//zeta.example","type":"net.billcenter.invoice.emailed.v1","data":null}`, events.NotACloudEvent, "data"},
	{"data as a string", `{"specversion":"1.0","id":"mail-88127","source":"//zeta.example","type":"net.billcenter.invoice.emailed.v1","data":"{}"}`, events.NotACloudEvent, "data"},
	{"empty data", `{"specversion":"1.0","id":"mail-88127","source":"//zeta.example","type":"net.billcenter.invoice.emailed.v1","data":{}}`, events.FieldMissing, "data.accountNumber"},

	{"a name twice in the envelope", with(`"subject":`, `"id":"mail-88128","subject":`), events.NotJSON, "id"},
	{"a name twice in the data", with(`"companyName":`, `"accountNumber":"557731-8","companyName":`), events.NotJSON, "data.accountNumber"},
	{"a name twice in the invoice", with(`"issuedOn":`, `"number":"RE-40772","issuedOn":`), events.NotJSON, "data.invoice.number"},
	{"a name twice in a field that nobody knows", with(`"locale":`, `"shipping":{"to":[{"zip":"8001","zip":"8002"}]},"locale":`), events.NotJSON, "data.shipping.to.zip"},
	{"a name twice, once with an escape", with(`"companyName":`, `"\u0061ccountNumber":"557731-8","companyName":`), events.NotJSON, "data.accountNumber"},
	{"a name twice among hundreds", with(`"locale":`, `"notes":{`+manyNames(300)+`,"n007":0},"locale":`), events.NotJSON, "data.notes.n007"},
	{"a name in capitals", with(`"accountNumber"`, `"ACCOUNTNUMBER"`), events.FieldInvalid, "data.accountNumber"},
	{"a second name in another case", with(`"companyName":`, `"AccountNumber":"557731-8","companyName":`), events.FieldInvalid, "data.accountNumber"},
	{"a name with a long s", with(`"issuedOn"`, `"iſſuedOn"`), events.FieldInvalid, "data.invoice.issuedOn"},
	{"data after the object", invoice + `,`, events.NotJSON, ""},
	{"two objects", invoice + "\n" + invoice, events.NotJSON, ""},
	{"an object cut short", invoice[:len(invoice)-20], events.NotJSON, "data.invoice.documentUrl"},
	{"a comma before the end", with(`987654321,`, `987654321,},`), events.NotJSON, "data.invoice"},
	{"a comment", with(`"data":`, `/* now */"data":`), events.NotJSON, ""},
	{"single quotes", `{'specversion':'1.0'}`, events.NotJSON, ""},
	{"a byte order mark", "\ufeff" + invoice, events.NotJSON, ""},
	{"a lone high surrogate", with(`Zürcher`, `Z\ud800rcher`), events.NotJSON, "data.companyName"},
	{"a lone low surrogate", with(`Zürcher`, `Z\udc00rcher`), events.NotJSON, "data.companyName"},
	{"a high surrogate twice", with(`Zürcher`, `Z\ud800\ud800rcher`), events.NotJSON, "data.companyName"},
	{"a lone surrogate in a name", with(`"locale"`, `"\ud800"`), events.NotJSON, "data"},
	{"broken UTF-8", with(`Zürcher`, "Z\xfcrcher"), events.NotJSON, "data.companyName"},
	{"UTF-8 of a surrogate", with(`Zürcher`, "Z\xed\xa0\x80rcher"), events.NotJSON, "data.companyName"},
	{"an escaped NUL", with(`Zürcher`, `Z\u0000rcher`), events.NotJSON, "data.companyName"},
	{"an escaped NUL in a field that nobody knows", with(`"locale":`, `"memo":"a\u0000b","locale":`), events.NotJSON, "data.memo"},
	{"a raw NUL", with(`Zürcher`, "Z\x00rcher"), events.NotJSON, "data.companyName"},
	{"a raw line break in a string", with(`Zürcher Uhren`, "Zürcher\nUhren"), events.NotJSON, "data.companyName"},
	{"an unknown escape", with(`Zürcher`, `Z\xfcrcher`), events.NotJSON, "data.companyName"},
	{"10,001 arrays in each other", with(`"locale":`, `"memo":`+strings.Repeat(`[`, 10_001)+strings.Repeat(`]`, 10_001)+`,"locale":`), events.NotJSON, "data.memo"},
	{"33 objects in each other", with(`"locale":`, `"a":`+strings.Repeat(`{"a":`, 31)+`1`+strings.Repeat(`}`, 31)+`,"locale":`), events.NotJSON, "data" + strings.Repeat(".a", 31)},
	{"more than 1 MiB", with(`Zürcher`, strings.Repeat("Z", 1<<20)), events.NotJSON, ""},
	{"a name of 900 KB", with(`Zürcher`, strings.Repeat("Z", 900_000)), events.FieldInvalid, "data.companyName"},

	{"no account number", with(`"accountNumber":"557731-9",`, ``), events.FieldMissing, "data.accountNumber"},
	{"an account number of null", with(`"accountNumber":"557731-9"`, `"accountNumber":null`), events.FieldMissing, "data.accountNumber"},
	{"an account number of blanks", with(`"accountNumber":"557731-9"`, `"accountNumber":"   "`), events.FieldMissing, "data.accountNumber"},
	{"an account number of dashes", with(`"accountNumber":"557731-9"`, `"accountNumber":"-- –"`), events.FieldInvalid, "data.accountNumber"},
	{"an account number as a number", with(`"accountNumber":"557731-9"`, `"accountNumber":5577319`), events.FieldInvalid, "data.accountNumber"},
	{"an account number of 65 characters", with(`"accountNumber":"557731-9"`, `"accountNumber":"`+strings.Repeat("7", 65)+`"`), events.FieldInvalid, "data.accountNumber"},
	{"an account number with a control character", with(`"accountNumber":"557731-9"`, `"accountNumber":"557731\u00079"`), events.FieldInvalid, "data.accountNumber"},
	{"a company name with CR and LF", with(`Zürcher Uhren`, `Zürcher\r\nBcc: uhren`), events.FieldInvalid, "data.companyName"},
	{"a company name that turns the text around", with(`Zürcher`, `Z\u202erehcrü`), events.FieldInvalid, "data.companyName"},
	{"a company name of 10 KB", with(`Zürcher`, strings.Repeat("Z", 10<<10)), events.FieldInvalid, "data.companyName"},
	{"no address", with(`"billingEmail":"kasse@uhren.example",`, ``), events.FieldMissing, "data.billingEmail"},
	{"two addresses", with(`kasse@uhren.example`, `kasse@uhren.example, chef@uhren.example`), events.FieldInvalid, "data.billingEmail"},
	{"two addresses and a semicolon", with(`kasse@uhren.example`, `kasse@uhren.example;chef@uhren.example`), events.FieldInvalid, "data.billingEmail"},
	{"an address with a header in it", with(`kasse@uhren.example`, `kasse@uhren.example\r\nBcc: chef@uhren.example`), events.FieldInvalid, "data.billingEmail"},
	{"an address with a display name", with(`kasse@uhren.example`, `Kasse <kasse@uhren.example>`), events.FieldInvalid, "data.billingEmail"},
	{"an address without a domain", with(`kasse@uhren.example`, `kasse@`), events.FieldInvalid, "data.billingEmail"},
	{"a code of 3 characters", with(`QX4T-88ZK-P0RW`, `QX4`), events.FieldInvalid, "data.registrationCode"},
	{"a code of 3 characters and dashes", with(`QX4T-88ZK-P0RW`, `Q-X-4`), events.FieldInvalid, "data.registrationCode"},
	{"a code of 65 characters", with(`QX4T-88ZK-P0RW`, strings.Repeat("Q", 65)), events.FieldInvalid, "data.registrationCode"},
	{"a code's expiry without a code", with(`"registrationCode":"QX4T-88ZK-P0RW",`, ``), events.FieldMissing, "data.registrationCode"},
	{"no locale but a sentence", with(`de-CH`, `Swiss German`), events.FieldInvalid, "data.locale"},
	{"no time of the e-mail", with(`"emailedAt":"2026-10-03T06:07:08Z",`, ``), events.FieldMissing, "data.emailedAt"},
	{"a time without a zone", with(`"emailedAt":"2026-10-03T06:07:08Z"`, `"emailedAt":"2026-10-03T06:07:08"`), events.FieldInvalid, "data.emailedAt"},
	{"a time as seconds", with(`"emailedAt":"2026-10-03T06:07:08Z"`, `"emailedAt":1791007628`), events.FieldInvalid, "data.emailedAt"},
	{"a day that does not exist", with(`"emailedAt":"2026-10-03T06:07:08Z"`, `"emailedAt":"2026-02-30T06:07:08Z"`), events.FieldInvalid, "data.emailedAt"},
	{"an hour of 24", with(`"emailedAt":"2026-10-03T06:07:08Z"`, `"emailedAt":"2026-10-03T24:00:00Z"`), events.FieldInvalid, "data.emailedAt"},
	{"a leap second", with(`"emailedAt":"2026-10-03T06:07:08Z"`, `"emailedAt":"2026-12-31T23:59:60Z"`), events.FieldInvalid, "data.emailedAt"},
	{"a zone of 24 hours", with(`"emailedAt":"2026-10-03T06:07:08Z"`, `"emailedAt":"2026-10-03T06:07:08+24:00"`), events.FieldInvalid, "data.emailedAt"},
	{"the year 1", with(`"emailedAt":"2026-10-03T06:07:08Z"`, `"emailedAt":"0001-10-03T06:07:08Z"`), events.FieldInvalid, "data.emailedAt"},
	{"the year 9999", with(`"emailedAt":"2026-10-03T06:07:08Z"`, `"emailedAt":"9999-10-03T06:07:08Z"`), events.FieldInvalid, "data.emailedAt"},
	{"an expiry in the year 9999", with(`"registrationCodeExpiresAt":"2026-11`, `"registrationCodeExpiresAt":"9999-11`), events.FieldInvalid, "data.registrationCodeExpiresAt"},
	{"an envelope's time without a zone", with(`"time":"2026-10-03T06:07:08Z"`, `"time":"2026-10-03 06:07:08"`), events.NotACloudEvent, "time"},
	{"an envelope's time in the year 2101 of UTC", with(`"time":"2026-10-03T06:07:08Z"`, `"time":"2100-12-31T23:07:08-06:00"`), events.NotACloudEvent, "time"},
	{"an envelope's time with an hour of one digit", with(`"time":"2026-10-03T06:07:08Z"`, `"time":"2026-10-03T6:07:08Z"`), events.NotACloudEvent, "time"},

	{"no invoice", with(`"invoice":`, `"rechnung":`), events.FieldMissing, "data.invoice"},
	{"an invoice of null", with(`"invoice":{`, `"invoice":null,"rechnung":{`), events.FieldMissing, "data.invoice"},
	{"an invoice as a list", with(`"invoice":{`, `"invoice":[],"rechnung":{`), events.FieldInvalid, "data.invoice"},
	{"an invoice without a number", with(`"number":"RE-40771",`, ``), events.FieldMissing, "data.invoice.number"},
	{"a date that does not exist", with(`"dueOn":"2026-11-02"`, `"dueOn":"2026-02-30"`), events.FieldInvalid, "data.invoice.dueOn"},
	{"a date with a time", with(`"dueOn":"2026-11-02"`, `"dueOn":"2026-11-02T00:00:00Z"`), events.FieldInvalid, "data.invoice.dueOn"},
	{"a date of the American kind", with(`"dueOn":"2026-11-02"`, `"dueOn":"11/02/2026"`), events.FieldInvalid, "data.invoice.dueOn"},
	{"an amount as a string", with(`:987654321`, `:"987654321"`), events.FieldInvalid, "data.invoice.amountDueMinor"},
	{"an amount with cents", with(`:987654321`, `:9876543.21`), events.FieldInvalid, "data.invoice.amountDueMinor"},
	{"an amount with an exponent", with(`:987654321`, `:98765432e1`), events.FieldInvalid, "data.invoice.amountDueMinor"},
	{"an amount with a needless point", with(`:987654321`, `:987654321.0`), events.FieldInvalid, "data.invoice.amountDueMinor"},
	{"an amount of 2 to the 63rd", with(`:987654321`, `:9223372036854775808`), events.FieldInvalid, "data.invoice.amountDueMinor"},
	{"an amount below zero", with(`:987654321`, `:-987654321`), events.FieldInvalid, "data.invoice.amountDueMinor"},
	{"an amount that is no number", with(`:987654321`, `:NaN`), events.NotJSON, "data.invoice.amountDueMinor"},
	{"an amount with a leading zero", with(`:987654321`, `:0987654321`), events.NotJSON, "data.invoice.amountDueMinor"},
	{"an amount without a currency", with(`"currency":"CHF",`, ``), events.FieldMissing, "data.invoice.currency"},
	{"an unknown currency", with(`CHF`, `XQZ`), events.FieldInvalid, "data.invoice.currency"},
	{"a currency in small letters", with(`CHF`, `chf`), events.FieldInvalid, "data.invoice.currency"},
	{"a part of two currencies", with(`CHF`, `F C`), events.FieldInvalid, "data.invoice.currency"},
	{"a document over plain HTTP", with(`https://ledger`, `http://ledger`), events.FieldInvalid, "data.invoice.documentUrl"},
	{"a document that is a script", with(`https://ledger.example/re/40771`, `javascript:open(40771)`), events.FieldInvalid, "data.invoice.documentUrl"},
	{"a document behind a password", with(`https://ledger`, `https://kasse:geheim@ledger`), events.FieldInvalid, "data.invoice.documentUrl"},

	{"a gob", gobbed(), events.NotJSON, ""},
	{"a protobuf", "\x0a\x0a557731-9\x12\x0eQX4T-88ZK-P0RW", events.NotJSON, ""},
	{"a gzip", gzipped(invoice), events.NotJSON, ""},
	{"UTF-16", utf16ed(invoice), events.NotJSON, ""},
}

func TestMalformedEventsAreRefusedWithFaultAndField(t *testing.T) {
	for _, tt := range malformed {
		t.Run(tt.name, func(t *testing.T) {
			m := refused(t, "billing.mongo.invoice.emailed", structuredHeader, tt.body)
			if m.Fault != tt.fault || m.Field != tt.field {
				t.Errorf("%s at %q, want %s at %q (%s)", m.Fault, m.Field, tt.fault, tt.field, m.Why)
			}
			if m.Why == "" || strings.Contains(m.Error(), "\n") {
				t.Errorf("no single line for a person: %q", m.Error())
			}
		})
	}
}

func TestOnlyAFutureMajorVersionIsParked(t *testing.T) {
	for _, tt := range malformed {
		m := refused(t, "billing.mongo.invoice.emailed", structuredHeader, tt.body)
		if parked := m.Fault == events.VersionUnknown; m.Parked() != parked {
			t.Errorf("%s: parked %t", tt.name, m.Parked())
		}
	}
}

var (
	stringValues = regexp.MustCompile(`[:\[]\s*"((?:[^"\\]|\\.)*)"`)
	numberValues = regexp.MustCompile(`[:\[]\s*(-?[0-9][0-9.e]*)`)
	constants    = regexp.MustCompile(`^(1\.0|0\.3|application/json|//zeta\.example.*|net\.billcenter\..*)?$`)
)

// The text of a fault goes to logs, headers and screens, where no customer's number, address, name or code may be.
func TestNoFaultRepeatsAValue(t *testing.T) {
	for _, tt := range malformed {
		text := refused(t, "billing.mongo.invoice.emailed", structuredHeader, tt.body).Error()
		if len(text) > 600 {
			t.Errorf("%s: %d characters", tt.name, len(text))
		}
		values := append(stringValues.FindAllStringSubmatch(tt.body, -1), numberValues.FindAllStringSubmatch(tt.body, -1)...)
		for _, v := range values {
			if value := v[1]; len(value) > 2 && !constants.MatchString(value) && strings.Contains(text, value) {
				t.Errorf("%s: %q repeats a value", tt.name, text)
			}
		}
	}
}

// A name that is no word of the contract's kind may be a value in the wrong place.
func TestNoFaultRepeatsAStrangeName(t *testing.T) {
	for _, name := range []string{"QX4T-88ZK-P0RW", "kasse@uhren.example", strings.Repeat("Z", 400_000)} {
		body := with(`"locale":`, `"`+name+`":1,"`+name+`":2,"locale":`)
		m := refused(t, "billing.mongo.invoice.emailed", structuredHeader, body)
		if m.Field != "data.(other name)" || strings.Contains(m.Error(), name) {
			t.Errorf("the fault is at %.40s", m.Field)
		}
		m = refused(t, "billing.mongo.invoice.emailed", structuredHeader, with(`"subject":`, `"`+name+`":{},"subject":`))
		if m.Field != "(other name)" {
			t.Errorf("the fault is at %.40s", m.Field)
		}
	}
}

// The Kelvin sign folds to k, and only a payment method has a k.
func TestKelvinSignIsNoK(t *testing.T) {
	def, _ := events.DefinitionNamed("PaymentMethodChanged")
	body := strings.Replace(string(events.Sample(def)), `"kind"`, `"`+"\u212a"+`ind"`, 1)
	if m := refused(t, def.Subject("mongo"), structuredHeader, body); m.Fault != events.FieldInvalid || m.Field != "data.kind" {
		t.Errorf("%v", m)
	}
}

func TestSubjectsThatNoEventLivesOn(t *testing.T) {
	for _, tt := range []struct {
		name, subject string
		fault         events.Fault
	}{
		{"no subject", "", events.SubjectUnknown},
		{"one token", "billing", events.SubjectUnknown},
		{"no event", "billing.mongo", events.SubjectUnknown},
		{"every tenant", "billing.*.invoice.emailed", events.TenantInvalid},
		{"a wildcard for the rest", "billing.>.x", events.TenantInvalid},
		{"an empty tenant", "billing..invoice.emailed", events.TenantInvalid},
		{"a tenant in capitals", "billing.Mongo.invoice.emailed", events.TenantInvalid},
		{"a tenant outside of ASCII", "billing.möngo.invoice.emailed", events.TenantInvalid},
		{"a tenant of 33 characters", "billing." + strings.Repeat("m", 33) + ".invoice.emailed", events.TenantInvalid},
		{"another event's subject", "billing.mongo.account.closed", events.TypeMismatch},
		{"another domain", "mail.mongo.invoice.emailed", events.TypeMismatch},
		{"one token more", "billing.mongo.invoice.emailed.again", events.TypeMismatch},
		{"a wildcard in the event", "billing.mongo.>", events.TypeMismatch},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if m := refused(t, tt.subject, structuredHeader, invoice); m.Fault != tt.fault {
				t.Errorf("%v, want %s", m, tt.fault)
			}
		})
	}
}

// refused returns the fault for which an event is not taken.
func refused(t *testing.T, subject string, header map[string][]string, body string) *events.Malformed {
	t.Helper()
	e, err := events.Decode(subject, header, []byte(body))
	if err == nil {
		err = e.Check()
	}
	m, ok := events.AsMalformed(err)
	if !ok {
		t.Fatalf("not refused as malformed: %v", err)
	}
	return m
}

func manyNames(n int) string {
	var names []string
	for i := range n {
		names = append(names, `"n`+string([]byte{'0' + byte(i/100), '0' + byte(i/10%10), '0' + byte(i%10)})+`":0`)
	}
	return strings.Join(names, ",")
}

func gobbed() string {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(map[string]string{"accountNumber": "557731-9"}); err != nil {
		panic(err)
	}
	return b.String()
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(s)); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

func utf16ed(s string) string {
	b := []byte{0xff, 0xfe}
	for _, r := range s {
		b = append(b, byte(r), byte(r>>8))
	}
	return string(b)
}
