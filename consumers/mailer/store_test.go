package mailer_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/consumers/mailer"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// forgetful loses the outcome of accepted mails: the process is gone before it is written.
type forgetful struct {
	mailer.Ledger
	forgets int
}

func (f *forgetful) MailAccepted(ctx context.Context, m enrollment.Mail) (enrollment.MailOutcome, error) {
	if f.forgets--; f.forgets >= 0 {
		panic(errKilled)
	}
	return f.Ledger.MailAccepted(ctx, m)
}

// handle gives the mailer one delivery and turns a kill into an error.
func handle(m *mailer.Mailer, e events.Event, r events.ActivationRequested) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errKilled
		}
	}()
	return m.ActivationRequested(context.Background(), e, r)
}

func cause(id string) events.Event {
	return events.Event{Tenant: "mongo", Envelope: events.Envelope{ID: id, Source: "//mongo.billcenter.net/portal"}}
}

func TestTheLedgerInPostgresBoundsCopies(t *testing.T) {
	for _, tt := range []struct {
		name    string
		forgets int
		mails   int
		failure string
	}{
		{"an outcome that is known at once is one mail", 0, 1, ""},
		{"an outcome that is lost once is two mails", 1, 2, ""},
		{"an outcome that is lost every time is three mails", 1000, 3, "mail-outcome-unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := open(t)
			db := storetest.New(t)
			m := o.newMailer(o.inbox.SMTPAddr(), &forgetful{db.Store, tt.forgets})
			r := activation()
			for delivery := 1; ; delivery++ {
				err := handle(m, cause("1"), r)
				if err == nil {
					break
				}
				if delivery > 6 || !errors.Is(err, errKilled) {
					t.Fatalf("delivery %d: %v", delivery, err)
				}
				// Nobody else may send it while the one that was killed might still be at it.
				var later *consumers.Later
				if err := handle(m, cause("1"), r); !errors.As(err, &later) || later.Pauses[0] <= 0 {
					t.Fatalf("while the claim lasts: err = %v, want Later", err)
				}
				db.Pass(t, 5*time.Minute)
			}
			mails := o.inbox.Messages()
			if len(mails) != tt.mails {
				t.Errorf("%d mails, want %d", len(mails), tt.mails)
			}
			for _, copied := range mails[1:] {
				if copied.MessageID != mails[0].MessageID || copied.Text != mails[0].Text {
					t.Error("the copies differ")
				}
			}
			_, facts := o.facts()
			if len(facts) != 1 {
				t.Fatalf("%d facts, want one", len(facts))
			}
			if tt.failure == "" {
				if _, err := events.Data[events.ActivationMailed](facts[0]); err != nil {
					t.Error(err)
				}
			} else if f, err := events.Data[events.ActivationMailFailed](facts[0]); err != nil || f.Reason != tt.failure {
				t.Errorf("fact = %+v, %v; want %s", f, err, tt.failure)
			}
		})
	}
}

func TestTwentyDeliveriesAtOnceAreOneMailInPostgres(t *testing.T) {
	o := open(t)
	m := o.newMailer(o.inbox.SMTPAddr(), storetest.New(t).Store)
	r := activation()
	answers := make(chan error, 20)
	for i := range cap(answers) {
		go func() { answers <- handle(m, cause(fmt.Sprint(i)), r) }()
	}
	for range cap(answers) {
		err := <-answers
		if later, ok := errors.AsType[*consumers.Later](err); err != nil && (!ok || later.Pauses[0] > 5*time.Minute) {
			t.Errorf("err = %v, want none or Later", err)
		}
	}
	if n := len(o.inbox.Messages()); n != 1 {
		t.Errorf("%d mails, want one", n)
	}
}

func TestTheLedgerInPostgresRepeatsAnOutcomeWordByWord(t *testing.T) {
	o := open(t)
	db := storetest.New(t)
	m := o.newMailer(o.inbox.SMTPAddr(), db.Store)
	r := activation()
	mail := enrollment.Mail{Tenant: "mongo", Enrollment: uuid.MustParse(r.EnrollmentID), Purpose: enrollment.ActivationMail,
		Generation: 1, Number: 1, AccountNumber: r.AccountNumber, GiveUpAt: time.Now().Add(time.Hour)}
	if err := handle(m, cause("1"), r); err != nil {
		t.Fatal(err)
	}
	first, err := db.ClaimMail(t.Context(), mail)
	if err != nil || first.Verdict != enrollment.Settled || !first.Outcome.Accepted {
		t.Fatalf("claim = %+v, %v", first, err)
	}
	for range 3 {
		if err := handle(m, cause("1"), r); err != nil {
			t.Fatal(err)
		}
	}
	again, err := db.ClaimMail(t.Context(), mail)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("outcome (-first +again):\n%s", diff)
	}
	if n := len(o.inbox.Messages()); n != 1 {
		t.Errorf("%d mails, want one", n)
	}
	if ids, _ := o.facts(); len(ids) != 1 {
		t.Errorf("%d facts, want one", len(ids))
	}
}

func TestAMailThatComesTooLateIsNotSent(t *testing.T) {
	o := open(t)
	m := o.newMailer(o.inbox.SMTPAddr(), storetest.New(t).Store)
	r := activation()
	r.RequestedAt = time.Now().Add(-73 * time.Hour)
	if err := handle(m, cause("1"), r); err != nil {
		t.Fatal(err)
	}
	if n := len(o.inbox.Messages()); n != 0 {
		t.Errorf("%d mails, want none", n)
	}
	if f := o.failed(); f.Reason != "mail-never-accepted" {
		t.Errorf("reason = %s", f.Reason)
	}
}
