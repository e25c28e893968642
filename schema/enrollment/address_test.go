package enrollment_test

import (
	"log/slog"
	"net/mail"
	"strings"
	"testing"

	"github.com/mongotel/billcenter/schema/enrollment"
)

func TestParseAddress(t *testing.T) {
	for _, tt := range []struct {
		name, typed, want string
	}{
		{"an ordinary one", "ada@bobsbuilding.example", "ada@bobsbuilding.example"},
		{"blanks around it are dropped", "\u00a0 ada@b.example\t", "ada@b.example"},
		{"a plus tag stays", "ada+bills@b.example", "ada+bills@b.example"},
		{"the local part keeps its case", "Ada.L@b.example", "Ada.L@b.example"},
		{"the domain loses its case", "ada@Mail.B.EXAMPLE", "ada@mail.b.example"},
		{"an apostrophe is allowed", "o'neil@b.example", "o'neil@b.example"},
		{"a domain in another script becomes an A-label", "ada@bücher.example", "ada@xn--bcher-kva.example"},
		{"however its accents are written", "ada@BU\u0308CHER.example", "ada@xn--bcher-kva.example"},
		{"an A-label stays", "ada@XN--bcher-kva.example", "ada@xn--bcher-kva.example"},
		{"a local part of 64", strings.Repeat("a", 64) + "@b.example", strings.Repeat("a", 64) + "@b.example"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := enrollment.ParseAddress(tt.typed)
			if err != nil || string(got) != tt.want {
				t.Errorf("ParseAddress = %q, %v; want %q", string(got), err, tt.want)
			}
		})
	}
}

