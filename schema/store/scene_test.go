package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

const (
	mongo = storetest.Mongo
	zeros = storetest.Zeros
)

// TestMain asks less of the random tests than rapid does on its own; -rapid.checks and -rapid.steps ask for more.
func TestMain(m *testing.M) {
	flag.Parse()
	modest := map[string]string{"rapid.checks": "8", "rapid.steps": "25"}
	flag.Visit(func(f *flag.Flag) { delete(modest, f.Name) })
	for name, value := range modest {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	storetest.Main(m)
}

// scene is a database with what a test needs to act on it as billing, as a customer and as the mail worker.
type scene struct {
	*storetest.Database
	t     testing.TB
	count atomic.Uint64 // makes ids, sequences, usernames and sources that nobody used before
}

// stage sets a scene; tests run side by side, each on a database of its own.
func stage(t *testing.T) *scene {
	t.Parallel()
	return &scene{Database: storetest.New(t), t: t}
}

func (s *scene) next() uint64 { return s.count.Add(1) }

var began = time.Now() // all the tests; so an instant can be named twice

// daysAgo is a billing system's clock: whole seconds.
func daysAgo(n float64) time.Time {
	return began.Add(-time.Duration(n * 24 * float64(time.Hour))).UTC().Truncate(time.Second)
}

// invoice is an invoice mail; code may be empty.
func invoice(account, code string, emailed time.Time, changes ...func(*events.InvoiceEmailed)) events.InvoiceEmailed {
	amount := int64(12345)
	m := events.InvoiceEmailed{
		AccountNumber: account, CompanyName: "Bob's Building", BillingEmail: "ap@bobsbuilding.example", EmailedAt: emailed,
		RegistrationCode: code, Locale: "en-US",
		Invoice: &events.Invoice{Number: "INV-" + account + emailed.Format("-20060102150405"), IssuedOn: events.Date(emailed.Format(time.DateOnly)), Currency: "USD", AmountDueMinor: &amount},
	}
	for _, change := range changes {
		change(&m)
	}
	return m
}

// event is what a message looks like when it comes from the stream: encoded, decoded, checked.
func event(t testing.TB, tenant, source, id string, sequence uint64, m events.Message) events.Received {
	t.Helper()
	e, err := events.Encode(tenant, events.Envelope{ID: id, Source: source}, m)
	if err != nil {
		t.Fatal(err)
	}
	return received(t, e.Subject, e.Header, e.Body, sequence)
}

func received(t testing.TB, subject string, header map[string][]string, body []byte, sequence uint64) events.Received {
	t.Helper()
	e, err := events.Decode(subject, header, body)
	if err != nil {
		t.Fatal(err)
	}
	r := events.Received{Event: e, Sequence: sequence}
	switch e.Definition.Name {
	case "InvoiceEmailed":
		r.Message, err = events.Data[events.InvoiceEmailed](e)
	case "AccountClosed":
		r.Message, err = events.Data[events.AccountClosed](e)
	case "PaymentMethodChanged":
		r.Message, err = events.Data[events.PaymentMethodChanged](e)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// bills lets billing say something about a tenant's accounts.
func (s *scene) bills(tenant string, messages ...events.Message) {
	s.t.Helper()
	batch := make([]events.Received, len(messages))
	for i, m := range messages {
		n := s.next()
		batch[i] = event(s.t, tenant, events.Source(tenant, "billing"), fmt.Sprint("e", n), n, m)
	}
	for i, r := range s.takes(batch...) {
		if r.Fault != nil {
			s.t.Fatalf("event %d: %v", i, r.Fault)
		}
	}
}

func (s *scene) takes(batch ...events.Received) []events.Receipt {
	s.t.Helper()
	receipts, err := s.TakeBilling(context.Background(), batch)
	if err != nil {
		s.t.Fatal(err)
	}
	return receipts
}

// form is a filled in sign-up form from a customer and a source of its own.
func (s *scene) form(tenant, account, code string, changes ...func(*enrollment.Application)) enrollment.Application {
	n := s.next()
	a := enrollment.Application{
		Tenant: tenant, AccountNumber: account, Code: enrollment.Secret(code), Locale: "en-US",
		Email: enrollment.Address(fmt.Sprintf("customer%d@company.example", n)), Username: username(s.t, fmt.Sprintf("customer%d", n)),
		RequestID: fmt.Sprint("form-", n), Source: netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)}),
	}
	for _, change := range changes {
		change(&a)
	}
	return a
}

