package enrollment_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mongotel/billcenter/schema/enrollment"
)

func TestCodeForms(t *testing.T) {
	for _, tt := range []struct {
		name, typed, exact, folded string
	}{
		{"as billing prints it", "7F3K-9QWD-M2XA", "7F3K9QWDM2XA", "7F3K9QWDM2XA"},
		{"lower case and blanks", " 7f3k 9qwd m2xa ", "7F3K9QWDM2XA", "7F3K9QWDM2XA"},
		{"with dashes of a word processor", "7F3K–9QWD—M2XA", "7F3K9QWDM2XA", "7F3K9QWDM2XA"},
		{"with zero-width characters", "7F3K\u200b-\u20609QWD", "7F3K9QWD", "7F3K9QWD"},
		{"letters for digits", "OIL-oil-1", "OILOIL1", "0110111"},
		{"as short as may be", "A1B2", "A1B2", "A1B2"},
		{"as long as may be", strings.Repeat("o", 64), strings.Repeat("O", 64), strings.Repeat("0", 64)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			exact, folded, err := enrollment.CodeForms(enrollment.Secret(tt.typed))
			if err != nil || exact != tt.exact || folded != tt.folded {
				t.Errorf("CodeForms = %q, %q, %v; want %q, %q", exact, folded, err, tt.exact, tt.folded)
			}
		})
	}
}

func TestCodeFormsRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, typed string
		reason      enrollment.Reason
		limit       int
	}{
		{"nothing", "", enrollment.Missing, 0},
		{"nothing but dashes", "----", enrollment.Missing, 0},
		{"three characters", "7F3", enrollment.TooShort, 4},
		{"three characters among dashes", "7-F-3", enrollment.TooShort, 4},
		{"65 characters", strings.Repeat("A", 65), enrollment.TooLong, 64},
		{"full-width digits", "７７７７７", enrollment.BadCharacters, 0},
		{"a line break", "7F3K\n9QWD", enrollment.BadCharacters, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := enrollment.CodeForms(enrollment.Secret(tt.typed))
			wantRefusal(t, err, enrollment.Refusal{Reason: tt.reason, Field: enrollment.FieldCode, Limit: tt.limit})
		})
	}
}

// A stored code is found by every spelling with the same look-alikes, whichever of the two is stored.
func TestLookAlikesMeetInTheFoldedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stored := rapid.StringOfN(rapid.RuneFrom([]rune("01OILoil27XK")), 4, 64, -1).Draw(t, "stored")
		typed := strings.Map(func(r rune) rune {
			for _, alike := range []string{"0Oo", "1IiLl"} {
				if strings.ContainsRune(alike, r) {
					return rapid.SampledFrom([]rune(alike)).Draw(t, "typed")
				}
			}
			return r
		}, stored)

		_, kept, err := enrollment.CodeForms(enrollment.Secret(stored))
		if err != nil {
			t.Fatal(err)
		}
		exact, folded, err := enrollment.CodeForms(enrollment.Secret(typed))
		if err != nil || folded != kept {
			t.Fatalf("%q is stored as %q but looked up as %q, %v", stored, kept, folded, err)
		}
		if again, _, err := enrollment.CodeForms(enrollment.Secret(exact)); err != nil || again != exact {
			t.Fatalf("the exact form of %q is %q, %v", exact, again, err)
		}
	})
}

func FuzzCodeForms(f *testing.F) {
	for _, seed := range []string{"7F3K-9QWD-M2XA", "oil1", "７７７７", "\xff\xff\xff\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		exact, folded, err := enrollment.CodeForms(enrollment.Secret(typed))
		if err != nil {
			wantSilent(t, err, typed)
			return
		}
		again, foldedAgain, err := enrollment.CodeForms(enrollment.Secret(exact))
		if err != nil || again != exact || foldedAgain != folded {
			t.Errorf("%q: %q, %q; again: %q, %q, %v", typed, exact, folded, again, foldedAgain, err)
		}
	})
}
