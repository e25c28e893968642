package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

// pending is an enrollment that waits for its mail.
func (s *scene) pending(account string) (enrollment.ID, enrollment.Application) {
	s.t.Helper()
	s.bills(mongo, invoice(account, "QX4T-88ZK", daysAgo(1)))
	a := s.form(mongo, account, "QX4T-88ZK")
	return s.admits(a), a
}

func (s *scene) asks(id enrollment.ID) enrollment.Pending {
	s.t.Helper()
	p, err := s.Pending(context.Background(), mongo, id)
	ok(s.t, err)
	return p
}

// wish is one that says no locale.
func wish(request string) enrollment.Wish { return enrollment.Wish{RequestID: request} }

func (s *scene) resend(id enrollment.ID, request string) error {
	return s.Resend(context.Background(), mongo, id, wish(request))
}

func (s *scene) correct(id enrollment.ID, to enrollment.Address, request string) error {
	return s.CorrectAddress(context.Background(), mongo, id, to, wish(request))
}

func TestTheSameCodeContinuesAPendingEnrollment(t *testing.T) {
	s := stage(t)
	id, a := s.pending("100482-7")
	s.forgetOutbox()

	other := s.form(mongo, "100482 7", "qx4t88zk", named(t, "bob"))
	admitted, err := s.register(other)
	ok(t, err)
	if admitted.Enrollment != id || !admitted.Continued {
		t.Errorf("%+v, want %s continued", admitted, id)
	}
	mail := only[events.ActivationRequested](t, s.announced())
	if mail.To != string(other.Email) || mail.Username != "bob" || mail.Generation != 2 || mail.Number != 1 {
		t.Errorf("mail %+v", mail)
	}
	only[events.EmailCorrected](t, s.announced())
	if got := storetest.One[string](t, s.Database, `SELECT string_agg(username_key, ',') FROM usernames`); got != "bob" {
		t.Errorf("usernames held: %s", got)
	}
	s.bills(mongo, invoice("2", "MB07-22YL", daysAgo(1)))
	s.admits(s.form(mongo, "2", "MB07-22YL", named(t, a.Username.Display))) // the name given up is free

	// The same address a moment later asks for nothing new; a minute later for another mail.
	s.forgetOutbox()
	other.RequestID = "another form"
	s.admits(other)
	if got := s.announced(); len(got) != 0 {
		t.Errorf("announced %v", names(got))
	}
	s.Pass(t, enrollment.MailSpacing)
	other.RequestID = "and another"
	s.admits(other)
	if mail := only[events.ActivationRequested](t, s.announced()); mail.Number != 2 || mail.Generation != 2 {
		t.Errorf("mail %+v", mail)
	}
}

func TestTheSameRequestAgainChangesNothing(t *testing.T) {
	s := stage(t)
	id, a := s.pending("100482-7")
	s.Pass(t, time.Hour)
	everything := func() string {
		return s.dump(`SELECT * FROM enrollments`) + s.dump(`SELECT * FROM outbox`) + s.dump(`SELECT * FROM enrollment_moves`) + s.dump(`SELECT * FROM usernames`)
	}
	for _, step := range []struct {
		name  string
		again func() error
	}{
		{"register", func() error { _, err := s.register(a); return err }},
		{"resend", func() error { return s.resend(id, "resend") }},
		{"correct", func() error { return s.correct(id, "new@company.example", "correct") }},
	} {
		ok(t, step.again())
		before := everything()
		for range 2 {
			ok(t, step.again())
		}
		if diff := cmp.Diff(before, everything()); diff != "" {
			t.Errorf("%s again:\n%s", step.name, diff)
		}
		s.Pass(t, time.Hour)
	}
}

