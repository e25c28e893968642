package enrollment

import (
	"strings"
	"unicode/utf8"
)

// The length of a registration code in characters as typed. The shorter bound holds for what is left of it, too.
const (
	MinCode = 4
	MaxCode = 64
)

// CodeForms returns the two forms in which a registration code is looked up. Exact has no blanks, dashes and invisible
// characters, and its ASCII letters in upper case. Folded also reads O as 0, and I and L as 1 (Crockford's look-alikes);
// it may equal exact.
//
// Codes are made by billing, so their alphabet is not ours: a stored `O1KX` may be typed as `01KX` and the other way
// round. So the store keeps a hash of either form of every code and compares like with like: exact with exact first,
// and only where that finds nothing, folded with folded.
//
// Both forms are as secret as the code. The error is a *Refusal of FieldCode: Missing, TooShort, TooLong or BadCharacters.
func CodeForms(typed Secret) (exact, folded string, err error) {
	exact, err = canonical(typed.Reveal(), FieldCode, MaxCode)
	if err != nil {
		return "", "", err
	}
	if utf8.RuneCountInString(exact) < MinCode {
		return "", "", &Refusal{Reason: TooShort, Field: FieldCode, Limit: MinCode}
	}
	return exact, strings.Map(crockford, exact), nil
}

func crockford(r rune) rune {
	switch r {
	case 'O':
		return '0'
	case 'I', 'L':
		return '1'
	default:
		return r
	}
}
