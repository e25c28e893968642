package conformance

import (
	"context"
	"fmt"
	"strings"
)

// parked are the cases about what another day may take.
func parked() []Case {
	const expected = "dead letter %s; the event behind it is taken"
	return []Case{
		{
			Name: "unknown-major-version", Sent: "an invoice.emailed.v2", Expected: fmt.Sprintf(expected, "version-unknown, parked"),
			play: buries("version-unknown", true, func(r *run, i *invoice) Message {
				return r.messageWith(i, "", replace("invoice.emailed.v1", "invoice.emailed.v2"))
			}),
		},
		{
			Name: "unknown-tenant", Sent: "an event on the subject of a tenant that does not exist", Expected: fmt.Sprintf(expected, "tenant-unknown, parked"),
			play: buries("tenant-unknown", true, func(r *run, i *invoice) Message { return r.stray(i) }),
		},
		{
			Name: "replay", Sent: "the dead letter of an unknown tenant, replayed", Expected: "the letter is gone, and a new one tells that the tenant is unknown still",
			needs: needs{replay: true}, play: replayLetter,
		},
	}
}

// stray is an event for a tenant that nobody has.
func (r *run) stray(i *invoice) Message {
	m := r.message(i)
	m.Subject = "billing.nobody-" + r.id + "." + invoiceSubject
	return m
}

func replayLetter(ctx context.Context, t *trial) {
	i := t.mailed()
	s, ok := t.deliver(ctx, t.stray(&i))
	if !ok {
		return
	}
	letters := t.buried(s, dead("tenant-unknown", true))
	if len(letters) != 1 {
		return
	}
	t.publishing.Lock() // a replay is a message in BILLING, too
	before, err := t.Broker.Standing(ctx)
	if err == nil {
		err = t.Replay(ctx, letters[0].ID)
	}
	after, errAfter := t.Broker.Standing(ctx)
	t.publishing.Unlock()
	if t.failed(err) || t.failed(errAfter) {
		return
	}
	t.ownLetters.Add(-1)
	again := sent{before.BillingLast, after.BillingLast}
	if !t.settle(ctx, again) {
		return
	}
	t.buried(again, dead("tenant-unknown", true))
	left, err := t.Broker.DeadLetters(ctx, letters[0].ID-1)
	if t.failed(err) {
		return
	}
	for _, l := range left {
		if l.ID == letters[0].ID {
			t.fault("the replayed letter is still there")
		}
	}
	t.notInvited(i)
}

// flaw is a way to be malformed, and what the dead letter says of it.
type flaw struct {
	name, sent, reason string
	message            func(r *run, i *invoice) Message
}

// malformed are the cases about what can never be taken.
func malformed() []Case {
	var cases []Case
	for _, f := range flaws() {
		cases = append(cases, Case{
			Name: f.name, Sent: f.sent, Expected: "dead letter " + f.reason + "; the event behind it is taken",
			play: buries(f.reason, false, f.message),
		})
	}
	return cases
}