func TestAnAddressIsCorrectedThreeTimes(t *testing.T) {
	s := stage(t)
	id, a := s.pending("100482-7")
	ok(t, s.correct(id, a.Email, "the same address is no correction"))
	for n := range enrollment.MaxCorrections {
		if left := s.asks(id).CorrectionsLeft; left != enrollment.MaxCorrections-n {
			t.Errorf("%d corrections left, want %d", left, enrollment.MaxCorrections-n)
		}
		ok(t, s.correct(id, enrollment.Address(fmt.Sprintf("n%d@company.example", n)), fmt.Sprint("r", n)))
	}
	refused(t, s.correct(id, "fourth@company.example", "r4"), enrollment.TooManyCorrections)
	if p := s.asks(id); p.Email != "n2@company.example" || p.CorrectionsLeft != 0 || p.State != enrollment.Registered {
		t.Errorf("%+v", p)
	}
	if n := s.number(`SELECT count(*) FROM enrollment_addresses`); n != 4 {
		t.Errorf("%d addresses kept, want 4", n)
	}

	// Signing up again is no way around it, and changes nothing: neither the address nor the username.
	before := s.dump(`SELECT * FROM enrollments`) + s.dump(`SELECT * FROM usernames`)
	_, err := s.register(s.form(mongo, "100482-7", "QX4T-88ZK", named(t, "somebody-else")))
	if no := refused(t, err, enrollment.TooManyCorrections); no.Field != enrollment.FieldEmail {
		t.Errorf("field %q", no.Field)
	}
	if diff := cmp.Diff(before, s.dump(`SELECT * FROM enrollments`)+s.dump(`SELECT * FROM usernames`)); diff != "" {
		t.Errorf("a refusal changed something:\n%s", diff)
	}
}

