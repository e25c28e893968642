package store_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

func (s *scene) open(link enrollment.Signed, v enrollment.Visit) (enrollment.Invitation, error) {
	return s.Open(context.Background(), mongo, link, v)
}

func (s *scene) renew(link enrollment.Signed) (enrollment.Admission, error) {
	return s.Renew(context.Background(), mongo, link, enrollment.Wish{})
}

func TestWhereALinkLeads(t *testing.T) {
	s := stage(t)
	const old, present = enrollment.Address("old@company.example"), enrollment.Address("present@company.example")
	overdue := func(id enrollment.ID) {
		s.DB.MustExec(`UPDATE enrollments SET expires_at = now() - interval '1 second' WHERE id = $1`, id)
	}
	states := []struct {
		name           string
		bring          func(enrollment.ID) // a corrected enrollment of generation 2 into the state
		present, older enrollment.Reason   // what a link to either address leads to; empty: to the password page
	}{
		{"registered", func(enrollment.ID) {}, "", enrollment.LinkSuperseded},
		{"mailed", func(id enrollment.ID) { ok(t, s.RecordMailAccepted(t.Context(), mongo, id, 2, time.Now())) }, "", enrollment.LinkSuperseded},
		{"undeliverable", func(id enrollment.ID) { ok(t, s.RecordMailRefused(t.Context(), mongo, id, 2, time.Now())) }, "", enrollment.LinkSuperseded},
		{"overdue", overdue, enrollment.LinkExpired, enrollment.LinkSuperseded},
		{"expired", func(id enrollment.ID) { overdue(id); _, err := s.ExpireDue(t.Context(), 10); ok(t, err) }, enrollment.LinkExpired, enrollment.LinkSuperseded},
		{"activated", func(id enrollment.ID) { ok(t, s.activate(mongo, s.link(mongo, id, 2, present))) }, enrollment.LinkUsed, enrollment.LinkUsed},
	}
	for i, tt := range states {
		t.Run(tt.name, func(t *testing.T) {
			s.t = t
			account := fmt.Sprint("A-", i)
			s.bills(mongo, invoice(account, "QX4T-88ZK", daysAgo(1)))
			id := s.admits(s.form(mongo, account, "QX4T-88ZK", func(a *enrollment.Application) { a.Email = old }))
			ok(t, s.correct(id, present, "c"))
			tt.bring(id)
			before := s.dump(`SELECT * FROM enrollments`) + s.dump(`SELECT * FROM users`)

			// A link that was made up is damaged whatever it names, before anything is told about the enrollment.
			for name, damaged := range map[string]enrollment.Signed{
				"under another key":              madeUp(t, mongo, id, 2, present),
				"to another address":             s.link(mongo, id, 2, "mallory@company.example"),
				"of a generation yet to come":    s.link(mongo, id, 3, present),
				"of generation 0":                s.link(mongo, id, 0, present),
				"of the largest generation":      s.link(mongo, id, 1<<32-1, present),
				"minted for another tenant":      s.link(zeros, id, 2, present),
				"of an enrollment that is not":   s.link(mongo, uuid.New(), 2, present),
				"with the old address's present": s.link(mongo, id, 1, present),
			} {
				_, err := s.open(damaged, enrollment.Visit{})
				if no := refused(t, err, enrollment.LinkDamaged); name == "" || no.Field != "" {
					t.Errorf("%s: %+v", name, no)
				}
				refused(t, s.activate(mongo, damaged), enrollment.LinkDamaged)
				_, err = s.renew(damaged)
				refused(t, err, enrollment.LinkDamaged)
			}
			genuine := s.link(mongo, id, 2, present)
			refused(t, s.activate(zeros, genuine), enrollment.LinkDamaged) // on another tenant's portal
			refused(t, s.activate("nobody", genuine), enrollment.LinkDamaged)
			if diff := cmp.Diff(before, s.dump(`SELECT * FROM enrollments`)+s.dump(`SELECT * FROM users`)); diff != "" {
				t.Fatalf("a damaged link changed something:\n%s", diff)
			}

			for _, link := range []struct {
				link enrollment.Signed
				want enrollment.Reason
			}{{s.link(mongo, id, 1, old), tt.older}, {genuine, tt.present}} {
				_, opened := s.open(link.link, enrollment.Visit{})
				if link.want != "" {
					refused(t, opened, link.want)
					refused(t, s.activate(mongo, link.link), link.want)
					continue
				}
				ok(t, opened)
				ok(t, s.activate(mongo, link.link))
				refused(t, s.activate(mongo, link.link), enrollment.LinkUsed)
			}
		})
	}
}

