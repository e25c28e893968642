package enrollment_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/schema/enrollment"
)

func TestWhatWasPastedIsTakenApart(t *testing.T) {
	for _, c := range []struct{ pasted, account, code string }{
		{"Account Number: 100482-7  Registration Code: 7F3K-9QWD-M2XA", "100482-7", "7F3K-9QWD-M2XA"},
		{"  Account Number:     100482-7   Registration Code:  7F3K-9QWD-M2XA ", "100482-7", "7F3K-9QWD-M2XA"},
		{"Account Number:100482-7Registration Code:7F3K", "100482-7", "7F3K"}, // line breaks are lost in an input
		{"registration code 7F3K-9QWD account no. 100482-7", "100482-7", "7F3K-9QWD"},
		{"Número de cuenta: 100482-7 Código de registro: 7F3K", "100482-7", "7F3K"},
		{"Account Number: 100482-7", "100482-7", ""},
		{"Registration Code: 7F3K", "", "7F3K"},
		{"100482-7", "", ""},
		{"7F3K-9QWD-M2XA", "", ""},
		{"ACCOUNTING-7", "", ""},
		{"", "", ""},
	} {
		account, code := enrollment.TakeApart(c.pasted)
		if account != c.account || code != c.code {
			t.Errorf("%q: %q and %q, want %q and %q", c.pasted, account, code, c.account, c.code)
		}
	}
}

func TestInvoicesAreFoundByNumberMonthAndAccount(t *testing.T) {
	var all []enrollment.Invoice
	for i := range 45 {
		all = append(all, enrollment.Invoice{
			Number: fmt.Sprintf("INV-%02d", i), IssuedOn: fmt.Sprintf("2026-%02d-01", 9+i%3), AccountNumber: fmt.Sprint(100 * (1 + i%2)),
		})
	}
	numbers := func(q enrollment.InvoiceQuery) (found []string, total, page, pages int) {
		p := q.Of(all)
		if diff := cmp.Diff([]string{"2026-11", "2026-10", "2026-09"}, p.Months); diff != "" {
			t.Errorf("months (-want +got):\n%s", diff)
		}
		for _, i := range p.Invoices {
			found = append(found, i.Number)
		}
		return found, p.Total, p.Page, p.Pages
	}
	for _, c := range []struct {
		name         string
		query        enrollment.InvoiceQuery
		first        string
		shown, total int
		page, pages  int
	}{
		{"everything on one page", enrollment.InvoiceQuery{}, "INV-00", 45, 45, 1, 1},
		{"the first page", enrollment.InvoiceQuery{Page: 1}, "INV-00", 20, 45, 1, 3},
		{"the last page", enrollment.InvoiceQuery{Page: 3}, "INV-40", 5, 45, 3, 3},
		{"a page beyond the last", enrollment.InvoiceQuery{Page: 99}, "INV-40", 5, 45, 3, 3},
		{"a part of the number in small letters", enrollment.InvoiceQuery{Search: " inv-4 ", Page: 1}, "INV-40", 5, 5, 1, 1},
		{"a month", enrollment.InvoiceQuery{Month: "2026-10", Page: 1}, "INV-01", 15, 15, 1, 1},
		{"an account", enrollment.InvoiceQuery{AccountNumber: "200", Page: 1}, "INV-01", 20, 22, 1, 2},
		{"nothing", enrollment.InvoiceQuery{Search: "x", Page: 4}, "", 0, 0, 1, 1},
	} {
		found, total, page, pages := numbers(c.query)
		first := ""
		if len(found) > 0 {
			first = found[0]
		}
		if first != c.first || len(found) != c.shown || total != c.total || page != c.page || pages != c.pages {
			t.Errorf("%s: %s…, %d of %d, page %d of %d", c.name, first, len(found), total, page, pages)
		}
	}
}
