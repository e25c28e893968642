package tenants

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/locale"
)

// checker turns a file's nodes into tenants and collects what is wrong with them.
type checker struct {
	file     string
	folder   string // of the file; empty: none
	mistakes []*mistake
	ids      map[string]text // by id
	hosts    map[string]text // by canonical host: the id of its tenant
}

func (c *checker) wrong(line int, key, remedy string, args ...any) {
	c.mistakes = append(c.mistakes, &mistake{line: line, what: key + ": " + fmt.Sprintf(remedy, args...)})
}

func (c *checker) tenant(n tenantNode) *Tenant {
	t := &Tenant{
		ID:       c.id(n),
		Name:     c.printed(n, "name", n.Name, `what customers call the telecom, such as "Mongotel"`),
		Hosts:    c.hostsOf(n),
		Support:  c.support(n),
		Mail:     c.mail(n),
		Brand:    c.brand(n),
		TimeZone: c.timeZone(n),
		Locales:  c.locales(n.Locales),
		Policy:   c.policy(n.Policy),
	}
	t.Support.HoursIn = c.hoursIn(n, t.Locales)
	t.BaseURL = c.baseURL(n, t.Hosts)
	t.PaymentPage = c.paymentPage(n.PaymentPage)
	return t
}

func (c *checker) paymentPage(t text) string {
	if t.value == "" {
		return ""
	}
	u, err := url.Parse(t.value)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		c.wrong(t.line, "paymentPage", "%q is no page to send customers to; give one such as https://pay.example/mongo, or leave it out if there is none", t.value)
	}
	return t.value
}

var idPattern = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

func (c *checker) id(n tenantNode) string {
	switch first, taken := c.ids[n.ID.value]; {
	case n.ID.value == "":
		c.wrong(n.line, "id", "is missing; it names the tenant in every subject, such as mongo")
	case !idPattern.MatchString(n.ID.value):
		c.wrong(n.ID.line, "id", "%q must be 1 to 32 of a-z, 0-9 and -", n.ID.value)
	case taken:
		c.wrong(n.ID.line, "id", "%q is taken on line %d; every tenant has its own", n.ID.value, first.line)
	default:
		c.ids[n.ID.value] = n.ID
	}
	return n.ID.value
}

// printed returns a text that stands on pages and in mails: needed, on one line, and not a book.
func (c *checker) printed(n tenantNode, key string, t text, example string) string {
	const longest = 200
	switch {
	case t.value == "":
		c.wrong(max(t.line, n.line), key, "is missing; give %s", example)
	case utf8.RuneCountInString(t.value) > longest:
		c.wrong(t.line, key, "has more than %d characters; shorten it", longest)
	case strings.ContainsFunc(t.value, func(r rune) bool { return !unicode.IsPrint(r) }):
		c.wrong(t.line, key, "has a control or an invisible character; put it on one line of plain text")
	}
	return t.value
}

func (c *checker) hostsOf(n tenantNode) []string {
	if len(n.Hosts) == 0 {
		c.wrong(n.line, "hosts", "is missing; list the hosts that the portal answers on, the canonical one first")
	}
	var hosts []string
	for _, h := range n.Hosts {
		host := canonicalHost(h.value)
		switch owner, taken := c.hosts[host]; {
		case !isHost(strings.Trim(h.value, "[]")):
			c.wrong(h.line, "hosts", "%q is no host; give a name or an IP address without scheme, port and path, and another script as xn--", h.value)
		case taken:
			c.wrong(h.line, "hosts", "%q belongs to %q on line %d; a host names one tenant", h.value, owner.value, owner.line)
		default:
			c.hosts[host] = text{value: n.ID.value, line: h.line}
			hosts = append(hosts, host)
		}
	}
	return hosts
}

func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	name := strings.TrimSuffix(strings.ToLower(s), ".")
	ascii, err := idna.Registration.ToASCII(name)
	return err == nil && ascii == name
}

