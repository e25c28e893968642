package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// notices are the security notices that were asked for, by whom they go to.
func (s *scene) notices() []events.SecurityNoticeRequested {
	s.t.Helper()
	var all []events.SecurityNoticeRequested
	for _, e := range s.announced() {
		if e.Definition.Name == "SecurityNoticeRequested" {
			m, err := events.Data[events.SecurityNoticeRequested](e)
			ok(s.t, err)
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b events.SecurityNoticeRequested) int { return strings.Compare(a.To, b.To) })
	return all
}

// told checks the notices that were asked for since it was called last, their ids and times aside.
func (s *scene) told(when string, want ...events.SecurityNoticeRequested) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.notices(), cmpopts.IgnoreFields(events.SecurityNoticeRequested{}, "NoticeID", "OccurredAt"), cmpopts.EquateEmpty()); diff != "" {
		s.t.Errorf("%s (-want +told):\n%s", when, diff)
	}
	s.forgetOutbox()
}

func at(address string) func(*enrollment.Application) {
	return func(a *enrollment.Application) { a.Email = enrollment.Address(address) }
}

func in(locale string) func(*enrollment.Application) {
	return func(a *enrollment.Application) { a.Locale = locale }
}

func TestATriedCodeIsToldToBillingAndUsersOnceADay(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("100482-7", "QX4T-88ZK", daysAgo(3)), invoice("100482-7", "7F3K-9QWD", daysAgo(2)), invoice("100482-7", "MB07-22YL", daysAgo(1)))
	s.enrolls(s.form(mongo, "100482-7", "QX4T-88ZK", at("bob@bobsbuilding.example"), named(t, "Bob’sBuilding")))
	s.enrolls(s.form(mongo, "100482-7", "7F3K-9QWD", at("ana@bobsbuilding.example"), named(t, "ana"), in("es-US")))
	s.enrolls(s.form(mongo, "100482-7", "MB07-22YL", at("AP@bobsbuilding.example"), named(t, "carol"))) // reads the billing address
	s.forgetOutbox()

	about := events.SecurityNoticeRequested{Kind: "code-tried", CompanyName: "Bob's Building", AccountNumber: "100482-7", Locale: "en-US"}
	billing, bob, ana := about, about, about
	billing.To = "ap@bobsbuilding.example"
	bob.To, bob.Username = "bob@bobsbuilding.example", "Bob’sBuilding"
	ana.To, ana.Username, ana.Locale = "ana@bobsbuilding.example", "ana", "es-US"

	refused(t, s.guess("100482-7", "192.0.2.1"), enrollment.NotRecognised)
	s.told("after a wrong code")
	got := reasons(t, atOnce(20, func(int) error { _, err := s.register(s.form(mongo, "100482-7", "qx4t 88zk")); return err }))
	if diff := cmp.Diff(map[enrollment.Reason]int{enrollment.CodeUsed: 20}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	s.told("after twenty tries at once", ana, billing, bob)
	s.Pass(t, 23*time.Hour)
	_, err := s.register(s.form(mongo, "100482-7", "7F3K-9QWD"))
	refused(t, err, enrollment.CodeUsed)
	s.told("within a day")
	s.Pass(t, 61*time.Minute)
	_, err = s.register(s.form(mongo, "100482-7", "7F3K-9QWD"))
	refused(t, err, enrollment.CodeUsed)
	s.told("a day later", ana, billing, bob)
}

func TestAWaitIsToldToTheBillingAddressOnceADay(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("100482-7", "QX4T-88ZK", daysAgo(1)), invoice("200", "MB07-22YL", daysAgo(1)))
	five := func(account, source string) {
		t.Helper()
		for range enrollment.WrongTriesOnAccount {
			refused(t, s.guess(account, source), enrollment.NotRecognised)
		}
	}
	want := events.SecurityNoticeRequested{Kind: "locked", To: "ap@bobsbuilding.example", CompanyName: "Bob's Building", AccountNumber: "100482-7", Locale: "en-US"}
	for range enrollment.WrongTriesOnAccount - 1 {
		refused(t, s.guess("100482-7", "192.0.2.1"), enrollment.NotRecognised)
	}
	s.told("before anybody waits")
	refused(t, s.guess("100482-7", "192.0.2.1"), enrollment.NotRecognised)
	s.told("when the first one waits", want)
	five("100482-7", "192.0.2.2")
	s.told("when another one waits on the same day")
	s.Pass(t, 24*time.Hour+time.Minute)
	five("100482-7", "192.0.2.3")
	s.told("a day later", want)

	for i := range enrollment.WrongTriesOnTenant - 1 {
		refused(t, s.guess(fmt.Sprint("A-", i), "192.0.2.4"), enrollment.NotRecognised)
	}
	refused(t, s.guess("200", "192.0.2.4"), enrollment.NotRecognised)
	waitIs(t, s.guess("200", "192.0.2.4"), 30*time.Second)
	s.told("to an account at which one try was made, by a source that waits for twenty elsewhere")
}

