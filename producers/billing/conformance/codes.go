package conformance

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Days between the mails of a code and of the next one. A tenant's grace for a superseded code is a week unless it says
// otherwise, and is taken to be more than an hour and less than a month.
const (
	longAgo   = 60
	pastGrace = 40
	inGrace   = 2
)

// codesOverTime are the cases about which of several codes counts. emailedAt says it, so none has to wait.
func codesOverTime() []Case {
	return []Case{
		{
			Name: "same-code-again", Sent: "a code that has expired, then the same code in a later e-mail that lets it live on",
			Expected: "taken, one Invited for each e-mail",
			play: takes(func(t *trial) ([]Message, []invoice) {
				old, again := t.refreshed()
				return []Message{t.message(&old), t.message(&again)}, []invoice{old, again}
			}),
		},
		{
			Name: "same-code-again-refreshes", Sent: "the same, then a sign-up with that code", Expected: "the sign-up is accepted",
			needs: needs{portal: true}, play: func(ctx context.Context, t *trial) {
				old, again := t.refreshed()
				if s, ok := t.deliver(ctx, t.message(&old), t.message(&again)); ok {
					t.taken(s)
					t.signsUp(ctx, again.account, again.code)
				}
			},
		},
		{
			Name: "expired-code", Sent: "a code whose time is over, then a sign-up with it", Expected: "refused: code-expired",
			needs: needs{portal: true}, play: func(ctx context.Context, t *trial) {
				old, _ := t.refreshed()
				if s, ok := t.deliver(ctx, t.message(&old)); ok {
					t.taken(s)
					t.refused(ctx, old.account, old.code, t.accountRef(old), "code-expired")
				}
			},
		},
		{
			Name: "code-in-use", Sent: "two sign-ups with one code, the second under another username", Expected: "both accepted, one Registered: the second continues the first",
			needs: needs{portal: true}, play: codeInUse,
		},
		{
			Name: "used-code", Sent: "a sign-up with a code with which an account was activated", Expected: "refused: code-used",
			needs: needs{portal: true, inbox: true}, play: usedCode,
		},
		{
			Name: "superseded-code", Sent: "a code, and another one 20 days after it, 40 days ago; sign-ups with both",
			Expected: "the older refused (code-superseded) with the newer's date; the newer accepted", needs: needs{portal: true},
			play: func(ctx context.Context, t *trial) {
				older, newer := t.superseded()
				if s, ok := t.deliver(ctx, t.message(&older), t.message(&newer)); ok {
					t.taken(s)
					t.newerCounts(ctx, older, newer)
				}
			},
		},
		{
			Name: "superseded-code-in-grace", Sent: "a code, and another one two days after it, an hour ago; a sign-up with the older",
			Expected: "the sign-up is accepted", needs: needs{portal: true},
			play: func(ctx context.Context, t *trial) {
				older := t.mailed().at(t.instant(inGrace))
				newer := t.mailedTo(older.account)
				if s, ok := t.deliver(ctx, t.message(&older), t.message(&newer)); ok {
					t.taken(s)
					t.signsUp(ctx, older.account, older.code)
				}
			},
		},
		{
			Name: "late-older-event", Sent: "a code of 40 days ago, and after it was stored another one of 60 days ago; sign-ups with both",
			Expected: "the one that was e-mailed first refused (code-superseded) though it came last; the other accepted", needs: needs{portal: true},
			play: func(ctx context.Context, t *trial) {
				older, newer := t.superseded()
				for _, i := range []*invoice{&newer, &older} {
					s, ok := t.deliver(ctx, t.message(i))
					if !ok {
						return
					}
					t.taken(s)
				}
				t.newerCounts(ctx, older, newer)
			},
		},
	}
}

// refreshed are two mails of one code: the first is over, the second is not.
func (r *run) refreshed() (old, again invoice) {
	old = r.mailed().at(r.instant(inGrace))
	old.expiresAt = time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	again = old.at(r.instant(0))
	return old, again
}

// superseded are two codes of one account, the grace of the older long over.
func (r *run) superseded() (older, newer invoice) {
	older = r.mailed().at(r.noon(longAgo))
	newer = r.mailedTo(older.account).at(r.noon(pastGrace))
	return older, newer
}

func (t *trial) newerCounts(ctx context.Context, older, newer invoice) {
	if answer, ok := t.refused(ctx, older.account, older.code, t.accountRef(older), "code-superseded"); ok {
		if date := newer.emailedAt.Format("January 2, 2006"); !answer.says(date) {
			t.fault("the page does not say that a newer code was e-mailed on %s", date)
		}
	}
	t.signsUp(ctx, newer.account, newer.code)
}

func codeInUse(ctx context.Context, t *trial) {
	i := t.mailed()
	s, ok := t.deliver(ctx, t.message(&i))
	if !ok {
		return
	}
	t.taken(s)
	first := t.applies(i.account, i.code, t.MailDomain)
	second := first
	second.username += "-b"
	if !t.signsUpAs(ctx, first) || !t.signsUpAs(ctx, second) {
		return
	}
	t.enrollments.Add(-1)
	registered := 0
	if ref := t.accountRef(i); !t.await(ctx, t.Within, func() bool {
		registered = 0
		for _, f := range t.facts {
			if f.Definition.Name == "Registered" && f.said.AccountRef == ref {
				registered++
			}
		}
		return registered > 0
	}) {
		t.fault("no Registered after %s%s", t.Within, t.blind())
	}
	if registered > 1 {
		t.fault("%d Registered for one code", registered)
	}
}

func usedCode(ctx context.Context, t *trial) {
	i := t.mailed()
	s, ok := t.deliver(ctx, t.message(&i))
	if !ok {
		return
	}
	t.taken(s)
	customer := t.applies(i.account, i.code, t.MailDomain)
	if !t.signsUpAs(ctx, customer) || !t.activates(ctx, customer) {
		return
	}
	t.refused(ctx, i.account, i.code, t.accountRef(i), "code-used")
}

// activates follows the link in the customer's mail and chooses a password.
func (t *trial) activates(ctx context.Context, a application) bool {
	link := ""
	var err error
	if !t.await(ctx, t.Within, func() bool {
		var mails []mail
		if mails, err = t.mailsTo(ctx, a.email); len(mails) > 0 {
			link = linkIn(mails[0])
		}
		return err != nil || link != ""
	}) {
		t.fault("no mail with a link after %s", t.Within)
		return false
	}
	if t.failed(err) {
		return false
	}
	password := newCode() + newCode()
	answer, err := t.customer().ask(ctx, http.MethodPost, link, url.Values{"password": {password}, "password_confirmation": {password}})
	if t.failed(err) {
		return false
	}
	if answer.status != http.StatusSeeOther {
		t.fault("choosing a password was answered %d, expected 303", answer.status)
		return false
	}
	return true
}
