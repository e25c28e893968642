package billing

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/mongotel/billcenter/events"
)

// A SampleRun is Mongotel's billing run of a month, made up so that a newcomer can enroll on a machine without a billing
// system: it e-mails five invoices and publishes what billing publishes about them.
//
// It happens once a month. What was sent stands in the Ledger, so Send may be called at every start; a call that was killed
// is completed by the next, which may mail one invoice twice but says the same about it, under the same ids.
type SampleRun struct {
	Tenant  string
	Source  string // of the events: //mongo.billcenter.net/billing
	Ledger  string // file of the billing system's own; made when missing, readable by its owner only
	Publish Publisher

	Telecom      string // as the mails name it: Mongotel
	PortalURL    string // where they say to sign up
	SupportPhone string
	SupportEmail string
	SMTPAddr     string // host:port, without TLS: meant for an inbox on the same machine
	From         string // address; empty: billing@mongotel.example
}

// A Customer of the sample run, with what the e-mail said.
type Customer struct {
	AccountNumber    string `json:"accountNumber"`
	CompanyName      string `json:"companyName"`
	BillingEmail     string `json:"billingEmail"`
	RegistrationCode string `json:"registrationCode,omitempty"` // none: the mail had no box
	InvoiceNumber    string `json:"invoiceNumber"`
	Sent             bool   `json:"sent"` // by this call
}

// sampleCustomers are the same in every run. One gets no box: most e-mails have one, not all.
var sampleCustomers = []struct {
	account, company, email string
	amount                  int64
	boxless                 bool
	payment                 *events.PaymentMethodChanged
}{
	{account: "100482-7", company: "Bob's Building", email: "ap@bobsbuilding.example", amount: 12_345,
		payment: &events.PaymentMethodChanged{Kind: events.Card, Brand: "Visa", LastFour: "4242", ExpiresOn: "2029-08"}},
	{account: "100517-2", company: "Müller & Söhne Bäckerei", email: "buchhaltung@mueller-soehne.example", amount: 48_990,
		payment: &events.PaymentMethodChanged{Kind: events.BankAccount, Brand: "Sparkasse", LastFour: "0931"}},
	{account: "000731-4", company: "さくら電気株式会社", email: "keiri@sakura-denki.example", amount: 103_200},
	{account: "100604-8", company: "Taquería Ñandú", email: "cuentas@taqueria-nandu.example", amount: 8_075,
		payment: &events.PaymentMethodChanged{Kind: events.NoMethod}},
	{account: "100688-1", company: "Harbor Dental Group", email: "office@harbordental.example", amount: 27_410, boxless: true},
}

// Send e-mails the invoices of the month that at is in, publishes their events, and returns the customers, Bob's Building
// first. Once a month's run has begun, its time is that of the first call.
func (r SampleRun) Send(ctx context.Context, at time.Time) ([]Customer, error) {
	ledger, err := openLedger(r.Ledger)
	if err != nil {
		return nil, fmt.Errorf("sample billing run: %w", err)
	}
	month, err := ledger.month(r.Tenant, at.UTC().Truncate(time.Second))
	if err != nil {
		return nil, fmt.Errorf("sample billing run: %w", err)
	}
	customers := make([]Customer, len(sampleCustomers))
	for i := range sampleCustomers {
		emailed, payment := r.said(i, ledger.Secret, month.At)
		customers[i] = Customer{
			AccountNumber: emailed.AccountNumber, CompanyName: emailed.CompanyName, BillingEmail: emailed.BillingEmail,
			RegistrationCode: emailed.RegistrationCode, InvoiceNumber: emailed.Invoice.Number,
		}
		if month.sent(emailed.AccountNumber) {
			continue
		}
		// First the mail, then the event: it says that the mail server took the mail.
		if err := r.mail(ctx, emailed); err != nil {
			return nil, fmt.Errorf("sample billing run: e-mail invoice %s: %w", emailed.Invoice.Number, err)
		}
		if err := r.publish(ctx, emailed, payment); err != nil {
			return nil, fmt.Errorf("sample billing run: publish invoice %s: %w", emailed.Invoice.Number, err)
		}
		if err := ledger.markSent(month, emailed.AccountNumber); err != nil {
			return nil, fmt.Errorf("sample billing run: %w", err)
		}
		customers[i].Sent = true
	}
	return customers, nil
}

// said is what billing says about a customer in a month. The secret and the month decide the code.
func (r SampleRun) said(i int, secret []byte, at time.Time) (events.InvoiceEmailed, *events.PaymentMethodChanged) {
	c := sampleCustomers[i]
	amount, month := c.amount, at.Format("2006-01")
	emailed := events.InvoiceEmailed{
		AccountNumber: c.account, CompanyName: c.company, BillingEmail: c.email, EmailedAt: at, Locale: "en-US",
		Invoice: &events.Invoice{
			Number:   "INV-" + month + "-" + strings.ReplaceAll(c.account, "-", ""),
			IssuedOn: events.Date(at.Format(time.DateOnly)), DueOn: events.Date(at.AddDate(0, 0, 30).Format(time.DateOnly)),
			Currency: "USD", AmountDueMinor: &amount,
		},
	}
	if !c.boxless {
		expires := at.AddDate(0, 0, codeLifeDays)
		emailed.RegistrationCode, emailed.RegistrationCodeExpiresAt = sampleCode(secret, r.Tenant, c.account, month), &expires
	}
	if c.payment == nil {
		return emailed, nil
	}
	payment := *c.payment
	payment.AccountNumber, payment.ChangedAt = c.account, at
	return emailed, &payment
}

func sampleCode(secret []byte, parts ...string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(strings.Join(parts, "\n")))
	return formatCode(binary.BigEndian.Uint64(mac.Sum(nil)))
}

func (r SampleRun) publish(ctx context.Context, emailed events.InvoiceEmailed, payment *events.PaymentMethodChanged) error {
	invoice, err := events.Encode(r.Tenant, events.Envelope{
		ID: "emailed-" + emailed.Invoice.Number + emailed.EmailedAt.Format("-20060102T150405"), Source: r.Source,
		Subject: emailed.AccountNumber, Time: emailed.EmailedAt,
	}, emailed)
	if err != nil {
		return err
	}
	batch := []events.Encoded{invoice}
	if payment != nil {
		changed, err := events.Encode(r.Tenant, events.Envelope{
			ID: "payment-" + payment.AccountNumber + payment.ChangedAt.Format("-20060102T150405"), Source: r.Source,
			Subject: payment.AccountNumber, Time: payment.ChangedAt,
		}, payment)
		if err != nil {
			return err
		}
		batch = append(batch, changed)
	}
	return r.Publish(ctx, batch)
}
