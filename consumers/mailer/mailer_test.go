package mailer_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/consumers/mailer"
	"github.com/mongotel/billcenter/deploy/local"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/schema/enrollment"
)

func TestAnActivationMailIsSentAndReported(t *testing.T) {
	o := open(t)
	o.work()
	r := activation()
	o.ask("1", r)
	o.finished()

	mails := o.inbox.Messages()
	if len(mails) != 1 {
		t.Fatalf("%d mails, want one", len(mails))
	}
	token := enrollment.Mint(linkKey, "mongo", enrollment.Link{Enrollment: uuid.MustParse(r.EnrollmentID), Generation: 1}, "ada@bobsbuilding.example")
	want := "https://mongo.billcenter.net/activate/" + token.Reveal()
	if diff := cmp.Diff([]string{want, want + "/not-me"}, mails[0].Links()); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	if !strings.Contains(mails[0].Text, "Friday, November 20, 2026 at 8:05 AM (EST), with Firefox on Windows.") {
		t.Errorf("it does not say when and with what somebody signed up:\n%s", mails[0].Text)
	}
	if !strings.Contains(mails[0].HTML, `href="`+want+`"`) {
		t.Error("the HTML part does not lead to the link")
	}
	if diff := cmp.Diff([]string{"ada@bobsbuilding.example"}, mails[0].To); diff != "" {
		t.Errorf("recipients (-want +got):\n%s", diff)
	}
	if mails[0].ReturnPath != "no-reply@mongotel.example" {
		t.Errorf("bounces go to %s", mails[0].ReturnPath)
	}

	days := 3
	fact := o.mailed()
	wantFact := events.ActivationMailed{
		Fact: events.Fact{AccountRef: "ref-of-the-account", EnrollmentID: r.EnrollmentID, Sequence: 2, OccurredAt: fact.OccurredAt,
			Properties: events.Properties{Locale: "en-US", CodeAgeDays: &days, MailDomainClass: "company"}},
		Generation: 1,
	}
	if diff := cmp.Diff(wantFact, fact); diff != "" {
		t.Errorf("fact (-want +got):\n%s", diff)
	}
	for _, secret := range []string{"ada@", "bobsbuilding.example", "Bob’sBuilding", token.Reveal(), "100482-7"} {
		if strings.Contains(o.logged.String(), secret) {
			t.Errorf("the log tells %q", secret)
		}
	}
}

func TestANoticeIsSentAndNotReported(t *testing.T) {
	o := open(t)
	o.work()
	o.ask("1", events.EnrollmentNoticeRequested{
		EnrollmentID: activation().EnrollmentID, To: "ap@bobsbuilding.example", CompanyName: "Bob's Building", AccountNumber: "100482-7", ActivatedAt: time.Now(),
	})
	o.finished()
	if mails := o.inbox.Messages(); len(mails) != 1 || mails[0].To[0] != "ap@bobsbuilding.example" {
		t.Fatalf("mails: %d, want one to the address of record", len(mails))
	}
	if _, facts := o.facts(); len(facts) != 0 {
		t.Errorf("facts: %v", facts)
	}
}

func reset() events.PasswordResetRequested {
	return events.PasswordResetRequested{
		ResetID: "0191f3a0-0000-7000-8000-000000000009", To: "ada@bobsbuilding.example", Username: "Bob’sBuilding", Locale: "es-US",
		RequestedAt: time.Now(), ValidForSeconds: 3600,
	}
}

