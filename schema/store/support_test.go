package store_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

var errand = enrollment.Errand{By: enrollment.Staff{Subject: "idp|7", Name: "Grace", Roles: []string{"agent"}}, Reason: "caller asked for it"}

func (s *scene) audited() []string {
	s.t.Helper()
	all, err := s.Audit(context.Background(), "", "", 100)
	ok(s.t, err)
	var lines []string
	for _, e := range all {
		lines = append(lines, fmt.Sprintf("%s %s %s %s: %s (%s)", e.Actor, e.Deed, e.Tenant, e.Subject, e.Reason, e.Detail))
	}
	return lines
}

func TestStaffHelpACustomerWhoIsStuck(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("100482-7", "QX4T-88ZK", daysAgo(1)))
	a := s.form(mongo, "100482-7", "QX4T-88ZK")
	id := s.admits(a)
	ctx := t.Context()

	refused(t, s.SendAgain(ctx, errand, mongo, id), enrollment.TooSoon)
	s.DB.MustExec(`UPDATE enrollments SET last_mail_at = last_mail_at - interval '61 seconds'`)
	ok(t, s.SendAgain(ctx, errand, mongo, id))
	s.forgetOutbox()
	ok(t, s.CorrectAddressFor(ctx, errand, mongo, id, "right@company.example"))
	if m := only[events.ActivationRequested](t, s.announced()); m.To != "right@company.example" || m.Generation != 2 {
		t.Errorf("asked for a mail to %s, generation %d", m.To, m.Generation)
	}
	if p := s.dossier("100482-7").Pending; p == nil || p.Enrollment != id || p.Email != "r***@c***.example" || p.CorrectionsLeft != 2 || p.MailsLeft != 4 {
		t.Errorf("the pending case is %+v", p)
	}
	s.forgetOutbox()
	ok(t, s.CancelFor(ctx, errand, mongo, id))
	cancelled := s.announced()
	if m := only[events.Cancelled](t, cancelled); m.Reason != "by-helpdesk" || cancelled[0].Source != events.Source(mongo, "helpdesk") {
		t.Errorf("cancelled for %s by %s", m.Reason, cancelled[0].Source)
	}
	refused(t, s.CancelFor(ctx, errand, mongo, id), enrollment.LinkExpired)
	if id := s.admits(s.form(mongo, "100482-7", "QX4T-88ZK", named(t, string(a.Username.Display)))); s.state(id) != enrollment.Registered {
		t.Error("code and username are not free again")
	}
	want := []string{
		"idp|7 cancel mongo 100482-7: caller asked for it (cancelled, address r***@c***.example)",
		"idp|7 correct-address mongo 100482-7: caller asked for it (registered, address r***@c***.example)",
		"idp|7 send-again mongo 100482-7: caller asked for it (registered, address c***@c***.example)",
	}
	if diff := cmp.Diff(want, s.audited()); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
	lines := ""
	for _, h := range s.dossier("100482-7").Timeline {
		lines += h.What + ": " + h.Detail + "\n"
	}
	if !strings.Contains(lines, "staff: cancel: Grace: caller asked for it; cancelled") {
		t.Errorf("the timeline does not tell what staff did:\n%s", lines)
	}
}

func TestStaffUnlock(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("1", "QX4T-88ZK", daysAgo(1)), invoice("2", "AAAA-BBBB", daysAgo(1)))
	for _, account := range []string{"1", "2"} {
		for range enrollment.WrongTriesOnAccount {
			_, err := s.register(s.form(mongo, account, "WRNG-WRNG", from("192.0.2.7")))
			refused(t, err, enrollment.NotRecognised)
		}
	}
	_, err := s.register(s.form(mongo, "1", "QX4T-88ZK", from("192.0.2.7")))
	refused(t, err, enrollment.TooManyTries)
	if d := s.dossier("1").Diagnosis; d.Standing != "locked" {
		t.Errorf("the diagnosis is %+v", d)
	}
	s.forgetOutbox()
	lifted, err := s.Unlock(t.Context(), errand, mongo, "1")
	ok(t, err)
	if lifted != 1 {
		t.Errorf("%d waits lifted, want 1", lifted)
	}
	only[events.Unlocked](t, s.announced())
	if guesses := s.number(`SELECT wrong FROM attempts WHERE scope = 'code-account' AND key = '1'`); guesses != enrollment.WrongTriesOnAccount {
		t.Errorf("the account's guesses are %d, want them kept", guesses)
	}
	s.admits(s.form(mongo, "1", "QX4T-88ZK", from("192.0.2.7")))
	_, err = s.register(s.form(mongo, "2", "AAAA-BBBB", from("192.0.2.7")))
	refused(t, err, enrollment.TooManyTries)

	s.forgetOutbox()
	if lifted, err := s.Unlock(t.Context(), errand, mongo, "1"); err != nil || lifted != 0 || len(s.announced()) != 0 {
		t.Errorf("a second time: %d lifted, %v, announced %v", lifted, err, names(s.announced()))
	}
}

