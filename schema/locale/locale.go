// Package locale writes days, moments and amounts as the people of a locale write them, and finds among the locales that a
// telecom offers the one that somebody reads best. The conventions are those of CLDR.
//
// The words of pages and mails are none of its business: they stand with the pages and the mails.
package locale

import (
	"fmt"
	"slices"

	"golang.org/x/text/language"
)

// Languages are those in which pages and mails have all their words, as BCP 47 base languages. Tests of both hold them to it.
var Languages = [...]string{"en", "es"}

// Locale is a language as a region writes it. The zero value is not usable; Parse makes one.
type Locale struct {
	tag     language.Tag
	figures figures
}

// Parse reads a BCP 47 tag, in any case, of one of Languages.
func Parse(s string) (Locale, error) {
	tag, err := language.Parse(s)
	if err != nil {
		return Locale{}, fmt.Errorf("%q is no language tag; give one such as en-US", s)
	}
	l := Locale{tag: tag, figures: figuresOf(tag)}
	if _, sure := tag.Base(); sure != language.Exact || !slices.Contains(Languages[:], l.Language()) {
		return Locale{}, fmt.Errorf("%q is a language without pages and mails yet; give a tag of one of %v, such as es-US", s, Languages)
	}
	return l, nil
}

// String returns the tag in its canonical case: "es-US".
func (l Locale) String() string { return l.tag.String() }

// Tag returns the tag as golang.org/x/text has it.
func (l Locale) Tag() language.Tag { return l.tag }

// Language returns the base language alone: "es".
func (l Locale) Language() string {
	base, _ := l.tag.Base()
	return base.String()
}

func (l Locale) region() string {
	region, _ := l.tag.Region() // the likeliest where the tag names none
	return region.String()
}

// Closest returns the one of the offered locales that fits the wishes best: tags, or values of Accept-Language, the dearest
// wish first. Wishes that cannot be read or met are passed over; who has no other gets the first locale, not met. There must
// be one.
func Closest(offered []Locale, wishes ...string) (l Locale, met bool) {
	matcher := language.NewMatcher(tags(offered))
	for _, wish := range wishes {
		wanted, _, err := language.ParseAcceptLanguage(wish)
		if err != nil || len(wanted) == 0 {
			continue
		}
		if _, i, confidence := matcher.Match(wanted...); confidence >= language.High {
			return offered[i], true
		}
	}
	return offered[0], false
}

func tags(locales []Locale) []language.Tag {
	tags := make([]language.Tag, len(locales))
	for i, l := range locales {
		tags[i] = l.tag
	}
	return tags
}
