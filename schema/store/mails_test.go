package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

func mailTo(id enrollment.ID) enrollment.Mail {
	return enrollment.Mail{Tenant: mongo, Enrollment: id, Purpose: enrollment.ActivationMail, Generation: 1, Number: 1,
		AccountNumber: "100482-7", MessageID: "<1@mongo.billcenter.net>", GiveUpAt: time.Now().Add(72 * time.Hour)}
}

func (s *scene) claim(m enrollment.Mail) enrollment.Claim {
	s.t.Helper()
	c, err := s.ClaimMail(context.Background(), m)
	ok(s.t, err)
	return c
}

func (s *scene) claims(m enrollment.Mail, want enrollment.Verdict) {
	s.t.Helper()
	if c := s.claim(m); c.Verdict != want {
		s.t.Fatalf("%s, want %s", c.Verdict, want)
	}
}

const afterLease = 91 * time.Second

func TestOfManyClaimsAtOnceOneSends(t *testing.T) {
	s := stage(t)
	id, _ := s.pending("100482-7")
	verdicts := make([]enrollment.Verdict, 10)
	for _, err := range atOnce(len(verdicts), func(i int) error {
		c, err := s.ClaimMail(context.Background(), mailTo(id))
		verdicts[i] = c.Verdict
		return err
	}) {
		ok(t, err)
	}
	counts := map[enrollment.Verdict]int{}
	for _, v := range verdicts {
		counts[v]++
	}
	if diff := cmp.Diff(map[enrollment.Verdict]int{enrollment.SendNow: 1, enrollment.HeldByOther: 9}, counts); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if c := s.claim(mailTo(id)); c.RetryAfter <= 0 || c.RetryAfter > 90*time.Second {
		t.Errorf("come back after %s", c.RetryAfter)
	}
}

func TestASettledMailStaysAsItIs(t *testing.T) {
	s := stage(t)
	rejected := enrollment.MailFailure{Reason: "mail-rejected", SMTPStatus: 550, Reply: "5.1.1"}
	for _, tt := range []struct {
		name   string
		settle func(enrollment.Mail) (enrollment.MailOutcome, error)
		want   enrollment.MailOutcome
	}{
		{"ACCEPTED", func(m enrollment.Mail) (enrollment.MailOutcome, error) { return s.MailAccepted(t.Context(), m) }, enrollment.MailOutcome{Accepted: true}},
		{"REJECTED", func(m enrollment.Mail) (enrollment.MailOutcome, error) {
			return s.MailRefused(t.Context(), m, rejected)
		}, enrollment.MailOutcome{Failure: "mail-rejected", SMTPStatus: 550}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.t = t
			id, _ := s.pending(tt.name)
			s.claims(mailTo(id), enrollment.SendNow)
			first, err := tt.settle(mailTo(id))
			ok(t, err)
			days := 1
			tt.want.At, tt.want.Sequence, tt.want.AccountRef = first.At, 2, s.Ring.AccountRef(mongo, tt.name)
			tt.want.Locale, tt.want.InvoiceMonth, tt.want.CodeAgeDays, tt.want.MailDomainClass = "en-US", daysAgo(1).Format("2006-01"), &days, enrollment.CompanyMail
			if diff := cmp.Diff(tt.want, first); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			// The enrollment moves on; the fact about the mail must not.
			ok(t, s.correct(id, "somebody@gmail.com", "c"))
			again, err := s.MailAccepted(t.Context(), mailTo(id))
			ok(t, err)
			other, err := s.MailRefused(t.Context(), mailTo(id), enrollment.MailFailure{Reason: "mail-never-accepted"})
			ok(t, err)
			ok(t, s.ReleaseMail(t.Context(), mailTo(id), enrollment.MailFailure{}))
			claim := s.claim(mailTo(id))
			if claim.Verdict != enrollment.Settled {
				t.Errorf("verdict %s", claim.Verdict)
			}
			for _, o := range []enrollment.MailOutcome{again, other, claim.Outcome} {
				if diff := cmp.Diff(first, o); diff != "" {
					t.Errorf("read again (-first +now):\n%s", diff)
				}
			}
		})
	}
}

func TestAReleasedMailCanBeClaimedAnyNumberOfTimes(t *testing.T) {
	s := stage(t)
	id, _ := s.pending("100482-7")
	for range 2 * enrollment.MaxUncertainSends {
		s.claims(mailTo(id), enrollment.SendNow)
		ok(t, s.ReleaseMail(t.Context(), mailTo(id), enrollment.MailFailure{SMTPStatus: 451, Reply: "4.7.1"}))
	}
	if got := s.number(`SELECT uncertain FROM mails`); got != 0 {
		t.Errorf("%d sends count as uncertain, want 0", got)
	}
}

func TestAMailWhoseOutcomeStaysUnknownIsSentThreeTimes(t *testing.T) {
	s := stage(t)
	id, _ := s.pending("100482-7")
	for range enrollment.MaxUncertainSends {
		s.claims(mailTo(id), enrollment.SendNow)
		s.claims(mailTo(id), enrollment.HeldByOther)
		s.Pass(t, afterLease)
	}
	c := s.claim(mailTo(id))
	if c.Verdict != enrollment.Settled || c.Outcome.Accepted || c.Outcome.Failure != "mail-outcome-unknown" || c.Outcome.Sequence != 2 {
		t.Errorf("%+v", c)
	}
	late, err := s.MailAccepted(t.Context(), mailTo(id)) // a worker that was only slow
	ok(t, err)
	if diff := cmp.Diff(c.Outcome, late); diff != "" {
		t.Errorf("outcome (-first +now):\n%s", diff)
	}
}

