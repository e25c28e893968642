package conformance

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mongotel/billcenter/events"
)

// run is what the cases of a run share.
type run struct {
	Options
	*witness
	id   string
	base time.Time // emailedAt of the run's mails begins here; each gets an instant of its own, by which its fact is known

	accounts, enrollments, mails atomic.Int64

	publishing sync.Mutex // so that a case knows its messages by their sequences
	ownLetters atomic.Int64
}

func newRun(o Options, now time.Time, s Standing) *run {
	return &run{
		Options: o, witness: newWitness(o.Broker, s),
		// Digits only, as most account numbers are; the random ones keep two who start at a time apart.
		id:   strconv.FormatInt(now.UnixMilli(), 10) + digits(3),
		base: now.Add(-time.Hour).UTC().Truncate(time.Millisecond),
	}
}

func (r *run) behind() Behind {
	return Behind{Accounts: int(r.accounts.Load()), Enrollments: int(r.enrollments.Load()), DeadLetters: int(r.ownLetters.Load())}
}

func (r *run) source() string { return events.Source(r.Tenant, "conformance") }

// eventID makes an id that no other event has.
func (r *run) eventID() string { return fmt.Sprintf("conformance-%s-%d", r.id, r.mails.Add(1)) }

// account is a customer of billing's that this run made up.
type account struct {
	number, company string
	n               int64
}

func (r *run) account() account {
	n := r.accounts.Add(1)
	return account{number: fmt.Sprintf("%s-%d", r.id, n), company: fmt.Sprintf("Conformance %s-%d", r.id, n), n: n}
}

// invoice is an InvoiceEmailed before it is written down.
type invoice struct {
	account
	id        string // of the event
	code      string // empty: the mail had no box
	emailedAt time.Time
	expiresAt time.Time
	extra     string // more fields of data, ",…"
}

// mailed is an invoice with a code for a new account. It was e-mailed just now as a bill run sees it, and its code lives.
func (r *run) mailed() invoice { return r.mailedTo(r.account()) }

func (r *run) mailedTo(a account) invoice {
	return invoice{account: a, code: newCode()}.at(r.instant(0))
}

// instant is an instant of its own that many days ago.
func (r *run) instant(daysAgo int) time.Time {
	return r.base.AddDate(0, 0, -daysAgo).Add(time.Duration(r.mails.Add(1)) * time.Microsecond)
}

// noon is instant at noon UTC, which is the same day in every zone where people live.
func (r *run) noon(daysAgo int) time.Time {
	return r.base.AddDate(0, 0, -daysAgo).Truncate(24 * time.Hour).Add(12*time.Hour + time.Duration(r.mails.Add(1))*time.Microsecond)
}

// at moves the mail in time; the code lives on for at least a month from today.
func (i invoice) at(t time.Time) invoice {
	i.emailedAt, i.expiresAt = t, time.Now().AddDate(0, 0, 30).UTC().Truncate(time.Second)
	return i
}

func (i invoice) data() string {
	code := ""
	if i.code != "" {
		code = fmt.Sprintf(`"registrationCode":%q,"registrationCodeExpiresAt":%q,`, i.code, i.expiresAt.Format(time.RFC3339))
	}
	return fmt.Sprintf(`{"accountNumber":%q,"companyName":%q,"billingEmail":"ap@conformance.example","emailedAt":%q,%s`+
		`"locale":"en-US","invoice":{"number":"INV-%d-%d","issuedOn":%q,"dueOn":%q,"currency":"USD","amountDueMinor":12345}%s}`,
		i.number, i.company, i.emailedAt.Format(time.RFC3339Nano), code,
		i.n, i.emailedAt.UnixMicro(), i.emailedAt.Format(time.DateOnly), i.emailedAt.AddDate(0, 0, 30).Format(time.DateOnly), i.extra)
}

const (
	invoiceType    = "net.billcenter.invoice.emailed.v1"
	closedType     = "net.billcenter.account.closed.v1"
	paymentType    = "net.billcenter.payment-method.changed.v1"
	invoiceSubject = "invoice.emailed"
)