func TestParseAddressRefuses(t *testing.T) {
	long := strings.Repeat("a", 60) + "@" + strings.Repeat(strings.Repeat("b", 60)+".", 3) + "example"
	for _, tt := range []struct {
		name, typed string
		reason      enrollment.Reason
		limit       int
	}{
		{"nothing", "", enrollment.Missing, 0},
		{"blanks", "  ", enrollment.Missing, 0},
		{"254 characters and more", "aaaaaaaaaa" + long, enrollment.TooLong, 254},
		{"254 characters and more once the domain is encoded", strings.Repeat("a", 60) + "@" + strings.Repeat("ü.", 25) + "example", enrollment.TooLong, 254},
		{"a local part of 65", strings.Repeat("a", 65) + "@b.example", enrollment.BadAddress, 0},
		{"no @", "ada.b.example", enrollment.BadAddress, 0},
		{"two of them", "ada@b.example@c.example", enrollment.BadAddress, 0},
		{"a list", "ada@b.example, bob@b.example", enrollment.BadAddress, 0},
		{"a name", "Ada <ada@b.example>", enrollment.BadAddress, 0},
		{"brackets", "<ada@b.example>", enrollment.BadAddress, 0},
		{"a comment", "ada@b.example (Ada)", enrollment.BadAddress, 0},
		{"a group", "group: ada@b.example;", enrollment.BadAddress, 0},
		{"a quoted local part", `"ada@x"@b.example`, enrollment.BadAddress, 0},
		{"an SMTP parameter", "ada@b.example> ORCPT=rfc822;x@y.example", enrollment.BadAddress, 0},
		{"a line break", "ada@b.example\r\nBcc: bob@b.example", enrollment.BadAddress, 0},
		{"a NUL", "ada\x00@b.example", enrollment.BadAddress, 0},
		{"an IP literal", "ada@[127.0.0.1]", enrollment.BadAddress, 0},
		{"an IP address", "ada@127.0.0.1", enrollment.BadAddress, 0},
		{"no dot in the domain", "ada@localhost", enrollment.BadAddress, 0},
		{"a dot at its end", "ada@b.example.", enrollment.BadAddress, 0},
		{"two dots in it", "ada@b..example", enrollment.BadAddress, 0},
		{"a dash before it", "ada@-b.example", enrollment.BadAddress, 0},
		{"a dash after it", "ada@b-.example", enrollment.BadAddress, 0},
		{"an underscore in it", "ada@b_c.example", enrollment.BadAddress, 0},
		{"a label of 64", "ada@" + strings.Repeat("b", 64) + ".example", enrollment.BadAddress, 0},
		{"an A-label that decodes to nothing", "ada@xn--ls8h=.example", enrollment.BadAddress, 0},
		{"an A-label of junk", "ada@xn--zzzzzzzz.example", enrollment.BadAddress, 0},
		{"full-width letters in the domain", "ada@ｂ.example", enrollment.BadAddress, 0},
		{"a full-width dot", "ada@b．example", enrollment.BadAddress, 0},
		{"a change of direction", "ada@b\u202e.example", enrollment.BadAddress, 0},
		{"a zero-width space", "ada@b\u200b.example", enrollment.BadAddress, 0},
		{"a blank inside", "ada @b.example", enrollment.BadAddress, 0},
		{"half a character", "ada@b\xff.example", enrollment.BadAddress, 0},
		{"a dotless i", "mıke@b.example", enrollment.BadAddress, 0},
		{"an encoded word", "=?utf-8?q?ada?=@b.example", enrollment.BadAddress, 0},
		{"a source route", "ada%c.example@b.example", enrollment.BadAddress, 0},
		{"a bang path", "c!ada@b.example", enrollment.BadAddress, 0},
		{"a dot before the @", "ada.@b.example", enrollment.BadAddress, 0},
		{"a dot at the start", ".ada@b.example", enrollment.BadAddress, 0},
		{"no local part", "@b.example", enrollment.BadAddress, 0},
		{"no domain", "ada@", enrollment.BadAddress, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := enrollment.ParseAddress(tt.typed)
			if got != "" {
				t.Errorf("address = %q", string(got))
			}
			wantRefusal(t, err, enrollment.Refusal{Reason: tt.reason, Field: enrollment.FieldEmail, Limit: tt.limit})
		})
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"ada+x@b.example", "Ada <a@b.c>", "a@bücher.example", `"a@x"@b.c`, "a@xn--a.b", "a@1.2.3.4", "a@ß.de", "a@b．c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		got, err := enrollment.ParseAddress(typed)
		if err != nil {
			wantSilent(t, err, typed)
			return
		}
		if again, err := enrollment.ParseAddress(string(got)); err != nil || again != got {
			t.Errorf("%q is %q, which is %q, %v", typed, string(got), string(again), err)
		}
		if read, err := mail.ParseAddress(string(got)); err != nil || read.Address != string(got) {
			t.Errorf("net/mail reads %q as %+v, %v", string(got), read, err)
		}
	})
}

func TestAnAddressIsMasked(t *testing.T) {
	for _, tt := range []struct {
		name, address, masked string
	}{
		{"a company's", "bob@bobsbuilding.example", "b***@b***.example"},
		{"the shortest", "a@b.c", "a***@b***.c"},
		{"with a subdomain", "ap@mail.bobs.co.example", "a***@m***.example"},
		{"none", "", "***"},
		{"what is no address", "bob", "***"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := enrollment.Address(tt.address).Masked(); got != tt.masked {
				t.Errorf("Masked = %q, want %q", got, tt.masked)
			}
		})
	}
}

func TestALogShowsTheMaskedAddress(t *testing.T) {
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("mailed", "to", enrollment.Address("bob@bobsbuilding.example"))
	if !strings.Contains(log.String(), "to=b***@b***.example") || strings.Contains(log.String(), "bobsbuilding") {
		t.Errorf("log = %s", log.String())
	}
}

func TestDomainClass(t *testing.T) {
	for address, want := range map[enrollment.Address]string{
		"ada@gmail.com":            "freemail",
		"ada@yahoo.co.uk":          "freemail",
		"ada@bobsbuilding.example": "company",
		"ada@notgmail.com":         "company",
		"ada@mail.gmail.com":       "company",
		"":                         "unknown",
	} {
		if got := address.DomainClass(); got != want {
			t.Errorf("%s: %s, want %s", address.Masked(), got, want)
		}
	}
}
