package enrollment_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// vectors is testdata/activation-links.json, which workers in other languages test themselves with.
type vectors struct {
	Algorithm []string
	Vectors   []vector
}

type vector struct {
	Name         string
	LinkKey      string // hex
	Tenant       string
	EnrollmentID uuid.UUID
	Generation   uint32
	Address      enrollment.Address
	Token        string
}

func readVectors(t *testing.T) []vector {
	t.Helper()
	file, err := os.ReadFile("testdata/activation-links.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(file, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Vectors) == 0 || len(v.Algorithm) == 0 {
		t.Fatal("testdata/activation-links.json lacks the algorithm or the vectors")
	}
	return v.Vectors
}

func TestLinkVectors(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			key, err := hex.DecodeString(v.LinkKey)
			if err != nil {
				t.Fatal(err)
			}
			link := enrollment.Link{Enrollment: v.EnrollmentID, Generation: v.Generation}
			if got := enrollment.Mint(key, v.Tenant, link, v.Address).Reveal(); got != v.Token {
				t.Errorf("Mint = %s, want %s", got, v.Token)
			}
			signed, err := enrollment.ParseLink(v.Token)
			if err != nil || signed.Link != link || !signed.Genuine(key, v.Tenant, v.Address) {
				t.Errorf("ParseLink = %+v, %v", signed.Link, err)
			}
		})
	}
}

var (
	linkKey = []byte("a link key of thirty-two bytes !")
	link    = enrollment.Link{Enrollment: uuid.MustParse("018f7b1e-9d2c-7c3a-8b4e-5f6a7b8c9d0e"), Generation: 2}
)

func TestALinkIsGenuineOnlyForWhatItWasMintedFor(t *testing.T) {
	minted := enrollment.Mint(linkKey, "mongo", link, "ada@b.example").Reveal()
	for _, tt := range []struct {
		name    string
		token   string
		key     string
		tenant  string
		address enrollment.Address
		genuine bool
	}{
		{"the same", minted, string(linkKey), "mongo", "ada@b.example", true},
		{"another key", minted, "another key of thirty-two bytes!", "mongo", "ada@b.example", false},
		{"another tenant", minted, string(linkKey), "mongo2", "ada@b.example", false},
		{"a corrected address", minted, string(linkKey), "mongo", "ada@c.example", false},
		{"a letter moved from one part to the next", minted, string(linkKey), "mong", "oada@b.example", false},
		{"another generation", rewritten(t, minted, 19), string(linkKey), "mongo", "ada@b.example", false},
		{"another enrollment", rewritten(t, minted, 0), string(linkKey), "mongo", "ada@b.example", false},
		{"another signature", rewritten(t, minted, 39), string(linkKey), "mongo", "ada@b.example", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			signed, err := enrollment.ParseLink(tt.token)
			if err != nil {
				t.Fatal(err)
			}
			if got := signed.Genuine([]byte(tt.key), tt.tenant, tt.address); got != tt.genuine {
				t.Errorf("Genuine = %t", got)
			}
		})
	}
}

// rewritten flips a bit of the token's byte at.
func rewritten(t *testing.T, token string, at int) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	raw[at] ^= 1
	return base64.RawURLEncoding.EncodeToString(raw)
}

func TestMailClientsMayHangPunctuationOnALink(t *testing.T) {
	minted := enrollment.Mint(linkKey, "mongo", link, "ada@b.example").Reveal()
	for _, tail := range []string{"", ".", ">", ")", ").", "\"", ">.", "'", "*", ",", ";"} {
		signed, err := enrollment.ParseLink(minted + tail)
		if err != nil || signed.Link != link || !signed.Genuine(linkKey, "mongo", "ada@b.example") {
			t.Errorf("with %q: %+v, %v", tail, signed.Link, err)
		}
	}
}

func TestADamagedLinkIsRefused(t *testing.T) {
	minted := enrollment.Mint(linkKey, "mongo", link, "ada@b.example").Reveal()
	last := minted[len(minted)-1:]
	for _, tt := range []struct {
		name, token string
	}{
		{"nothing", ""},
		{"one character", "A"},
		{"one character short", minted[:len(minted)-1]},
		{"one character long", minted + "A"},
		{"ten kilobytes", strings.Repeat("A", 10<<10)},
		{"padding", minted + "="},
		{"the standard alphabet", "+/" + minted[2:]},
		{"a line break inside", minted[:20] + "\n" + minted[21:]},
		{"two line breaks inside", minted[:20] + "\r\n" + minted[22:]},
		{"a line break more", minted[:20] + "\n" + minted[20:]},
		{"a line break after it", minted + "\n"},
		{"a blank before it", " " + minted},
		{"spare bits set", minted[:len(minted)-1] + string(last[0]+1)},
		{"letters after the punctuation", minted + ").x"},
		{"another script", strings.Repeat("я", 27)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := enrollment.ParseLink(tt.token)
			wantRefusal(t, err, enrollment.Refusal{Reason: enrollment.LinkDamaged})
		})
	}
}

func TestATokenIsPrintedOnlyWhenRevealed(t *testing.T) {
	if got := enrollment.Mint(linkKey, "mongo", link, "ada@b.example").String(); got != "[secret]" {
		t.Errorf("String = %s", got)
	}
}

func FuzzParseLink(f *testing.F) {
	minted := enrollment.Mint(linkKey, "mongo", link, "ada@b.example").Reveal()
	for _, seed := range []string{minted, minted + ".", minted[1:], "", "\n" + minted} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		signed, err := enrollment.ParseLink(token)
		if err != nil {
			wantSilent(t, err, token)
			return
		}
		ours := enrollment.Mint(linkKey, "mongo", signed.Link, "ada@b.example").Reveal()
		if signed.Genuine(linkKey, "mongo", "ada@b.example") != strings.HasPrefix(token, ours) {
			t.Errorf("%q: genuine is %t, minted is %q", token, signed.Genuine(linkKey, "mongo", "ada@b.example"), ours)
		}
	})
}

func TestALinkForAPasswordIsNoLinkForAnActivation(t *testing.T) {
	key, id := []byte("a link key for tests, 32 bytes!!"), enrollment.ID{1}
	const to enrollment.Address = "ada@b.example"
	recovery, err := enrollment.ParseLink(enrollment.MintRecovery(key, "mongo", id, to).Reveal())
	if err != nil {
		t.Fatal(err)
	}
	activation, err := enrollment.ParseLink(enrollment.Mint(key, "mongo", enrollment.Link{Enrollment: id, Generation: 1}, to).Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if !recovery.GenuineRecovery(key, "mongo", to) || recovery.Genuine(key, "mongo", to) || activation.GenuineRecovery(key, "mongo", to) {
		t.Error("the two kinds pass for one another")
	}
	for name, genuine := range map[string]bool{
		"another tenant":  recovery.GenuineRecovery(key, "zeros", to),
		"another address": recovery.GenuineRecovery(key, "mongo", "eve@b.example"),
		"another key":     recovery.GenuineRecovery([]byte("another key"), "mongo", to),
	} {
		if genuine {
			t.Errorf("genuine for %s", name)
		}
	}
}