func madeUp(t *testing.T, tenant string, id enrollment.ID, generation uint32, to enrollment.Address) enrollment.Signed {
	t.Helper()
	token := enrollment.Mint([]byte("a guesser's key"), tenant, enrollment.Link{Enrollment: id, Generation: generation}, to)
	signed, err := enrollment.ParseLink(token.Reveal())
	ok(t, err)
	return signed
}

func TestOfTwentyActivationsAtOnceOneWins(t *testing.T) {
	s := stage(t)
	id, a := s.pending("100482-7")
	link := s.link(mongo, id, 1, a.Email)
	got := reasons(t, atOnce(20, func(i int) error {
		_, err := s.Activate(context.Background(), mongo, link, fmt.Sprint(passwordHash, i))
		return err
	}))
	if diff := cmp.Diff(map[enrollment.Reason]int{"": 1, enrollment.LinkUsed: 19}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	for _, table := range []string{"users", "memberships"} {
		if n := s.number(`SELECT count(*) FROM ` + table); n != 1 {
			t.Errorf("%d rows in %s, want 1", n, table)
		}
	}
	only[events.Activated](t, s.announced())
	only[events.EnrollmentNoticeRequested](t, s.announced())
}

func TestActivationTellsTheAddressOfRecord(t *testing.T) {
	s := stage(t)
	id, a := s.pending("100482-7")
	s.bills(mongo, invoice("1004827", "", daysAgo(0.5), func(m *events.InvoiceEmailed) { m.BillingEmail = "newest@bobsbuilding.example"; m.Locale = "fr" }))
	s.forgetOutbox()
	name, err := s.Activate(t.Context(), mongo, s.link(mongo, id, 1, a.Email), passwordHash)
	ok(t, err)
	if name != a.Username.Display {
		t.Errorf("log in as %q, want %q", name, a.Username.Display)
	}
	notice := only[events.EnrollmentNoticeRequested](t, s.announced())
	want := events.EnrollmentNoticeRequested{EnrollmentID: id.String(), To: "newest@bobsbuilding.example", CompanyName: "Bob's Building", AccountNumber: "1004827", Locale: "fr"}
	if diff := cmp.Diff(want, notice, cmpopts.IgnoreFields(notice, "ActivatedAt")); diff != "" {
		t.Errorf("notice (-want +got):\n%s", diff)
	}
	if fact := only[events.Activated](t, s.announced()); fact.Sequence != 2 || fact.EnrollmentID != id.String() {
		t.Errorf("fact %+v", fact)
	}
	if got := storetest.One[string](t, s.Database, `SELECT password_hash FROM users`); got != passwordHash {
		t.Errorf("the password's hash is %s", got)
	}
}

func TestLinksOutliveAKeyRotation(t *testing.T) {
	s := stage(t)
	before, after := keys(t, "E"), keys(t, "E", "M")
	s.Store, s.Ring = store.New(s.DB, before, storetest.Policy), before
	id, a := s.pending("100482-7")
	s.Store = store.New(s.DB, after, storetest.Policy)
	ok(t, s.activate(mongo, s.link(mongo, id, 1, a.Email)))
}

func TestAllLinksOfOneAddressWork(t *testing.T) {
	s := stage(t)
	id, a := s.pending("100482-7")
	s.Pass(t, time.Hour)
	ok(t, s.resend(id, "r"))
	ok(t, s.activate(mongo, s.link(mongo, id, 1, a.Email))) // the first mail's and the second's are the same link
}

func TestOpeningIsRecordedOnceForPeopleAndOnceForMachines(t *testing.T) {
	s := stage(t)
	emailed := daysAgo(1)
	id, a := s.pending("100482-7")
	ok(t, s.RecordMailAccepted(t.Context(), mongo, id, 1, time.Now()))
	const moving = `SELECT state, generation, expires_at, mailed_at, request_id, corrections, resends, last_mail_at FROM enrollments`
	before := s.dump(moving) + s.dump(`SELECT * FROM enrollment_moves`)
	opened := func(want ...bool) {
		t.Helper()
		var got []bool
		for _, e := range s.announced() {
			f, err := events.Data[events.ActivationOpened](e)
			ok(t, err)
			got = append(got, f.AutomationSuspected)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("facts (-want +got):\n%s", diff)
		}
		s.forgetOutbox()
	}
	s.forgetOutbox()
	link := s.link(mongo, id, 1, a.Email)
	for _, automated := range []bool{true, true, false, true, false} {
		got, err := s.open(link, enrollment.Visit{Automated: automated})
		ok(t, err)
		want := enrollment.Invitation{Enrollment: id, Username: a.Username.Display, CompanyName: "Bob's Building", AccountNumber: "100482-7", Email: a.Email}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(got, "ExpiresAt")); diff != "" || got.ExpiresAt.Before(emailed) {
			t.Errorf("invitation (-want +got):\n%s", diff)
		}
	}
	opened(true, false)
	if diff := cmp.Diff(before, s.dump(moving)+s.dump(`SELECT * FROM enrollment_moves`)); diff != "" {
		t.Errorf("looking moved something:\n%s", diff)
	}
	ok(t, s.correct(id, "new@company.example", "c"))
	s.forgetOutbox()
	for range 2 {
		_, err := s.open(s.link(mongo, id, 2, "new@company.example"), enrollment.Visit{})
		ok(t, err)
	}
	opened(false) // once for each address
}

