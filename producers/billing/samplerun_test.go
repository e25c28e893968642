package billing_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/deploy/local"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/producers/billing"
)

// sampleRun is a run into a real inbox.
func sampleRun(t *testing.T, publish billing.Publisher) (billing.SampleRun, *local.Inbox) {
	t.Helper()
	inbox, err := local.StartInbox(local.InboxOptions{Folder: filepath.Join(t.TempDir(), "inbox")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := inbox.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return billing.SampleRun{
		Tenant: "mongo", Source: mongo.Source, Ledger: filepath.Join(t.TempDir(), "billing.json"), Publish: publish,
		Telecom: "Mongotel", PortalURL: "http://mongo.localhost:8080", SupportPhone: "(718) 942-9990", SupportEmail: "helpdesk@mongotel.com",
		SMTPAddr: inbox.SMTPAddr(),
	}, inbox
}

// said collects what was published, decoded.
type said struct {
	events   []events.Event
	messages []events.Message
	fail     error
}

func (s *said) publish(_ context.Context, batch []events.Encoded) error {
	if s.fail != nil {
		return s.fail
	}
	for _, encoded := range batch {
		e, err := events.Decode(encoded.Subject, encoded.Header, encoded.Body)
		if err != nil {
			return err
		}
		m := e.Definition.New()
		if err := errors.Join(e.Check(), json.Unmarshal(e.Data, m)); err != nil {
			return err
		}
		s.events, s.messages = append(s.events, e), append(s.messages, m)
	}
	return nil
}

func (s *said) invoices() []events.InvoiceEmailed {
	var all []events.InvoiceEmailed
	for _, m := range s.messages {
		if e, ok := m.(*events.InvoiceEmailed); ok {
			all = append(all, *e)
		}
	}
	return all
}

var november = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

func TestTheSampleRunMailsAndPublishesEveryInvoice(t *testing.T) {
	var s said
	run, inbox := sampleRun(t, s.publish)
	customers, err := run.Send(t.Context(), november)
	if err != nil {
		t.Fatal(err)
	}
	invoices, mails := s.invoices(), inbox.Messages()
	slices.Reverse(mails) // oldest first
	if len(customers) != 5 || len(invoices) != 5 || len(mails) != 5 {
		t.Fatalf("%d customers, %d invoices, %d mails", len(customers), len(invoices), len(mails))
	}
	first := customers[0]
	if first.AccountNumber != "100482-7" || first.CompanyName != "Bob's Building" || first.BillingEmail != "ap@bobsbuilding.example" || !first.Sent {
		t.Errorf("%+v", first)
	}
	codes, boxless := map[string]bool{}, 0
	for i, c := range customers {
		e, m := invoices[i], mails[i]
		if e.AccountNumber != c.AccountNumber || e.RegistrationCode != c.RegistrationCode || e.Invoice.Number != c.InvoiceNumber || !e.EmailedAt.Equal(november) {
			t.Errorf("the event of %s says otherwise: %+v", c.AccountNumber, e)
		}
		if !slices.Equal(m.To, []string{c.BillingEmail}) || !strings.Contains(m.Subject, c.InvoiceNumber) || !strings.Contains(m.Text, c.CompanyName) {
			t.Errorf("the mail to %s: %v %q\n%s", c.AccountNumber, m.To, m.Subject, m.Text)
		}
		if c.RegistrationCode == "" {
			boxless++
			if strings.Contains(m.Text+m.HTML, "Registration Code") || strings.Contains(m.Text+m.HTML, "Sign up") {
				t.Errorf("a mail without a code has a box:\n%s", m.Text)
			}
			continue
		}
		codes[c.RegistrationCode] = true
		if !regexp.MustCompile(`^([0-9A-HJKMNP-TV-Z]{4}-){2}[0-9A-HJKMNP-TV-Z]{4}$`).MatchString(c.RegistrationCode) {
			t.Errorf("the code is not of 12 Crockford characters")
		}
		if want := november.AddDate(0, 0, 45); !e.RegistrationCodeExpiresAt.Equal(want) {
			t.Errorf("the code expires at %s", e.RegistrationCodeExpiresAt)
		}
	}
	if boxless != 1 || len(codes) != 4 {
		t.Errorf("%d mails without a box and %d different codes", boxless, len(codes))
	}
}

// The box is the one that the manual speaks of, word by word.
func TestTheBoxSaysWhatTheManualSays(t *testing.T) {
	var s said
	run, inbox := sampleRun(t, s.publish)
	customers, err := run.Send(t.Context(), november)
	if err != nil {
		t.Fatal(err)
	}
	mails := inbox.Messages()
	bob := mails[len(mails)-1]
	for _, part := range []string{bob.Text, tags.ReplaceAllString(bob.HTML, " ")} {
		part = strings.Join(strings.Fields(part), " ")
		code := customers[0].RegistrationCode
		for _, want := range []*regexp.Regexp{
			regexp.MustCompile(`Account Number:? 100482-7`), regexp.MustCompile(`Registration Code:? ` + code),
			regexp.MustCompile(`Go to (http://)?mongo\.localhost:8080 and click “Sign up for an Account\.”`),
			regexp.MustCompile(`\$123\.45`), regexp.MustCompile(`December 20, 2026`), regexp.MustCompile(`\(718\) 942-9990`),
			regexp.MustCompile(`(Account Number|Registration Code).{0,120}January 4, 2027`),
		} {
			if !want.MatchString(part) {
				t.Errorf("there is no %s in\n%s", want, part)
			}
		}
		// At the bottom: nothing but the box follows the support line.
		if strings.Index(part, "Registration Code") < strings.Index(part, "helpdesk@mongotel.com") {
			t.Errorf("the box is not at the bottom:\n%s", part)
		}
	}
	if !strings.Contains(bob.HTML, `href="http://mongo.localhost:8080"`) || bob.From != "billing@mongotel.example" {
		t.Errorf("from %s:\n%s", bob.From, bob.HTML)
	}
}

var tags = regexp.MustCompile(`(?s)<title>.*?</title>|<[^>]*>`)

func TestTheSampleRunHappensOnceAMonth(t *testing.T) {
	var s said
	run, inbox := sampleRun(t, s.publish)
	first, err := run.Send(t.Context(), november)
	if err != nil {
		t.Fatal(err)
	}
	published := len(s.events)
	again, err := run.Send(t.Context(), november.Add(5*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.events) != published || len(inbox.Messages()) != 5 {
		t.Errorf("the second start sent %d events and %d mails", len(s.events)-published, len(inbox.Messages())-5)
	}
	for i := range first {
		first[i].Sent = false
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the second start tells other customers: %s", diff)
	}

	december, err := run.Send(t.Context(), november.AddDate(0, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	if len(inbox.Messages()) != 10 || december[0].RegistrationCode == first[0].RegistrationCode || december[0].InvoiceNumber == first[0].InvoiceNumber {
		t.Errorf("December is November again: %d mails", len(inbox.Messages()))
	}
}

// Whatever was done when the run was killed, the next one completes it and says nothing else under an id.
func TestAKilledSampleRunIsCompleted(t *testing.T) {
	var s said
	run, inbox := sampleRun(t, s.publish)
	s.fail = errors.New("the broker is not connected")
	if _, err := run.Send(t.Context(), november); !errors.Is(err, s.fail) {
		t.Fatalf("%v", err)
	}
	if len(inbox.Messages()) != 1 {
		t.Fatalf("%d mails before the first event", len(inbox.Messages()))
	}
	s.fail = nil
	customers, err := run.Send(t.Context(), november.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	mails := inbox.Messages()
	if len(mails) != 6 || len(s.invoices()) != 5 || !customers[0].Sent {
		t.Errorf("%d mails, %d invoices", len(mails), len(s.invoices()))
	}
	one, two := mails[len(mails)-1], mails[len(mails)-2]
	if one.MessageID != two.MessageID || one.Text != two.Text {
		t.Error("the repeated mail is another mail")
	}
	if e := s.invoices()[0]; !e.EmailedAt.Equal(november) {
		t.Errorf("the event has another time: %s", e.EmailedAt)
	}
}

func TestTheSampleRunKeepsItsSecretToItself(t *testing.T) {
	var s, other said
	run, _ := sampleRun(t, s.publish)
	one, err := run.Send(t.Context(), november)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(run.Ledger)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	elsewhere, _ := sampleRun(t, other.publish)
	two, err := elsewhere.Send(t.Context(), november)
	if err != nil {
		t.Fatal(err)
	}
	if one[0].RegistrationCode == two[0].RegistrationCode {
		t.Error("two installations have the same code")
	}
}

func TestADamagedLedgerIsAnErrorThatNamesIt(t *testing.T) {
	var s said
	run, _ := sampleRun(t, s.publish)
	for _, content := range []string{"{", `{"secret":"AAAA"}`} {
		if err := os.WriteFile(run.Ledger, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := run.Send(t.Context(), november); err == nil || !strings.Contains(err.Error(), run.Ledger) || len(s.events) > 0 {
			t.Errorf("%v", err)
		}
	}
}

func TestAMailServerThatIsDownPublishesNothing(t *testing.T) {
	var s said
	run, inbox := sampleRun(t, s.publish)
	if err := inbox.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Send(t.Context(), november); err == nil || len(s.events) > 0 || strings.Contains(err.Error(), "ap@") {
		t.Errorf("%d events, %v", len(s.events), err)
	}
}

func TestTheSampleRunTellsHowCustomersPay(t *testing.T) {
	var s said
	run, _ := sampleRun(t, s.publish)
	if _, err := run.Send(t.Context(), november); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, m := range s.messages {
		if p, ok := m.(*events.PaymentMethodChanged); ok {
			kinds[p.Kind] = true
		}
	}
	if len(kinds) != 3 {
		t.Errorf("%v", kinds)
	}
	ids := map[string]bool{}
	for _, e := range s.events {
		ids[e.MsgID()] = true
	}
	if len(ids) != len(s.events) {
		t.Errorf("%d ids for %d events", len(ids), len(s.events))
	}
}
