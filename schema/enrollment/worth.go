package enrollment

import (
	_ "embed"
	"strings"
	"sync"
	"unicode"
)

// leastPiece is the shortest piece that a guesser is granted as a whole.
const leastPiece = 3

// worth returns how many characters a guesser has to find if these things cost one character each:
//
//   - a word of the blocklist or of the context, also with digits and signs for letters (p4$$w0rd),
//   - three or more neighbours on a keyboard, in the alphabet or among the digits, in either direction,
//   - a year of the last or this century,
//   - three or more characters that stood in the password before: "passwordpassword" is worth 2,
//
// every other character costs one, and case, blanks, dashes, dots, commas and apostrophes nothing. Comparing this with a
// bound refuses what a far longer list of passwords would hold, one entry for each combination.
func worth(password string, context [][]rune) int {
	text, words := []rune(strings.Map(guessable, password)), blocklist()
	repeated := repeats(text)
	cheapest := make([]int, len(text)+1) // to find text[:i]
	for i := range cheapest {
		cheapest[i] = i
	}
	for at := range text {
		rest := text[at:]
		spend := func(length int) {
			cheapest[at+length] = min(cheapest[at+length], cheapest[at]+1)
		}
		spend(1)
		for _, initial := range string(rest[0]) + standsFor(rest[0]) {
			for _, word := range words[initial] {
				if startsWith(rest, word) {
					spend(len(word))
				}
			}
		}
		for _, word := range context {
			if startsWith(rest, word) {
				spend(len(word))
			}
		}
		if isYear(rest) {
			spend(4)
		}
		longest := max(walked(rest), repeated[at])
		for length := leastPiece; length <= longest; length++ {
			spend(length)
		}
	}
	return cheapest[len(text)]
}

func guessable(r rune) rune {
	if unicode.IsSpace(r) || dash(r) || invisible(r) || strings.ContainsRune("_.,'", foldApostrophe(r)) {
		return -1
	}
	return unicode.ToLower(r)
}

func startsWith(text, word []rune) bool {
	if len(text) < len(word) {
		return false
	}
	for i, want := range word {
		if text[i] != want && !strings.ContainsRune(standsFor(text[i]), want) {
			return false
		}
	}
	return true
}

// standsFor returns the letters that a digit or sign is written for.
func standsFor(r rune) string {
	switch r {
	case '0':
		return "o"
	case '1', '!', '|':
		return "il"
	case '2':
		return "z"
	case '3', '€':
		return "e"
	case '4', '@':
		return "a"
	case '5', '$':
		return "s"
	case '7', '+':
		return "t"
	case '8':
		return "b"
	case '9':
		return "g"
	default:
		return ""
	}
}

func isYear(text []rune) bool {
	return len(text) >= 4 && (text[0] == '1' && text[1] == '9' || text[0] == '2' && text[1] == '0') &&
		isDigit(text[2]) && isDigit(text[3])
}

func isDigit(r rune) bool { return '0' <= r && r <= '9' }

// walks are rows that fingers run along (US, German, French and Russian keyboards, down the columns, the number pad)
// and what everybody can count.
var walks = lines(`
	abcdefghijklmnopqrstuvwxyzabc 01234567890123
	qwertyuiop[] asdfghjkl; zxcvbnm/ !@#$%^&*()+
	qwertzuiopü yxcvbnm azertyuiop qsdfghjklm wxcvbn
	йцукенгшщзхъ фывапролджэ ячсмитьбю
	1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p qazwsxedcrfvtgbyhnujmikolp 1qazxsw23edcvfr45tgbnhy6
	1q2w3e4r5t6y7u8i9o0p q1w2e3r4t5y6u7i8o9p0 1qa2ws3ed4rf5tg6yh7uj8ik 1a2b3c4d5e6f7g8h9i0j
	147258369 789456123
`)

func lines(text string) [][]rune {
	var rows [][]rune
	for row := range strings.FieldsSeq(text) {
		rows = append(rows, []rune(row))
	}
	return rows
}

// walked returns how far text runs along one of the walks.
func walked(text []rune) int {
	longest := 0
	for _, walk := range walks {
		for start, r := range walk {
			if r == text[0] {
				longest = max(longest, along(text, walk, start, 1), along(text, walk, start, -1))
			}
		}
	}
	return longest
}

func along(text, row []rune, start, step int) int {
	n := 0
	for n < len(text) && start >= 0 && start < len(row) && text[n] == row[start] {
		n, start = n+1, start+step
	}
	return n
}

// repeats returns, for every place in text, how much of what follows stood in text before; the two may overlap, so that
// one character or one word over and over counts once.
func repeats(text []rune) []int {
	longest := make([]int, len(text))
	for period := 1; period < len(text); period++ {
		run := 0
		for at := len(text) - 1; at >= period; at-- {
			if text[at] != text[at-period] {
				run = 0
				continue
			}
			run++
			longest[at] = max(longest[at], run)
		}
	}
	return longest
}

//go:embed blocklist.txt
var blocklistText string

// blocklist returns the words and phrases that common passwords are made of, by their first letter.
var blocklist = sync.OnceValue(func() map[rune][][]rune {
	words := make(map[rune][][]rune)
	for line := range strings.FieldsSeq(blocklistText) {
		word := []rune(line)
		words[word[0]] = append(words[word[0]], word)
	}
	return words
})

//go:embed common_passwords.txt
var commonPasswords string

// common reports whether the password is on the list of common ones as a whole, with or without digits and signs after
// it. The list has one password a line, as guessable leaves it.
func common(password string) bool {
	for form := strings.Map(guessable, password); form != ""; {
		if strings.Contains(commonPasswords, "\n"+form+"\n") {
			return true
		}
		last := len(form) - 1
		if !strings.Contains("0123456789!?*#$&", form[last:]) {
			return false
		}
		form = form[:last]
	}
	return false
}
