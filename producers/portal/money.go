package portal

import (
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/currency"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// minorDigits says how many digits of an amount are behind the point, as ISO 4217 has it. The digits in x/text are CLDR's,
// which follow the coins in use: 0 for the Iraqi dinar, whose minor unit is the thousandth.
func minorDigits(code string) int {
	switch code {
	case "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF":
		return 0
	case "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND":
		return 3
	case "CLF", "UYW":
		return 4
	default:
		return 2
	}
}

// money writes an amount of minor units the American way: $1,234.50, −€0.05, CHF 12.00, ¥1,500. It computes with no
// fractions, so that no cent is lost.
func money(code string, minor int64) string {
	sign, digits := "", strconv.FormatInt(minor, 10)
	if minor < 0 {
		sign, digits = "−", digits[1:]
	}
	behind := minorDigits(code)
	if short := behind + 1 - len(digits); short > 0 {
		digits = strings.Repeat("0", short) + digits
	}
	whole, fraction := digits[:len(digits)-behind], digits[len(digits)-behind:]
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if behind > 0 {
		whole += "." + fraction
	}
	return sign + symbol(code) + whole
}

// symbol is the currency's sign where Americans know one, else its code and a blank that does not break.
func symbol(code string) string {
	unit, err := currency.ParseISO(code)
	if err != nil {
		return code + "\u00a0"
	}
	sign := message.NewPrinter(language.AmericanEnglish).Sprint(currency.Symbol(unit))
	if sign == code {
		return code + "\u00a0"
	}
	return sign
}

// day writes an RFC 3339 full-date; what is none is shown as it came.
func day(fullDate string) string {
	d, err := time.Parse(time.DateOnly, fullDate)
	if err != nil {
		return fullDate
	}
	return d.Format("January 2, 2006")
}

// wait writes how long somebody has to wait, never shorter than it is: "30 seconds", "2 minutes", "3 hours".
func wait(d time.Duration) string {
	unit, name := time.Second, "second"
	switch {
	case d > 2*time.Hour:
		unit, name = time.Hour, "hour"
	case d > 90*time.Second:
		unit, name = time.Minute, "minute"
	}
	n := max(int64((d+unit-1)/unit), 1)
	if n != 1 {
		name += "s"
	}
	return strconv.FormatInt(n, 10) + " " + name
}
