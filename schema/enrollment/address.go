package enrollment

import (
	_ "embed"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// The longest address and the longest part before the @, in octets (RFC 5321 section 4.5.3.1, RFC 3696 erratum 1690).
const (
	MaxAddress   = 254
	MaxLocalPart = 64
)

// Address is an e-mail address that passed ParseAddress, or the empty one. It is personal data: a log gets LogValue, an
// error gets nothing of it.
type Address string

// ParseAddress takes an address from a form. It takes less than net/mail does, since mail is sent to what is stored and
// a name, a comment, a route or a second address inside it would change where it goes:
//
//   - the part before the @ is an ASCII dot-atom of at most 64 octets, kept as typed with its case and plus tag; quotes,
//     encoded words, and the % and ! of source routes are refused;
//   - the domain has at least two labels, is no IP address, and is kept in lower case. A domain in another script is
//     accepted and kept as A-labels (IDNA 2008); compatibility forms such as full-width letters are refused.
//
// Blanks around it are dropped. The error is a *Refusal of FieldEmail: Missing, TooLong or BadAddress.
func ParseAddress(typed string) (Address, error) {
	typed = strings.TrimSpace(typed)
	if typed == "" {
		return "", &Refusal{Reason: Missing, Field: FieldEmail}
	}
	if len(typed) > MaxAddress {
		return "", &Refusal{Reason: TooLong, Field: FieldEmail, Limit: MaxAddress}
	}
	local, domain, ok := strings.Cut(typed, "@")
	if !ok || !dotAtom(local) {
		return "", &Refusal{Reason: BadAddress, Field: FieldEmail}
	}
	domain, ok = mailDomain(domain)
	if !ok {
		return "", &Refusal{Reason: BadAddress, Field: FieldEmail}
	}
	if len(local)+1+len(domain) > MaxAddress {
		return "", &Refusal{Reason: TooLong, Field: FieldEmail, Limit: MaxAddress}
	}
	return Address(local + "@" + domain), nil
}

func dotAtom(local string) bool {
	if len(local) > MaxLocalPart || strings.HasPrefix(local, "=?") {
		return false
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, notAtext) {
			return false
		}
	}
	return true
}

// notAtext reports what RFC 5322 does not allow in an atom, and % and !.
func notAtext(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	default:
		return !strings.ContainsRune("#$&'*+-/=?^_`{|}~", r)
	}
}

func mailDomain(typed string) (string, bool) {
	if !utf8.ValidString(typed) {
		return "", false
	}
	lower := norm.NFC.String(strings.ToLower(typed))
	domain, err := idna.Registration.ToASCII(lower)
	if err != nil || !strings.Contains(domain, ".") {
		return "", false
	}
	// A last label of digits is an IPv4 address, whatever stands before it.
	last := domain[strings.LastIndexByte(domain, '.')+1:]
	return domain, strings.ContainsFunc(last, func(r rune) bool { return !unicode.IsDigit(r) })
}

func (a Address) parts() (local, domain string) {
	local, domain, _ = strings.Cut(string(a), "@")
	return local, domain
}

// Masked returns the address as a page may show it to somebody who typed it: the first character of the local part and
// of the domain, and the top-level domain, `b***@b***.example`. The stars tell no length.
func (a Address) Masked() string {
	local, domain := a.parts()
	dot := strings.LastIndexByte(domain, '.')
	if local == "" || dot < 1 {
		return "***"
	}
	return local[:1] + "***@" + domain[:1] + "***" + domain[dot:]
}

// LogValue makes slog print the masked form.
func (a Address) LogValue() slog.Value { return slog.StringValue(a.Masked()) }

// The values of DomainClass, and of the fact property mailDomainClass.
const (
	Freemail      = "freemail"
	CompanyMail   = "company"
	UnknownDomain = "unknown"
)

//go:embed freemail.txt
var freemailList string

var freemail = func() map[string]bool {
	m := map[string]bool{}
	for domain := range strings.FieldsSeq(freemailList) {
		m[domain] = true
	}
	return m
}()

// DomainClass tells mailboxes that anybody can open from a company's own domain. It is what a funnel may be broken down
// by, as the domain itself would point at one customer.
func (a Address) DomainClass() string {
	_, domain := a.parts()
	switch {
	case domain == "":
		return UnknownDomain
	case freemail[domain]:
		return Freemail
	default:
		return CompanyMail
	}
}