func TestAForgottenPasswordIsMailedWithItsLink(t *testing.T) {
	o := open(t)
	o.work()
	r := reset()
	o.ask("1", r)
	o.ask("2", r) // delivered again is the same mail
	o.finished()
	mails := o.inbox.Messages()
	if len(mails) != 1 {
		t.Fatalf("%d mails, want one", len(mails))
	}
	id := uuid.MustParse(r.ResetID)
	link := "https://mongo.billcenter.net/reset-password/" + enrollment.MintRecovery(linkKey, "mongo", id, "ada@bobsbuilding.example").Reveal()
	for _, part := range []string{mails[0].Text, mails[0].HTML} {
		if !strings.Contains(part, link) || !strings.Contains(part, "Bob’sBuilding") {
			t.Errorf("mail has not the link %s and the username:\n%s", link, part)
		}
	}
	if want := r.ResetID + ".password-reset.1.1@mongo.billcenter.net"; strings.Trim(mails[0].MessageID, "<>") != want {
		t.Errorf("Message-ID %s, want %s", mails[0].MessageID, want)
	}
	if _, facts := o.facts(); len(facts) != 0 {
		t.Errorf("facts: %v", facts)
	}

	late := reset()
	late.ResetID, late.RequestedAt = "0191f3a0-0000-7000-8000-000000000010", time.Now().Add(-time.Hour)
	o.ledger.moot = false
	o.ask("3", late)
	o.finished()
	if n := len(o.inbox.Messages()); n != 1 {
		t.Errorf("a mail whose link is dead was sent")
	}
}

func TestATemporaryRefusalIsTriedAgain(t *testing.T) {
	o := open(t)
	var times atomic.Int32
	o.inbox.SetFaults(local.Faults{AnswerMessage: func(string, []string) *smtp.SMTPError {
		if times.Add(1) <= 5 { // more often than an unknown outcome would be
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "later, ada@bobsbuilding.example"}
		}
		return nil
	}})
	o.work()
	o.ask("1", activation())
	o.finished()
	if n := len(o.inbox.Messages()); n != 1 {
		t.Errorf("%d mails, want one", n)
	}
	o.mailed()
	if diff := cmp.Diff(enrollment.MailFailure{Reason: "mail-never-accepted", SMTPStatus: 451, Reply: "4.3.0"}, o.ledger.released()[0]); diff != "" {
		t.Errorf("release (-want +got):\n%s", diff)
	}
}

func TestAMailThatIsNeverTakenIsGivenUpWhenItsLinkWouldHaveEnded(t *testing.T) {
	o := open(t)
	o.inbox.SetFaults(local.Faults{AnswerMessage: func(string, []string) *smtp.SMTPError {
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "later"}
	}})
	o.work()
	r := activation()
	r.ValidForSeconds = 60
	r.RequestedAt = time.Now().Add(300*time.Millisecond - time.Minute)
	o.ask("1", r)
	o.finished()
	if f := o.failed(); f.Reason != "mail-never-accepted" || f.Generation != 1 {
		t.Errorf("fact = %+v", f)
	}
	if len(o.ledger.released()) == 0 {
		t.Error("it was not tried before")
	}
}

func TestAPermanentRefusalIsFinal(t *testing.T) {
	o := open(t)
	var times atomic.Int32
	o.inbox.SetFaults(local.Faults{AnswerRecipient: func(_, to string) *smtp.SMTPError {
		times.Add(1)
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user " + to}
	}})
	stop := o.work()
	o.ask("1", activation())
	o.finished()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	f := o.failed()
	if f.Reason != "mail-rejected" || f.SMTPStatus != 550 || times.Load() != 1 {
		t.Errorf("fact = %+v after %d tries", f, times.Load())
	}
	if strings.Contains(o.logged.String(), "ada@") {
		t.Error("the log repeats the provider's words")
	}
}

func TestARelayThatIsDownIsWaitedFor(t *testing.T) {
	o := open(t)
	addr := o.inbox.SMTPAddr()
	if err := o.inbox.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.work()
	o.ask("1", activation())
	eventually(t, "it was tried more often than an unknown outcome would be", func() bool { return len(o.ledger.released()) > enrollment.MaxUncertainSends })
	if got := o.ledger.released()[0]; got.SMTPStatus != 0 || got.Reply != "no reply at connect" {
		t.Errorf("release = %+v", got)
	}

	up, err := local.StartInbox(local.InboxOptions{Folder: t.TempDir(), SMTPAddr: addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = up.Stop(context.Background()) })
	o.finished()
	if n := len(up.Messages()); n != 1 {
		t.Errorf("%d mails, want one", n)
	}
	o.mailed()
}

