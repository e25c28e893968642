package conformance

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// invoices are the cases about what is said once, twice, and twice differently.
func invoices() []Case {
	return []Case{
		{
			Name: "plain-invoice", Sent: "an InvoiceEmailed with a code", alone: true,
			Expected: "one valid Invited; BILLING emptied soon after", play: plainInvoice,
		},
		{
			Name: "duplicate-id", Sent: "the same event three times, each under its own Nats-Msg-Id", Expected: "one Invited, no dead letter",
			play: takes(func(t *trial) ([]Message, []invoice) {
				i := t.mailed()
				return []Message{t.message(&i), t.message(&i), t.message(&i)}, []invoice{i}
			}),
		},
		{
			Name: "redelivery", Sent: "an event again after its code left BILLING, in structured and in binary mode, with other white space",
			Expected: "one Invited, no dead letter", play: redelivery,
		},
		{
			Name: "id-reused", Sent: "a second event under a known id, with another code", Expected: "dead letter id-reused; one Invited, of the first",
			play: idReused,
		},
		{
			Name: "id-reused-keeps-first", Sent: "a second event under a known id, with another code; a sign-up with the first code",
			Expected: "the sign-up is accepted", needs: needs{portal: true}, play: idReusedKeepsFirst,
		},
		{
			Name: "no-code", Sent: "an InvoiceEmailed without a code", Expected: "taken, no Invited",
			play: func(ctx context.Context, t *trial) {
				i := t.mailed()
				i.code = ""
				s, ok := t.deliver(ctx, t.message(&i))
				if !ok {
					return
				}
				t.taken(s)
				t.notInvited(i)
				if len(t.faults) == 0 {
					t.saw("taken, no Invited")
				}
			},
		},
		{
			Name: "no-code-not-recognised", Sent: "an InvoiceEmailed without a code; a sign-up with an invented one",
			Expected: "the portal does not recognise it", needs: needs{portal: true}, play: noCodeNotRecognised,
		},
		{
			Name: "account-closed", Sent: "an AccountClosed", Expected: "taken",
			play: takes(func(t *trial) ([]Message, []invoice) {
				return []Message{t.closed(t.eventID(), t.account())}, nil
			}),
		},
		{
			Name: "payment-method-changed", Sent: "a PaymentMethodChanged", Expected: "taken",
			play: takes(func(t *trial) ([]Message, []invoice) {
				return []Message{t.paymentMethod(t.eventID(), t.account())}, nil
			}),
		},
		{
			Name: "unknown-extension-and-field", Sent: "an event with an extension and fields that the contract does not know", Expected: "taken, one Invited",
			play: takes(func(t *trial) ([]Message, []invoice) {
				i := t.mailed()
				i.extra = `,"futureField":{"deep":[1,2,{"n":null}]}`
				return []Message{t.messageWith(&i, `"futureattribute":"kept","futurenumber":7,`, func(body string) string {
					return strings.Replace(body, `"currency":"USD"`, `"taxMinor":5,"currency":"USD"`, 1)
				})}, []invoice{i}
			}),
		},
		{
			Name: "agreeing-tenant", Sent: "an event whose tenant extension agrees with its subject", Expected: "taken, one Invited",
			play: takes(func(t *trial) ([]Message, []invoice) {
				i := t.mailed()
				return []Message{t.messageWith(&i, fmt.Sprintf(`"tenant":%q,`, t.Tenant), nil)}, []invoice{i}
			}),
		},
	}
}

func plainInvoice(ctx context.Context, t *trial) {
	i := t.mailed()
	began := time.Now()
	s, ok := t.send(ctx, t.message(&i))
	if !ok {
		return
	}
	if !t.await(ctx, t.Within, func() bool { return len(t.invitedFor(i)) > 0 || t.standing.BillingFirst > s.upTo }) {
		t.fault("no Invited after %s, and BILLING still holds the event%s", t.Within, t.blind())
		return
	}
	stored := time.Now()
	if t.accountRef(i) == "" {
		t.taken(s)
		t.invitedOnce(i)
		return
	}
	t.saw("Invited after %d ms", stored.Sub(began).Milliseconds())
	if !t.settle(ctx, s) {
		return
	}
	emptied := time.Since(stored)
	t.saw("BILLING empty %d ms later", emptied.Milliseconds())
	if emptied > t.PurgeWithin {
		t.fault("the code stayed on the broker for %s after it was stored, expected at most %s", emptied.Round(time.Millisecond), t.PurgeWithin)
	}
	t.taken(s)
	t.invitedOnce(i)
}