func TestATakenUsernameChangesNothingOfAPendingEnrollment(t *testing.T) {
	s := stage(t)
	_, first := s.pending("1")
	s.pending("2")
	s.forgetOutbox()
	before := s.dump(`SELECT * FROM enrollments`) + s.dump(`SELECT * FROM usernames`)
	_, err := s.register(s.form(mongo, "2", "QX4T-88ZK", named(t, first.Username.Display)))
	refused(t, err, enrollment.UsernameTaken)
	if diff := cmp.Diff(before, s.dump(`SELECT * FROM enrollments`)+s.dump(`SELECT * FROM usernames`)); diff != "" {
		t.Errorf("a refusal changed something:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"RegistrationRefused"}, names(s.announced())); diff != "" {
		t.Errorf("announced:\n%s", diff)
	}
}

func TestMailsAreSpacedAndFive(t *testing.T) {
	s := stage(t)
	id, _ := s.pending("100482-7")
	no := refused(t, s.resend(id, "at once"), enrollment.TooSoon)
	if no.RetryAfter > time.Minute || no.RetryAfter < 40*time.Second {
		t.Errorf("told to wait %s", no.RetryAfter)
	}
	if p := s.asks(id); p.ResendAfter > time.Minute || p.ResendAfter < 40*time.Second || p.MailsLeft != enrollment.MaxMails {
		t.Errorf("%+v", p)
	}
	s.forgetOutbox()
	for n := range enrollment.MaxMails {
		s.Pass(t, enrollment.MailSpacing)
		ok(t, s.resend(id, fmt.Sprint("r", n)))
		refused(t, s.resend(id, fmt.Sprint("too soon", n)), enrollment.TooSoon)
	}
	s.Pass(t, enrollment.MailSpacing)
	refused(t, s.resend(id, "sixth"), enrollment.TooManyMails)
	if p := s.asks(id); p.ResendAfter != 0 || p.MailsLeft != 0 {
		t.Errorf("%+v", p)
	}
	var numbers []uint32
	for _, e := range s.announced() {
		if m, err := events.Data[events.ActivationRequested](e); err == nil {
			numbers = append(numbers, m.Number)
			if m.Generation != 1 {
				t.Errorf("mail %d is of generation %d", m.Number, m.Generation)
			}
		}
	}
	if !slices.Equal(numbers, []uint32{2, 3, 4, 5, 6}) {
		t.Errorf("mails %v", numbers)
	}
}

func TestAnUndeliverableMailCanBeSentToTheSameAddressAgain(t *testing.T) {
	s := stage(t)
	id, a := s.pending("100482-7")
	for n, again := range []func() error{
		func() error { return s.resend(id, "resend") },
		func() error { return s.correct(id, a.Email, "correct") },
		func() error {
			_, err := s.register(s.form(mongo, "100482-7", "QX4T-88ZK", func(b *enrollment.Application) { b.Email, b.Username = a.Email, a.Username }))
			return err
		},
	} {
		generation := uint32(n + 1)
		ok(t, s.RecordMailRefused(t.Context(), mongo, id, generation, time.Now()))
		if p := s.asks(id); p.State != enrollment.Undeliverable {
			t.Fatalf("%+v", p)
		}
		s.Pass(t, time.Hour)
		s.forgetOutbox()
		ok(t, again())
		if mail := only[events.ActivationRequested](t, s.announced()); mail.Generation != generation+1 || mail.Number != 1 || mail.To != string(a.Email) {
			t.Errorf("%+v", mail)
		}
		if s.state(id) != enrollment.Registered {
			t.Errorf("state %s", s.state(id))
		}
	}
}

func TestWhatHasEndedIsNotChanged(t *testing.T) {
	s := stage(t)
	active, _ := s.pending("1")
	ok(t, s.activate(mongo, s.link(mongo, active, 1, s.asks(active).Email)))
	overdue, _ := s.pending("2")
	s.DB.MustExec(`UPDATE enrollments SET expires_at = now() - interval '1 second' WHERE id = $1`, overdue)
	if p := s.asks(overdue); p.State != enrollment.Expired {
		t.Errorf("an overdue enrollment is shown as %s", p.State)
	}
	for _, tt := range []struct {
		name string
		id   enrollment.ID
		want enrollment.Reason
	}{{"activated", active, enrollment.LinkUsed}, {"overdue", overdue, enrollment.LinkExpired}} {
		refused(t, s.resend(tt.id, "r"), tt.want)
		refused(t, s.correct(tt.id, "n@company.example", "c"), tt.want)
	}
	for _, tt := range []struct {
		tenant string
		id     enrollment.ID
	}{{mongo, uuid.New()}, {zeros, active}, {"nobody", active}} {
		_, err := s.Pending(t.Context(), tt.tenant, tt.id)
		for _, err := range []error{err, s.Resend(t.Context(), tt.tenant, tt.id, wish("r")), s.CorrectAddress(t.Context(), tt.tenant, tt.id, "n@company.example", wish("c"))} {
			if !errors.Is(err, enrollment.ErrUnknown) {
				t.Errorf("tenant %s: %v, want ErrUnknown", tt.tenant, err)
			}
		}
	}
}

func TestTheWindowCountsFromAcceptance(t *testing.T) {
	s := stage(t)
	id, _ := s.pending("100482-7")
	accept := func(generation uint32, at time.Time) {
		t.Helper()
		ok(t, s.RecordMailAccepted(t.Context(), mongo, id, generation, at))
	}
	expires := func(want time.Time) {
		t.Helper()
		if got := s.asks(id).ExpiresAt; got.Sub(want).Abs() > 20*time.Second {
			t.Errorf("it expires at %s, want %s", got, want)
		}
	}
	now := time.Now()
	expires(now.Add(7 * 24 * time.Hour))
	accept(2, now) // of an address that is not there yet
	if s.state(id) != enrollment.Registered {
		t.Errorf("state %s", s.state(id))
	}
	accept(1, now.Add(-2*time.Hour))
	expires(now.Add(70 * time.Hour))
	accept(1, now.Add(-time.Hour)) // another mail of the same address prolongs it
	expires(now.Add(71 * time.Hour))
	accept(1, now.Add(-3*time.Hour)) // an older one that arrives late does not shorten it
	expires(now.Add(71 * time.Hour))
	ok(t, s.RecordMailRefused(t.Context(), mongo, id, 1, now.Add(-2*time.Hour))) // one was taken after it, so the address is good
	if p := s.asks(id); p.State != enrollment.Mailed || p.MailedAt.IsZero() {
		t.Errorf("%+v", p)
	}
	accept(1, now.Add(100*time.Hour)) // a clock that is ahead
	expires(now.Add(72 * time.Hour))

	ok(t, s.correct(id, "new@company.example", "c"))
	if p := s.asks(id); p.State != enrollment.Registered || !p.MailedAt.IsZero() {
		t.Errorf("%+v", p)
	}
	expires(now.Add(7 * 24 * time.Hour))
	accept(1, now)
	ok(t, s.RecordMailRefused(t.Context(), mongo, id, 1, now)) // what happened to the old address
	if p := s.asks(id); p.State != enrollment.Registered || !p.MailedAt.IsZero() {
		t.Errorf("the old address's mail moved it: %+v", p)
	}
	accept(2, now)
	ok(t, s.activate(mongo, s.link(mongo, id, 2, "new@company.example")))
	before := s.dump(`SELECT * FROM enrollments`)
	accept(2, now)
	ok(t, s.RecordMailRefused(t.Context(), mongo, id, 2, now.Add(time.Hour)))
	if diff := cmp.Diff(before, s.dump(`SELECT * FROM enrollments`)); diff != "" {
		t.Errorf("after the end:\n%s", diff)
	}
	if err := s.RecordMailAccepted(t.Context(), zeros, id, 1, now); !errors.Is(err, enrollment.ErrUnknown) {
		t.Errorf("another tenant's: %v", err)
	}
}

func TestOfTwoMailsTheLatestOutcomeTellsInAnyOrder(t *testing.T) {
	for _, tt := range []struct {
		name              string
		accepted, refused time.Duration // ago
		want              enrollment.State
	}{
		{"accepted after another was refused", time.Hour, 2 * time.Hour, enrollment.Mailed},
		{"came back after it was accepted", 2 * time.Hour, time.Hour, enrollment.Undeliverable},
		{"both at once", time.Hour, time.Hour, enrollment.Mailed},
	} {
		for _, refusedFirst := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, refusal told first %t", tt.name, refusedFirst), func(t *testing.T) {
				s := stage(t)
				id, _ := s.pending("100482-7")
				now := time.Now()
				accept := func() { ok(t, s.RecordMailAccepted(t.Context(), mongo, id, 1, now.Add(-tt.accepted))) }
				refuse := func() { ok(t, s.RecordMailRefused(t.Context(), mongo, id, 1, now.Add(-tt.refused))) }
				if refusedFirst {
					refuse()
					accept()
				} else {
					accept()
					refuse()
				}
				if s.state(id) != tt.want {
					t.Errorf("state %s, want %s", s.state(id), tt.want)
				}
			})
		}
	}
}