func TestARefusedLogInStopsTheWorkerAndLosesNoMail(t *testing.T) {
	o := open(t)
	o.inbox.SetFaults(local.Faults{RefuseLogin: true})
	stop := o.work()
	o.ask("1", activation())
	eventually(t, "the claim is released", func() bool { return len(o.ledger.released()) == 1 })
	err := stop()
	if _, fatal := errors.AsType[*consumers.Fatal](err); !fatal || !strings.Contains(err.Error(), "530") {
		t.Fatalf("Run = %v, want a fatal error that names the reply", err)
	}
	if _, facts := o.facts(); len(facts) != 0 {
		t.Errorf("facts: %v", facts)
	}

	o.inbox.SetFaults(local.Faults{})
	o.work()
	o.finished()
	if n := len(o.inbox.Messages()); n != 1 {
		t.Errorf("%d mails once it is mended, want one", n)
	}
	o.mailed()
}

// untilWhen is what a copy says anew: its link's time begins with its own acceptance.
var untilWhen = regexp.MustCompile(`(?m)^until .*$`)

func TestAMailWhoseOutcomeWasLostGoesOutAgainAsTheSameMail(t *testing.T) {
	for _, tt := range []struct {
		name   string
		break_ func(*office)
		mails  int
		failed string
	}{
		{"killed between acceptance and the ledger, once", func(o *office) { o.ledger.losing = 1 }, 2, ""},
		{"killed there every time", func(o *office) { o.ledger.losing = 1000 }, 3, "mail-outcome-unknown"},
		{"the relay's answer never comes", func(o *office) {
			o.inbox.SetFaults(local.Faults{DropAnswer: func(string, []string) bool { return true }})
		}, 3, "mail-outcome-unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			tt.break_(o)
			o.work()
			o.ask("1", activation())
			o.finished()
			mails := o.inbox.Messages()
			if len(mails) != tt.mails {
				t.Errorf("%d mails, want %d", len(mails), tt.mails)
			}
			for _, m := range mails[1:] {
				if m.MessageID != mails[0].MessageID || untilWhen.ReplaceAllString(m.Text, "") != untilWhen.ReplaceAllString(mails[0].Text, "") {
					t.Errorf("the copies differ: %s and %s", m.MessageID, mails[0].MessageID)
				}
			}
			if tt.failed == "" {
				o.mailed()
			} else if f := o.failed(); f.Reason != tt.failed {
				t.Errorf("reason = %s, want %s", f.Reason, tt.failed)
			}
		})
	}
}

