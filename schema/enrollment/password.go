package enrollment

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxPassword is the longest password in code points after NFC: NIST SP 800-63B-4 asks for 64 at least. The shortest is
// the tenant's Policy.PasswordMin.
const MaxPassword = 128

// leastWorth is how much of a password must be the customer's own: see worth. With it, the name of the telecom needs
// seven characters more, and five characters written three times do not pass for fifteen.
const leastWorth = 8

// NormalizePassword returns what is hashed and verified: NFC, so that one keyboard's é is another's. Nothing is cut off,
// trimmed or folded.
func NormalizePassword(password string) string { return norm.NFC.String(password) }

// CheckPassword refuses a password with fewer code points after NFC than least or more than MaxPassword, one with
// controls, and one that somebody who knows a little would soon guess; it asks for no mix of characters. Context is what
// such a guesser knows of this customer: username, e-mail address, account number, the tenant's name. The portal's own
// name is always part of it.
//
// The error is a *Refusal of FieldPassword: Missing, TooShort, TooLong, BadCharacters, PasswordCommon (it is
// on the list of common passwords, or what blocklist, keyboards, sequences and repetition leave of it is worth less than
// 8 characters) or PasswordContext (the same, once the words of the context count as known).
func CheckPassword(password string, least int, context ...string) error {
	if !utf8.ValidString(password) {
		return &Refusal{Reason: BadCharacters, Field: FieldPassword}
	}
	password = NormalizePassword(password)
	switch n := utf8.RuneCountInString(password); {
	case n == 0:
		return &Refusal{Reason: Missing, Field: FieldPassword}
	case n < least:
		return &Refusal{Reason: TooShort, Field: FieldPassword, Limit: least}
	case n > MaxPassword:
		return &Refusal{Reason: TooLong, Field: FieldPassword, Limit: MaxPassword}
	case strings.ContainsFunc(password, notForPasswords):
		return &Refusal{Reason: BadCharacters, Field: FieldPassword}
	}

	if common(password) || worth(password, nil) < leastWorth {
		return &Refusal{Reason: PasswordCommon, Field: FieldPassword}
	}
	words := contextWords("billcenter")
	for _, phrase := range context {
		words = append(words, contextWords(phrase)...)
	}
	if worth(password, words) < leastWorth {
		return &Refusal{Reason: PasswordContext, Field: FieldPassword}
	}
	return nil
}

// notForPasswords reports controls, which keyboards do not type, and unassigned code points, whose normal form a later
// Unicode may change. Format characters are fine: emoji are joined by them.
func notForPasswords(r rune) bool {
	return !unicode.IsGraphic(r) && !unicode.In(r, unicode.Cf, unicode.Co)
}

// contextWords returns the words of a name, address or number, and all of it as one word.
func contextWords(phrase string) [][]rune {
	letters := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsNumber(r) {
			return unicode.ToLower(r)
		}
		return ' '
	}, norm.NFC.String(phrase))
	words := strings.Fields(letters)

	var known [][]rune // shorter ones save a guesser nothing
	for _, word := range append(words, strings.Join(words, "")) {
		if runes := []rune(word); len(runes) >= leastPiece {
			known = append(known, runes)
		}
	}
	return known
}
