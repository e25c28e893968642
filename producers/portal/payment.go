package portal

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// paymentPage is the Body of the page about how the accounts pay.
type paymentPage struct {
	Payments []enrollment.Payment
	Page     bool // the tenant has a page to pay on
	Notice   string
}

func (p *portal) payment(w http.ResponseWriter, r *http.Request, _ enrollment.Customer) error {
	payments, err := p.store.Payments(r.Context(), tenantIn(r.Context()).ID, p.user(r))
	if err != nil {
		return err
	}
	return p.show(w, r, http.StatusOK, view{Name: "payment", Title: voiceIn(r.Context()).say("Payment"), Body: paymentPage{
		Payments: payments, Page: tenantIn(r.Context()).PaymentPage != "", Notice: p.takeNotice(r),
	}})
}

// A ticket is what the payment pages send the customer back with. It proves that this customer left from here a short while
// ago, and nothing about what happened there: that is for billing to report.
type ticket struct {
	Tenant string `json:"t"`
	User   int64  `json:"u"`
	Until  int64  `json:"e"` // Unix seconds
}

const (
	ticketLife      = 15 * time.Minute
	ticketSignature = "payment return"
)

func payPath(account string) string {
	return "/account/payment/continue?account=" + url.QueryEscape(account)
}

// payHere leads to the tenant's payment page for one of the customer's accounts, with the address to come back to.
func (p *portal) payHere(w http.ResponseWriter, r *http.Request, c enrollment.Customer) error {
	tenant, account := tenantIn(r.Context()), r.URL.Query().Get("account")
	for _, a := range c.Accounts {
		if a.AccountNumber != account || tenant.PaymentPage == "" {
			continue
		}
		text, err := json.Marshal(ticket{Tenant: tenant.ID, User: p.user(r), Until: time.Now().Add(ticketLife).Unix()})
		if err != nil {
			return err
		}
		b64 := base64.RawURLEncoding.EncodeToString
		back := tenant.BaseURL + "/account/payment/return?ticket=" + b64(text) + "." + b64(p.keys.Sign(ticketSignature, text))
		to, err := url.Parse(tenant.PaymentPage)
		if err != nil {
			return err
		}
		query := to.Query()
		query.Set("account", account)
		query.Set("return", back)
		query.Set("locale", voiceIn(r.Context()).String())
		to.RawQuery = query.Encode()
		http.Redirect(w, r, to.String(), http.StatusSeeOther)
		return nil
	}
	p.notFound(w, r)
	return nil
}

// paid takes a customer back.
func (p *portal) paid(w http.ResponseWriter, r *http.Request, _ enrollment.Customer) error {
	notice := noticePaidLate
	if p.isTicket(r, r.URL.Query().Get("ticket")) {
		notice = noticePaid
	}
	p.sessions(r).Put(r.Context(), sessionNotice, notice)
	http.Redirect(w, r, "/account/payment", http.StatusSeeOther)
	return nil
}

func (p *portal) isTicket(r *http.Request, given string) bool {
	payload, signature, _ := strings.Cut(given, ".")
	text, textErr := base64.RawURLEncoding.DecodeString(payload)
	mac, macErr := base64.RawURLEncoding.DecodeString(signature)
	var t ticket
	if textErr != nil || macErr != nil || !p.keys.Verify(ticketSignature, text, mac) || json.Unmarshal(text, &t) != nil {
		return false
	}
	return t.Tenant == tenantIn(r.Context()).ID && t.User == p.user(r) && time.Now().Unix() < t.Until
}