func TestARedeliveryOfAnAcceptedMailRepeatsTheFactOnly(t *testing.T) {
	o := open(t)
	published := &recorder{Publisher: consumers.PublishOn(o.broker.Bus)}
	letterhead := mongotel(t)
	transport, err := mailer.NewRelay(mailer.RelayOptions{Address: o.inbox.SMTPAddr(), Security: mailer.Plaintext})
	if err != nil {
		t.Fatal(err)
	}
	m, err := mailer.New(mailer.Options{
		Ledger: o.ledger, Transport: transport, Publisher: published, LinkKey: linkKey, Log: slog.New(slog.DiscardHandler),
		Tenant: func(string) (mailer.Letterhead, bool) { return letterhead, true },
	})
	if err != nil {
		t.Fatal(err)
	}
	cause := events.Event{Tenant: "mongo", Envelope: events.Envelope{ID: "1", Source: "//mongo.billcenter.net/portal", TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}
	for range 3 {
		if err := m.ActivationRequested(t.Context(), cause, activation()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(o.inbox.Messages()); n != 1 {
		t.Errorf("%d mails, want one", n)
	}
	if len(published.out) != 3 {
		t.Fatalf("%d facts were published, want 3", len(published.out))
	}
	for _, again := range published.out[1:] {
		if diff := cmp.Diff(published.out[0], again); diff != "" {
			t.Errorf("the fact differs (-first +again):\n%s", diff)
		}
	}
	if ids, _ := o.facts(); len(ids) != 1 {
		t.Errorf("the stream holds %d facts, want one", len(ids))
	}
}

// recorder keeps what is published.
type recorder struct {
	consumers.Publisher
	out []events.Encoded
}

func (r *recorder) Publish(ctx context.Context, out ...events.Encoded) error {
	r.out = append(r.out, out...)
	return r.Publisher.Publish(ctx, out...)
}

func TestTwentyDeliveriesAtOnceAreOneMail(t *testing.T) {
	o := open(t)
	o.ledger.lease, o.ledger.meeting = time.Minute, make(chan struct{})
	r := activation()
	for i := range 20 {
		o.ask(fmt.Sprint(i), r)
	}
	o.work()
	o.finished()
	if n := len(o.inbox.Messages()); n != 1 {
		t.Errorf("%d mails, want one", n)
	}
}

func TestEachGenerationAndNumberIsAMailOfItsOwn(t *testing.T) {
	o := open(t)
	o.work()
	for i, change := range []func(*events.ActivationRequested){
		func(*events.ActivationRequested) {},
		func(r *events.ActivationRequested) { r.Number = 1 }, // the same as none
		func(r *events.ActivationRequested) { r.Number = 2 },
		func(r *events.ActivationRequested) { r.Generation, r.To = 2, "ada@elsewhere.example" },
	} {
		r := activation()
		change(&r)
		o.ask(fmt.Sprint(i), r)
	}
	o.finished()
	links, ids := map[string]bool{}, map[string]bool{}
	for _, m := range o.inbox.Messages() {
		ids[m.MessageID] = true
		links[m.Links()[0]] = true
	}
	if n := len(o.inbox.Messages()); n != 3 || len(ids) != 3 || len(links) != 2 {
		t.Errorf("%d mails, %d Message-IDs, %d links; want 3, 3 and 2", n, len(ids), len(links))
	}
}

func TestAMailThatNobodyWantsAnyMoreIsNotSent(t *testing.T) {
	o := open(t)
	o.ledger.moot = true
	o.work()
	o.ask("1", activation())
	o.finished()
	if n := len(o.inbox.Messages()); n != 0 {
		t.Errorf("%d mails, want none", n)
	}
	if _, facts := o.facts(); len(facts) != 0 {
		t.Errorf("facts: %v", facts)
	}
}

func TestWhatCannotBeMailedIsADeadLetter(t *testing.T) {
	two := activation()
	two.To = "ada%b.example@c.example"
	reset := reset()
	reset.To = "ada%b.example@c.example"
	notice := events.SecurityNoticeRequested{NoticeID: reset.ResetID, Kind: events.TriesLocked, To: reset.To, OccurredAt: time.Now()}
	for _, tt := range []struct {
		name   string
		ask    events.Message
		reason string
	}{
		{"an address that could lead elsewhere", two, "field-invalid"},
		{"the same for a password", reset, "field-invalid"},
		{"the same for a notice", notice, "field-invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			o.work()
			o.ask("1", tt.ask)
			o.finished()
			for l, err := range o.broker.Bus.DeadLetters(t.Context(), bus.DeadLetterFilter{}) {
				if err != nil {
					t.Fatal(err)
				}
				if l.Reason != tt.reason || strings.Contains(l.Detail, "b.example") {
					t.Errorf("dead letter = %+v, want reason %s", l, tt.reason)
				}
				return
			}
			t.Error("no dead letter")
		})
	}
}