func TestRenew(t *testing.T) {
	s := stage(t)
	id, a := s.pending("100482-7")
	link := s.link(mongo, id, 1, a.Email)
	s.forgetOutbox()

	admitted, err := s.renew(link) // it still works
	ok(t, err)
	if admitted.Enrollment != id || !admitted.Continued || len(s.announced()) != 0 {
		t.Errorf("a link that works was renewed: %+v, %v", admitted, names(s.announced()))
	}

	s.Pass(t, 8*24*time.Hour)
	renewals := make([]enrollment.Admission, 5)
	for _, err := range atOnce(len(renewals), func(i int) (err error) {
		renewals[i], err = s.renew(link)
		return err
	}) {
		ok(t, err)
	}
	second := renewals[0].Enrollment
	for _, r := range renewals {
		if r.Enrollment != second || second == id {
			t.Errorf("renewed as %v", renewals)
		}
	}
	if s.state(id) != enrollment.Expired || s.state(second) != enrollment.Registered {
		t.Errorf("the old one is %s, the new one %s", s.state(id), s.state(second))
	}
	mail := only[events.ActivationRequested](t, s.announced())
	if mail.EnrollmentID != second.String() || mail.To != string(a.Email) || mail.Username != a.Username.Display {
		t.Errorf("mail %+v", mail)
	}
	if p := s.asks(second); p.Email != a.Email {
		t.Errorf("%+v", p)
	}

	// And again, with the first link, after the second ran out as well.
	s.Pass(t, 8*24*time.Hour)
	_, err = s.ExpireDue(t.Context(), 10)
	ok(t, err)
	third, err := s.renew(link)
	ok(t, err)
	ok(t, s.activate(mongo, s.link(mongo, third.Enrollment, 1, a.Email)))
	_, err = s.renew(link)
	refused(t, err, enrollment.CodeUsed)
	_, err = s.renew(s.link(mongo, third.Enrollment, 1, a.Email))
	refused(t, err, enrollment.LinkUsed)
}

