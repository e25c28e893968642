package tenants_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/locale"
	"github.com/mongotel/billcenter/schema/tenants"
)

// sane is a file without mistakes; the tables change a line of it.
const sane = `tenants:
  - id: mongo
    name: Mongotel
    hosts: [mongo.billcenter.net, Bills.Mongotel.Com.]
    baseURL: https://Mongo.billcenter.net
    support:
      phones: ["(718) 942-9990"]
      shortDial: 611
      email: helpdesk@mongotel.com
      infoEmail: info@mongotel.com
      hours: Monday to Friday
      hoursIn: {es: de lunes a viernes}
    mail:
      fromName: Mongotel Bill Center
      fromAddress: billcenter@mongotel.com
    brand:
      primary: "#0F4C81"
      onPrimary: "#fff"
    timeZone: America/New_York
    locales: [en-us, es-us]
    policy:
      leadingZerosOptional: true
      codeLife: 60d
      codeGrace: 0d
      activationWindow: 48h
      passwordMin: 12
  - id: acme-2
    name: Acme
    hosts: [acme.localhost, "[::1]"]
    baseURL: http://acme.localhost:8080
    support: {phones: ["555 0100", "555 0101"], email: help@acme.example, hours: always}
    mail: {fromName: Acme, fromAddress: bills@acme.example}
    brand: {primary: "#060"}
    timeZone: Europe/Zurich
`

func TestAFileIsReadWhole(t *testing.T) {
	d, err := tenants.Parse("tenants.yaml", []byte(sane))
	if err != nil {
		t.Fatal(err)
	}
	policy := enrollment.DefaultPolicy()
	english, spanish := parseLocale(t, "en-US"), parseLocale(t, "es-US")
	want := []*tenants.Tenant{
		{
			ID: "mongo", Name: "Mongotel", Hosts: []string{"mongo.billcenter.net", "bills.mongotel.com"},
			BaseURL: "https://mongo.billcenter.net",
			Support: tenants.Support{Phones: []string{"(718) 942-9990"}, ShortDial: "611", Email: "helpdesk@mongotel.com", InfoEmail: "info@mongotel.com", Hours: "Monday to Friday",
				HoursIn: map[string]string{"es": "de lunes a viernes"}},
			Mail:    tenants.Mail{FromName: "Mongotel Bill Center", FromAddress: "billcenter@mongotel.com"},
			Brand:   tenants.Brand{Primary: "#0f4c81", OnPrimary: "#ffffff"},
			Locales: []locale.Locale{english, spanish},
			Policy: enrollment.Policy{LeadingZerosOptional: true, CodeLife: 60 * 24 * time.Hour, CodeGrace: 0,
				ActivationWindow: 48 * time.Hour, PasswordMin: 12,
				ClosedGrace: 60 * 24 * time.Hour, SeveralUsers: true},
		},
		{
			ID: "acme-2", Name: "Acme", Hosts: []string{"acme.localhost", "::1"}, BaseURL: "http://acme.localhost:8080",
			Support: tenants.Support{Phones: []string{"555 0100", "555 0101"}, Email: "help@acme.example", Hours: "always"},
			Mail:    tenants.Mail{FromName: "Acme", FromAddress: "bills@acme.example"},
			Brand:   tenants.Brand{Primary: "#006600", OnPrimary: "#ffffff"},
			Locales: []locale.Locale{english}, Policy: policy,
		},
	}
	zones := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".TimeZone" }, cmp.Ignore())
	locales := cmp.Comparer(func(a, b locale.Locale) bool { return a == b })
	if diff := cmp.Diff(want, d.All(), zones, locales); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i, zone := range []string{"America/New_York", "Europe/Zurich"} {
		if got := d.All()[i].TimeZone.String(); got != zone {
			t.Errorf("time zone = %s, want %s", got, zone)
		}
	}
}