// event writes a structured event. attributes are more of them, each `"name":value,`.
func (r *run) event(id, kind, attributes, data string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":%q,"type":%q,"time":%q,"datacontenttype":"application/json",%s"data":%s}`,
		id, r.source(), kind, r.base.Format(time.RFC3339), attributes, data)
}

// on is a message on one of the tenant's subjects. Every message gets a Nats-Msg-Id of its own, so that copies reach the
// system and are not dropped by the broker.
func (r *run) on(event string, header map[string][]string, body string) Message {
	return Message{
		Subject: "billing." + r.Tenant + "." + event,
		ID:      r.source() + "#" + r.eventID(),
		Header:  header,
		Body:    []byte(body),
	}
}

var typed = map[string][]string{"Content-Type": {events.ContentType}}

// message is the invoice as most billing systems send it.
func (r *run) message(i *invoice) Message { return r.messageWith(i, "", nil) }

// messageWith is message with more attributes and, after it was written, changed by edit.
func (r *run) messageWith(i *invoice, attributes string, edit func(string) string) Message {
	if i.id == "" {
		i.id = r.eventID()
	}
	body := r.event(i.id, invoiceType, attributes, i.data())
	if edit != nil {
		body = edit(body)
	}
	return r.on(invoiceSubject, typed, body)
}

// binary is the invoice in binary mode.
func (r *run) binary(i *invoice, contentType string) Message {
	if i.id == "" {
		i.id = r.eventID()
	}
	header := map[string][]string{"ce-specversion": {"1.0"}, "ce-id": {i.id}, "ce-source": {r.source()}, "ce-type": {invoiceType}}
	if contentType != "" {
		header["Content-Type"] = []string{contentType}
	}
	return r.on(invoiceSubject, header, i.data())
}

// sent are messages as they lie in BILLING. What somebody else published in the same milliseconds lies among them, and
// counts only if it becomes a dead letter.
type sent struct{ after, upTo uint64 }

// send publishes and notes where the messages lie. It reports whether it could.
func (t *trial) send(ctx context.Context, messages ...Message) (sent, bool) {
	t.publishing.Lock()
	defer t.publishing.Unlock()
	before, err := t.Broker.Standing(ctx)
	if t.failed(err) {
		return sent{}, false
	}
	if t.failed(t.Broker.Publish(ctx, messages...)) {
		return sent{}, false
	}
	after, err := t.Broker.Standing(ctx)
	if t.failed(err) {
		return sent{}, false
	}
	return sent{before.BillingLast, after.BillingLast}, true
}

// settle waits until everything that was sent has left BILLING, and so has had its effects: facts and dead letters come
// before the acknowledgement, and only what is acknowledged leaves.
func (t *trial) settle(ctx context.Context, s sent) bool {
	if t.await(ctx, t.Within, func() bool { return t.standing.BillingFirst > s.upTo }) {
		return true
	}
	t.fault("BILLING still holds the events after %s%s", t.Within, t.blind())
	return false
}

// deliver sends and settles.
func (t *trial) deliver(ctx context.Context, messages ...Message) (sent, bool) {
	s, ok := t.send(ctx, messages...)
	return s, ok && t.settle(ctx, s)
}

const codeAlphabet = "23456789ABCDEFGHJKMNPQRSTVWXYZ" // no look-alikes

func newCode() string {
	c := pick(codeAlphabet, 12)
	return c[:4] + "-" + c[4:8] + "-" + c[8:]
}

func digits(n int) string { return pick("0123456789", n) }

// pick takes the slight preference of the remainder for granted: these are no secrets that guard anything.
func pick(alphabet string, n int) string {
	raw := make([]byte, n)
	rand.Read(raw) // never fails
	var b strings.Builder
	for _, r := range raw {
		b.WriteByte(alphabet[int(r)%len(alphabet)])
	}
	return b.String()
}
