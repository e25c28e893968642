package events

import (
	"net/url"
	"strings"
	"time"
)

// InvoiceEmailed says that the billing system e-mailed an invoice. Billing publishes it after its mail server took the mail,
// at least once. With a RegistrationCode the mail had the box at its bottom. EmailedAt, never arrival, decides which code is
// newer; the same code again refreshes it, another one supersedes it.
type InvoiceEmailed struct {
	AccountNumber             string     `json:"accountNumber"` // as printed in the mail; 1..64 printable characters
	CompanyName               string     `json:"companyName,omitempty"`
	BillingEmail              string     `json:"billingEmail"` // address of record: notices go there
	EmailedAt                 time.Time  `json:"emailedAt"`
	RegistrationCode          string     `json:"registrationCode,omitempty"` // 4..64 characters; absent when the mail had no box
	RegistrationCodeExpiresAt *time.Time `json:"registrationCodeExpiresAt,omitempty"`
	Locale                    string     `json:"locale,omitempty"` // BCP 47
	Invoice                   *Invoice   `json:"invoice"`
}

// Invoice is the bill that was e-mailed.
type Invoice struct {
	Number         string `json:"number"`
	IssuedOn       Date   `json:"issuedOn,omitempty"`
	DueOn          Date   `json:"dueOn,omitempty"`
	Currency       string `json:"currency,omitempty"`       // ISO 4217
	AmountDueMinor *int64 `json:"amountDueMinor,omitempty"` // in the currency's minor unit: 12345 is 123.45 USD
	DocumentURL    string `json:"documentUrl,omitempty"`    // https, shown only after log-in
}

func (InvoiceEmailed) EventType() Type { return typePrefix + "invoice.emailed.v1" }

func (e InvoiceEmailed) Validate() error {
	var c check
	c.account(e.AccountNumber)
	c.optional("companyName", e.CompanyName, 1, 200)
	c.address("billingEmail", e.BillingEmail)
	c.time("emailedAt", e.EmailedAt)
	if e.RegistrationCode != "" {
		c.text("registrationCode", e.RegistrationCode, 4, 64)
		if significant(e.RegistrationCode) < 4 {
			c.fail(FieldInvalid, "registrationCode", "has fewer than 4 characters besides blanks and dashes; leave it out when the mail had no box")
		}
	}
	if e.RegistrationCodeExpiresAt != nil {
		c.time("registrationCodeExpiresAt", *e.RegistrationCodeExpiresAt)
		if e.RegistrationCode == "" {
			c.fail(FieldMissing, "registrationCode", "is missing though registrationCodeExpiresAt is there")
		}
	}
	c.locale("locale", e.Locale)
	if e.Invoice == nil {
		c.fail(FieldMissing, "invoice", "is missing")
		return c.err
	}
	e.Invoice.validate(&c)
	return c.err
}

func (i Invoice) validate(c *check) {
	c.text("invoice.number", i.Number, 1, 64)
	if i.IssuedOn != "" {
		c.date("invoice.issuedOn", i.IssuedOn)
	}
	if i.DueOn != "" {
		c.date("invoice.dueOn", i.DueOn)
	}
	if i.AmountDueMinor != nil && *i.AmountDueMinor < 0 {
		c.fail(FieldInvalid, "invoice.amountDueMinor", "is negative; a credit note is not an invoice")
	}
	if i.AmountDueMinor != nil && i.Currency == "" {
		c.fail(FieldMissing, "invoice.currency", "is missing though amountDueMinor is there")
	}
	if i.Currency != "" && !knownCurrency(i.Currency) {
		c.fail(FieldInvalid, "invoice.currency", "is not an ISO 4217 code in capitals, such as USD")
	}
	if i.DocumentURL != "" {
		c.optional("invoice.documentUrl", i.DocumentURL, 1, 2048)
		if u, err := url.Parse(i.DocumentURL); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			c.fail(FieldInvalid, "invoice.documentUrl", "is not an absolute https URL without user information")
		}
	}
}

// AccountClosed says that an account is no longer billed. Billing publishes it once the account is closed for good.
type AccountClosed struct {
	AccountNumber string    `json:"accountNumber"`
	ClosedAt      time.Time `json:"closedAt"`
	Reason        string    `json:"reason,omitempty"` // billing's own words; 1..200 characters
}

func (AccountClosed) EventType() Type { return typePrefix + "account.closed.v1" }

func (e AccountClosed) Validate() error {
	var c check
	c.account(e.AccountNumber)
	c.time("closedAt", e.ClosedAt)
	c.optional("reason", e.Reason, 1, 200)
	return c.err
}

// PaymentMethodChanged says how an account pays from ChangedAt on. It carries what may be shown to the customer and nothing
// that could be paid with.
type PaymentMethodChanged struct {
	AccountNumber string    `json:"accountNumber"`
	ChangedAt     time.Time `json:"changedAt"`
	Kind          string    `json:"kind"`                // card, bank-account, none
	Brand         string    `json:"brand,omitempty"`     // "Visa", or the bank's name
	LastFour      string    `json:"lastFour,omitempty"`  // of the card or account number
	ExpiresOn     string    `json:"expiresOn,omitempty"` // a card's YYYY-MM
}

// Kinds of payment methods.
const (
	Card        = "card"
	BankAccount = "bank-account"
	NoMethod    = "none"
)

func (PaymentMethodChanged) EventType() Type { return typePrefix + "payment-method.changed.v1" }

func (e PaymentMethodChanged) Validate() error {
	var c check
	c.account(e.AccountNumber)
	c.time("changedAt", e.ChangedAt)
	c.oneOf("kind", e.Kind, Card, BankAccount, NoMethod)
	c.optional("brand", e.Brand, 1, 64)
	if e.LastFour != "" && (len(e.LastFour) != 4 || strings.Trim(e.LastFour, "0123456789") != "") {
		c.fail(FieldInvalid, "lastFour", "is not the last four digits; never send more of a number")
	}
	if e.ExpiresOn != "" {
		if t, err := time.Parse("2006-01", e.ExpiresOn); err != nil || !inRange(t) {
			c.fail(FieldInvalid, "expiresOn", "is not a month as YYYY-MM")
		}
	}
	return c.err
}

// account checks an account number as billing prints it.
func (c *check) account(v string) {
	c.text("accountNumber", v, 1, 64)
	if significant(v) == 0 {
		c.fail(FieldInvalid, "accountNumber", "has nothing but blanks and dashes")
	}
}

// significant counts the characters that are left when blanks, dashes and zero-width characters are dropped.
func significant(s string) int {
	n := 0
	for _, r := range s {
		if !strings.ContainsRune(" \t\u00a0\u2002\u2003\u2009\u200a\u202f\u3000\u200b\u200c\u200d\u2060\ufeff-\u2010\u2011\u2012\u2013\u2014\u2015\u2212", r) {
			n++
		}
	}
	return n
}

// currencies are the active codes of ISO 4217 (list one, without the X codes of metals and funds).
const currencies = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG"

func knownCurrency(c string) bool {
	return len(c) == 3 && strings.Trim(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" && strings.Contains(currencies, c)
}