func parseLocale(t *testing.T, tag string) locale.Locale {
	t.Helper()
	l, err := locale.Parse(tag)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAMistakeNamesItsLineKeyAndRemedy(t *testing.T) {
	for _, tt := range []struct {
		name     string
		old, new string
		want     string
	}{
		{"an unknown key", "    name: Mongotel", "    names: Mongotel", `tenants.yaml:3: unknown field "names"`},
		{"an unknown key deeper down", "      hours: Monday", "      ours: Monday", `tenants.yaml:11: unknown field "ours"`},
		{"an unknown key at the top", "tenants:", "version: 1\ntenants:", `tenants.yaml:1: unknown field "version"`},
		{"a key twice", "    name: Mongotel", "    id: mongo", `tenants.yaml:3: mapping key "id" already defined`},
		{"what is no YAML", "  - id: mongo", "  - id: [mongo", `tenants.yaml:3: `},
		{"a list for a value", "    name: Mongotel", "    name: [Mongotel]", "tenants.yaml:3: expects a single value here"},
		{"a value for a list", "    hosts: [mongo.billcenter.net, Bills.Mongotel.Com.]", "    hosts: mongo.billcenter.net", "tenants.yaml:4: "},

		{"an anchor", "    name: Mongotel", "    name: &n Mongotel", "tenants.yaml:3: anchors (&)"},
		{"an alias", "    name: Mongotel", "    name: *n", "tenants.yaml:3: "},
		{"a tag", "    name: Mongotel", "    name: !!str Mongotel", "tenants.yaml:3: "},

		{"no id", "  - id: mongo\n    name", "  - name", "tenants.yaml:2: id: is missing"},
		{"an id in upper case", "  - id: mongo", "  - id: Mongo", `tenants.yaml:2: id: "Mongo" must be 1 to 32 of a-z, 0-9 and -`},
		{"an id with a dot", "  - id: mongo", "  - id: mongo.1", `tenants.yaml:2: id: "mongo.1" must be`},
		{"an id of 33", "  - id: mongo", "  - id: " + strings.Repeat("m", 33), "tenants.yaml:2: id: "},
		{"an id twice", "  - id: acme-2", "  - id: mongo", `tenants.yaml:27: id: "mongo" is taken on line 2`},
		{"no name", "    name: Mongotel\n", "", "tenants.yaml:2: name: is missing"},
		{"a name over two lines", "    name: Mongotel", `    name: "Mongo\r\nBcc: x"`, "tenants.yaml:3: name: has a control"},
		{"a long name", "    name: Mongotel", "    name: " + strings.Repeat("m", 201), "tenants.yaml:3: name: has more than 200 characters"},

		{"no hosts", "    hosts: [mongo.billcenter.net, Bills.Mongotel.Com.]\n", "", "tenants.yaml:2: hosts: is missing"},
		{"a host of two tenants", "[acme.localhost,", "[acme.localhost, MONGO.billcenter.net.,", `tenants.yaml:29: hosts: "MONGO.billcenter.net." belongs to "mongo" on line 4`},
		{"a host twice", "Bills.Mongotel.Com.]", "mongo.billcenter.NET]", `tenants.yaml:4: hosts: "mongo.billcenter.NET" belongs to "mongo" on line 4`},
		{"an IP address in two spellings", `"[::1]"]`, `"[::1]", "0:0::1"]`, `tenants.yaml:29: hosts: "0:0::1" belongs to "acme-2" on line 29`},
		{"a host with a port", "Bills.Mongotel.Com.]", "bills.mongotel.com:443]", `tenants.yaml:4: hosts: "bills.mongotel.com:443" is no host`},
		{"an IPv6 host with a port", `"[::1]"]`, `"[::1]:80"]`, `tenants.yaml:29: hosts: "[::1]:80" is no host`},
		{"a URL for a host", "Bills.Mongotel.Com.]", "https://bills.mongotel.com]", "tenants.yaml:4: hosts: "},
		{"a wildcard", "Bills.Mongotel.Com.]", `"*.mongotel.com"]`, "tenants.yaml:4: hosts: "},
		{"a host in another script", "Bills.Mongotel.Com.]", "büro.example]", "tenants.yaml:4: hosts: "},
		{"an empty host", "Bills.Mongotel.Com.]", `""]`, "tenants.yaml:4: hosts: "},

		{"no base URL", "    baseURL: https://Mongo.billcenter.net\n", "", "tenants.yaml:2: baseURL: is missing"},
		{"a base URL without scheme", "https://Mongo.billcenter.net", "mongo.billcenter.net", "tenants.yaml:5: baseURL: is no URL"},
		{"a host and port for a base URL", "https://Mongo.billcenter.net", "mongo.billcenter.net:443", "tenants.yaml:5: baseURL: is no URL"},
		{"a base URL with a slash", "https://Mongo.billcenter.net", "https://mongo.billcenter.net/", "tenants.yaml:5: baseURL: has more than scheme, host and port; leave it at https://mongo.billcenter.net"},
		{"a base URL with a query", "https://Mongo.billcenter.net", "https://mongo.billcenter.net?a=b", "tenants.yaml:5: baseURL: has more than"},
		{"a base URL with a question mark", "https://Mongo.billcenter.net", "https://mongo.billcenter.net?", "tenants.yaml:5: baseURL: has more than"},
		{"a base URL with a password", "https://Mongo.billcenter.net", "https://a:b@mongo.billcenter.net", "tenants.yaml:5: baseURL: has more than"},
		{"a base URL with a fragment", "https://Mongo.billcenter.net", `"https://mongo.billcenter.net#x"`, "tenants.yaml:5: baseURL: has more than"},
		{"a base URL over plain HTTP", "https://Mongo.billcenter.net", "http://mongo.billcenter.net", "tenants.yaml:5: baseURL: is http"},
		{"a base URL of another scheme", "https://Mongo.billcenter.net", "ftp://mongo.billcenter.net", `tenants.yaml:5: baseURL: has the scheme "ftp"`},
		{"a base URL on another's host", "https://Mongo.billcenter.net", "https://acme.localhost", `tenants.yaml:5: baseURL: its host "acme.localhost" is not one of this tenant's hosts`},
		{"a base URL with half a port", "http://acme.localhost:8080", `"http://acme.localhost:"`, "tenants.yaml:30: baseURL: has no port"},
		{"a base URL with port 0", "http://acme.localhost:8080", "http://acme.localhost:0", "tenants.yaml:30: baseURL: has no port"},
		{"a base URL with port 70000", "http://acme.localhost:8080", "http://acme.localhost:70000", "tenants.yaml:30: baseURL: has no port"},

		{"no support", `    support: {phones: ["555 0100", "555 0101"], email: help@acme.example, hours: always}` + "\n", "", "tenants.yaml:27: support.email: is missing"},
		{"no phone", `      phones: ["(718) 942-9990"]` + "\n", "", "tenants.yaml:2: support.phones: is missing"},
		{"an empty phone", `["(718) 942-9990"]`, `[""]`, "tenants.yaml:7: support.phones: is missing"},
		{"a short dial with a letter", "shortDial: 611", "shortDial: call 611", "tenants.yaml:8: support.shortDial: "},
		{"no support address", "      email: helpdesk@mongotel.com\n", "", "tenants.yaml:2: support.email: is missing"},
		{"a support address that is none", "email: helpdesk@mongotel.com", "email: helpdesk", `tenants.yaml:9: support.email: "helpdesk" is no e-mail address`},
		{"an info address that is none", "infoEmail: info@mongotel.com", "infoEmail: info", "tenants.yaml:10: support.infoEmail: "},
		{"no support hours", "      hours: Monday to Friday\n", "", "tenants.yaml:2: support.hours: is missing"},

		{"no sender's name", "      fromName: Mongotel Bill Center\n", "", "tenants.yaml:2: mail.fromName: is missing"},
		{"a sender's name with a line break", "fromName: Mongotel Bill Center", `fromName: "Mongotel\r\nBcc: x@y.example"`, "tenants.yaml:14: mail.fromName: has a control"},
		{"no sender's address", "      fromAddress: billcenter@mongotel.com\n", "", "tenants.yaml:2: mail.fromAddress: is missing"},
		{"a sender's address with a name", "fromAddress: billcenter@mongotel.com", "fromAddress: Mongotel <billcenter@mongotel.com>", "tenants.yaml:15: mail.fromAddress: "},

		{"no color", `      primary: "#0F4C81"` + "\n", "", "tenants.yaml:2: brand.primary: is missing"},
		{"a color without quotes", `primary: "#0F4C81"`, "primary: #0F4C81", "tenants.yaml:2: brand.primary: is missing; give a color in quotes"},
		{"a color's name", `primary: "#0F4C81"`, "primary: navy", `tenants.yaml:17: brand.primary: "navy" is no color`},
		{"a color that white text is lost on", `primary: "#0F4C81"`, `primary: "#ff9900"`, "tenants.yaml:17: brand.primary: #ff9900 has a contrast of 2.14:1 with white and needs 4.5:1"},
		{"a color that is just too light", `primary: "#0F4C81"`, `primary: "#777777"`, "tenants.yaml:17: brand.primary: #777777 has a contrast of 4.47:1 with white"},
		{"text that is lost on the color", `onPrimary: "#fff"`, `onPrimary: "#777"`, "tenants.yaml:18: brand.onPrimary: #777777 has a contrast of 1.97:1 with primary"},

		{"no time zone", "    timeZone: America/New_York\n", "", "tenants.yaml:2: timeZone: is missing"},
		{"this machine's time zone", "America/New_York", "Local", `tenants.yaml:19: timeZone: "Local" is no IANA time zone`},
		{"an unknown time zone", "America/New_York", "America/Newark", `tenants.yaml:19: timeZone: "America/Newark" is no IANA time zone`},
		{"a path for a time zone", "America/New_York", "../etc/localtime", "tenants.yaml:19: timeZone: "},
		{"an unknown locale", "[en-us, es-us]", "[en-us, es-us, spanish please]", `tenants.yaml:20: locales: "spanish please" is no language tag`},
		{"a language that no page is in", "[en-us, es-us]", "[en-us, es-us, fr-ca]", `tenants.yaml:20: locales: "fr-ca" is a language without pages and mails yet`},
		{"a locale twice", "[en-us, es-us]", "[en-us, es-us, ES-US]", `tenants.yaml:20: locales: "ES-US" is listed twice`},
		{"hours missing in a language", "      hoursIn: {es: de lunes a viernes}\n", "", "tenants.yaml:2: support.hoursIn.es: is missing"},
		{"hours in a language too many", "[en-us, es-us]", "[en-us]", "tenants.yaml:12: support.hoursIn.es: is of no language in locales"},

		{"a flag that is neither", "leadingZerosOptional: true", "leadingZerosOptional: maybe", "tenants.yaml:22: policy.leadingZerosOptional: "},
		{"a life without a unit", "codeLife: 60d", "codeLife: 60", `tenants.yaml:23: policy.codeLife: "60" is no duration; give hours or days`},
		{"a negative life", "codeLife: 60d", "codeLife: -60h", `tenants.yaml:23: policy.codeLife: "-60h" is out of range; give 1d to 366d`},
		{"half a day", "codeLife: 60d", "codeLife: 60.5d", "tenants.yaml:23: policy.codeLife: "},
		{"a grace of years", "codeGrace: 0d", "codeGrace: 5000d", "tenants.yaml:24: policy.codeGrace: "},
		{"a window of minutes", "activationWindow: 48h", "activationWindow: 5m", `tenants.yaml:25: policy.activationWindow: "5m" is out of range; give 1h to 30d`},
		{"a grace of decades", "activationWindow: 48h", "closedGrace: 9999d", `tenants.yaml:25: policy.closedGrace: "9999d" is out of range; give 0d to 732d`},
		{"several users, perhaps", "activationWindow: 48h", "severalUsers: perhaps", `tenants.yaml:25: policy.severalUsers: "perhaps" is neither true nor false`},
		{"a payment page that anybody can read along", "policy:", "paymentPage: http://pay.example\n    policy:", `tenants.yaml:21: paymentPage: "http://pay.example" is no page to send customers to`},
		{"a short password", "passwordMin: 12", "passwordMin: 7", `tenants.yaml:26: policy.passwordMin: "7" must be a number from 8 to 64`},
		{"a password of so many words", "passwordMin: 12", "passwordMin: twelve", "tenants.yaml:26: policy.passwordMin: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			content := strings.Replace(sane, tt.old, tt.new, 1)
			if content == sane {
				t.Fatal("the file has no such line")
			}
			d, err := tenants.Parse("tenants.yaml", []byte(content))
			if err == nil || d != nil {
				t.Fatal("accepted")
			}
			if !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error = %v\nwant %s", err, tt.want)
			}
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "tenants.yaml:") {
					t.Errorf("a line without a place: %q", line)
				}
			}
		})
	}
}

