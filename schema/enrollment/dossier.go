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

	Users   []string     `json:"users,omitempty"`   // who can log in
	Pending *PendingCase `json:"pending,omitempty"` // nil: nobody is enrolling
}

// PendingCase is a pending enrollment as staff see it.
type PendingCase struct {
	Enrollment      ID            `json:"enrollment"`
	State           State         `json:"state"`
	Email           string        `json:"email"` // masked
	Username        string        `json:"username"`
	ExpiresAt       time.Time     `json:"expiresAt"`
	ResendAfter     time.Duration `json:"resendAfter"` // 0: now
	MailsLeft       int           `json:"mailsLeft"`
	CorrectionsLeft int           `json:"correctionsLeft"`
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
	MaySay     string `json:"maySay"` // to a caller who is not verified: advice that fits anybody, so that it betrays nothing
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
	WaitUntil   time.Time // somebody who tried codes of the account waits until then; zero: nobody does

	DisownedUntil time.Time // the newest code waits until then: too many sign-ups with it were ended from the mailbox
}

// LiveEnrollment is the account's pending enrollment.
type LiveEnrollment struct {
	State     State
	ExpiresAt time.Time
}

// Diagnose names what stands in a customer's way and the one thing to do about it, the nearest obstacle first.
func Diagnose(s Situation) Diagnosis {
	d := s.obstacle()
	d.MaySay = maySay[d.Standing]
	if d.MaySay == "" {
		d.MaySay = maySayAlways
	}
	return d
}

// What may be told to anybody who calls. Whether there is an account, whether somebody enrolled and where mail goes are the
// customer's (47 CFR 64.2010): so this is advice that fits any caller, the most useful one first.
const maySayAlways = "Use the code of the newest billing e-mail, together with the account number beside it. A new code can be asked for on the portal, on the page about codes that do not work; it goes to the address that the bills go to."

var maySay = map[string]string{
	"undeliverable":       "If no mail comes, the address may be mistyped: it can be corrected on the page that follows the registration, or by signing up again with the same code.",
	"mail-on-its-way":     "The registration mail can take some minutes. Look in the spam folder, too; the page that follows the registration says whether it was sent.",
	"awaiting-activation": "Look for the registration mail, in the spam folder, too. Signing up again with the same code sends it again.",
	"enrolled":            "If somebody in the company enrolled before, log in, or use “Forgot password” or “Forgot username” on the portal.",
	"closed":              "What billing knows about an account is told after verification only; the billing department can help.",
	"locked":              "After several wrong tries the portal asks to wait, 15 minutes at most. The right code works after that.",
}

func (s Situation) obstacle() Diagnosis {
	newest, ok := s.newest()
	switch {
	case s.Closed:
		return obstacle("closed", "Billing closed the account.", "Tell the customer that a closed account cannot be enrolled; billing can say more.")
	case s.Live != nil && s.Live.State == Undeliverable:
		return obstacle("undeliverable", "The activation mail was refused by the provider of the address that was typed.",
			"Verify the caller and correct the address; or have them do it on the page that followed the registration, or by signing up again with the same code.")
	case s.Live != nil && s.Live.State == Registered:
		return obstacle("mail-on-its-way", "Registered; no provider has accepted the activation mail yet.",
			"Wait a few minutes; if it stays so, look at the mail worker and at the dead letters.")
	case s.Live != nil:
		return obstacle("awaiting-activation", "The activation mail was accepted; the link in it has not been used. It works until "+s.Live.ExpiresAt.UTC().Format(time.RFC3339)+".",
			"Have the customer look for the mail, in the spam folder too; signing up again with the same code sends it again.")
	case len(s.Users) > 0 && (!ok || s.used(newest.Code)):
		return obstacle("enrolled", "The account is enrolled and its newest code is used.",
			"Have the customer log in; somebody else who needs access asks the colleague who enrolled.")
	case !ok:
		return obstacle("no-code", "No billing e-mail with a registration code was ever sent for this account.",
			"Ask billing for an e-mail with a code; it goes to the address of record only.")
	}
	standing, _ := StandingOf(s.Codes, func(m Mailing) bool { return m.Code == newest.Code }, s.Policy)
	if no, isRefusal := standing.Check(s.Now, s.RetiredAt, s.Policy).(*Refusal); isRefusal {
		cause := map[Reason]string{
			CodeRetired: "The newest code was retired, by staff or after too many wrong tries.",
			CodeExpired: "The newest code has expired.",
		}[no.Reason]
		return obstacle(string(no.Reason), cause, "Ask billing for a new code; it goes to the address of record only.")
	}
	if s.DisownedUntil.After(s.Now) {
		return obstacle("disowned", "Several sign-ups with the newest code were cancelled by whoever got the mail, so it waits until "+s.DisownedUntil.UTC().Format(time.RFC3339)+".",
			"Find out who signs up, and at which address. If the code is in wrong hands, retire it and ask billing for a new one, which works at once.")
	}
	if s.WaitUntil.After(s.Now) {
		return obstacle("locked", "Somebody typed wrong codes for this account and has to wait until "+s.WaitUntil.UTC().Format(time.RFC3339)+"; others are not held up.",
			"If that is the caller, lift the wait, and have them type the code from the newest billing e-mail, sent "+newest.EmailedAt.UTC().Format(time.RFC3339)+".")
	}
	if s.LastRefusal != "" && s.RefusedAt.After(newest.EmailedAt) {
		return obstacle("refused", "The customer was refused last with “"+string(s.LastRefusal)+"”, though the newest code is good.",
			"Have the customer type account number and code from the newest billing e-mail, sent "+newest.EmailedAt.UTC().Format(time.RFC3339)+".")
	}
	return obstacle("can-enroll", "Nothing stands in the way: the newest code is good and nobody has registered with it.",
		"Have the customer sign up with the code from the newest billing e-mail, sent "+newest.EmailedAt.UTC().Format(time.RFC3339)+".")
}

func obstacle(standing, cause, next string) Diagnosis {
	return Diagnosis{Standing: standing, Cause: cause, NextAction: next}
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
