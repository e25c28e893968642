package mailer_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

func TestASecurityNoticeIsMailedOnceAndNotReported(t *testing.T) {
	o := open(t)
	o.work()
	n := events.SecurityNoticeRequested{
		NoticeID: "0191f3a0-0000-7000-8000-000000000011", Kind: events.CodeTried, To: "ana@bobsbuilding.example", Username: "ana",
		CompanyName: "Bob's Building", AccountNumber: "100482-7", Locale: "es-US", OccurredAt: time.Now(),
	}
	o.ask("1", n)
	o.ask("2", n) // delivered again is the same mail
	old := n
	old.NoticeID, old.OccurredAt = "0191f3a0-0000-7000-8000-000000000012", time.Now().Add(-5*24*time.Hour)
	o.ask("3", old) // no news any more
	o.finished()
	mails := o.inbox.Messages()
	if len(mails) != 1 {
		t.Fatalf("%d mails, want one", len(mails))
	}
	m := mails[0]
	if m.To[0] != n.To || !strings.Contains(m.Text, "la cuenta 100482-7 (Bob's Building)") || !strings.Contains(m.Text, "(718) 942-9990") || len(m.Links()) != 0 {
		t.Errorf("to %v:\n%s", m.To, m.Text)
	}
	if want := n.NoticeID + ".code-tried.1.1@mongo.billcenter.net"; strings.Trim(m.MessageID, "<>") != want {
		t.Errorf("Message-ID %s, want %s", m.MessageID, want)
	}
	if _, facts := o.facts(); len(facts) != 0 {
		t.Errorf("facts: %v", facts)
	}
}

// The words of a notice are of its kind: no kind is mailed in another one's, and each has words.
func TestEveryKindOfNoticeIsAPurpose(t *testing.T) {
	for _, kind := range events.NoticeKinds {
		if !slices.Contains(enrollment.Purposes[:], enrollment.Purpose(kind)) {
			t.Errorf("%s has no letter", kind)
		}
	}
}
