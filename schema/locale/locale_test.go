package locale

import (
	"math"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

func parse(t *testing.T, tag string) Locale {
	t.Helper()
	l, err := Parse(tag)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestParse(t *testing.T) {
	for tag, want := range map[string]string{"en-us": "en-US", "ES": "es", "es-419": "es-419", "es_MX": "es-MX"} {
		if got := parse(t, tag).String(); got != want {
			t.Errorf("%q is %s, want %s", tag, got, want)
		}
	}
	for tag, why := range map[string]string{"": "no language tag", "english please": "no language tag", "fr-CA": "without pages and mails yet", "und": "without pages and mails yet"} {
		if _, err := Parse(tag); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", tag, err, why)
		}
	}
}

func TestClosest(t *testing.T) {
	offered := []Locale{parse(t, "en-US"), parse(t, "es-US")}
	for _, c := range []struct {
		name   string
		wishes []string
		want   string
		unmet  bool
	}{
		{"nothing asked", nil, "en-US", true},
		{"a language alone", []string{"es"}, "es-US", false},
		{"another region's Spanish", []string{"es-MX,es;q=0.9,en;q=0.5"}, "es-US", false},
		{"the weight decides, not the order", []string{"es;q=0.3,en;q=0.9"}, "en-US", false},
		{"a language that we have not goes to the next", []string{"fr-CA,es;q=0.5"}, "es-US", false},
		{"only languages that we have not", []string{"fr-CA,de"}, "en-US", true},
		{"Catalan is no Spanish", []string{"ca"}, "en-US", true},
		{"the dearest wish first", []string{"es", "en-US"}, "es-US", false},
		{"a wish that cannot be met is passed over", []string{"fr", "es"}, "es-US", false},
		{"nonsense is passed over", []string{"' OR 1=1", "\x00", "es"}, "es-US", false},
		{"refused by its weight", []string{"es;q=0,en"}, "en-US", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, met := Closest(offered, c.wishes...)
			if got.String() != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if met == c.unmet {
				t.Errorf("met: %v", met)
			}
		})
	}
}

