package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

func (s *scene) dossier(account string) enrollment.Dossier {
	s.t.Helper()
	d, err := s.Dossier(context.Background(), mongo, account)
	ok(s.t, err)
	return d
}

func TestWhyACustomerCannotEnroll(t *testing.T) {
	s := stage(t)
	for i, tt := range []struct {
		want  string
		bring func(account string)
	}{
		{"can-enroll", func(a string) { s.bills(mongo, invoice(a, "QX4T-88ZK", daysAgo(1))) }},
		{"no-code", func(a string) { s.bills(mongo, invoice(a, "", daysAgo(1))) }},
		{"no-code", func(a string) {
			s.bills(mongo, events.PaymentMethodChanged{AccountNumber: a, ChangedAt: daysAgo(1), Kind: events.NoMethod})
		}},
		{"closed", func(a string) {
			s.bills(mongo, invoice(a, "QX4T-88ZK", daysAgo(2)), events.AccountClosed{AccountNumber: a, ClosedAt: daysAgo(1)})
		}},
		{"code-expired", func(a string) { s.bills(mongo, invoice(a, "QX4T-88ZK", daysAgo(50))) }},
		{"code-retired", func(a string) { s.bills(mongo, invoice(a, "QX4T-88ZK", daysAgo(1))); s.retire(a) }},
		{"refused", func(a string) { s.bills(mongo, invoice(a, "QX4T-88ZK", daysAgo(1))); _ = s.guess(a, "192.0.2.1") }},
		{"mail-on-its-way", func(a string) { s.pending(a) }},
		{"awaiting-activation", func(a string) {
			id, _ := s.pending(a)
			ok(t, s.RecordMailAccepted(t.Context(), mongo, id, 1, time.Now()))
		}},
		{"undeliverable", func(a string) {
			id, _ := s.pending(a)
			ok(t, s.RecordMailRefused(t.Context(), mongo, id, 1, time.Now()))
		}},
		{"can-enroll", func(a string) { // what is overdue stands in nobody's way
			id, _ := s.pending(a)
			s.DB.MustExec(`UPDATE enrollments SET expires_at = now() WHERE id = $1`, id)
		}},
		{"enrolled", func(a string) {
			s.bills(mongo, invoice(a, "QX4T-88ZK", daysAgo(1)))
			s.enrolls(s.form(mongo, a, "QX4T-88ZK"))
		}},
		{"can-enroll", func(a string) { // a colleague may, with the next code
			s.bills(mongo, invoice(a, "QX4T-88ZK", daysAgo(3)))
			s.enrolls(s.form(mongo, a, "QX4T-88ZK"))
			s.bills(mongo, invoice(a, "NEXT-CODE", daysAgo(1)))
		}},
	} {
		t.Run(fmt.Sprint(i, " ", tt.want), func(t *testing.T) {
			s.t = t
			account := fmt.Sprint("A-", i)
			tt.bring(account)
			d := s.dossier(account)
			if d.Diagnosis.Standing != tt.want || d.Diagnosis.Cause == "" || d.Diagnosis.NextAction == "" {
				t.Errorf("%+v, want %s", d.Diagnosis, tt.want)
			}
			if !slices.IsSortedFunc(d.Timeline, func(a, b enrollment.Happening) int { return a.At.Compare(b.At) }) {
				t.Errorf("the timeline is out of order: %v", d.Timeline)
			}
		})
	}
}