func TestEachDueEnrollmentExpiresOnce(t *testing.T) {
	s := stage(t)
	const n = 30
	var last enrollment.Application
	for i := range n {
		_, last = s.pending(fmt.Sprint("A-", i))
	}
	if got, err := s.ExpireDue(t.Context(), n); got != 0 || err != nil {
		t.Fatalf("%d expired before their time, %v", got, err)
	}
	s.Pass(t, 7*24*time.Hour)
	stays, _ := s.pending("STAYS")
	s.forgetOutbox()
	counts := make([]int, 4)
	for _, err := range atOnce(len(counts), func(i int) error {
		for {
			got, err := s.ExpireDue(context.Background(), 4)
			if counts[i] += got; err != nil || got == 0 {
				return err
			}
		}
	}) {
		ok(t, err)
	}
	total := 0
	for _, c := range counts {
		total += c
	}
	told := s.number(`SELECT count(DISTINCT body::jsonb -> 'data' ->> 'enrollmentId') FROM outbox WHERE subject = 'enrollment.mongo.expired'`)
	if total != n || told != n || len(s.announced()) != n {
		t.Errorf("%d expired, %d facts about %d of them; want %d each once", total, len(s.announced()), told, n)
	}
	if s.state(stays) != enrollment.Registered {
		t.Errorf("one that was not due is %s", s.state(stays))
	}
	if held := s.number(`SELECT count(*) FROM usernames`); held != 1 {
		t.Errorf("%d usernames are held, want 1", held)
	}
	s.admits(last) // code and username are free again
}

func TestAnExpiredEnrollmentSaysHowFarItGot(t *testing.T) {
	s := stage(t)
	mailed, _ := s.pending("1")
	ok(t, s.RecordMailAccepted(t.Context(), mongo, mailed, 1, time.Now()))
	bounced, _ := s.pending("2")
	ok(t, s.RecordMailRefused(t.Context(), mongo, bounced, 1, time.Now()))
	silent, _ := s.pending("3")
	s.Pass(t, 7*24*time.Hour)
	s.forgetOutbox()
	_, err := s.ExpireDue(t.Context(), 10)
	ok(t, err)
	got := map[string]string{}
	for _, e := range s.announced() {
		f, err := events.Data[events.Expired](e)
		ok(t, err)
		got[f.EnrollmentID] = f.Reason
	}
	want := map[string]string{mailed.String(): "mail-not-confirmed", bounced.String(): "undeliverable", silent.String(): "mail-never-accepted"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}