func TestEveryMistakeIsToldAtOnce(t *testing.T) {
	content := strings.NewReplacer("passwordMin: 12", "passwordMin: 1", "  - id: mongo", "  - id: MONGO", "[en-us, es-us]", "[en-us, es-us, '?']").Replace(sane)
	_, err := tenants.Parse("tenants.yaml", []byte(content))
	if err == nil {
		t.Fatal("accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 3 {
		t.Fatalf("error = %v", err)
	}
	for i, place := range []string{"tenants.yaml:2: id:", "tenants.yaml:20: locales:", "tenants.yaml:26: policy.passwordMin:"} {
		if !strings.HasPrefix(lines[i], place) {
			t.Errorf("line %d = %s, want %s", i+1, lines[i], place)
		}
	}
}

func TestAFileWithoutTenantsIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name, content string
	}{
		{"nothing", ""},
		{"a comment", "# none\n"},
		{"an empty list", "tenants: []\n"},
		{"nothing after the key", "tenants:\n"},
		{"a value", "mongo\n"},
		{"a list at the top", "- id: mongo\n"},
		{"two documents", sane + "---\n" + sane},
		{"bytes of something else", "\x00\x01\xff"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tenants.Parse("tenants.yaml", []byte(tt.content))
			if err == nil || !strings.HasPrefix(err.Error(), "tenants.yaml:") {
				t.Errorf("error = %v", err)
			}
		})
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenants.yaml")
	if _, err := tenants.Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("without the file: %v", err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(sane, "id: mongo", "id: M", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tenants.Load(path); err == nil || !strings.HasPrefix(err.Error(), path+":2: ") {
		t.Errorf("with a mistake: %v", err)
	}
	if err := os.WriteFile(path, []byte(sane), 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := tenants.Load(path); err != nil || len(d.All()) != 2 {
		t.Errorf("Load: %v", err)
	}
}

func TestByHost(t *testing.T) {
	d, err := tenants.Parse("tenants.yaml", []byte(sane))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, host, id string
	}{
		{"as in the file", "mongo.billcenter.net", "mongo"},
		{"with a port", "mongo.billcenter.net:8443", "mongo"},
		{"in another case", "MONGO.BillCenter.net", "mongo"},
		{"with a trailing dot", "mongo.billcenter.net.", "mongo"},
		{"with all of that", "Bills.Mongotel.COM.:443", "mongo"},
		{"an IPv6 address", "[::1]", "acme-2"},
		{"an IPv6 address with a port", "[::1]:8080", "acme-2"},
		{"an IPv6 address in full", "[0:0:0:0:0:0:0:1]:8080", "acme-2"},
		{"nobody's", "evil.example", ""},
		{"a subdomain", "a.mongo.billcenter.net", ""},
		{"two trailing dots", "mongo.billcenter.net..", ""},
		{"none", "", ""},
		{"only a port", ":8080", ""},
		{"with userinfo", "a@mongo.billcenter.net", ""},
		{"with a blank", "mongo.billcenter.net x", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := d.ByHost(tt.host)
			if ok != (tt.id != "") || ok && got.ID != tt.id {
				t.Errorf("ByHost = %v, %t", got, ok)
			}
		})
	}
}