func (c *checker) baseURL(n tenantNode, hosts []string) string {
	line, given := max(n.BaseURL.line, n.line), strings.ToLower(n.BaseURL.value)
	if given == "" {
		c.wrong(line, "baseURL", "is missing; links in mails begin with it, such as https://mongo.billcenter.net")
		return ""
	}
	u, err := url.Parse(given)
	if err != nil || u.Host == "" {
		c.wrong(line, "baseURL", "is no URL; give scheme and host, such as https://mongo.billcenter.net")
		return ""
	}
	bare, host := u.Scheme+"://"+u.Host, canonicalHost(u.Host)
	switch {
	case bare != given:
		c.wrong(line, "baseURL", "has more than scheme, host and port; leave it at %s", bare)
	case u.Scheme != "https" && u.Scheme != "http":
		c.wrong(line, "baseURL", "has the scheme %q; use https", u.Scheme)
	case u.Scheme == "http" && !isLoopback(host):
		c.wrong(line, "baseURL", "is http, which anybody on the way can read; use https (http is for localhost only)")
	case !slices.Contains(hosts, host):
		c.wrong(line, "baseURL", "its host %q is not one of this tenant's hosts; add it there or use one of them", host)
	case !isPort(u):
		c.wrong(line, "baseURL", "has no port after the colon; give 1 to 65535, or leave out both")
	}
	return bare
}

