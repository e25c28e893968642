package portal

import (
	"bytes"
	"log/slog"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/html"

	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/locale"
)

func TestWordLists(t *testing.T) {
	simple := regexp.MustCompile(`^[a-z]{3,9}$|^yo-yo$`)
	for _, language := range locale.Languages {
		words := wordsOf(language)
		if n := len(slices.Compact(slices.Sorted(slices.Values(words)))); n != len(words) || n < 1296 {
			t.Errorf("%s: %d words, %d different ones", language, len(words), n)
		}
		for _, w := range words {
			if !simple.MatchString(w) {
				t.Errorf("%s: %q is hard to type", language, w)
			}
		}
	}
	if !slices.Equal(wordsOf("fr"), wordsOf("en")) || slices.Equal(wordsOf("es"), wordsOf("en")) {
		t.Error("a language without a list of its own has not the English one, or Spanish has it")
	}
}

func TestAPassphraseIsWorthItsBitsAndLongEnough(t *testing.T) {
	for _, language := range locale.Languages {
		words := wordsOf(language)
		for _, least := range []int{8, 15, 64} {
			seen := map[string]bool{}
			for range 200 {
				phrase := passphrase(words, least)
				drawn := strings.Split(phrase, " ")
				if bits := float64(len(drawn)) * math.Log2(float64(len(words))); bits < 51 || len(drawn) < 4 {
					t.Fatalf("%s: %q is worth %.1f bits", language, phrase, bits)
				}
				if utf8.RuneCountInString(phrase) < least || seen[phrase] {
					t.Fatalf("%s: %q is too short or came before", language, phrase)
				}
				seen[phrase] = true
				for _, w := range drawn {
					if !slices.Contains(words, w) {
						t.Fatalf("%s: %q is no word of the list", language, w)
					}
				}
			}
		}
	}
	// Every word comes: of 20,000 draws each of 1,296 is missed with a chance of 2 in 10 million.
	drawn := map[string]bool{}
	for range 4000 {
		for w := range strings.FieldsSeq(passphrase(wordsOf("en"), 15)) {
			drawn[w] = true
		}
	}
	if len(drawn) != len(wordsOf("en")) {
		t.Errorf("%d words of %d were drawn", len(drawn), len(wordsOf("en")))
	}
}

func TestWhatRulesRefuseIsNotSuggested(t *testing.T) {
	v := voicesOfOne(t)["en-US"]
	all := strings.Join(v.words, " ")
	if got := v.passphrases(15, all); got != nil { // who has every word in their name has none left
		t.Errorf("suggested %q", got)
	}
	if got := v.passphrases(enrollment.MaxPassword + 1); got != nil {
		t.Errorf("suggested %q, which is too long", got)
	}
	if got := v.passphrases(15, "Bob’sBuilding", "Mongotel"); len(got) != suggestedPassphrases {
		t.Errorf("suggested %q", got)
	}
}

// suggestions are the passphrases of a page.
func (p page) suggestions(s *scene) (phrases []string) {
	s.Helper()
	box := p.find(s, "class", "suggestion")
	if box == nil {
		s.Fatalf("no suggestion on the page:\n%s", p.text(s))
	}
	for n := range box.Descendants() {
		if n.Type == html.ElementNode && n.Data == "b" {
			phrases = append(phrases, text(n))
		}
	}
	return phrases
}

func TestPassphrasesAreSuggestedAndTaken(t *testing.T) {
	var log bytes.Buffer
	s := newScene(t)
	s.serve(Options{Store: s.db, Tenants: oneTenant(t), Keys: s.db.Ring, Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	s.customer().signUp().leadsTo(s, "/signup/check-email")
	link := s.link(address)
	c := s.customer()
	first, second := c.get(link), c.get(link)
	shown := append(first.suggestions(s), second.suggestions(s)...)
	if n := len(slices.Compact(slices.Sorted(slices.Values(shown)))); n != 2*suggestedPassphrases {
		t.Errorf("%d passphrases on two pages: %q", n, shown)
	}
	if first.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q", first.Header.Get("Cache-Control"))
	}
	for n := range first.document(s).Descendants() {
		if n.Type == html.ElementNode && n.Data == "input" && slices.Contains(shown, attribute(n, "value")) {
			t.Error("a passphrase is filled in")
		}
	}
	wrong := c.activate(link, "short")
	wrong.is(s, 422)
	checkStructure(t, wrong.body)
	chosen := wrong.suggestions(s)[1]
	c.activate(link, chosen).leadsTo(s, "/login")
	c.logIn(username, chosen).leadsTo(s, "/account")

	security := c.get("/account/security")
	checkStructure(t, security.body)
	next := security.suggestions(s)[0]
	c.post("/account/security", url.Values{"current_password": {chosen}, "password": {next}, "password_confirmation": {next}}).leadsTo(s, "/account/security")
	c.forgets(username)
	reset := s.resetLink()
	spanish := c.get(reset + "?lang=es-US")
	checkStructure(t, spanish.body)
	last := spanish.suggestions(s)[0]
	for w := range strings.FieldsSeq(last) {
		if !slices.Contains(wordsOf("es"), w) {
			t.Errorf("%q is not Spanish", w)
		}
	}
	c.activate(reset, last).leadsTo(s, "/login")
	c.logIn(username, last).leadsTo(s, "/account")

	s.web.Close() // no request writes any more
	for _, secret := range append(shown, chosen, next, last) {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log tells %q", secret)
		}
	}
}
