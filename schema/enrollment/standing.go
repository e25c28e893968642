package enrollment

import "time"

// Mailing is one e-mailing of a code. A code's whole history is the list of its mailings, in whatever order they arrived.
type Mailing struct {
	Code      string // what names the code: its stored hash
	EmailedAt time.Time
	ExpiresAt time.Time // zero: the tenant's default life
}

// Standing is what the mailings of an account say about one of its codes.
type Standing struct {
	First, Last  time.Time // when the code was e-mailed first and last
	ExpiresAt    time.Time // as its newest mailing says
	SupersededAt time.Time // when another code was e-mailed after it; zero: it is the newest
	NewerSentOn  time.Time // when the newest other code was e-mailed
}

// StandingOf reads a code's standing from all mailings of its account. The order of the mailings does not matter: a newer
// code is one e-mailed later, never one that arrived later. ok is false when the code was never e-mailed.
func StandingOf(mailings []Mailing, isCode func(Mailing) bool, p Policy) (s Standing, ok bool) {
	for _, m := range mailings {
		if !isCode(m) {
			continue
		}
		ends := m.ExpiresAt
		if ends.IsZero() {
			ends = m.EmailedAt.Add(p.CodeLife)
		}
		if !ok || m.EmailedAt.Before(s.First) {
			s.First = m.EmailedAt
		}
		if !ok || m.EmailedAt.After(s.Last) || m.EmailedAt.Equal(s.Last) && ends.After(s.ExpiresAt) {
			s.Last, s.ExpiresAt = m.EmailedAt, ends
		}
		ok = true
	}
	for _, m := range mailings {
		if isCode(m) || !m.EmailedAt.After(s.Last) {
			continue
		}
		if s.SupersededAt.IsZero() || m.EmailedAt.Before(s.SupersededAt) {
			s.SupersededAt = m.EmailedAt
		}
		if m.EmailedAt.After(s.NewerSentOn) {
			s.NewerSentOn = m.EmailedAt
		}
	}
	return s, ok
}

// Check says whether the code may open an enrollment at that time. retiredAt is when the account's codes were retired; zero:
// never.
func (s Standing) Check(now, retiredAt time.Time, p Policy) error {
	switch {
	case !retiredAt.IsZero() && !s.First.After(retiredAt):
		return &Refusal{Reason: CodeRetired, Field: FieldCode}
	case !s.SupersededAt.IsZero() && now.After(s.SupersededAt.Add(p.CodeGrace)):
		return &Refusal{Reason: CodeSuperseded, Field: FieldCode, NewerSentOn: s.NewerSentOn}
	case now.After(s.ExpiresAt):
		return &Refusal{Reason: CodeExpired, Field: FieldCode}
	}
	return nil
}
