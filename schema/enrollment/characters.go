package enrollment

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// canonical returns the form in which account numbers and codes are compared: NFC, without blanks, dashes and invisible
// characters, with ASCII letters in upper case and every other letter as it is. Applying it again changes nothing.
//
// Only ASCII letters lose their case because the upper case of the others depends on the language (Turkish i), and
// compatibility forms are not folded (no NFKC), because two numbers that billing tells apart must not become one.
// Digits other than 0-9 and full-width forms are refused instead: they read like another account's number.
//
// What is typed may have limit characters, not counting blanks around it.
func canonical(typed string, field Field, limit int) (string, error) {
	if !utf8.ValidString(typed) {
		return "", &Refusal{Reason: BadCharacters, Field: field}
	}
	typed = strings.TrimSpace(norm.NFC.String(typed))
	if utf8.RuneCountInString(typed) > limit {
		return "", &Refusal{Reason: TooLong, Field: field, Limit: limit}
	}

	var kept strings.Builder
	for _, r := range typed {
		switch {
		case unicode.Is(unicode.Zs, r), dash(r), invisible(r):
		case !unicode.IsPrint(r), r == utf8.RuneError, misleadingDigit(r):
			return "", &Refusal{Reason: BadCharacters, Field: field}
		default:
			kept.WriteRune(r)
		}
	}
	if kept.Len() == 0 {
		return "", &Refusal{Reason: Missing, Field: field}
	}
	// Dropping can bring a letter and its mark together, and so can raising the letter: both may compose anew.
	return norm.NFC.String(strings.Map(upperASCII, norm.NFC.String(kept.String()))), nil
}

// dash reports hyphen-minus, the hyphens and dashes that word processors make of it (U+2010..2015), and the minus sign.
func dash(r rune) bool { return r == '-' || r >= 0x2010 && r <= 0x2015 || r == 0x2212 }

// invisible reports the characters without ink that come along with a copied text: soft hyphen, zero-width blanks and
// joiners, direction marks, invisible operators and the byte order mark. Embeddings and overrides of the direction are
// not among them: they change what is read.
func invisible(r rune) bool {
	return r == 0x00AD || r >= 0x200B && r <= 0x200F || r >= 0x2060 && r <= 0x2064 || r == 0xFEFF
}

func misleadingDigit(r rune) bool {
	return r >= 0xFF01 && r <= 0xFF5E || r > unicode.MaxASCII && unicode.IsDigit(r)
}

func upperASCII(r rune) rune {
	if 'a' <= r && r <= 'z' {
		return r - 'a' + 'A'
	}
	return r
}
