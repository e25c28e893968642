package portal

import (
	"crypto/rand"
	"embed"
	"math"
	"math/big"
	"strings"
	"unicode/utf8"

	"github.com/mongotel/billcenter/schema/enrollment"
)

//go:embed words/*.txt
var wordFiles embed.FS

// passphraseBits is the least entropy of a passphrase that is suggested: four words of a list for five dice have as much. With
// Argon2id at 20 ms a guess, a stolen hash of one holds a thousand cores busy for some seven hundred years.
const passphraseBits = 51

// suggestedPassphrases is how many a page shows, so that most people find one without loading the page anew, which would
// lose what they typed.
const suggestedPassphrases = 4

// wordsOf reads the word list of a language; the English one where there is none. The files are part of the program.
func wordsOf(language string) []string {
	file, err := wordFiles.ReadFile("words/" + language + ".txt")
	if err != nil {
		return wordsOf("en")
	}
	var words []string
	for line := range strings.Lines(string(file)) {
		if word := strings.TrimSpace(line); word != "" && !strings.HasPrefix(word, "#") {
			words = append(words, word)
		}
	}
	return words
}

// passphrases draws some that the rules for passwords take. They are shown and forgotten: never filled in, stored or logged;
// no page is cached. Fewer, or none, where a tenant's rules cannot be met by words.
func (v *voice) passphrases(least int, context ...string) []string {
	var drawn []string
	for try := 0; try < 4*suggestedPassphrases && len(drawn) < suggestedPassphrases; try++ {
		if phrase := passphrase(v.words, least); enrollment.CheckPassword(phrase, least, context...) == nil {
			drawn = append(drawn, phrase)
		}
	}
	return drawn
}

// passphrase draws words with equal chances until they are worth passphraseBits and have at least so many characters.
func passphrase(words []string, least int) string {
	var drawn []string
	each := math.Log2(float64(len(words)))
	for float64(len(drawn))*each < passphraseBits || utf8.RuneCountInString(strings.Join(drawn, " ")) < least {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(words))))
		if err != nil {
			panic(err) // crypto/rand has ended the process before
		}
		drawn = append(drawn, words[n.Int64()])
	}
	return strings.Join(drawn, " ")
}
