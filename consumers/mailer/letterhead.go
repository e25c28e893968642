package mailer

import (
	netmail "net/mail"
	"time"

	"github.com/mongotel/billcenter/schema/locale"
)

// Letterhead is what the mails of a tenant carry, whoever they go to.
type Letterhead struct {
	Name    string // as customers know it
	BaseURL string // of the portal; links and Message-IDs are on its host
	Color   string
	From    netmail.Address
	ReplyTo netmail.Address
	Support Support
	Zone    *time.Location
	Locales []locale.Locale // that the tenant offers, at least one; the first is for whom none is known
}

// Support is whom a customer can ask.
type Support struct {
	Phone     string
	ShortCode string // from the tenant's own lines; empty: none
	Email     string
	Hours     func(locale.Locale) string
}

// letter begins a mail in the tenant's locale that is closest to the one asked for.
func (h Letterhead) letter(asked string) letter {
	l, _ := locale.Closest(h.Locales, asked)
	s := h.Support
	return letter{Locale: l, Brand: h.Name, Color: h.Color, Support: contacts{s.Phone, s.ShortCode, s.Email, s.Hours(l)}}
}

// contacts are Support in the language of a letter.
type contacts struct{ Phone, ShortCode, Email, Hours string }
