package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

// kept is everything that billing's events leave behind, without what says only in which order they came.
func (s *scene) kept() string {
	const identity = `JOIN inbox AS i ON i.id = k.event JOIN accounts AS a ON a.id = k.account`
	return s.dump(`SELECT * FROM accounts`, "id", "created_at") +
		s.dump(`SELECT * FROM inbox`, "id", "received_at", "stream_sequence") +
		s.dump(`SELECT k.*, i.tenant, i.source, i.event_id, a.account_key FROM invoice_emails AS k `+identity, "event", "account") +
		s.dump(`SELECT k.*, i.tenant, i.source, i.event_id, a.account_key FROM account_closures AS k `+identity, "event", "account") +
		s.dump(`SELECT k.*, i.tenant, i.source, i.event_id, a.account_key FROM payment_methods AS k `+identity, "event", "account")
}

// empty makes the database new for the next random case.
func (s *scene) empty() {
	s.t.Helper()
	for _, table := range []string{"outbox", "refusals", "attempts", "code_reissues", "usernames", "enrollment_moves", "enrollment_addresses", "enrollments",
		"invoice_emails", "account_closures", "payment_methods", "inbox", "accounts"} {
		_, err := s.DB.Exec(`DELETE FROM ` + table)
		ok(s.t, err)
	}
}

var (
	someAccounts = []string{"100482-7", "1004827", "00482", "482", "B-1"}
	someCodes    = []string{"", "QX4T-88ZK", "qx4t88zk", "MB07-11YL", "MBO7-IIYL", "00AA-11BB"}
)

// billingSays draws a history: same code again, other codes, older after newer, equal times, no code, closures, payment methods.
func billingSays(t *testing.T, rt *rapid.T) []events.Received {
	day := time.Now().UTC().Truncate(time.Hour)
	n := rapid.IntRange(1, 12).Draw(rt, "events")
	all := make([]events.Received, n)
	for i := range all {
		tenant := rapid.SampledFrom([]string{mongo, zeros, "nobody"}).Draw(rt, "tenant")
		account := rapid.SampledFrom(someAccounts).Draw(rt, "account")
		at := day.Add(-time.Duration(rapid.IntRange(0, 60).Draw(rt, "days ago")) * 24 * time.Hour)
		var m events.Message
		switch rapid.IntRange(0, 9).Draw(rt, "kind") {
		case 0:
			m = events.AccountClosed{AccountNumber: account, ClosedAt: at, Reason: "moved away"}
		case 1:
			m = events.PaymentMethodChanged{AccountNumber: account, ChangedAt: at, Kind: events.Card, Brand: "Visa", LastFour: "4242", ExpiresOn: "2028-01"}
		default:
			m = invoice(account, rapid.SampledFrom(someCodes).Draw(rt, "code"), at, func(m *events.InvoiceEmailed) {
				m.CompanyName = rapid.SampledFrom([]string{"", "Bob's Building", "Bob & Sons"}).Draw(rt, "company")
				m.Locale = rapid.SampledFrom([]string{"", "en-US", "fr"}).Draw(rt, "locale")
				if rapid.Bool().Draw(rt, "no issue date") {
					m.Invoice.IssuedOn = ""
				}
				if m.RegistrationCode != "" && rapid.Bool().Draw(rt, "with an end") {
					m.RegistrationCodeExpiresAt = new(at.Add(time.Duration(rapid.IntRange(1, 80).Draw(rt, "good for days")) * 24 * time.Hour))
				}
			})
		}
		source := events.Source(tenant, rapid.SampledFrom([]string{"billing", "billing-2"}).Draw(rt, "source"))
		all[i] = event(t, tenant, source, fmt.Sprint("e", i/2), 0, m)
		if i%2 == 1 && all[i-1].Tenant == tenant && all[i-1].Source == source { // ids are unique for a source only
			all[i].ID += "b"
		}
	}
	return all
}

// delivery is the same history as the broker may bring it: shuffled, some messages copied under other sequences, some
// delivered twice, in batches.
func delivery(rt *rapid.T, all []events.Received) [][]events.Received {
	var messages []events.Received
	for _, r := range all {
		for range rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(rt, "copies") {
			r.Sequence = uint64(len(messages) + 1)
			messages = append(messages, r)
		}
	}
	for _, r := range messages[:len(messages):len(messages)] {
		if rapid.IntRange(0, 4).Draw(rt, "redelivered") == 0 {
			messages = append(messages, r)
		}
	}
	messages = rapid.Permutation(messages).Draw(rt, "order")
	var batches [][]events.Received
	for len(messages) > 0 {
		n := rapid.IntRange(1, len(messages)).Draw(rt, "batch")
		batches = append(batches, messages[:n])
		messages = messages[n:]
	}
	return batches
}