func TestAMailThatIsTooLateIsGivenUp(t *testing.T) {
	s := stage(t)
	id, _ := s.pending("100482-7")
	m := mailTo(id)
	s.claims(m, enrollment.SendNow)
	ok(t, s.ReleaseMail(t.Context(), m, enrollment.MailFailure{}))
	m.GiveUpAt = time.Now().Add(-time.Second)
	c := s.claim(m)
	if c.Verdict != enrollment.Settled || c.Outcome.Failure != "mail-never-accepted" {
		t.Errorf("%+v", c)
	}
}

func TestAMailThatNobodyCouldUseIsMoot(t *testing.T) {
	s := stage(t)
	corrected, _ := s.pending("CORRECTED")
	ok(t, s.correct(corrected, "new@company.example", "c"))
	s.claims(mailTo(corrected), enrollment.Moot)
	second := mailTo(corrected)
	second.Generation = 2
	s.claims(second, enrollment.SendNow)

	active, a := s.pending("ACTIVE")
	ok(t, s.activate(mongo, s.link(mongo, active, 1, a.Email)))
	s.claims(mailTo(active), enrollment.Moot)
	notice := mailTo(active)
	notice.Purpose = enrollment.NoticeMail
	s.claims(notice, enrollment.SendNow)
	sequence := s.number(`SELECT sequence FROM enrollments WHERE id = $1`, active)
	o, err := s.MailAccepted(t.Context(), notice)
	ok(t, err)
	if now := s.number(`SELECT sequence FROM enrollments WHERE id = $1`, active); !o.Accepted || o.Sequence != 0 || now != sequence {
		t.Errorf("a notice took a place among the facts: %+v, %d after %d", o, now, sequence)
	}

	overdue, _ := s.pending("OVERDUE")
	s.DB.MustExec(`UPDATE enrollments SET expires_at = now() WHERE id = $1`, overdue)
	s.claims(mailTo(overdue), enrollment.Moot)
	if n := s.number(`SELECT count(*) FROM mails WHERE settled_at IS NULL AND state = 'waiting'`); n != 3 {
		t.Errorf("%d moot mails wait unsettled, want 3", n)
	}
}

func TestTheMailOfAnEnrollmentThatIsNotHereIsSent(t *testing.T) {
	s := stage(t)
	for _, tt := range []struct{ tenant, number, key string }{{mongo, "00482", "00482"}, {zeros, "00482", "482"}} {
		m := mailTo(uuid.New())
		m.Tenant, m.AccountNumber = tt.tenant, tt.number
		s.claims(m, enrollment.SendNow)
		o, err := s.MailAccepted(t.Context(), m)
		ok(t, err)
		want := enrollment.MailOutcome{Accepted: true, At: o.At, AccountRef: s.Ring.AccountRef(tt.tenant, tt.key)}
		if diff := cmp.Diff(want, o); diff != "" {
			t.Errorf("outcome at %s (-want +got):\n%s", tt.tenant, diff)
		}
	}
}

func TestMailsOfOneEnrollmentAreToldApart(t *testing.T) {
	s := stage(t)
	id, _ := s.pending("100482-7")
	second := mailTo(id)
	second.Number = 2
	s.claims(mailTo(id), enrollment.SendNow)
	s.claims(second, enrollment.SendNow)
	first, err := s.MailAccepted(t.Context(), mailTo(id))
	ok(t, err)
	other, err := s.MailAccepted(t.Context(), second)
	ok(t, err)
	if first.Sequence == other.Sequence {
		t.Errorf("two facts of one sequence: %+v, %+v", first, other)
	}
	if n := storetest.One[int](t, s.Database, `SELECT count(*) FROM mails WHERE state = 'accepted'`); n != 2 {
		t.Errorf("%d mails accepted, want 2", n)
	}
}

// A provider took the mail, and it came back an hour later.
func TestAMailThatCameBackIsToldOnce(t *testing.T) {
	s := stage(t)
	id, _ := s.pending("100482-7")
	m := mailTo(id)
	came := enrollment.MailFailure{Reason: "mail-rejected", Reply: "5.1.1"}
	back := func() bool {
		changed, err := s.MailCameBack(t.Context(), enrollment.Mail{Enrollment: m.Enrollment, Purpose: m.Purpose, Generation: m.Generation, Number: m.Number}, came)
		ok(t, err)
		return changed
	}
	if _, err := s.MailCameBack(t.Context(), m, came); err != enrollment.ErrUnknown {
		t.Errorf("a mail that was never sent: %v", err)
	}
	s.claims(m, enrollment.SendNow)
	if back() {
		t.Error("a mail came back that nobody has taken")
	}
	accepted, err := s.MailAccepted(t.Context(), m)
	ok(t, err)
	ok(t, s.RecordMailAccepted(t.Context(), mongo, id, 1, accepted.At))
	s.forgetOutbox()

	if !back() || back() {
		t.Error("it came back once, and was not told once")
	}
	told := s.announced()
	if len(told) != 1 {
		t.Fatalf("announced %d, want one", len(told))
	}
	read, err := told[0].Read()
	ok(t, err)
	failed, is := read.(*events.ActivationMailFailed)
	if !is || failed.Reason != "mail-rejected" || failed.Generation != 1 || failed.Sequence <= accepted.Sequence || failed.AccountRef != accepted.AccountRef {
		t.Errorf("announced %+v", read)
	}
	ok(t, s.RecordMailRefused(t.Context(), mongo, id, failed.Generation, failed.OccurredAt))
	if state := s.state(id); state != enrollment.Undeliverable {
		t.Errorf("the enrollment is %s", state)
	}
	if c := s.claim(m); c.Verdict != enrollment.Settled || c.Outcome.Accepted {
		t.Errorf("the ledger says %+v", c)
	}
}
