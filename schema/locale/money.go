package locale

import (
	"strconv"
	"strings"

	"golang.org/x/text/currency"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/number"
)

// figures is how a locale writes numbers.
type figures struct {
	group, point string
	fourTogether bool // four digits stay together: 1234,50, but 12.345,67
	signBehind   bool // 1,50 €
}

// figuresOf reads the marks off a number that x/text has written.
func figuresOf(tag language.Tag) figures {
	base, _ := tag.Base()
	region, _ := tag.Region()
	sample := []rune(message.NewPrinter(tag).Sprint(number.Decimal(12345.5))) // 12,345.5
	european := base.String() == "es" && region.String() == "ES"
	return figures{group: string(sample[2]), point: string(sample[6]), fourTogether: european, signBehind: european}
}

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

// parts takes an amount apart in digits alone, so that no cent is lost. The fraction is empty where the currency has none.
func parts(code string, minor int64) (negative bool, whole, fraction string) {
	digits, negative := strings.CutPrefix(strconv.FormatInt(minor, 10), "-")
	behind := minorDigits(code)
	if short := behind + 1 - len(digits); short > 0 {
		digits = strings.Repeat("0", short) + digits
	}
	return negative, digits[:len(digits)-behind], digits[len(digits)-behind:]
}

// Decimal writes an amount of minor units for machines: 1234.50, with as many digits behind the point as the currency has.
func Decimal(code string, minor int64) string {
	negative, number, fraction := parts(code, minor)
	if fraction != "" {
		number += "." + fraction
	}
	if negative {
		return "-" + number
	}
	return number
}

// Money writes an amount of minor units: $1,234.50 in en-US and es-US, 1234,50 US$ and 12.345,67 US$ in es-ES.
func (l Locale) Money(code string, minor int64) string {
	negative, number, fraction := parts(code, minor)
	if len(number) > 4 || !l.figures.fourTogether {
		for i := len(number) - 3; i > 0; i -= 3 {
			number = number[:i] + l.figures.group + number[i:]
		}
	}
	if fraction != "" {
		number += l.figures.point + fraction
	}
	sign := ""
	if negative {
		sign = "−"
	}
	symbol := l.symbol(code)
	switch {
	case l.figures.signBehind:
		return sign + number + "\u00a0" + symbol
	case symbol == code:
		return sign + symbol + "\u00a0" + number
	default:
		return sign + symbol + number
	}
}

// symbol is the currency's sign where the locale's people know one, else its code.
func (l Locale) symbol(code string) string {
	unit, err := currency.ParseISO(code)
	if err != nil {
		return code
	}
	return message.NewPrinter(l.tag).Sprint(currency.Symbol(unit))
}