func number(r events.Received) string {
	switch m := r.Message.(type) {
	case events.InvoiceEmailed:
		return m.AccountNumber
	case events.AccountClosed:
		return m.AccountNumber
	case events.PaymentMethodChanged:
		return m.AccountNumber
	}
	return ""
}

func identity(r events.Received) string { return r.Tenant + " " + r.Source + " " + r.ID }

// answers are what customers of these accounts are told, with each code that there could be, and what their enrollments know.
func (s *scene) answers(events []events.Received) string {
	var all []string
	for n, e := range events {
		if e.Tenant == "nobody" {
			continue
		}
		account := number(e)
		for i, code := range []string{"QX4T88ZK", "MB0711YL", "MBO7IIYL", "MBO711YL", "OOAAIIBB"} {
			a := s.form(e.Tenant, account, code, named(s.t, fmt.Sprintf("customer-%d-%d", n, i)), from(fmt.Sprintf("203.0.113.%d", len(all)+1)))
			a.Email, a.RequestID = "c@company.example", ""
			_, err := s.register(a)
			all = append(all, fmt.Sprintf("%s %s %s: %v %+v", e.Tenant, account, code, err, err))
		}
	}
	return strings.Join(all, "\n") +
		s.dump(`SELECT tenant, username, state, locale, invoice_month, code_age_days FROM enrollments`) +
		s.dump(`SELECT (body::jsonb -> 'data') - '{enrollmentId,requestedAt,signedUpAt}'::text[] AS data, subject FROM outbox WHERE subject LIKE 'mail.%'`)
}

func TestBillingsEventsLeaveTheSameStateInAnyOrderAnyNumberOfTimes(t *testing.T) {
	s := stage(t)
	rapid.Check(t, func(rt *rapid.T) {
		all := billingSays(t, rt)
		accounts := slices.CompactFunc(slices.SortedFunc(slices.Values(all), func(a, b events.Received) int {
			return strings.Compare(a.Tenant+" "+number(a), b.Tenant+" "+number(b))
		}), func(a, b events.Received) bool { return a.Tenant == b.Tenant && number(a) == number(b) })
		once := slices.Clone(all)
		for i := range once {
			once[i].Sequence = uint64(i + 1)
		}
		observe := func(batches [][]events.Received) (kept, answers string) {
			s.empty()
			owed := map[string]map[uint64]bool{}
			for _, batch := range batches {
				for i, r := range s.takes(batch...) {
					e := batch[i]
					if unknown := e.Tenant == "nobody"; unknown != (r.Fault != nil) || unknown && r.Fault.Fault != events.TenantUnknown {
						rt.Fatalf("%s: fault %v", identity(e), r.Fault)
					}
					if r.Fault != nil {
						continue
					}
					if owed[identity(e)] == nil {
						owed[identity(e)] = map[uint64]bool{}
					}
					if was, seen := owed[identity(e)][e.Sequence]; seen && was != r.FactsDue {
						rt.Fatalf("%s: message %d owed the facts %t, then %t", identity(e), e.Sequence, was, r.FactsDue)
					}
					owed[identity(e)][e.Sequence] = r.FactsDue
				}
			}
			for id, messages := range owed {
				n := 0
				for _, due := range messages {
					if due {
						n++
					}
				}
				if n != 1 {
					rt.Fatalf("%s: %d messages owe the facts, want 1", id, n)
				}
			}
			kept = s.kept()
			return kept, s.answers(accounts)
		}
		wantKept, wantAnswers := observe([][]events.Received{once})
		gotKept, gotAnswers := observe(delivery(rt, all))
		if diff := cmp.Diff(wantKept, gotKept); diff != "" {
			rt.Fatalf("what is kept depends on the order (-once +as delivered):\n%s", diff)
		}
		if diff := cmp.Diff(wantAnswers, gotAnswers); diff != "" {
			rt.Fatalf("what customers are told depends on the order (-once +as delivered):\n%s", diff)
		}
	})
}

