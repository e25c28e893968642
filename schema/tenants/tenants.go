// Package tenants knows the telecoms that this installation serves: the hosts they answer on, whom their customers call,
// how their pages look and which rules they chose. It is read once, at start, from one strict YAML file; a mistake in it
// is an error with file, line, key and remedy, and not a page that looks odd later.
//
// The package finds the tenant of a host. It does not decide what happens on a host that is nobody's, and it does not
// watch the file: a change takes effect at the next start.
package tenants

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/locale"
)

// Tenant is one telecom. Every field was checked; what is marked optional may be empty.
type Tenant struct {
	ID       string   // [a-z0-9-], 1 to 32: the second token of every subject
	Name     string   // as customers know it
	Hosts    []string // in lower case, without port; the first is the canonical one
	BaseURL  string   // scheme, host and port; what links in mails begin with
	Support  Support
	Mail     Mail
	Brand    Brand
	TimeZone *time.Location  // of dates on pages and in mails
	Locales  []locale.Locale // that customers can choose from; the first is for those who ask for none of them
	Policy   enrollment.Policy

	PaymentPage string // https, of the provider's; where customers pay and change how they do; optional
}

// Support is whom a customer can ask. Every refusal shows it.
type Support struct {
	Phones    []string // at least one, as printed
	ShortDial string   // from a phone of the telecom's, such as "611"; optional
	Email     string   // for service
	InfoEmail string   // for everything else; optional
	Hours     string   // as printed

	// HoursIn is Hours in the other languages of the tenant's locales.
	HoursIn map[string]string
}

// HoursFor returns when support is there, in a locale of the tenant.
func (s Support) HoursFor(l locale.Locale) string {
	if hours, ok := s.HoursIn[l.Language()]; ok {
		return hours
	}
	return s.Hours
}

// Mail is what customers see in the From line.
type Mail struct {
	FromName    string
	FromAddress string
}

// Brand is what makes a page the telecom's. Colors are "#rrggbb" in lower case; text in one on the other, and primary on
// white, has a contrast of 4.5:1 at least (WCAG 2.2, 1.4.3).
type Brand struct {
	Primary   string
	OnPrimary string // of text on Primary
	Logo      *Logo  // nil: the name stands for it
}

// Directory is all tenants of an installation. It never changes.
type Directory struct {
	all    []*Tenant
	byID   map[string]*Tenant
	byHost map[string]*Tenant
}

func newDirectory(all []*Tenant) *Directory {
	d := &Directory{all: all, byID: make(map[string]*Tenant), byHost: make(map[string]*Tenant)}
	for _, t := range all {
		d.byID[t.ID] = t
		for _, host := range t.Hosts {
			d.byHost[host] = t
		}
	}
	return d
}

// All returns the tenants in the order of the file.
func (d *Directory) All() []*Tenant { return slices.Clone(d.all) }

// ByID returns the tenant of an id, exactly as subjects write it.
func (d *Directory) ByID(id string) (*Tenant, bool) {
	t, ok := d.byID[id]
	return t, ok
}

// Has reports whether there is a tenant of that id.
func (d *Directory) Has(id string) bool { return d.byID[id] != nil }

// Policy returns what the tenant decided about enrollment.
func (d *Directory) Policy(id string) (enrollment.Policy, bool) {
	t, ok := d.byID[id]
	if !ok {
		return enrollment.Policy{}, false
	}
	return t.Policy, true
}

// ByHost returns the tenant of a request's Host, whatever its case, port or trailing dot.
func (d *Directory) ByHost(host string) (*Tenant, bool) {
	t, ok := d.byHost[canonicalHost(host)]
	return t, ok
}

// canonicalHost returns the one spelling of a host: lower case, no port, no trailing dot, no brackets, and an IP address
// in its shortest form.
func canonicalHost(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else if inner, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.String()
	}
	return host
}