func TestRenewIsRefused(t *testing.T) {
	s := stage(t)
	newer := daysAgo(0.1)
	for i, tt := range []struct {
		name      string
		meanwhile func(account string, a enrollment.Application)
		want      enrollment.Reason
	}{
		{"when the code expired", func(string, enrollment.Application) { s.Pass(t, 45*24*time.Hour) }, enrollment.CodeExpired},
		{"when the code was superseded", func(account string, _ enrollment.Application) {
			s.bills(mongo, invoice(account, "NEWER-CODE", newer))
			s.Pass(t, 8*24*time.Hour)
		}, enrollment.CodeSuperseded},
		{"when somebody took the name", func(_ string, a enrollment.Application) {
			s.Pass(t, 8*24*time.Hour)
			s.bills(mongo, invoice("THIEF", "THIEFS-CODE", daysAgo(1)))
			s.admits(s.form(mongo, "THIEF", "THIEFS-CODE", named(t, a.Username.Display)))
		}, enrollment.UsernameTaken},
		{"when the codes were retired", func(account string, _ enrollment.Application) {
			s.Pass(t, 8*24*time.Hour)
			s.retire(account)
		}, enrollment.CodeRetired},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.t = t
			account := fmt.Sprint("A-", i)
			id, a := s.pending(account)
			tt.meanwhile(account, a)
			_, err := s.renew(s.link(mongo, id, 1, a.Email))
			refused(t, err, tt.want)
			if s.state(id) != enrollment.Expired {
				t.Errorf("the old enrollment is %s", s.state(id))
			}
		})
	}
}

// Whoever got the mail and did not sign up ends it: everything is free at once, and no mail that is under way is sent.
func TestWhoDidNotSignUpCancelsTheSignUp(t *testing.T) {
	s := stage(t)
	id, a := s.pending("100482-7")
	link := s.link(mongo, id, 1, a.Email)
	s.forgetOutbox()
	for _, err := range atOnce(5, func(int) error { return s.Disown(context.Background(), mongo, link) }) {
		ok(t, err)
	}
	if got := s.state(id); got != enrollment.Cancelled {
		t.Fatalf("it is %s", got)
	}
	fact := only[events.Cancelled](t, s.announced())
	if fact.Reason != "not-requested" || s.announced()[0].Source != events.Source(mongo, "portal") {
		t.Errorf("cancelled for %s by %s", fact.Reason, s.announced()[0].Source)
	}
	refused(t, s.activate(mongo, link), enrollment.LinkCancelled)
	_, err := s.renew(link)
	refused(t, err, enrollment.LinkCancelled)
	claim, err := s.ClaimMail(t.Context(), enrollment.Mail{
		Tenant: mongo, Enrollment: id, Purpose: enrollment.ActivationMail, Generation: 1, Number: 1, MessageID: "m", GiveUpAt: time.Now().Add(time.Hour),
	})
	if err != nil || claim.Verdict != enrollment.Moot {
		t.Errorf("its mail is to be sent: %+v, %v", claim, err)
	}
	timeline := ""
	for _, h := range s.dossier("100482-7").Timeline {
		timeline += h.What + ": " + h.Detail + "\n"
	}
	if !strings.Contains(timeline, "enrollment: cancel: registered → cancelled, not-requested") {
		t.Errorf("the timeline does not say why:\n%s", timeline)
	}
	second := s.admits(s.form(mongo, "100482-7", "QX4T-88ZK", named(t, a.Username.Display)))
	if second == id {
		t.Error("the code is not free")
	}
	ok(t, s.Disown(t.Context(), mongo, link)) // the first mail's link says nothing about the second sign-up
	if got := s.state(second); got != enrollment.Registered {
		t.Errorf("the second sign-up is %s", got)
	}
}

