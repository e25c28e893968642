package mailer

import (
	netmail "net/mail"
	"time"
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
}

// Support is whom a customer can ask.
type Support struct {
	Phone     string
	ShortCode string // from the tenant's own lines; empty: none
	Email     string
	Hours     string
}

func (h Letterhead) letter(language string) letter {
	return letter{Language: language, Brand: h.Name, Color: h.Color, Support: h.Support}
}