func TestADossierTellsEverythingButSecrets(t *testing.T) {
	s := stage(t)
	first, second, third, fourth, end := daysAgo(6), daysAgo(5), daysAgo(4), daysAgo(3), daysAgo(-30)
	s.bills(mongo, invoice("100482-7", "QX4T-88ZK", first), invoice("100482-7", "MB07-22YL", second), invoice("100482-7", "qx4t88zk", third, until(end)),
		invoice("100482-7", "", fourth), events.PaymentMethodChanged{AccountNumber: "1004827", ChangedAt: daysAgo(2), Kind: events.Card, Brand: "Visa", LastFour: "4242"})
	_ = s.guess("100482-7", "192.0.2.1")
	a := s.form(mongo, "100482-7", "QX4T-88ZK")
	id := s.admits(a)
	s.claims(mailTo(id), enrollment.SendNow)
	_, err := s.MailRefused(t.Context(), mailTo(id), enrollment.MailFailure{Reason: "mail-rejected", SMTPStatus: 550, Reply: "5.1.1"})
	ok(t, err)
	ok(t, s.RecordMailRefused(t.Context(), mongo, id, 1, time.Now()))
	ok(t, s.correct(id, "second@company.example", "c"))
	link := s.link(mongo, id, 2, "second@company.example")
	_, err = s.open(link, enrollment.Visit{})
	ok(t, err)
	ok(t, s.activate(mongo, link))

	d := s.dossier(" 1004 827 ")
	if d.AccountNumber != "100482-7" || d.CompanyName != "Bob's Building" || d.BillingEmail != "a***@b***.example" {
		t.Errorf("%+v", d)
	}
	var lines []string
	for _, h := range d.Timeline {
		line := h.What
		if h.Detail != "" {
			line += ": " + h.Detail
		}
		if h.Enrollment != "" && h.Enrollment != id.String() {
			t.Errorf("%s is of enrollment %s", h.What, h.Enrollment)
		}
		lines = append(lines, line)
	}
	number := func(emailed time.Time) string { return "INV-100482-7" + emailed.Format("-20060102150405") }
	want := []string{
		"invoice e-mailed: invoice " + number(first) + ", with code A",
		"invoice e-mailed: invoice " + number(second) + ", with code B",
		"invoice e-mailed: invoice " + number(third) + ", with code A, good until " + end.Format("2006-01-02T15:04Z"),
		"invoice e-mailed: invoice " + number(fourth) + ", no registration code",
		"payment method changed: card",
		"registration refused: not-recognised",
		"enrollment: register: registered",
		"activation mail failed: mail 1 of address 1, mail-rejected, SMTP 550 5.1.1",
		"enrollment: refuse-mail: registered → undeliverable",
		"enrollment: correct-address: undeliverable → registered",
		"activation page opened",
		"enrollment: activate: registered → activated",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("timeline (-want +got):\n%s", diff)
	}
	text, err := json.Marshal(d)
	ok(t, err)
	for _, secret := range []string{"QX4T", "qx4t", "MB07", "$argon2id", "ap@bobsbuilding", string(a.Email), "second@company", "4242"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the dossier holds %s", secret)
		}
	}
}

func TestEveryCodeHasALetterOfItsOwn(t *testing.T) {
	s := stage(t)
	var mails []events.Message
	for i := range 54 {
		mails = append(mails, invoice("A", fmt.Sprint("CODE-", i), daysAgo(float64(100-i))))
	}
	s.bills(mongo, mails...)
	seen := map[string]bool{}
	for _, h := range s.dossier("A").Timeline {
		_, letter, _ := strings.Cut(h.Detail, "with code ")
		if letter < "A" || letter > "[" || seen[letter] {
			t.Errorf("a code is called %q", letter)
		}
		seen[letter] = true
	}
}

func TestNobodysDossier(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("A", "QX4T-88ZK", daysAgo(1)))
	for _, at := range []struct{ tenant, account string }{{mongo, "B"}, {zeros, "A"}, {"nobody", "A"}} {
		if _, err := s.Dossier(t.Context(), at.tenant, at.account); !errors.Is(err, enrollment.ErrUnknown) {
			t.Errorf("%v: %v, want ErrUnknown", at, err)
		}
	}
	_, err := s.Dossier(t.Context(), mongo, " - ")
	refused(t, err, enrollment.Missing)
}
