package locale

import (
	"fmt"
	"strings"
	"time"
)

var (
	spanishMonths   = [...]string{"enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"}
	spanishWeekdays = [...]string{"domingo", "lunes", "martes", "miércoles", "jueves", "viernes", "sábado"}
)

// Date writes the day of a moment, on the clocks that the moment brings: "November 20, 2026", "20 de noviembre de 2026".
func (l Locale) Date(at time.Time) string {
	if l.Language() == "es" {
		return fmt.Sprintf("%d de %s de %d", at.Day(), spanishMonths[at.Month()-1], at.Year())
	}
	return at.Format("January 2, 2006")
}

// Day writes an RFC 3339 full-date; what is none is shown as it came.
func (l Locale) Day(fullDate string) string {
	d, err := time.Parse(time.DateOnly, fullDate)
	if err != nil {
		return fullDate
	}
	return l.Date(d)
}

// Month writes YYYY-MM: "November 2026", "noviembre de 2026"; what is none is shown as it came.
func (l Locale) Month(yearMonth string) string {
	m, err := time.Parse("2006-01", yearMonth)
	if err != nil {
		return yearMonth
	}
	if l.Language() == "es" {
		return fmt.Sprintf("%s de %d", spanishMonths[m.Month()-1], m.Year())
	}
	return m.Format("January 2006")
}

// Moment writes date, time and zone: "November 20, 2026, 8:05 AM EST", "20 de noviembre de 2026, 8:05 a. m. EST".
func (l Locale) Moment(at time.Time) string {
	return l.Date(at) + ", " + l.TimeOfDay(at)
}

// TimeOfDay writes time and zone: "8:05 AM EST", "8:05 a. m. EST".
func (l Locale) TimeOfDay(at time.Time) string { return l.clock(at) + " " + zone(at) }

// LongMoment is Moment with the day of the week, for texts that are read days later: "Friday, November 20, 2026 at 8:05 AM
// (EST)", "viernes, 20 de noviembre de 2026, 8:05 a. m. (EST)".
func (l Locale) LongMoment(at time.Time) string {
	if l.Language() == "es" {
		return spanishWeekdays[at.Weekday()] + ", " + l.Date(at) + ", " + l.clock(at) + " (" + zone(at) + ")"
	}
	return at.Format("Monday") + ", " + l.Date(at) + " at " + l.clock(at) + " (" + zone(at) + ")"
}

func (l Locale) clock(at time.Time) string {
	if l.Language() != "es" {
		return at.Format("3:04 PM")
	}
	switch l.region() {
	case "US", "PR", "CO", "DO", "PA", "VE": // CLDR: h:mm a
		half := "a.\u00a0m."
		if at.Hour() >= 12 {
			half = "p.\u00a0m."
		}
		return at.Format("3:04") + "\u00a0" + half
	default:
		return at.Format("15:04")
	}
}

// zone names the zone; where nobody has a short name for it, by its distance from UTC.
func zone(at time.Time) string {
	name := at.Format("MST")
	if strings.HasPrefix(name, "+") || strings.HasPrefix(name, "-") {
		return "UTC" + name
	}
	return name
}
