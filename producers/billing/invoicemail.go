package billing

import (
	"context"
	"embed"
	"fmt"
	html "html/template"
	"net"
	"net/url"
	"strconv"
	"strings"
	text "text/template"
	"time"

	"github.com/mongotel/billcenter/events"
	"github.com/wneessen/go-mail"
)

//go:embed mail/invoice.txt mail/invoice.html
var mailFiles embed.FS

var (
	invoiceText = text.Must(text.ParseFS(mailFiles, "mail/invoice.txt"))
	invoiceHTML = html.Must(html.ParseFS(mailFiles, "mail/invoice.html"))
)

const smtpTimeout = 15 * time.Second

// invoiceMail is what an invoice's e-mail says.
type invoiceMail struct {
	Telecom, SupportPhone, SupportEmail string
	PortalURL, PortalName               string
	CompanyName, AccountNumber, Code    string
	InvoiceNumber, IssuedOn, DueOn      string
	Amount, CodeExpiresOn               string
}

// mail sends an invoice's e-mail to its customer's address of record.
func (r SampleRun) mail(ctx context.Context, e events.InvoiceEmailed) error {
	portal, err := url.Parse(r.PortalURL)
	if err != nil {
		return fmt.Errorf("portal: %w", err)
	}
	says := invoiceMail{
		Telecom: r.Telecom, SupportPhone: r.SupportPhone, SupportEmail: r.SupportEmail,
		PortalURL: r.PortalURL, PortalName: portal.Host,
		CompanyName: e.CompanyName, AccountNumber: e.AccountNumber, Code: e.RegistrationCode,
		InvoiceNumber: e.Invoice.Number, IssuedOn: longDate(e.Invoice.IssuedOn), DueOn: longDate(e.Invoice.DueOn),
		Amount: dollars(*e.Invoice.AmountDueMinor),
	}
	if e.RegistrationCodeExpiresAt != nil {
		says.CodeExpiresOn = e.RegistrationCodeExpiresAt.Format("January 2, 2006")
	}

	from := r.From
	if from == "" {
		from = "billing@mongotel.example"
	}
	m := mail.NewMsg()
	if err := m.FromFormat(r.Telecom+" Billing", from); err != nil {
		return fmt.Errorf("sender: %w", err)
	}
	if err := m.To(e.BillingEmail); err != nil {
		return fmt.Errorf("recipient: %w", err)
	}
	m.Subject(fmt.Sprintf("Your %s invoice %s", r.Telecom, e.Invoice.Number))
	m.SetDateWithValue(e.EmailedAt)
	// A mail that is sent a second time after a crash is the same mail to its reader.
	m.SetMessageIDWithValue(fmt.Sprintf("%s.%d.%s@billing.billcenter.net", e.Invoice.Number, e.EmailedAt.Unix(), r.Tenant))
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834
	if err := m.SetBodyTextTemplate(invoiceText, says); err != nil {
		return fmt.Errorf("text: %w", err)
	}
	if err := m.AddAlternativeHTMLTemplate(invoiceHTML, says); err != nil {
		return fmt.Errorf("HTML: %w", err)
	}

	host, port, err := net.SplitHostPort(r.SMTPAddr)
	if err != nil {
		return fmt.Errorf("SMTP address: %w", err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("SMTP address: %w", err)
	}
	client, err := mail.NewClient(host, mail.WithPort(number), mail.WithTLSPolicy(mail.NoTLS), mail.WithTimeout(smtpTimeout))
	if err != nil {
		return fmt.Errorf("SMTP: %w", err)
	}
	return client.DialAndSendWithContext(ctx, m)
}

func longDate(d events.Date) string {
	t, err := time.Parse(time.DateOnly, string(d))
	if err != nil {
		return string(d)
	}
	return t.Format("January 2, 2006")
}

// dollars writes an amount of cents with separators: $1,032.00.
func dollars(cents int64) string {
	whole := strconv.FormatInt(cents/100, 10)
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return strings.Join([]string{"$", whole, fmt.Sprintf(".%02d", cents%100)}, "")
}