func TestOverlappingBatchesAtOnceLoseNothing(t *testing.T) {
	s := stage(t)
	const n, workers = 60, 8
	all := make([]events.Received, n)
	for i := range all {
		all[i] = event(t, mongo, "//mongo.billcenter.net/billing", fmt.Sprint("e", i), 0, invoice(fmt.Sprint("A-", i%7), fmt.Sprint("CODE", i), daysAgo(1)))
	}
	owed := make([][]string, workers)
	for _, err := range atOnce(workers, func(worker int) error {
		mine := slices.Clone(all)
		for i := range mine {
			j := (i*(worker*2+1) + worker) % n // another order for each, and every event in each
			mine[i], mine[j] = mine[j], mine[i]
		}
		for i := range mine {
			mine[i].Sequence = uint64(worker*n + i + 1)
		}
		for batch := range slices.Chunk(mine, 13+worker) {
			receipts, err := s.TakeBilling(context.Background(), batch)
			if err != nil {
				return err
			}
			for i, r := range receipts {
				if r.Fault != nil {
					return r.Fault
				}
				if r.FactsDue {
					owed[worker] = append(owed[worker], batch[i].ID)
				}
			}
		}
		return nil
	}) {
		ok(t, err)
	}
	due := slices.Concat(owed...)
	slices.Sort(due)
	if once := slices.Compact(slices.Clone(due)); len(due) != n || len(once) != n {
		t.Errorf("facts are owed %d times for %d events, want %d each once", len(due), len(once), n)
	}
	if got := s.number(`SELECT count(*) FROM invoice_emails`); got != n {
		t.Errorf("%d invoice mails kept, want %d", got, n)
	}
	if got := s.number(`SELECT count(*) FROM accounts`); got != 7 {
		t.Errorf("%d accounts, want 7", got)
	}
}

func TestAKnownIDWithOtherContentChangesNothing(t *testing.T) {
	s := stage(t)
	const source = "//mongo.billcenter.net/billing"
	first := event(t, mongo, source, "e1", 1, invoice("100482-7", "QX4T-88ZK", daysAgo(2)))
	again := event(t, mongo, source, "e1", 2, invoice("100482-7", "OTHER-CODE", daysAgo(1)))
	elsewhere := event(t, mongo, source, "e1", 3, invoice("NEW-ACCOUNT", "OTHER-CODE", daysAgo(1)))
	closure := event(t, mongo, source, "e1", 4, events.AccountClosed{AccountNumber: "100482-7", ClosedAt: daysAgo(1)})

	receipts := s.takes(first, again) // in one batch
	if receipts[0].Fault != nil || !receipts[0].FactsDue || receipts[0].Duplicate {
		t.Errorf("the first: %+v", receipts[0])
	}
	before := s.kept()
	for i, r := range append(receipts[1:], s.takes(again, elsewhere, closure)...) {
		if r.Fault == nil || r.Fault.Fault != events.IDReused || r.FactsDue {
			t.Errorf("impostor %d: %+v", i, r)
		}
	}
	if diff := cmp.Diff(before, s.kept()); diff != "" {
		t.Errorf("an impostor changed something:\n%s", diff)
	}

	otherTenant := event(t, zeros, source, "e1", 5, invoice("100482-7", "OTHER-CODE", daysAgo(1)))
	otherSource := event(t, mongo, source+"-2", "e1", 6, invoice("100482-7", "OTHER-CODE", daysAgo(1)))
	for i, r := range s.takes(otherTenant, otherSource) {
		if r.Fault != nil || !r.FactsDue {
			t.Errorf("the same id of another tenant or source (%d): %+v", i, r)
		}
	}
}

func TestARedeliveryOwesTheFactsAndACopyDoesNot(t *testing.T) {
	s := stage(t)
	for _, m := range []events.Message{
		invoice("100482-7", "QX4T-88ZK", daysAgo(2)),
		events.AccountClosed{AccountNumber: "100482-7", ClosedAt: daysAgo(1)},
		events.PaymentMethodChanged{AccountNumber: "100482-7", ChangedAt: daysAgo(1), Kind: events.NoMethod},
	} {
		id := string(m.EventType())
		first, second := s.next(), s.next()
		original, copied := event(t, mongo, "//b", id, first, m), event(t, mongo, "//b", id, second, m)
		ref := s.Ring.AccountRef(mongo, "1004827")
		for _, step := range []struct {
			name string
			r    events.Received
			want events.Receipt
		}{
			{"the first", original, events.Receipt{FactsDue: true, AccountRef: ref}},
			{"a copy", copied, events.Receipt{Duplicate: true, AccountRef: ref}},
			{"the first again", original, events.Receipt{Duplicate: true, FactsDue: true, AccountRef: ref}},
			{"the copy again", copied, events.Receipt{Duplicate: true, AccountRef: ref}},
		} {
			if diff := cmp.Diff(step.want, s.takes(step.r)[0]); diff != "" {
				t.Errorf("%s of %s:\n%s", step.name, id, diff)
			}
		}
	}
}

