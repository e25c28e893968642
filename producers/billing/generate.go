package billing

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/mongotel/billcenter/events"
)

// Generate writes n lines of NDJSON, each the data of an InvoiceEmailed, as billing would have sent them up to a moment. The
// same seed and moment give the same bytes; most codes are valid at that moment.
//
// Accounts have one to four months of invoices and the oddities of real ones: mails without a code, reminders with the same
// code again, an older mail that arrives after a newer one, account numbers with leading zeros, and company names in the
// scripts of the world. All numbers are made up; all addresses end in .example (RFC 2606).
func Generate(w io.Writer, n int, seed uint64, until time.Time) error {
	out := bufio.NewWriterSize(w, 64<<10)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	g := generator{rand: rand.New(rand.NewPCG(seed, 0x62696c6c)), until: until.UTC().Truncate(time.Second)}
	for written := 0; written < n; {
		mails := g.account()
		for _, m := range mails[:min(len(mails), n-written)] {
			if err := lines.Encode(m); err != nil {
				return fmt.Errorf("generate: %w", err)
			}
			written++
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	return nil
}

type generator struct {
	rand     *rand.Rand
	until    time.Time
	accounts int
}

func (g *generator) chance(percent int) bool { return g.rand.IntN(100) < percent }

// account returns the mails of the next account, in the order of their arrival.
func (g *generator) account() []events.InvoiceEmailed {
	g.accounts++
	base := events.InvoiceEmailed{
		AccountNumber: fmt.Sprintf("%06d-%d", 100_000+g.accounts, g.rand.IntN(10)),
		CompanyName:   g.companyName(),
		BillingEmail:  fmt.Sprintf("ap@customer-%d.example", g.accounts),
		Locale:        pick(g.rand, "en-US", "en-US", "en-US", "es-US", "de-DE", "fr-CA", "ja-JP"),
	}
	if g.chance(10) {
		base.AccountNumber = fmt.Sprintf("%09d", g.accounts)
	}
	monthly := int64(2_000 + g.rand.IntN(80_000))
	newest := g.until.Add(-time.Duration(g.rand.IntN(28*24*3600)) * time.Second)

	var mails []events.InvoiceEmailed
	for months := g.rand.IntN(4); months >= 0; months-- {
		mail := g.invoice(base, newest.AddDate(0, -months, 0), monthly)
		mails = append(mails, mail)
		reminded := mail.EmailedAt.Add(time.Duration(5+g.rand.IntN(10)) * 24 * time.Hour)
		if g.chance(10) && reminded.Before(g.until) {
			mail.EmailedAt = reminded
			mails = append(mails, mail)
		}
	}
	if g.chance(5) {
		g.rand.Shuffle(len(mails), func(i, j int) { mails[i], mails[j] = mails[j], mails[i] })
	}
	return mails
}

// invoice returns an account's mail of one month.
func (g *generator) invoice(base events.InvoiceEmailed, at time.Time, monthly int64) events.InvoiceEmailed {
	mail := base
	mail.EmailedAt = at
	if !g.chance(12) {
		mail.RegistrationCode = formatCode(g.rand.Uint64())
		expires := at.AddDate(0, 0, codeLifeDays)
		mail.RegistrationCodeExpiresAt = &expires
	}
	amount := monthly + int64(g.rand.IntN(500))
	mail.Invoice = &events.Invoice{
		Number:         fmt.Sprintf("INV-%s-%06d", at.Format("2006-01"), 100_000+g.accounts),
		IssuedOn:       events.Date(at.Format(time.DateOnly)),
		DueOn:          events.Date(at.AddDate(0, 0, 30).Format(time.DateOnly)),
		Currency:       "USD",
		AmountDueMinor: &amount,
	}
	return mail
}

func (g *generator) companyName() string {
	name := pick(g.rand, "Bluebird", "Harbor", "Maple Street", "Tri-State", "O’Hara", "Müller", "Żółw", "Señor Peña", "Été",
		"Ελιά", "Север", "東京", "한강", "नमस्ते", "النور", "אור", "👍🏽 Like")
	kind := pick(g.rand, "Bakery", "Dental Group", "& Sons, Inc.", "Plumbing", "GmbH & Co. KG", "Sp. z o.o.", "S.A. de C.V.", "株式会社", "Логистика")
	return strings.TrimSpace(name + " " + kind)
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

const (
	codeLifeDays = 45
	crockford    = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // Base32 without the letters that look like digits
)

// formatCode writes the lowest 60 bits as a registration code: 7F3K-9QWD-M2XA.
func formatCode(bits uint64) string {
	code := make([]byte, 0, 14)
	for i := range 12 {
		if i > 0 && i%4 == 0 {
			code = append(code, '-')
		}
		code = append(code, crockford[bits>>(5*i)&31])
	}
	return string(code)
}