func TestStaffRetireACode(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("1", "QX4T-88ZK", daysAgo(1)))
	asked, err := s.RetireCode(t.Context(), errand, mongo, "1")
	ok(t, err)
	if m := only[events.CodeReissueRequested](t, s.announced()); !asked || m.Cause != events.HelpdeskAsked {
		t.Errorf("asked %v for %s", asked, m.Cause)
	}
	_, err = s.register(s.form(mongo, "1", "QX4T-88ZK"))
	refused(t, err, enrollment.CodeRetired)
	if asked, err := s.RetireCode(t.Context(), errand, mongo, "1"); err != nil || asked {
		t.Errorf("a second time within a day: asked %v, %v", asked, err)
	}
	s.bills(mongo, events.PaymentMethodChanged{AccountNumber: "2", ChangedAt: daysAgo(1), Kind: "none"}, events.AccountClosed{AccountNumber: "1", ClosedAt: daysAgo(0.1)})
	if _, err := s.RetireCode(t.Context(), errand, mongo, "2"); err != enrollment.ErrUnknown {
		t.Errorf("an account that was never e-mailed: %v", err)
	}
	_, err = s.RetireCode(t.Context(), errand, mongo, "1")
	refused(t, err, enrollment.AccountClosed)
}

func TestStaffSignACustomerOut(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("1", "QX4T-88ZK", daysAgo(1)), invoice("2", "AAAA-BBBB", daysAgo(1)))
	a := s.form(mongo, "1", "QX4T-88ZK")
	_, user := s.enrolls(a)
	ok(t, s.SaveSession(t.Context(), "hash", mongo, user, 0, []byte("x"), time.Now().Add(time.Hour)))
	if err := s.SignOutFor(t.Context(), errand, mongo, "2", a.Username.Display); err != enrollment.ErrUnknown {
		t.Errorf("a user of another account: %v", err)
	}
	if _, found, _ := s.Session(t.Context(), "hash"); !found {
		t.Fatal("the session is gone before")
	}
	ok(t, s.SignOutFor(t.Context(), errand, mongo, "1", a.Username.Display))
	if _, found, _ := s.Session(t.Context(), "hash"); found {
		t.Error("the session is still there")
	}
}

func TestNothingIsDoneWithoutAReason(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("1", "QX4T-88ZK", daysAgo(1)))
	a := s.form(mongo, "1", "QX4T-88ZK")
	id := s.admits(a)
	s.DB.MustExec(`UPDATE enrollments SET last_mail_at = last_mail_at - interval '61 seconds'`)
	s.forgetOutbox()
	ctx := t.Context()
	for reason, want := range map[string]enrollment.Reason{"": enrollment.TooShort, "abcd": enrollment.TooShort, strings.Repeat("ä", 501): enrollment.TooLong} {
		without := enrollment.Errand{By: errand.By, Reason: reason}
		_, unlock := s.Unlock(ctx, without, mongo, "1")
		_, retire := s.RetireCode(ctx, without, mongo, "1")
		for _, err := range []error{
			unlock, retire, s.SendAgain(ctx, without, mongo, id), s.CorrectAddressFor(ctx, without, mongo, id, "b@company.example"), s.CancelFor(ctx, without, mongo, id),
			s.SignOutFor(ctx, without, mongo, "1", "x"), s.AuditLetter(ctx, without, enrollment.DroppedLetter, mongo, "1", ""),
		} {
			refused(t, err, want)
		}
	}
	if len(s.announced()) > 0 || len(s.audited()) > 0 || s.state(id) != enrollment.Registered {
		t.Errorf("something was done: %v %v", names(s.announced()), s.audited())
	}
}

// Somebody else's enrollment, account or tenant is unknown, whatever is done to it.
func TestStaffActOnOneTenant(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("1", "QX4T-88ZK", daysAgo(1)))
	id := s.admits(s.form(mongo, "1", "QX4T-88ZK"))
	ctx := t.Context()
	_, unlock := s.Unlock(ctx, errand, zeros, "1")
	_, retire := s.RetireCode(ctx, errand, zeros, "1")
	for i, err := range []error{
		unlock, retire, s.SendAgain(ctx, errand, zeros, id), s.CorrectAddressFor(ctx, errand, zeros, id, "b@company.example"), s.CancelFor(ctx, errand, zeros, id),
		s.CancelFor(ctx, errand, mongo, uuid.New()), s.SignOutFor(ctx, errand, "none", "1", "x"),
	} {
		if err == nil || !strings.Contains(err.Error(), enrollment.ErrUnknown.Error()) {
			t.Errorf("%d: %v, want ErrUnknown", i, err)
		}
	}
}

