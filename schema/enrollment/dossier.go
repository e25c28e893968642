package enrollment

import "time"

// Dossier is everything about one account, for staff: what happened, and why its customer cannot enroll. It holds no code,
// no link and no password.
type Dossier struct {
	Tenant        string      `json:"tenant"`
	AccountNumber string      `json:"accountNumber"`
	CompanyName   string      `json:"companyName"`
	BillingEmail  string      `json:"billingEmail"` // masked
	Timeline      []Happening `json:"timeline"`     // oldest first
	Diagnosis     Diagnosis   `json:"diagnosis"`
}

// Happening is one line of a timeline.
type Happening struct {
	At         time.Time `json:"at"`
	What       string    `json:"what"`
	Detail     string    `json:"detail,omitempty"`
	Enrollment string    `json:"enrollment,omitempty"`
}

// Diagnosis answers "why can this customer not enroll?".
type Diagnosis struct {
	Standing   string `json:"standing"` // a word: see Diagnose
	Cause      string `json:"cause"`
	NextAction string `json:"nextAction"`
}

// Situation is what a diagnosis is made of.
type Situation struct {
	Now         time.Time
	Policy      Policy
	Closed      bool
	RetiredAt   time.Time // zero: codes were never retired
	Codes       []Mailing // every e-mailing of a code
	UsedCodes   []string  // codes that an activated enrollment consumed
	Users       []string  // usernames of the account
	Live        *LiveEnrollment
	LastRefusal Reason // of the newest refusal; empty: none
	RefusedAt   time.Time
}

// LiveEnrollment is the account's pending enrollment.
type LiveEnrollment struct {
	State     State
	ExpiresAt time.Time
}

// Diagnose names what stands in a customer's way and the one thing to do about it, the nearest obstacle first.
func Diagnose(s Situation) Diagnosis {
	newest, ok := s.newest()
	switch {
	case s.Closed:
		return Diagnosis{"closed", "Billing closed the account.", "Tell the customer that a closed account cannot be enrolled; billing can say more."}
	case s.Live != nil && s.Live.State == Undeliverable:
		return Diagnosis{"undeliverable", "The activation mail was refused by the provider of the address that was typed.",
			"Have the customer correct the address on the page they registered on, or sign up again with the same code and another address."}
	case s.Live != nil && s.Live.State == Registered:
		return Diagnosis{"mail-on-its-way", "Registered; no provider has accepted the activation mail yet.",
			"Wait a few minutes; if it stays so, look at the mail worker and at the dead letters."}
	case s.Live != nil:
		return Diagnosis{"awaiting-activation", "The activation mail was accepted; the link in it has not been used. It works until " + s.Live.ExpiresAt.UTC().Format(time.RFC3339) + ".",
			"Have the customer look for the mail, in the spam folder too; signing up again with the same code sends it again."}
	case len(s.Users) > 0 && (!ok || s.used(newest.Code)):
		return Diagnosis{"enrolled", "The account is enrolled and its newest code is used.",
			"Have the customer log in; somebody else who needs access asks the colleague who enrolled."}
	case !ok:
		return Diagnosis{"no-code", "No billing e-mail with a registration code was ever sent for this account.",
			"Ask billing for an e-mail with a code; it goes to the address of record only."}
	}
	standing, _ := StandingOf(s.Codes, func(m Mailing) bool { return m.Code == newest.Code }, s.Policy)
	if no, isRefusal := standing.Check(s.Now, s.RetiredAt, s.Policy).(*Refusal); isRefusal {
		cause := map[Reason]string{
			CodeRetired: "The newest code was retired after too many wrong tries.",
			CodeExpired: "The newest code has expired.",
		}[no.Reason]
		return Diagnosis{string(no.Reason), cause, "Ask billing for a new code; it goes to the address of record only."}
	}
	if s.LastRefusal != "" && s.RefusedAt.After(newest.EmailedAt) {
		return Diagnosis{"refused", "The customer was refused last with “" + string(s.LastRefusal) + "”, though the newest code is good.",
			"Have the customer type account number and code from the newest billing e-mail, sent " + newest.EmailedAt.UTC().Format(time.RFC3339) + "."}
	}
	return Diagnosis{"can-enroll", "Nothing stands in the way: the newest code is good and nobody has registered with it.",
		"Have the customer sign up with the code from the newest billing e-mail, sent " + newest.EmailedAt.UTC().Format(time.RFC3339) + "."}
}

func (s Situation) newest() (Mailing, bool) {
	var newest Mailing
	for _, m := range s.Codes {
		if newest.EmailedAt.IsZero() || m.EmailedAt.After(newest.EmailedAt) {
			newest = m
		}
	}
	return newest, len(s.Codes) > 0
}

func (s Situation) used(code string) bool {
	for _, u := range s.UsedCodes {
		if u == code {
			return true
		}
	}
	return false
}