func redelivery(ctx context.Context, t *trial) {
	i := t.mailed()
	first, ok := t.deliver(ctx, t.message(&i))
	if !ok {
		return
	}
	t.taken(first)
	spaced := t.messageWith(&i, "", func(body string) string { return "\n " + strings.ReplaceAll(body, `,"`, " ,\n\t\"") + "\n" })
	again, ok := t.deliver(ctx, t.message(&i), t.binary(&i, "application/json"), spaced)
	if !ok {
		return
	}
	t.taken(again)
	t.invitedOnce(i)
}

// reuse delivers an event and another one under its id.
func reuse(ctx context.Context, t *trial) (first invoice, second sent, ok bool) {
	first = t.mailed()
	s, ok := t.deliver(ctx, t.message(&first))
	if !ok {
		return first, second, false
	}
	t.taken(s)
	other := t.mailedTo(first.account)
	other.id = first.id
	second, ok = t.deliver(ctx, t.message(&other))
	if ok {
		t.notInvited(other)
	}
	return first, second, ok
}

func idReused(ctx context.Context, t *trial) {
	first, second, ok := reuse(ctx, t)
	if !ok {
		return
	}
	t.buried(second, "id-reused")
	t.invitedOnce(first)
}

func idReusedKeepsFirst(ctx context.Context, t *trial) {
	first, second, ok := reuse(ctx, t)
	if !ok {
		return
	}
	t.buried(second, "id-reused")
	t.signsUp(ctx, first.account, first.code)
}

func noCodeNotRecognised(ctx context.Context, t *trial) {
	i := t.mailed()
	i.code = ""
	s, ok := t.deliver(ctx, t.message(&i))
	if !ok {
		return
	}
	t.taken(s)
	t.refused(ctx, i.account, newCode(), "", "not-recognised")
}

func (r *run) closed(id string, a account) Message {
	return r.on("account.closed", typed, r.event(id, closedType, "", fmt.Sprintf(`{"accountNumber":%q,"closedAt":%q,"reason":"conformance"}`,
		a.number, r.instant(0).Format(time.RFC3339Nano))))
}

func (r *run) paymentMethod(id string, a account) Message {
	return r.on("payment-method.changed", typed, r.event(id, paymentType, "",
		fmt.Sprintf(`{"accountNumber":%q,"changedAt":%q,"kind":"card","brand":"Visa","lastFour":"4242","expiresOn":"2031-07"}`,
			a.number, r.instant(0).Format(time.RFC3339Nano))))
}

// modes are the ways in which an event may be written.
func modes() []Case {
	mode := func(name, sent string, message func(r *run, i *invoice) Message) Case {
		return Case{Name: name, Sent: sent, Expected: "one Invited", play: takes(func(t *trial) ([]Message, []invoice) {
			i := t.mailed()
			return []Message{message(t.run, &i)}, []invoice{i}
		})}
	}
	return []Case{
		mode("structured-mode", "Content-Type: application/cloudevents+json; charset=utf-8", func(r *run, i *invoice) Message {
			m := r.message(i)
			m.Header = map[string][]string{"Content-Type": {"application/cloudevents+json; charset=utf-8"}}
			return m
		}),
		mode("structured-mode-bare", "a structured event without any header, as a command line sends it", func(r *run, i *invoice) Message {
			m := r.message(i)
			m.Header = nil
			return m
		}),
		mode("binary-mode", "ce- headers, Content-Type: application/json", func(r *run, i *invoice) Message {
			return r.binary(i, "application/json")
		}),
		mode("binary-mode-bare", "ce- headers, no content type", func(r *run, i *invoice) Message {
			return r.binary(i, "")
		}),
	}
}