func username(t testing.TB, typed string) enrollment.Username {
	t.Helper()
	u, err := enrollment.ParseUsername(typed)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func named(t testing.TB, typed string) func(*enrollment.Application) {
	return func(a *enrollment.Application) { a.Username = username(t, typed) }
}

func from(source string) func(*enrollment.Application) {
	return func(a *enrollment.Application) { a.Source = netip.MustParseAddr(source) }
}

func (s *scene) register(a enrollment.Application) (enrollment.Admission, error) {
	return s.Register(context.Background(), a)
}

func (s *scene) admits(a enrollment.Application) enrollment.ID {
	s.t.Helper()
	admitted, err := s.register(a)
	if err != nil {
		s.t.Fatalf("register: %v", err)
	}
	return admitted.Enrollment
}

// refused is the refusal of that reason, or the end of the test.
func refused(t testing.TB, err error, want enrollment.Reason) *enrollment.Refusal {
	t.Helper()
	no, ok := errors.AsType[*enrollment.Refusal](err)
	if !ok || no.Reason != want {
		t.Fatalf("got %v, want the refusal %s", err, want)
	}
	return no
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// link is the link in a mail to the address of that generation.
func (s *scene) link(tenant string, id enrollment.ID, generation uint32, to enrollment.Address) enrollment.Signed {
	s.t.Helper()
	token := enrollment.Mint(s.Ring.LinkKeys()[0], tenant, enrollment.Link{Enrollment: id, Generation: generation}, to)
	signed, err := enrollment.ParseLink(token.Reveal())
	ok(s.t, err)
	return signed
}

const passwordHash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA"

func (s *scene) activate(tenant string, link enrollment.Signed) error {
	_, err := s.Activate(context.Background(), tenant, link, passwordHash)
	return err
}

// enrolls brings a customer all the way, and returns the enrollment and the user.
func (s *scene) enrolls(a enrollment.Application) (enrollment.ID, int64) {
	s.t.Helper()
	id := s.admits(a)
	ok(s.t, s.activate(a.Tenant, s.link(a.Tenant, id, 1, a.Email)))
	return id, storetest.One[int64](s.t, s.Database, `SELECT id FROM users WHERE enrollment = $1`, id)
}

func (s *scene) state(id enrollment.ID) enrollment.State {
	s.t.Helper()
	return storetest.One[enrollment.State](s.t, s.Database, `SELECT state FROM enrollments WHERE id = $1`, id)
}

func (s *scene) number(query string, args ...any) int {
	s.t.Helper()
	return storetest.One[int](s.t, s.Database, query, args...)
}

// announced are the outbox's events, oldest first, each as a reader of the stream would take it.
func (s *scene) announced() []events.Event {
	s.t.Helper()
	var rows []struct{ Subject, Body string }
	ok(s.t, s.DB.Select(&rows, `SELECT subject, body FROM outbox ORDER BY id`))
	all := make([]events.Event, len(rows))
	for i, r := range rows {
		e, err := events.Decode(r.Subject, events.StructuredHeader(), []byte(r.Body))
		ok(s.t, err)
		ok(s.t, e.Check())
		all[i] = e
	}
	return all
}

// names are the Go names of what was announced.
func names(all []events.Event) []string {
	var names []string
	for _, e := range all {
		names = append(names, e.Definition.Name)
	}
	return names
}

// forgetOutbox makes announced tell what comes from now on.
func (s *scene) forgetOutbox() {
	s.t.Helper()
	_, err := s.DB.Exec(`DELETE FROM outbox`)
	ok(s.t, err)
}

// only is the one announcement of a type.
func only[M any, P interface {
	*M
	events.Message
}](t testing.TB, all []events.Event) M {
	t.Helper()
	var found []M
	for _, e := range all {
		if e.Definition.Type == P(new(M)).EventType() {
			m, err := events.Data[M, P](e)
			ok(t, err)
			found = append(found, m)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d announcements of %T, want 1, in %v", len(found), *new(M), names(all))
	}
	return found[0]
}

// atOnce runs n calls that start together, and returns their errors in no order.
func atOnce(n int, call func(i int) error) []error {
	errs := make([]error, n)
	var ready, done sync.WaitGroup
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			errs[i] = call(i)
		})
	}
	done.Wait()
	return errs
}

// reasons counts errors by reason; nil counts as "".
func reasons(t testing.TB, errs []error) map[enrollment.Reason]int {
	t.Helper()
	counts := map[enrollment.Reason]int{}
	for _, err := range errs {
		if err == nil {
			counts[""]++
			continue
		}
		no, isRefusal := errors.AsType[*enrollment.Refusal](err)
		if !isRefusal {
			t.Fatal(err)
		}
		counts[no.Reason]++
	}
	return counts
}

// dump is the text of what a query returns, row by row, without the columns named.
func (s *scene) dump(query string, without ...string) string {
	s.t.Helper()
	var rows []string
	ok(s.t, s.DB.Select(&rows, `SELECT r::text FROM (SELECT to_jsonb(q) - $1::text[] AS r FROM (`+query+`) AS q) AS rows ORDER BY 1`, "{"+join(without)+"}"))
	text, err := json.MarshalIndent(rows, "", " ")
	ok(s.t, err)
	return string(text)
}

func join(list []string) string {
	text := ""
	for i, each := range list {
		if i > 0 {
			text += ","
		}
		text += each
	}
	return text
}