func flaws() []flaw {
	return []flaw{
		{"unknown-type", "a type that is not of the contract", "type-unknown", edited(replace("invoice.emailed.v1", "nobody.knows.v1"))},
		{"type-on-wrong-subject", "an AccountClosed on the subject of InvoiceEmailed", "type-mismatch", edited(replace("invoice.emailed.v1", "account.closed.v1"))},
		{"contradicting-tenant", "a tenant extension that is not the subject's", "tenant-mismatch", func(r *run, i *invoice) Message {
			return r.messageWith(i, `"tenant":"somebody-else",`, nil)
		}},
		{"missing-id", "an event without id", "not-a-cloudevent", func(r *run, i *invoice) Message {
			m := r.message(i)
			m.Body = []byte(strings.Replace(string(m.Body), fmt.Sprintf(`"id":%q,`, i.id), "", 1))
			return m
		}},
		{"bare-data", "an InvoiceEmailed's data without an envelope", "not-a-cloudevent", func(r *run, i *invoice) Message {
			m := r.message(i)
			m.Header, m.Body = nil, []byte(i.data())
			return m
		}},
		{"header-of-two-values", "binary mode with two ce-type headers", "not-a-cloudevent", func(r *run, i *invoice) Message {
			m := r.binary(i, "application/json")
			m.Header["ce-type"] = []string{invoiceType, closedType}
			return m
		}},
		{"batched-mode", "Content-Type: application/cloudevents-batch+json", "not-a-cloudevent", func(r *run, i *invoice) Message {
			m := r.message(i)
			m.Header = map[string][]string{"Content-Type": {"application/cloudevents-batch+json"}}
			m.Body = []byte("[" + string(m.Body) + "]")
			return m
		}},

		{"empty-body", "nothing at all", "not-json", edited(func(string) string { return "" })},
		{"null-body", "null", "not-json", edited(func(string) string { return "null" })},
		{"array-body", "the event in an array", "not-json", edited(func(body string) string { return "[" + body + "]" })},
		{"cut-off-body", "half of an event", "not-json", edited(func(body string) string { return body[:len(body)/2] })},
		{"two-objects", "two events in one message", "not-json", edited(func(body string) string { return body + "\n" + body })},
		{"byte-order-mark", "a byte order mark before the event", "not-json", edited(func(body string) string { return "\ufeff" + body })},
		{"duplicate-key", "accountNumber twice in one object", "not-json", edited(replace(`"data":{`, `"data":{"accountNumber":"1",`))},
		{"invalid-utf8", "a company name that is not UTF-8", "not-json", edited(replace("Conformance ", "Conformance \xff"))},
		{"lone-surrogate", `a company name with \ud800`, "not-json", edited(replace("Conformance ", `Conformance \ud800`))},
		{"nul-character", `a company name with \u0000`, "not-json", edited(replace("Conformance ", `Conformance \u0000`))},
		{"nested-too-deep", "an unknown field nested a thousand deep", "not-json", edited(func(body string) string {
			return strings.Replace(body, `"data":{`, `"data":{"deep":`+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)+",", 1)
		})},

		{"case-variant-key", "accountnumber beside accountNumber", "field-invalid", edited(replace(`"data":{`, `"data":{"accountnumber":"1",`))},
		{"missing-field", "no accountNumber", "field-missing", edited(replace(`"accountNumber":`, `"customerNumber":`))},
		{"null-field", "accountNumber: null", "field-missing", edited(replace(`"accountNumber":`, `"accountNumber":null,"customerNumber":`))},
		{"number-for-text", "companyName: 7", "field-invalid", edited(replace(`"companyName":`, `"companyName":7,"name":`))},
		{"text-for-number", `amountDueMinor: "12345"`, "field-invalid", edited(replace(`Minor":12345`, `Minor":"12345"`))},
		{"amount-with-fraction", "amountDueMinor: 123.45", "field-invalid", edited(replace(`Minor":12345`, `Minor":123.45`))},
		{"negative-amount", "amountDueMinor: -12345", "field-invalid", edited(replace(`Minor":12345`, `Minor":-12345`))},
		{"impossible-day", "issuedOn: 2026-02-30", "field-invalid", edited(replace(`"issuedOn":`, `"issuedOn":"2026-02-30","issued":`))},
		{"time-without-zone", "emailedAt: 2026-11-20T08:00:00", "field-invalid", edited(replace(`"emailedAt":`, `"emailedAt":"2026-11-20T08:00:00","at":`))},
		{"two-addresses", "billingEmail with two addresses", "field-invalid", edited(replace("ap@conformance.example", "ap@conformance.example, b@conformance.example"))},
		{"control-characters", "an account number with a line break", "field-invalid", edited(replace(`"accountNumber":"`, `"accountNumber":"\n`))},
	}
}

// edited is a structured event that was changed after it was written.
func edited(edit func(string) string) func(*run, *invoice) Message {
	return func(r *run, i *invoice) Message { return r.messageWith(i, "", edit) }
}

func replace(old, with string) func(string) string {
	return func(body string) string { return strings.Replace(body, old, with, 1) }
}