func TestByID(t *testing.T) {
	d, err := tenants.Parse("tenants.yaml", []byte(sane))
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := d.ByID("acme-2"); !ok || got.Name != "Acme" || !d.Has("acme-2") {
		t.Errorf("ByID = %v, %t", got, ok)
	}
	if p, ok := d.Policy("mongo"); !ok || p.PasswordMin != 12 {
		t.Errorf("Policy = %+v, %t", p, ok)
	}
	for _, id := range []string{"", "MONGO", "mongo.billcenter.net"} {
		if _, ok := d.ByID(id); ok || d.Has(id) {
			t.Errorf("%q is a tenant", id)
		}
		if _, ok := d.Policy(id); ok {
			t.Errorf("%q has a policy", id)
		}
	}
}

func TestMongotel(t *testing.T) {
	for _, baseURL := range []string{"http://mongo.localhost:8080", "http://localhost:41233", "http://127.0.0.1:8080", "http://[::1]:8080"} {
		d, err := tenants.Mongotel(baseURL)
		if err != nil {
			t.Fatal(err)
		}
		mongo, ok := d.ByID("mongo")
		if !ok || mongo.BaseURL != baseURL || len(d.All()) != 1 {
			t.Fatalf("mongo = %+v", mongo)
		}
		want := tenants.Support{
			Phones: []string{"(718) 942-9990"}, ShortDial: "611", Email: "helpdesk@mongotel.com", InfoEmail: "info@mongotel.com", Hours: mongo.Support.Hours, HoursIn: mongo.Support.HoursIn,
		}
		if diff := cmp.Diff(want, mongo.Support); diff != "" {
			t.Errorf("support (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(enrollment.DefaultPolicy(), mongo.Policy); diff != "" {
			t.Errorf("the file's policy is not the default (-want +got):\n%s", diff)
		}
		for _, host := range []string{"mongo.localhost:8080", "localhost:8080", "127.0.0.1:8080", "[::1]:8080"} {
			if got, ok := d.ByHost(host); !ok || got != mongo {
				t.Errorf("%s is not mongo's", host)
			}
		}
	}
	for _, baseURL := range []string{"", "http://mongo.billcenter.net", "http://localhost:8080/"} {
		if _, err := tenants.Mongotel(baseURL); err == nil {
			t.Errorf("%q was accepted", baseURL)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sane))
	f.Add([]byte("tenants: [{id: a, hosts: [a], brand: {primary: '#000'}}]"))
	f.Add([]byte("tenants: &a [*a]"))
	f.Add([]byte("tenants: !0 0000")) // a tag that the decoder panics on
	f.Fuzz(func(t *testing.T, content []byte) {
		d, err := tenants.Parse("f", content)
		if (d == nil) != (err != nil) {
			t.Fatalf("%v, %v", d, err)
		}
		if err != nil {
			return
		}
		for _, tenant := range d.All() {
			for _, host := range tenant.Hosts {
				if got, ok := d.ByHost(host); !ok || got != tenant {
					t.Errorf("%q is not found", host)
				}
			}
		}
	})
}
