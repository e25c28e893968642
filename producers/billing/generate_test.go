package billing_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/producers/billing"
)

func TestGenerateIsDecidedByItsSeed(t *testing.T) {
	make := func(n int, seed uint64) string {
		var b strings.Builder
		if err := billing.Generate(&b, n, seed, until); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if first, again := make(500, 1), make(500, 1); first != again {
		t.Error("the same seed gave another file")
	}
	if make(500, 1) == make(500, 2) {
		t.Error("another seed gave the same file")
	}
	if !strings.HasPrefix(make(500, 1), make(100, 1)) {
		t.Error("a shorter file is not the beginning of the longer one")
	}
}

// What a load test must meet, each of it in a file of moderate size.
func TestGenerateHasTheOdditiesOfRealBilling(t *testing.T) {
	records := readAll(t, generated(t, 5_000))
	if len(records) != 5_000 {
		t.Fatalf("%d records", len(records))
	}
	type account struct {
		last   events.InvoiceEmailed
		months map[string]bool
	}
	accounts := map[string]*account{}
	count := map[string]int{}
	for _, r := range records {
		_, m := event(t, r)
		e := *m.(*events.InvoiceEmailed)
		if e.EmailedAt.After(until) {
			t.Fatalf("an e-mail of the future: %s", e.EmailedAt)
		}
		if e.RegistrationCode == "" {
			count["no code"]++
		} else if e.RegistrationCodeExpiresAt.After(until) {
			count["a code that is valid"]++
		}
		if strings.HasPrefix(e.AccountNumber, "0") {
			count["leading zeros"]++
		}
		if strings.ContainsFunc(e.CompanyName, func(r rune) bool { return r > unicode.MaxLatin1 }) {
			count["a company name far from ASCII"]++
		}
		a := accounts[e.AccountNumber]
		if a == nil {
			accounts[e.AccountNumber] = &account{last: e, months: map[string]bool{e.Invoice.Number: true}}
			continue
		}
		a.months[e.Invoice.Number] = true
		if len(a.months) == 3 {
			count["three months"]++
		}
		if e.EmailedAt.Before(a.last.EmailedAt) {
			count["older after newer"]++
		}
		if e.RegistrationCode != "" && e.RegistrationCode == a.last.RegistrationCode {
			count["the same code again"]++
		}
		a.last = e
	}
	for _, oddity := range []string{"no code", "a code that is valid", "leading zeros", "a company name far from ASCII", "three months", "older after newer", "the same code again"} {
		if count[oddity] < 50 {
			t.Errorf("%s: %d times in 5000", oddity, count[oddity])
		}
	}
}

func TestGenerateReportsAFullDisk(t *testing.T) {
	full := errors.New("no space left on device")
	if err := billing.Generate(writer(func([]byte) (int, error) { return 0, full }), 10_000, 1, until); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}

func BenchmarkGenerate(b *testing.B) {
	b.ReportAllocs()
	if err := billing.Generate(io.Discard, b.N, 1, until); err != nil {
		b.Fatal(err)
	}
}

// The whole way of a record through Read, as it is published.
func BenchmarkReadGenerated(b *testing.B) {
	var file bytes.Buffer
	if err := billing.Generate(&file, b.N, 1, until); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, err := range billing.Read(&file, mongo) {
		if err != nil {
			b.Fatal(err)
		}
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