// What a wait costs is the same, whether somebody is told, was told already, or does not exist; only the outbox knows.
func TestNobodyLearnsFromAWaitWhetherSomebodyIsTold(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("KNOWN", "QX4T-88ZK", daysAgo(1)))
	source := byte(0)
	traces := func(account string) string {
		t.Helper()
		before := s.number(`SELECT count(*) FROM security_notices`)
		source++
		for range enrollment.WrongTriesOnAccount {
			refused(t, s.guess(account, fmt.Sprint("192.0.2.", source)), enrollment.NotRecognised)
		}
		return fmt.Sprint(s.number(`SELECT count(*) FROM security_notices`)-before, " row of ") + s.dump(`SELECT DISTINCT tenant, kind FROM security_notices`)
	}
	known := traces("KNOWN")
	s.told("the known one", events.SecurityNoticeRequested{Kind: "locked", To: "ap@bobsbuilding.example", CompanyName: "Bob's Building", AccountNumber: "KNOWN", Locale: "en-US"})
	for _, account := range []string{"KNOWN", "UNKNOWN"} {
		if diff := cmp.Diff(known, traces(account)); diff != "" {
			t.Errorf("%s (-first +again):\n%s", account, diff)
		}
		s.told(account)
	}
}

func TestWhoSignedUpForAClosedAccountIsToldOnce(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("100482-7", "QX4T-88ZK", daysAgo(3)), invoice("100482-7", "7F3K-9QWD", daysAgo(2)), invoice("100482-7", "MB07-22YL", daysAgo(1)))
	id := s.admits(s.form(mongo, "100482-7", "QX4T-88ZK", at("bob@bobsbuilding.example"), in("es-US")))
	bounced := s.admits(s.form(mongo, "100482-7", "7F3K-9QWD", at("nobody@bobsbuilding.example")))
	ok(t, s.RecordMailRefused(t.Context(), mongo, bounced, 1, time.Now()))
	_, user := s.enrolls(s.form(mongo, "100482-7", "MB07-22YL"))
	if p, err := s.Pending(t.Context(), mongo, id); err != nil || p.Closed {
		t.Errorf("open: %+v, %v", p, err)
	}
	s.bills(mongo, closing("100482-7", daysAgo(0.1)))
	if p, err := s.Pending(t.Context(), mongo, id); err != nil || !p.Closed {
		t.Errorf("closed, before anybody came by: %+v, %v", p, err)
	}
	s.forgetOutbox()
	if n, err := s.CancelClosed(t.Context(), 10); err != nil || n != 2 {
		t.Errorf("%d cancelled, %v", n, err)
	}
	for _, e := range s.announced() {
		if e.Source != events.Source(mongo, "deadlines") {
			t.Errorf("%s is said by %s", e.Definition.Name, e.Source)
		}
	}
	s.told("when it is cancelled", events.SecurityNoticeRequested{
		Kind: "enrollment-closed", To: "bob@bobsbuilding.example", CompanyName: "Bob's Building", AccountNumber: "100482-7", Locale: "es-US"})
	if p, err := s.Pending(t.Context(), mongo, id); err != nil || !p.Closed || p.State != enrollment.Cancelled {
		t.Errorf("cancelled: %+v, %v", p, err)
	}
	_, err := s.CancelClosed(t.Context(), 10)
	ok(t, err)
	s.told("again")
	if c, err := s.Customer(t.Context(), mongo, user); err != nil || len(c.Accounts) != 1 {
		t.Errorf("who had finished sees %+v, %v", c, err)
	}
}