func TestMoney(t *testing.T) {
	for _, c := range []struct {
		name, locale, code string
		minor              int64
		want               string
	}{
		{"dollars have cents", "en-US", "USD", 12345, "$123.45"},
		{"thousands are set apart", "en-US", "USD", 123456789, "$1,234,567.89"},
		{"just below a thousand", "en-US", "USD", 99999, "$999.99"},
		{"a cent alone", "en-US", "USD", 1, "$0.01"},
		{"nothing", "en-US", "USD", 0, "$0.00"},
		{"a credit", "en-US", "USD", -1250, "−$12.50"},
		{"euro", "en-US", "EUR", 5, "€0.05"},
		{"yen have no smaller coin", "en-US", "JPY", 1500, "¥1,500"},
		{"dinars have thousandths", "en-US", "KWD", 1234567, "KWD\u00a01,234.567"},
		{"the Iraqi dinar too, whatever CLDR rounds it to", "en-US", "IQD", 1500, "IQD\u00a01.500"},
		{"other dollars say whose", "en-US", "CAD", 1200, "CA$12.00"},
		{"a currency without a sign", "en-US", "CHF", 1200, "CHF\u00a012.00"},
		{"a currency that we do not know", "en-US", "XQX", 1200, "XQX\u00a012.00"},
		{"the largest amount", "en-US", "USD", math.MaxInt64, "$92,233,720,368,547,758.07"},
		{"the smallest amount", "en-US", "USD", math.MinInt64, "−$92,233,720,368,547,758.08"},

		{"Spanish in the United States counts as everybody there", "es-US", "USD", 1234567, "$12,345.67"},
		{"Mexico writes points alike", "es-MX", "MXN", 1234567, "$12,345.67"},
		{"Spain turns the marks round and puts the sign behind", "es-ES", "USD", 1234567, "12.345,67\u00a0US$"},
		{"so does Spanish of no region", "es", "USD", 1234567, "12.345,67\u00a0US$"},
		{"where four digits stay together", "es-ES", "EUR", 123450, "1234,50\u00a0€"},
		{"a credit in Spain", "es-ES", "EUR", -1234567, "−12.345,67\u00a0€"},
		{"millions in Spain", "es-ES", "EUR", 123456789, "1.234.567,89\u00a0€"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := parse(t, c.locale).Money(c.code, c.minor); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestDecimal(t *testing.T) {
	for _, c := range []struct {
		code  string
		minor int64
		want  string
	}{
		{"USD", 123450, "1234.50"}, {"USD", 5, "0.05"}, {"USD", -5, "-0.05"}, {"JPY", 1500, "1500"}, {"KWD", 1, "0.001"},
		{"USD", math.MinInt64, "-92233720368547758.08"},
	} {
		if got := Decimal(c.code, c.minor); got != c.want {
			t.Errorf("%s %d: %s, want %s", c.code, c.minor, got, c.want)
		}
	}
}

func TestDates(t *testing.T) {
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	saoPaulo, err := time.LoadLocation("America/Sao_Paulo")
	if err != nil {
		t.Fatal(err)
	}
	morning := time.Date(2026, 11, 20, 13, 5, 0, 0, time.UTC)
	midnight := time.Date(2026, 7, 4, 4, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		locale             string
		at                 time.Time
		date, moment, long string
	}{
		{"en-US", morning.In(newYork), "November 20, 2026", "November 20, 2026, 8:05 AM EST", "Friday, November 20, 2026 at 8:05 AM (EST)"},
		{"en-US", midnight.In(newYork), "July 4, 2026", "July 4, 2026, 12:00 AM EDT", "Saturday, July 4, 2026 at 12:00 AM (EDT)"},
		{"es-US", morning.In(newYork), "20 de noviembre de 2026", "20 de noviembre de 2026, 8:05 a. m. EST", "viernes, 20 de noviembre de 2026, 8:05 a. m. (EST)"},
		{"es-US", morning.Add(9 * time.Hour).In(newYork), "20 de noviembre de 2026", "20 de noviembre de 2026, 5:05 p. m. EST", "viernes, 20 de noviembre de 2026, 5:05 p. m. (EST)"},
		{"es-ES", morning.Add(9 * time.Hour).In(newYork), "20 de noviembre de 2026", "20 de noviembre de 2026, 17:05 EST", "viernes, 20 de noviembre de 2026, 17:05 (EST)"},
		{"es", midnight.In(saoPaulo), "4 de julio de 2026", "4 de julio de 2026, 01:00 UTC-03", "sábado, 4 de julio de 2026, 01:00 (UTC-03)"},
	} {
		l := parse(t, c.locale)
		plain := strings.NewReplacer("\u00a0", " ")
		if got := l.Date(c.at); got != c.date {
			t.Errorf("%s: date %q, want %q", c.locale, got, c.date)
		}
		if got := plain.Replace(l.Moment(c.at)); got != c.moment {
			t.Errorf("%s: moment %q, want %q", c.locale, got, c.moment)
		}
		if got := plain.Replace(l.LongMoment(c.at)); got != c.long {
			t.Errorf("%s: long moment %q, want %q", c.locale, got, c.long)
		}
	}
}

func TestMonth(t *testing.T) {
	for _, c := range []struct{ locale, month, want string }{
		{"en-US", "2026-11", "November 2026"}, {"es-US", "2026-11", "noviembre de 2026"}, {"es-US", "2028-13", "2028-13"}, {"en-US", "", ""},
	} {
		if got := parse(t, c.locale).Month(c.month); got != c.want {
			t.Errorf("%s: %q, want %q", c.locale, got, c.want)
		}
	}
}

func TestDay(t *testing.T) {
	for _, c := range []struct{ locale, day, want string }{
		{"en-US", "2026-11-20", "November 20, 2026"}, {"es-US", "2026-01-02", "2 de enero de 2026"}, {"es-US", "soon", "soon"},
	} {
		if got := parse(t, c.locale).Day(c.day); got != c.want {
			t.Errorf("%s: %q, want %q", c.locale, got, c.want)
		}
	}
}
