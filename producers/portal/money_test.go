package portal

import (
	"math"
	"testing"
	"time"
)

func TestMoney(t *testing.T) {
	for _, c := range []struct {
		name, code string
		minor      int64
		want       string
	}{
		{"dollars have cents", "USD", 12345, "$123.45"},
		{"thousands are set apart", "USD", 123456789, "$1,234,567.89"},
		{"just below a thousand", "USD", 99999, "$999.99"},
		{"a cent alone", "USD", 1, "$0.01"},
		{"nothing", "USD", 0, "$0.00"},
		{"a credit", "USD", -1250, "−$12.50"},
		{"euro", "EUR", 5, "€0.05"},
		{"yen have no smaller coin", "JPY", 1500, "¥1,500"},
		{"dinars have thousandths", "KWD", 1234567, "KWD\u00a01,234.567"},
		{"the Iraqi dinar too, whatever CLDR rounds it to", "IQD", 1500, "IQD\u00a01.500"},
		{"other dollars say whose", "CAD", 1200, "CA$12.00"},
		{"a currency without a sign", "CHF", 1200, "CHF\u00a012.00"},
		{"a currency that we do not know", "XQX", 1200, "XQX\u00a012.00"},
		{"the largest amount", "USD", math.MaxInt64, "$92,233,720,368,547,758.07"},
		{"the smallest amount", "USD", math.MinInt64, "−$92,233,720,368,547,758.08"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := money(c.code, c.minor); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestWait(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Millisecond:              "1 second",
		30 * time.Second:              "30 seconds",
		59*time.Second + 1:            "60 seconds",
		91 * time.Second:              "2 minutes",
		15 * time.Minute:              "15 minutes",
		2*time.Hour + time.Nanosecond: "3 hours",
	} {
		if got := wait(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestDay(t *testing.T) {
	for date, want := range map[string]string{"2026-11-20": "November 20, 2026", "soon": "soon"} {
		if got := day(date); got != want {
			t.Errorf("%s: got %q, want %q", date, got, want)
		}
	}
}
