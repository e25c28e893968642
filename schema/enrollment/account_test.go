package enrollment_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mongotel/billcenter/schema/enrollment"
)

func TestAccountKey(t *testing.T) {
	for _, tt := range []struct {
		name, typed, key string
	}{
		{"a dash does not count", "100482-7", "1004827"},
		{"blanks do not count", " 100 482 7 ", "1004827"},
		{"a no-break space does not count", "100482\u00a07", "1004827"},
		{"an en dash, a figure dash and a minus do not count", "1–0‒0−482‐7", "1004827"},
		{"a zero-width space and a byte order mark do not count", "\ufeff100482\u200b7", "1004827"},
		{"a tab around it does not count", "\t1004827\t", "1004827"},
		{"case does not count", "ab-12c", "AB12C"},
		{"other letters keep their case", "ñandú-1", "ñANDú1"},
		{"a letter and its accent are one letter", "cafe\u0301", "CAFé"},
		{"a joiner between letter and accent changes nothing", "cafe\u200d\u0301", "CAFé"},
		{"the Kelvin sign is a K", "\u212a1", "K1"},
		{"leading zeros count", "00482", "00482"},
		{"punctuation counts", "A/1.2#3", "A/1.2#3"},
		{"64 characters are not too many", strings.Repeat("7", 64), strings.Repeat("7", 64)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := enrollment.AccountKey(tt.typed, false)
			if err != nil || got != tt.key {
				t.Errorf("AccountKey = %q, %v; want %q", got, err, tt.key)
			}
		})
	}
}

func TestAccountKeyWithOptionalZeros(t *testing.T) {
	for _, tt := range []struct {
		name, typed, key string
	}{
		{"leading zeros do not count", "00-482", "482"},
		{"other zeros count", "48200", "48200"},
		{"nothing but zeros is zero", "0000", "0"},
		{"a letter ends the zeros", "00a0", "A0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := enrollment.AccountKey(tt.typed, true)
			if err != nil || got != tt.key {
				t.Errorf("AccountKey = %q, %v; want %q", got, err, tt.key)
			}
		})
	}
}

func TestAccountKeyRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, typed string
		reason      enrollment.Reason
		limit       int
	}{
		{"nothing", "", enrollment.Missing, 0},
		{"blanks", " \u00a0\t", enrollment.Missing, 0},
		{"dashes", "--–", enrollment.Missing, 0},
		{"65 characters", strings.Repeat("7", 65), enrollment.TooLong, 64},
		{"a NUL", "1004\x0082", enrollment.BadCharacters, 0},
		{"a line break", "1004\r\n82", enrollment.BadCharacters, 0},
		{"full-width digits", "１００４８２", enrollment.BadCharacters, 0},
		{"full-width letters", "Ａ100482", enrollment.BadCharacters, 0},
		{"digits of another script", "١٠٠٤٨٢", enrollment.BadCharacters, 0},
		{"a change of direction", "1004\u202e82", enrollment.BadCharacters, 0},
		{"half a character", "1004\xff82", enrollment.BadCharacters, 0},
		{"a replacement character", "1004\ufffd82", enrollment.BadCharacters, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key, err := enrollment.AccountKey(tt.typed, false)
			if key != "" {
				t.Errorf("key = %q", key)
			}
			wantRefusal(t, err, enrollment.Refusal{Reason: tt.reason, Field: enrollment.FieldAccountNumber, Limit: tt.limit})
		})
	}
}

func TestTheKeyOfAnAccountKeyIsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typed := accountNumbers().Draw(t, "typed")
		zeros := rapid.Bool().Draw(t, "leading zeros optional")
		key, err := enrollment.AccountKey(typed, zeros)
		if err != nil {
			return
		}
		if again, err := enrollment.AccountKey(key, zeros); err != nil || again != key {
			t.Fatalf("%q has the key %q, which has the key %q, %v", typed, key, again, err)
		}
	})
}

// accountNumbers favours what normalisation is about over the rest of Unicode.
func accountNumbers() *rapid.Generator[string] {
	return rapid.StringOfN(rapid.OneOf(
		rapid.RuneFrom([]rune("0123456789abIKilo -–\u200d\u0301\u0307\u030c\u212a\u0958\u2126")),
		rapid.Rune(),
	), 1, 70, -1)
}

func FuzzAccountKey(f *testing.F) {
	for _, seed := range []string{"100482-7", "ÅB 12", "i\u200b\u0307", "\u0958", "１２", "\xff", "00"} {
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, typed string, zeros bool) {
		key, err := enrollment.AccountKey(typed, zeros)
		if err != nil {
			wantSilent(t, err, typed)
			return
		}
		if again, err := enrollment.AccountKey(key, zeros); err != nil || again != key {
			t.Errorf("%q has the key %q, which has the key %q, %v", typed, key, again, err)
		}
	})
}