func TestAChangedPasswordIsToldToItsUser(t *testing.T) {
	s := stage(t)
	_, user := s.user("100482-7", "Bob’sBuilding")
	want := events.SecurityNoticeRequested{Kind: "password-changed", Username: "Bob’sBuilding", Locale: "en-US",
		To: s.one(`SELECT email FROM users WHERE id = $1`, user)}
	s.forgetOutbox()
	_, err := s.ChangePassword(t.Context(), mongo, user, otherHash, somewhere)
	ok(t, err)
	s.told("changed", want)
	ok(t, s.forgets("bob'sbuilding", ""))
	s.told("a link was asked for")
	s.Pass(t, time.Minute+time.Second)
	ok(t, s.forgets("bob'sbuilding", ""))
	link := s.resetLink()
	ok(t, s.sets(link))
	s.told("set anew", want)
	refused(t, s.sets(link), enrollment.LinkUsed)
	s.told("the link again")
}

func (s *scene) one(query string, args ...any) (text string) {
	s.t.Helper()
	ok(s.t, s.DB.Get(&text, query, args...))
	return text
}

func TestStaffSeeWhatAnAccountsPeopleWereMailed(t *testing.T) {
	s := stage(t)
	a := s.form(mongo, "100482-7", "QX4T-88ZK", named(t, "bob"))
	s.bills(mongo, invoice("100482-7", "QX4T-88ZK", daysAgo(1)), invoice("200", "MB07-22YL", daysAgo(1)))
	_, user := s.enrolls(a)
	s.enrolls(s.form(mongo, "200", "MB07-22YL"))
	_, err := s.register(s.form(mongo, "100482-7", "QX4T-88ZK"))
	refused(t, err, enrollment.CodeUsed)
	_, err = s.ChangePassword(t.Context(), mongo, user, otherHash, somewhere)
	ok(t, err)
	ok(t, s.forgets("bob", ""))
	asked := map[string]enrollment.Purpose{only[events.PasswordResetRequested](t, s.announced()).ResetID: enrollment.ResetMail}
	for _, n := range s.notices() {
		asked[n.NoticeID] = enrollment.Purpose(n.Kind)
	}
	for id, purpose := range asked {
		m := enrollment.Mail{Tenant: mongo, Enrollment: uuid.MustParse(id), Purpose: purpose, Generation: 1, Number: 1,
			MessageID: id, GiveUpAt: time.Now().Add(time.Hour)}
		if c, err := s.ClaimMail(t.Context(), m); err != nil || c.Verdict != enrollment.SendNow {
			t.Fatalf("claim: %+v, %v", c, err)
		}
		_, err := s.MailAccepted(t.Context(), m)
		ok(t, err)
	}
	lines := func(account string) (all []string) {
		t.Helper()
		d, err := s.Dossier(t.Context(), mongo, account)
		ok(t, err)
		for _, h := range d.Timeline {
			if strings.Contains(h.What, " mail ") {
				all = append(all, h.What+": "+h.Detail)
			}
		}
		slices.Sort(all)
		return all
	}
	want := []string{
		"code-tried mail accepted: to the billing address", "code-tried mail accepted: to user bob", "password-changed mail accepted: to user bob",
		"password-reset mail accepted: to user bob",
	}
	if diff := cmp.Diff(want, lines("100482-7")); diff != "" {
		t.Errorf("timeline (-want +got):\n%s", diff)
	}
	if got := lines("200"); got != nil {
		t.Errorf("another account's timeline: %q", got)
	}
	log, err := s.MailLog(t.Context(), mongo, "accepted", 10)
	ok(t, err)
	accounts := map[string]int{}
	for _, m := range log {
		accounts[string(m.Purpose)+" "+m.AccountNumber]++
	}
	if diff := cmp.Diff(map[string]int{"code-tried 100482-7": 2, "password-changed 100482-7": 1, "password-reset 100482-7": 1}, accounts); diff != "" {
		t.Errorf("mail log (-want +got):\n%s", diff)
	}

	s.Pass(t, 401*24*time.Hour)
	_, err = s.Forget(t.Context())
	ok(t, err)
	if n := s.number(`SELECT count(*) FROM security_notices`); n != 0 {
		t.Errorf("%d notices are kept for ever", n)
	}
}
