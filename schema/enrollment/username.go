package enrollment

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
)

// The length of a username in code points, of its display form and of its key alike.
const (
	MinUsername = 3
	MaxUsername = 64
)

// Username is a name that a customer logs in with.
type Username struct {
	Display string // as typed, without blanks around it, in NFC
	Key     string // unique per tenant; equal for every spelling that logs in
}

// ParseUsername checks a username and makes its key: typographic apostrophes (U+2018, U+2019, U+02BC, U+FF07) become ',
// then PRECIS UsernameCaseMapped (RFC 8265) folds width and case and refuses what is no letter, digit or printable ASCII.
// The key of a key is the key itself.
//
// Letters must be of one script, so that a Cyrillic "а" cannot make a second "alice". As in Unicode TR 39, Japanese (Han
// with kana), Korean (Han with Hangul) and Bopomofo with Han count as one script each; Latin letters beside them do not.
// Digits, apostrophes and punctuation belong to every script.
//
// The error is a *Refusal of FieldUsername: Missing, TooShort, TooLong, HasSpaces (with Suggestions), BadCharacters or
// MixedScripts.
func ParseUsername(typed string) (Username, error) {
	if !utf8.ValidString(typed) {
		return Username{}, refuseUsername(BadCharacters)
	}
	display := norm.NFC.String(strings.TrimSpace(typed))
	if display == "" {
		return Username{}, refuseUsername(Missing)
	}
	if strings.ContainsFunc(display, unprintable) {
		return Username{}, refuseUsername(BadCharacters)
	}
	if err := usernameLength(display); err != nil {
		return Username{}, err
	}
	if strings.ContainsFunc(display, unicode.IsSpace) {
		return Username{}, &Refusal{Reason: HasSpaces, Field: FieldUsername, Suggestions: withoutSpaces(display)}
	}

	key, err := usernameKey(display)
	if err != nil {
		return Username{}, err
	}
	if err := usernameLength(key); err != nil {
		return Username{}, err
	}
	if !oneScript(key) {
		return Username{}, refuseUsername(MixedScripts)
	}
	return Username{Display: display, Key: key}, nil
}

// UsernameKey returns the key to look a log-in up by; ok is false for what can be nobody's username.
func UsernameKey(typed string) (key string, ok bool) {
	u, err := ParseUsername(typed)
	return u.Key, err == nil
}

// usernameKey refuses a name whose key has another key: somebody could take an account over by registering the key
// (Spotify, 2013).
func usernameKey(display string) (string, error) {
	key, err := precis.UsernameCaseMapped.String(strings.Map(foldApostrophe, display))
	if err != nil {
		return "", refuseUsername(BadCharacters)
	}
	again, err := precis.UsernameCaseMapped.String(strings.Map(foldApostrophe, key))
	if err != nil || again != key {
		return "", refuseUsername(BadCharacters)
	}
	return key, nil
}

func foldApostrophe(r rune) rune {
	switch r {
	case '\u2018', '\u2019', '\u02BC', '\uFF07':
		return '\''
	default:
		return r
	}
}

// unprintable reports controls, invisible and direction-changing characters, and unassigned ones. A blank is a matter
// of its own.
func unprintable(r rune) bool {
	return !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) || r == utf8.RuneError
}

func usernameLength(s string) error {
	switch n := utf8.RuneCountInString(s); {
	case n < MinUsername:
		return &Refusal{Reason: TooShort, Field: FieldUsername, Limit: MinUsername}
	case n > MaxUsername:
		return &Refusal{Reason: TooLong, Field: FieldUsername, Limit: MaxUsername}
	default:
		return nil
	}
}

func refuseUsername(reason Reason) error { return &Refusal{Reason: reason, Field: FieldUsername} }

// writingSystems lists the sets of scripts that are written together and pass as one.
var writingSystems = [...][]string{
	{"Han", "Hiragana", "Katakana"},
	{"Han", "Hangul"},
	{"Han", "Bopomofo"},
}

func oneScript(s string) bool {
	var found []string
	var last *unicode.RangeTable
	for _, r := range s {
		if unicode.In(r, unicode.Common, unicode.Inherited) || last != nil && unicode.Is(last, r) {
			continue
		}
		for name, table := range unicode.Scripts {
			if unicode.Is(table, r) {
				found, last = append(found, name), table
				break
			}
		}
	}
	if len(found) < 2 || allIn(found, found[:1]) {
		return true
	}
	for _, system := range writingSystems {
		if allIn(found, system) {
			return true
		}
	}
	return false
}

func allIn(names, set []string) bool {
	for _, name := range names {
		if !slices.Contains(set, name) {
			return false
		}
	}
	return true
}

func withoutSpaces(display string) []string {
	var suggestions []string
	words := strings.Fields(display)
	for _, between := range [...]string{"", "-", "."} {
		if u, err := ParseUsername(strings.Join(words, between)); err == nil {
			suggestions = append(suggestions, u.Display)
		}
	}
	return suggestions
}

// SuggestUsernames returns variants of a name that is taken, well-formed and in a fixed order, the likeliest first.
// The store offers the first few that are free.
func SuggestUsernames(taken Username) []Username {
	var variants []Username
	for _, tail := range usernameTails(taken.Display) {
		base := []rune(taken.Display)
		if room := MaxUsername - utf8.RuneCountInString(tail); len(base) > room {
			base = base[:room]
		}
		u, err := ParseUsername(string(base) + tail)
		if err == nil && u.Key != taken.Key { // a Latin word after a Greek name is no name
			variants = append(variants, u)
		}
	}
	return variants
}

func usernameTails(display string) []string {
	words := []string{"-billing", "-accounts", "-office", "-finance"}
	last, _ := utf8.DecodeLastRuneInString(display)
	var tails []string
	for n := 2; n <= 20; n++ {
		tail := strconv.Itoa(n)
		if unicode.IsDigit(last) {
			tail = "-" + tail // "studio54" and 2 are "studio54-2", not another studio
		}
		tails = append(tails, tail)
		if i := n - 2; i < len(words) {
			tails = append(tails, words[i])
		}
	}
	return tails
}
