package portal

import (
	"bytes"
	"encoding/csv"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/locale"
)

// invoicesPage is the Body of the list.
type invoicesPage struct {
	enrollment.Customer
	enrollment.InvoicePage
	Query              enrollment.InvoiceQuery
	Found              bool   // there are invoices, whether or not the search finds one
	Before, After, CSV string // addresses; empty: there is none
}

// Several reports whether it has to be said which account an invoice belongs to.
func (p invoicesPage) Several() bool { return len(p.Accounts) > 1 }

// maxSearch is the longest part of a number that is searched for, in characters.
const maxSearch = 64

// invoiceQuery reads a search from the address; what is no search is none.
func invoiceQuery(u *url.URL) enrollment.InvoiceQuery {
	values := u.Query()
	q := enrollment.InvoiceQuery{AccountNumber: values.Get("account"), Search: values.Get("q"), Month: values.Get("month"), Page: 1}
	if utf8.RuneCountInString(q.Search) > maxSearch || !utf8.ValidString(q.Search) {
		q.Search = ""
	}
	if page, err := strconv.Atoi(values.Get("page")); err == nil && page > 1 {
		q.Page = page
	}
	return q
}

// listAddress is where a search is found again.
func listAddress(path string, q enrollment.InvoiceQuery, page int) string {
	values := url.Values{}
	for name, value := range map[string]string{"account": q.AccountNumber, "q": q.Search, "month": q.Month} {
		if value != "" {
			values.Set(name, value)
		}
	}
	if page > 1 {
		values.Set("page", strconv.Itoa(page))
	}
	if len(values) == 0 {
		return path
	}
	return path + "?" + values.Encode()
}

func (p *portal) invoices(w http.ResponseWriter, r *http.Request, c enrollment.Customer) error {
	all, err := p.invoicesSeen(r)
	if err != nil {
		return err
	}
	q := invoiceQuery(r.URL)
	page := invoicesPage{Customer: c, InvoicePage: q.Of(all), Query: q, Found: len(all) > 0, CSV: listAddress("/account/invoices.csv", q, 1)}
	if page.Page > 1 {
		page.Before = listAddress("/account/invoices", q, page.Page-1)
	}
	if page.Page < page.Pages {
		page.After = listAddress("/account/invoices", q, page.Page+1)
	}
	return p.show(w, r, http.StatusOK, view{Name: "invoices", Title: voiceIn(r.Context()).say("Invoices"), Body: page})
}

// invoicesCSV is the list that was searched for, all of it, as RFC 4180 has it.
func (p *portal) invoicesCSV(w http.ResponseWriter, r *http.Request, _ enrollment.Customer) error {
	all, err := p.invoicesSeen(r)
	if err != nil {
		return err
	}
	q := invoiceQuery(r.URL)
	q.Page = 0
	v := voiceIn(r.Context())
	rows := [][]string{{v.say("Account Number"), v.say("Company"), v.say("Invoice"), v.say("Issued"), v.say("Due"), v.say("Currency"), v.say("Amount due")}}
	for _, i := range q.Of(all).Invoices {
		amount := ""
		if i.Currency != "" {
			amount = locale.Decimal(i.Currency, i.AmountDueMinor)
		}
		rows = append(rows, []string{harmless(i.AccountNumber), harmless(i.CompanyName), harmless(i.Number), i.IssuedOn, i.DueOn, i.Currency, amount})
	}
	var file bytes.Buffer
	out := csv.NewWriter(&file)
	out.UseCRLF = true
	if err := out.WriteAll(rows); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
	w.Header().Set("Content-Disposition", `attachment; filename="invoices.csv"`)
	_, err = w.Write(file.Bytes())
	return err
}

// harmless keeps a spreadsheet from taking a text for a formula (CWE-1236).
func harmless(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r＝＋－＠", []rune(text)[0]) {
		return "'" + text
	}
	return text
}

// theInvoice finds the invoice of an address among those that the customer may see. Two accounts may have one number: the
// address says which, and a number alone is the newest of that number.
func (p *portal) theInvoice(r *http.Request) (enrollment.Invoice, bool, error) {
	all, err := p.invoicesSeen(r)
	if err != nil {
		return enrollment.Invoice{}, false, err
	}
	account := r.URL.Query().Get("account")
	for _, i := range all {
		if i.Number == r.PathValue("number") && (account == "" || account == i.AccountNumber) {
			return i, true, nil
		}
	}
	return enrollment.Invoice{}, false, nil
}

func (p *portal) invoice(w http.ResponseWriter, r *http.Request, _ enrollment.Customer) error {
	i, found, err := p.theInvoice(r)
	if err != nil {
		return err
	}
	if !found {
		p.notFound(w, r)
		return nil
	}
	return p.show(w, r, http.StatusOK, view{Name: "invoice", Title: voiceIn(r.Context()).say("Invoice %s", i.Number), Body: i})
}

// document leads to billing's document of an invoice that the customer may see, and no one else.
func (p *portal) document(w http.ResponseWriter, r *http.Request, _ enrollment.Customer) error {
	i, _, err := p.theInvoice(r)
	if err != nil {
		return err
	}
	if web(i.DocumentURL) == "" { // nor has an invoice that was not found one
		p.notFound(w, r)
		return nil
	}
	http.Redirect(w, r, i.DocumentURL, http.StatusSeeOther)
	return nil
}

func invoicePath(i enrollment.Invoice) string {
	return "/account/invoices/" + url.PathEscape(i.Number) + "?account=" + url.QueryEscape(i.AccountNumber)
}

func documentPath(i enrollment.Invoice) string {
	return "/account/invoices/" + url.PathEscape(i.Number) + "/document?account=" + url.QueryEscape(i.AccountNumber)
}