func isPort(u *url.URL) bool {
	if !strings.Contains(strings.TrimPrefix(u.Host, "["+u.Hostname()+"]"), ":") {
		return true
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && port > 0
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

func (c *checker) support(n tenantNode) Support {
	const key = "support"
	s := Support{
		ShortDial: n.Support.ShortDial.value,
		Email:     c.address(n, key+".email", n.Support.Email, "the address that helps customers, such as helpdesk@mongotel.com"),
		Hours:     c.printed(n, key+".hours", n.Support.Hours, `when somebody answers, such as "Monday to Friday, 9 a.m. to 6 p.m."`),
	}
	for _, p := range n.Support.Phones {
		s.Phones = append(s.Phones, c.printed(n, key+".phones", p, `a number as printed, such as "(718) 942-9990"`))
	}
	if len(s.Phones) == 0 {
		c.wrong(n.line, key+".phones", "is missing; every refusal tells a customer whom to call")
	}
	if dial := n.Support.ShortDial; strings.Trim(dial.value, "0123456789*#") != "" || len(dial.value) > 8 {
		c.wrong(dial.line, key+".shortDial", "%q must be up to 8 of 0-9, * and #; leave it out if there is none", dial.value)
	}
	if info := n.Support.InfoEmail; info.value != "" {
		s.InfoEmail = c.address(n, key+".infoEmail", info, "")
	}
	return s
}

func (c *checker) address(n tenantNode, key string, t text, example string) string {
	if t.value == "" {
		c.wrong(max(t.line, n.line), key, "is missing; give %s", example)
		return ""
	}
	a, err := enrollment.ParseAddress(t.value)
	if err != nil {
		c.wrong(t.line, key, "%q is no e-mail address; give one as in name@host.example", t.value)
	}
	return string(a)
}

func (c *checker) mail(n tenantNode) Mail {
	return Mail{
		FromName:    c.printed(n, "mail.fromName", n.Mail.FromName, `the sender's name, such as "Mongotel Bill Center"`),
		FromAddress: c.address(n, "mail.fromAddress", n.Mail.FromAddress, "the sender's address, one that the SMTP server may send for"),
	}
}

func (c *checker) timeZone(n tenantNode) *time.Location {
	zone := n.TimeZone
	if zone.value == "" {
		c.wrong(max(zone.line, n.line), "timeZone", "is missing; give an IANA name, such as America/New_York")
		return nil
	}
	location, err := time.LoadLocation(zone.value)
	if err != nil || location == time.Local { // this machine's zone is not the telecom's
		c.wrong(zone.line, "timeZone", "%q is no IANA time zone; give a name such as America/New_York", zone.value)
	}
	return location
}

// locales are American English where the file names none.
func (c *checker) locales(given []text) []locale.Locale {
	if len(given) == 0 {
		given = []text{{value: "en-US"}}
	}
	var all []locale.Locale
	for _, t := range given {
		switch l, err := locale.Parse(t.value); {
		case err != nil:
			c.wrong(t.line, "locales", "%v", err)
		case slices.Contains(all, l):
			c.wrong(t.line, "locales", "%q is listed twice", t.value)
		default:
			all = append(all, l)
		}
	}
	return all
}

// hoursIn holds the hours to every language that customers of the tenant can choose.
func (c *checker) hoursIn(n tenantNode, locales []locale.Locale) map[string]string {
	given := n.Support.HoursIn
	var all map[string]string
	for i, l := range locales {
		language := l.Language()
		if i == 0 || language == locales[0].Language() || all[language] != "" {
			continue
		}
		if all == nil {
			all = make(map[string]string)
		}
		all[language] = c.printed(n, "support.hoursIn."+language, given[language], "when support is there, in that language, since locales has it")
	}
	for _, language := range slices.Sorted(maps.Keys(given)) {
		if _, used := all[language]; !used {
			c.wrong(given[language].line, "support.hoursIn."+language, "is of no language in locales but the first; leave it out")
		}
	}
	return all
}

func (c *checker) policy(n policyNode) enrollment.Policy {
	const day = 24 * time.Hour
	p := enrollment.DefaultPolicy()
	c.duration("policy.codeLife", n.CodeLife, &p.CodeLife, day, 366*day)
	c.duration("policy.codeGrace", n.CodeGrace, &p.CodeGrace, 0, 366*day)
	c.duration("policy.activationWindow", n.ActivationWindow, &p.ActivationWindow, time.Hour, 30*day)
	c.duration("policy.closedGrace", n.ClosedGrace, &p.ClosedGrace, 0, 2*366*day)
	c.flag("policy.leadingZerosOptional", n.LeadingZerosOptional, &p.LeadingZerosOptional)
	c.flag("policy.severalUsers", n.SeveralUsers, &p.SeveralUsers)
	if t := n.PasswordMin; t.value != "" {
		const least, most = 8, 64 // NIST SP 800-63B-4 3.1.1.2: never below 8, and 64 must be enough
		var err error
		if p.PasswordMin, err = strconv.Atoi(t.value); err != nil || p.PasswordMin < least || p.PasswordMin > most {
			c.wrong(t.line, "policy.passwordMin", "%q must be a number from %d to %d", t.value, least, most)
		}
	}
	return p
}

func (c *checker) flag(key string, t text, into *bool) {
	if t.value == "" {
		return
	}
	if t.value != "true" && t.value != "false" {
		c.wrong(t.line, key, "%q is neither true nor false", t.value)
	}
	*into = t.value == "true"
}

func (c *checker) duration(key string, t text, into *time.Duration, least, most time.Duration) {
	if t.value == "" {
		return
	}
	d, err := parseDuration(t.value)
	switch {
	case err != nil:
		c.wrong(t.line, key, "%q is no duration; give hours or days, such as 72h or 45d", t.value)
	case d < least || d > most:
		c.wrong(t.line, key, "%q is out of range; give %s to %s", t.value, inDays(least), inDays(most))
	}
	*into = d
}

// parseDuration also takes whole days, of 24 hours each.
func parseDuration(s string) (time.Duration, error) {
	days, ok := strings.CutSuffix(s, "d")
	if !ok {
		return time.ParseDuration(s)
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, errors.New("no number of days")
	}
	return time.Duration(n) * 24 * time.Hour, nil
}

func inDays(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return fmt.Sprintf("%dh", d/time.Hour)
}
