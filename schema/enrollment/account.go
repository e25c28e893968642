package enrollment

import "strings"

// MaxAccountNumber is the longest account number, in characters as typed.
const MaxAccountNumber = 64

// AccountKey returns what two spellings of one account number have in common: no blanks, no dashes, no invisible
// characters, ASCII letters in upper case. With leadingZerosOptional (a tenant's policy) leading zeros go too, but a
// number of nothing but zeros keeps one. Billing's events and the form use the same function; its result may be given
// to it again.
//
// The error is a *Refusal of FieldAccountNumber: Missing, TooLong or BadCharacters.
func AccountKey(typed string, leadingZerosOptional bool) (string, error) {
	key, err := canonical(typed, FieldAccountNumber, MaxAccountNumber)
	if err != nil {
		return "", err
	}
	if leadingZerosOptional {
		significant := strings.TrimLeft(key, "0")
		if significant == "" {
			return "0", nil
		}
		return significant, nil
	}
	return key, nil
}