// body is a structured event with anything in it.
func body(id, extensions, data string) []byte {
	return fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"source":"//b","type":"net.billcenter.invoice.emailed.v1"%s,"data":%s}`, id, extensions, data)
}

func (s *scene) invoiceOf(data, extensions string) events.Received {
	n := s.next()
	return received(s.t, "billing.mongo.invoice.emailed", events.StructuredHeader(), body(fmt.Sprint("raw", n), extensions, data), n)
}

func TestWhatIsUnknownIsKept(t *testing.T) {
	s := stage(t)
	s.takes(s.invoiceOf(`{"accountNumber":"1","billingEmail":"a@b.example","emailedAt":"2026-11-20T08:00:00Z","invoice":{"number":"I","taxMinor":71},"mood":{"today":[1,"good"]}}`,
		`,"partition":"7"`))
	got := storetest.One[string](t, s.Database, `SELECT extra::text FROM invoice_emails`)
	want := `{"data": {"mood": {"today": [1, "good"]}, "invoice.taxMinor": 71}, "extensions": {"partition": "7"}}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("extra (-want +got):\n%s", diff)
	}
	s.takes(s.invoiceOf(`{"accountNumber":"2","billingEmail":"a@b.example","emailedAt":"2026-11-20T08:00:00Z","invoice":{"number":"I"}}`, ``))
	if n := s.number(`SELECT count(*) FROM invoice_emails WHERE extra IS NULL`); n != 1 {
		t.Errorf("%d events without extra, want 1", n)
	}
}

// What events' own rules let through and the rules of enrollment do not is the fault of one event, not of its batch.
func TestOneBadEventDoesNotHoldUpItsBatch(t *testing.T) {
	s := stage(t)
	good := event(t, mongo, "//b", "good", 1, invoice("100482-7", "QX4T-88ZK", daysAgo(2)))
	for _, tt := range []struct {
		name, field string
		m           events.InvoiceEmailed
	}{
		{"a code of full-width digits", "data.registrationCode", invoice("100482-7", "１２３４５６", daysAgo(1))},
		{"a code of Arabic digits", "data.registrationCode", invoice("100482-7", "١٢٣٤٥٦", daysAgo(1))},
		{"an account number of full-width digits", "data.accountNumber", invoice("１００４８２", "QX4T-88ZK", daysAgo(1))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bad := event(t, mongo, "//b", tt.name, s.next()+10, tt.m)
			receipts := s.takes(bad, good)
			if f := receipts[0].Fault; f == nil || f.Fault != events.FieldInvalid || f.Field != tt.field {
				t.Errorf("fault %v, want field-invalid of %s", f, tt.field)
			}
			if receipts[1].Fault != nil {
				t.Errorf("the event beside it: %v", receipts[1].Fault)
			}
		})
	}
	if n := s.number(`SELECT count(*) FROM inbox`); n != 1 {
		t.Errorf("%d events kept, want 1", n)
	}
}

func TestABatchThatPostgresRefusesKeepsNothing(t *testing.T) {
	s := stage(t)
	good := func() events.Received {
		n := s.next()
		return event(t, mongo, "//b", fmt.Sprint("good", n), n, invoice("100482-7", "QX4T-88ZK", daysAgo(2)))
	}
	crafted := good()
	m := crafted.Message.(events.InvoiceEmailed)
	m.CompanyName = "Bob\x00"
	crafted.Message = m
	for _, tt := range []struct {
		name string
		bad  events.Received
	}{
		{"a number in an unknown field that jsonb cannot hold", s.invoiceOf(`{"accountNumber":"1","billingEmail":"a@b.example","emailedAt":"2026-11-20T08:00:00Z","invoice":{"number":"I"},"huge":1e999999}`, ``)},
		{"a zero byte that nobody checked for", crafted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := s.TakeBilling(context.Background(), []events.Received{good(), tt.bad, good()})
			malformed, isMalformed := events.AsMalformed(err)
			if !isMalformed || malformed.Fault != events.RejectedByDatabase {
				t.Fatalf("error %v, want rejected-by-database", err)
			}
			if strings.Contains(err.Error(), "Bob") || strings.Contains(err.Error(), "999999") {
				t.Errorf("the error repeats a value: %v", err)
			}
			if n := s.number(`SELECT (SELECT count(*) FROM inbox) + (SELECT count(*) FROM accounts)`); n != 0 {
				t.Errorf("%d rows kept, want 0", n)
			}
		})
	}
}

func TestNoCodeIsStoredAsItself(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("100482-7", "QX4T-88ZK", daysAgo(1)))
	if text := s.kept(); strings.Contains(text, "QX4T") || strings.Contains(text, "88ZK") {
		t.Error("a table holds the code")
	}
	_, err := s.TakeBilling(context.Background(), nil)
	if err != nil || errors.Is(err, enrollment.ErrUnknown) {
		t.Errorf("an empty batch: %v", err)
	}
}
