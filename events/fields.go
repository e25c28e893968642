package events

import (
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Date is a calendar day, RFC 3339 full-date, between 2000 and 2100; no zone.
type Date string

// Valid reports whether the day exists.
func (d Date) Valid() bool {
	t, err := time.Parse(time.DateOnly, string(d))
	return err == nil && inRange(t)
}

func inRange(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 2000 && year <= 2100
}

// check collects the first fault of a message; later checks are skipped.
type check struct{ err error }

func (c *check) fail(f Fault, field, why string) {
	if c.err == nil {
		c.err = malformed(f, "data."+field, why)
	}
}

// text checks a required string of min..max code points without control characters.
func (c *check) text(field, v string, min, max int) {
	if strings.TrimSpace(v) == "" {
		c.fail(FieldMissing, field, "is missing or empty")
		return
	}
	c.optional(field, v, min, max)
}

// optional checks a string that may be absent.
func (c *check) optional(field, v string, min, max int) {
	if v == "" {
		return
	}
	if n := utf8.RuneCountInString(v); n < min || n > max {
		c.fail(FieldInvalid, field, "is not "+strconv.Itoa(min)+".."+strconv.Itoa(max)+" characters long")
		return
	}
	if !printable(v) {
		c.fail(FieldInvalid, field, "holds control or invisible formatting characters")
	}
}

func (c *check) time(field string, t time.Time) {
	switch {
	case t.IsZero():
		c.fail(FieldMissing, field, "is missing; send an RFC 3339 time with a zone")
	case !inRange(t):
		c.fail(FieldInvalid, field, "is not between the years 2000 and 2100")
	}
}

func (c *check) date(field string, d Date) {
	switch {
	case d == "":
		c.fail(FieldMissing, field, "is missing; send a date as YYYY-MM-DD")
	case !d.Valid():
		c.fail(FieldInvalid, field, "is not a date as YYYY-MM-DD between 2000 and 2100")
	}
}

// address checks an address of record loosely: billing knows it to work; only what could reach two mailboxes or break a
// header is refused.
func (c *check) address(field, v string) {
	c.text(field, v, 3, 254)
	if c.err != nil {
		return
	}
	at := strings.LastIndexByte(v, '@')
	if at < 1 || at == len(v)-1 || strings.Count(v, "@") != 1 || strings.ContainsAny(v, " \t,;<>()[]\\\"") {
		c.fail(FieldInvalid, field, "is not one plain e-mail address")
	}
}

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func (c *check) uuid(field, v string) {
	if !uuidForm.MatchString(v) {
		c.fail(FieldInvalid, field, "is not a UUID")
	}
}

func (c *check) oneOf(field, v string, allowed ...string) {
	for _, a := range allowed {
		if v == a {
			return
		}
	}
	if v == "" {
		c.fail(FieldMissing, field, "is missing; one of "+strings.Join(allowed, ", "))
		return
	}
	c.fail(FieldInvalid, field, "is not one of "+strings.Join(allowed, ", "))
}

// locale checks the shape of a BCP 47 tag ("en-US"); which ones are spoken is the reader's business.
func (c *check) locale(field, v string) {
	if v == "" {
		return
	}
	for i, part := range strings.Split(v, "-") {
		ok := len(part) >= 1 && len(part) <= 8
		for _, r := range part {
			ok = ok && r < utf8.RuneSelf && (unicode.IsLetter(r) || i > 0 && unicode.IsDigit(r))
		}
		if !ok || i == 0 && len(part) < 2 {
			c.fail(FieldInvalid, field, "is not a BCP 47 language tag such as en-US")
			return
		}
	}
	if len(v) > 35 {
		c.fail(FieldInvalid, field, "is longer than 35 characters")
	}
}

// printable reports whether a text is free of control, bidirectional-override and other invisible formatting characters.
// Zero-width joiners, which scripts need, and the blanks that a paste brings along are fine.
func printable(s string) bool {
	for _, r := range s {
		switch {
		case r < utf8.RuneSelf:
			if r < ' ' || r == 0x7f {
				return false
			}
		case r == '\u200b' || r == '\u200c' || r == '\u200d' || r == '\u2060' || r == '\ufeff': // zero width: dropped by the rules
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r), r == utf8.RuneError:
			return false
		}
	}
	return utf8.ValidString(s)
}