func TestFindAccounts(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("100482-7", "QX4T-88ZK", daysAgo(1)), invoice("200", "AAAA-BBBB", daysAgo(2)))
	s.bills(zeros, invoice("100482-7", "QX4T-88ZK", daysAgo(1)))
	user := s.form(mongo, "100482-7", "QX4T-88ZK", named(t, "Bob’sBuilding"))
	s.enrolls(user)
	pending := s.form(mongo, "200", "AAAA-BBBB")
	s.admits(pending)
	for _, c := range []struct{ name, tenant, wanted, want string }{
		{"an account number in another spelling", mongo, " 1004827 ", "100482-7 by account number"},
		{"a username in another spelling", mongo, "bob'sbuilding", "100482-7 by username"},
		{"a username that is pending", mongo, pending.Username.Display, "200 by username given at sign-up"},
		{"an address in capitals", mongo, strings.ToUpper(string(user.Email)), "100482-7 by e-mail address of a user"},
		{"an address that is pending", mongo, string(pending.Email), "200 by e-mail address given at sign-up"},
		{"an invoice", mongo, "INV-200" + daysAgo(2).Format("-20060102150405"), "200 by invoice"},
		{"another tenant's invoice", zeros, "INV-200" + daysAgo(2).Format("-20060102150405"), ""},
		{"another tenant's user", zeros, "bob'sbuilding", ""},
		{"nothing", mongo, "", ""},
		{"what is none of them", mongo, "%'", ""},
		{"what Postgres has no text for", mongo, "%\x00\xff", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, err := s.FindAccounts(t.Context(), c.tenant, c.wanted, 10)
			ok(t, err)
			var got string
			for _, f := range found {
				got += f.AccountNumber + " by " + f.By
			}
			if got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

func TestTheAuditTrailIsOnlyAddedTo(t *testing.T) {
	s := stage(t)
	ok(t, s.AuditLetter(t.Context(), errand, enrollment.DroppedLetter, mongo, "dead letter 7", "not-json"))
	for _, q := range []string{`UPDATE audit SET reason = 'another one'`, `DELETE FROM audit`, `TRUNCATE audit`} {
		if _, err := s.DB.Exec(q); err == nil || !strings.Contains(err.Error(), "only added to") {
			t.Errorf("%s: %v", q, err)
		}
	}
	if len(s.audited()) != 1 {
		t.Errorf("the trail is %v", s.audited())
	}
}

func TestStaffSessions(t *testing.T) {
	s := stage(t)
	ctx := t.Context()
	who := enrollment.Staff{Subject: "idp|7", Name: "Grace", Roles: []string{"agent", "operator"}}
	ok(t, s.OpenStaffSession(ctx, "token", who, 30*time.Minute, 12*time.Hour))
	got, err := s.StaffSession(ctx, "token")
	ok(t, err)
	if got.Session == "" || strings.Contains(got.Session, "token") {
		t.Errorf("the session is called %q", got.Session)
	}
	who.Session = got.Session
	if diff := cmp.Diff(who, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if n := s.number(`SELECT count(*) FROM staff_sessions WHERE token_hash::text LIKE '%token%'`); n != 0 {
		t.Error("the token is stored")
	}
	nobody := func(what, token string) {
		t.Helper()
		if _, err := s.StaffSession(ctx, token); err != enrollment.ErrUnknown {
			t.Errorf("%s: %v", what, err)
		}
	}
	nobody("another token", "other")
	s.DB.MustExec(`UPDATE staff_sessions SET idle_until = now()`)
	nobody("idle for long", "token")
	ok(t, s.OpenStaffSession(ctx, "second", who, 30*time.Minute, 12*time.Hour))
	s.DB.MustExec(`UPDATE staff_sessions SET signed_in_at = now() - interval '12 hours', expires_at = now()`)
	nobody("at the end of the day", "second")
	ok(t, s.OpenStaffSession(ctx, "third", who, 30*time.Minute, 12*time.Hour))
	ok(t, s.EndStaffSession(ctx, "third"))
	nobody("signed out", "third")
	if n := len(s.audited()); n != 3 {
		t.Errorf("%d sign-ins stand in the audit trail, want 3", n)
	}
}
