package enrollment_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mongotel/billcenter/schema/enrollment"
)

func TestParseUsername(t *testing.T) {
	for _, tt := range []struct {
		name, typed, display, key string
	}{
		{"the manual's example", "Bob’sBuilding", "Bob’sBuilding", "bob'sbuilding"},
		{"the same with a typewriter's apostrophe", "bob'sbuilding", "bob'sbuilding", "bob'sbuilding"},
		{"the same with an opening quote", "BOB‘SBUILDING", "BOB‘SBUILDING", "bob'sbuilding"},
		{"the same with a modifier apostrophe", "Bob\u02bcsBuilding", "Bob\u02bcsBuilding", "bob'sbuilding"},
		{"the same in full width", "Ｂｏｂ＇ｓＢｕｉｌｄｉｎｇ", "Ｂｏｂ＇ｓＢｕｉｌｄｉｎｇ", "bob'sbuilding"},
		{"blanks around it are dropped", "  ada ", "ada", "ada"},
		{"an e-mail address", "Ada@bobs.example", "Ada@bobs.example", "ada@bobs.example"},
		{"digits and punctuation", "a.b_c-1!", "a.b_c-1!", "a.b_c-1!"},
		{"a letter and its accent are one letter", "Jose\u0301", "José", "josé"},
		{"the Kelvin sign is a K", "\u212aelvin", "Kelvin", "kelvin"},
		{"Greek", "ΣΊΣΥΦΟΣ", "ΣΊΣΥΦΟΣ", "σίσυφοσ"},
		{"Cyrillic with digits", "Ольга7", "Ольга7", "ольга7"},
		{"Japanese", "東京タワーのり", "東京タワーのり", "東京タワーのり"},
		{"Korean with Hanja", "金치과의원", "金치과의원", "金치과의원"},
		{"Hebrew", "שלום", "שלום", "שלום"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := enrollment.ParseUsername(tt.typed)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(enrollment.Username{Display: tt.display, Key: tt.key}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if key, ok := enrollment.UsernameKey(tt.typed); !ok || key != tt.key {
				t.Errorf("UsernameKey = %q, %t", key, ok)
			}
		})
	}
}

func TestParseUsernameRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, typed string
		want        enrollment.Refusal
	}{
		{"nothing", "", enrollment.Refusal{Reason: enrollment.Missing}},
		{"blanks", " \u3000", enrollment.Refusal{Reason: enrollment.Missing}},
		{"two characters", "ab", enrollment.Refusal{Reason: enrollment.TooShort, Limit: 3}},
		{"65 characters", strings.Repeat("a", 65), enrollment.Refusal{Reason: enrollment.TooLong, Limit: 64}},
		{"a key of more than 64", strings.Repeat("İ", 64), enrollment.Refusal{Reason: enrollment.TooLong, Limit: 64}},
		{"a space", "Bob's Building", enrollment.Refusal{Reason: enrollment.HasSpaces,
			Suggestions: []string{"Bob'sBuilding", "Bob's-Building", "Bob's.Building"}}},
		{"a no-break space", "Bob’s\u00a0Building", enrollment.Refusal{Reason: enrollment.HasSpaces,
			Suggestions: []string{"Bob’sBuilding", "Bob’s-Building", "Bob’s.Building"}}},
		{"a space beside something worse", "Bob ᴮᴵᴳ", enrollment.Refusal{Reason: enrollment.HasSpaces}},
		{"a NUL", "bob\x00", enrollment.Refusal{Reason: enrollment.BadCharacters}},
		{"a line break", "bob\r\nBcc: x", enrollment.Refusal{Reason: enrollment.BadCharacters}},
		{"half a character", "bob\xc3", enrollment.Refusal{Reason: enrollment.BadCharacters}},
		{"a change of direction", "bob\u202egnp", enrollment.Refusal{Reason: enrollment.BadCharacters}},
		{"a zero-width joiner", "bob\u200dby", enrollment.Refusal{Reason: enrollment.BadCharacters}},
		{"a byte order mark", "bob\ufeff1", enrollment.Refusal{Reason: enrollment.BadCharacters}},
		{"superscript letters", "ᴮᴵᴳᴮᴵᴿᴰ", enrollment.Refusal{Reason: enrollment.BadCharacters}},
		{"a ligature", "ﬁnance", enrollment.Refusal{Reason: enrollment.BadCharacters}},
		{"a long s", "bobſ", enrollment.Refusal{Reason: enrollment.BadCharacters}},
		{"an emoji", "bob🏗", enrollment.Refusal{Reason: enrollment.BadCharacters}},
		{"a Cyrillic a among Latin letters", "аlice", enrollment.Refusal{Reason: enrollment.MixedScripts}},
		{"Latin beside Han", "sony東京", enrollment.Refusal{Reason: enrollment.MixedScripts}},
		{"kana beside Hangul", "のり김치", enrollment.Refusal{Reason: enrollment.MixedScripts}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Field = enrollment.FieldUsername
			got, err := enrollment.ParseUsername(tt.typed)
			if got != (enrollment.Username{}) {
				t.Errorf("username = %+v", got)
			}
			wantRefusal(t, err, tt.want)
			if key, ok := enrollment.UsernameKey(tt.typed); ok || key != "" {
				t.Errorf("UsernameKey = %q, %t", key, ok)
			}
		})
	}
}

func TestTheKeyOfAUsernameKeyIsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typed := rapid.StringOfN(rapid.OneOf(
			rapid.RuneFrom([]rune("aBkİıſ'’ʼ＇\u0307\u030c\u212aΣσς１Ａ\u0345ß")),
			rapid.Rune(),
		), 1, 70, -1).Draw(t, "typed")
		checkUsername(t, typed)
	})
}

func FuzzParseUsername(f *testing.F) {
	for _, seed := range []string{"Bob’sBuilding", "Bob's Building", "ADMİN", "ᴮᴵᴳ", "\u212a12", "שלום1", "東京タワー", "\xff12"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) { checkUsername(t, typed) })
}

func checkUsername(t rapid.TB, typed string) {
	u, err := enrollment.ParseUsername(typed)
	if err != nil {
		return
	}
	again, err := enrollment.ParseUsername(u.Key)
	if err != nil || again.Key != u.Key || again.Display != u.Key {
		t.Fatalf("%q has the key %q, which parses as %+v, %v", typed, u.Key, again, err)
	}
	if shown, err := enrollment.ParseUsername(u.Display); err != nil || shown != u {
		t.Fatalf("%q displays as %q, which parses as %+v, %v", typed, u.Display, shown, err)
	}
}

func TestSuggestUsernames(t *testing.T) {
	display := func(typed string) []string {
		u, err := enrollment.ParseUsername(typed)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range enrollment.SuggestUsernames(u) {
			if again, err := enrollment.ParseUsername(s.Display); err != nil || again != s || s.Key == u.Key {
				t.Errorf("%q suggests %+v, which parses as %+v, %v", typed, s, again, err)
			}
			names = append(names, s.Display)
		}
		return names
	}
	for _, tt := range []struct {
		name, taken string
		first       []string
	}{
		{"the display form is kept", "Bob’sBuilding", []string{"Bob’sBuilding2", "Bob’sBuilding-billing", "Bob’sBuilding3"}},
		{"a number does not grow another digit", "studio54", []string{"studio54-2", "studio54-billing", "studio54-3"}},
		{"a Greek name gets no Latin tail", "Σίσυφος", []string{"Σίσυφος2", "Σίσυφος3", "Σίσυφος4"}},
		{"a long name is cut", strings.Repeat("a", 64), []string{strings.Repeat("a", 63) + "2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := display(tt.taken)
			if len(got) < len(tt.first) {
				t.Fatalf("only %q", got)
			}
			if diff := cmp.Diff(tt.first, got[:len(tt.first)]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !slices.Equal(got, display(tt.taken)) {
				t.Error("asked twice, the suggestions differ")
			}
			for _, name := range got {
				if utf8.RuneCountInString(name) > 64 {
					t.Errorf("%q is too long", name)
				}
			}
		})
	}
}