// One code is no cannon: whoever signs up strangers, or ends their own sign-ups to begin anew, waits a day.
func TestACodeThatIsDisownedOverAndOverWaits(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("100482-7", "AAAA-1111", daysAgo(2)), invoice("100482-7", "QX4T-88ZK", daysAgo(1)))
	a := s.form(mongo, "100482-7", "QX4T-88ZK")
	again := func() (enrollment.ID, error) {
		a.RequestID += "again"
		admitted, err := s.Register(t.Context(), a)
		return admitted.Enrollment, err
	}
	for range enrollment.MaxDisowned {
		id, err := again()
		ok(t, err)
		ok(t, s.Disown(t.Context(), mongo, s.link(mongo, id, 1, a.Email)))
	}
	s.forgetOutbox()
	_, err := again()
	no := refused(t, err, enrollment.TooManyTries)
	if no.RetryAfter <= enrollment.DisownedWindow-time.Minute || no.RetryAfter > enrollment.DisownedWindow {
		t.Errorf("wait %s", no.RetryAfter)
	}
	only[events.RegistrationRefused](t, s.announced())
	if d := s.dossier("100482-7").Diagnosis; d.Standing != "disowned" {
		t.Errorf("staff read %+v", d)
	}
	s.admits(s.form(mongo, "100482-7", "AAAA-1111")) // a colleague with another code
	s.Pass(t, enrollment.DisownedWindow)
	_, err = again()
	ok(t, err)
}

func TestWhatCannotBeDisowned(t *testing.T) {
	s := stage(t)
	for i, tt := range []struct {
		name  string
		bring func(account string, id enrollment.ID, a enrollment.Application) enrollment.Signed
		want  enrollment.Reason
	}{
		{"what is activated", func(_ string, id enrollment.ID, a enrollment.Application) enrollment.Signed {
			ok(t, s.activate(mongo, s.link(mongo, id, 1, a.Email)))
			return s.link(mongo, id, 1, a.Email)
		}, enrollment.LinkUsed},
		{"what went on to another address", func(_ string, id enrollment.ID, a enrollment.Application) enrollment.Signed {
			ok(t, s.correct(id, "right@company.example", "c"))
			return s.link(mongo, id, 1, a.Email)
		}, enrollment.LinkSuperseded},
		{"by a link that was made up", func(_ string, id enrollment.ID, a enrollment.Application) enrollment.Signed {
			return madeUp(t, mongo, id, 1, a.Email)
		}, enrollment.LinkDamaged},
		{"what is overdue", func(_ string, id enrollment.ID, a enrollment.Application) enrollment.Signed {
			s.DB.MustExec(`UPDATE enrollments SET expires_at = now() - interval '1 second' WHERE id = $1`, id)
			return s.link(mongo, id, 1, a.Email)
		}, enrollment.LinkExpired},
		{"what ends with its account", func(account string, id enrollment.ID, a enrollment.Application) enrollment.Signed {
			s.bills(mongo, closing(account, daysAgo(0.1)))
			return s.link(mongo, id, 1, a.Email)
		}, enrollment.AccountClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.t = t
			account := fmt.Sprint("A-", i)
			s.bills(mongo, invoice(account, "QX4T-88ZK", daysAgo(1)))
			a := s.form(mongo, account, "QX4T-88ZK")
			id := s.admits(a)
			link := tt.bring(account, id, a)
			before := s.dump(`SELECT * FROM enrollments`) + s.dump(`SELECT * FROM usernames`) + s.dump(`SELECT * FROM outbox`)
			refused(t, s.Disown(t.Context(), mongo, link), tt.want)
			if diff := cmp.Diff(before, s.dump(`SELECT * FROM enrollments`)+s.dump(`SELECT * FROM usernames`)+s.dump(`SELECT * FROM outbox`)); diff != "" {
				t.Errorf("something changed:\n%s", diff)
			}
		})
	}
}

// A decision falls once, whichever of the two comes first.
func TestOfActivationAndDisowningOneWins(t *testing.T) {
	s := stage(t)
	id, a := s.pending("100482-7")
	link := s.link(mongo, id, 1, a.Email)
	got := reasons(t, atOnce(10, func(i int) error {
		if i%2 == 0 {
			return s.Disown(context.Background(), mongo, link)
		}
		return s.activate(mongo, link)
	}))
	switch s.state(id) {
	case enrollment.Activated:
		if got[""] != 1 || got[enrollment.LinkUsed] != 9 {
			t.Errorf("activated, and answered %v", got)
		}
	case enrollment.Cancelled:
		if got[""] != 5 || got[enrollment.LinkCancelled] != 5 {
			t.Errorf("cancelled, and answered %v", got)
		}
	default:
		t.Errorf("it is %s", s.state(id))
	}
}
