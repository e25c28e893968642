package enrollment

import (
	"strings"
	"testing"
	"time"
)

// What an agent may say before the caller is verified is advice for anybody: no date, no name, no state of the account.
func TestWhatMayBeSaidBetraysNothing(t *testing.T) {
	now := time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)
	code := []Mailing{{Code: "c", EmailedAt: now.Add(-time.Hour)}}
	old := []Mailing{{Code: "c", EmailedAt: now.Add(-60 * 24 * time.Hour)}}
	for want, s := range map[string]Situation{
		"closed":              {Closed: true},
		"undeliverable":       {Live: &LiveEnrollment{State: Undeliverable}},
		"mail-on-its-way":     {Live: &LiveEnrollment{State: Registered}},
		"awaiting-activation": {Live: &LiveEnrollment{State: Mailed, ExpiresAt: now.Add(time.Hour)}},
		"enrolled":            {Users: []string{"bobby"}, Codes: code, UsedCodes: []string{"c"}},
		"no-code":             {},
		"code-retired":        {Codes: code, RetiredAt: now},
		"code-expired":        {Codes: old},
		"disowned":            {Codes: code, DisownedUntil: now.Add(time.Minute), LastRefusal: TooManyTries, RefusedAt: now},
		"locked":              {Codes: code, WaitUntil: now.Add(time.Minute), LastRefusal: NotRecognised, RefusedAt: now},
		"refused":             {Codes: code, WaitUntil: now.Add(-time.Minute), LastRefusal: NotRecognised, RefusedAt: now},
		"can-enroll":          {Codes: code},
	} {
		s.Now, s.Policy = now, DefaultPolicy()
		d := Diagnose(s)
		if d.Standing != want || d.Cause == "" || d.NextAction == "" || d.MaySay == "" {
			t.Errorf("want %s: %+v", want, d)
		}
		for _, betrays := range []string{"2026", "bobby", "is closed", "was closed", "is enrolled", "has expired", "was retired", "was refused"} {
			if strings.Contains(d.MaySay, betrays) {
				t.Errorf("%s: says %q: %s", want, betrays, d.MaySay)
			}
		}
	}
}
