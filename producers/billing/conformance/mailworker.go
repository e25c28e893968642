package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/mongotel/billcenter/events"
)

// mailWorker are the cases about whatever mail worker is running. Each drives a registration through the portal.
func mailWorker() []Case {
	return []Case{
		{
			Name: "mail-outcome", Sent: "a registration", needs: needs{mailWorker: true, portal: true},
			Expected: "one valid ActivationMailed with the request's enrollment and generation", play: mailOutcome,
		},
		{
			Name: "mail-link", Sent: "a registration", needs: needs{mailWorker: true, portal: true, inbox: true},
			Expected: "one mail, whose link opens the page that asks for a password", play: mailLink,
		},
		{
			Name: "mail-redelivery", Sent: "an ActivationRequested again, under a new Nats-Msg-Id, after its mail went out",
			Expected: "no other outcome, no second mail", needs: needs{mailWorker: true, portal: true}, play: mailRedelivery,
		},
		{
			Name: "mail-undeliverable", Sent: "a registration with an address in .invalid", needs: needs{mailWorker: true, portal: true},
			Expected: "one valid ActivationMailFailed, mail-rejected or mail-never-accepted", play: mailUndeliverable,
		},
	}
}

// register drives a registration up to the mail that it asks for.
func (t *trial) register(ctx context.Context, domain string) (work, bool) {
	i := t.mailed()
	s, ok := t.deliver(ctx, t.message(&i))
	if !ok {
		return work{}, false
	}
	t.taken(s)
	if !t.signsUpAs(ctx, t.applies(i.account, i.code, domain)) {
		return work{}, false
	}
	var asked work
	if !t.await(ctx, t.Within, func() bool {
		at := slices.IndexFunc(t.work, func(w work) bool { return w.asks.AccountNumber == i.number })
		if at >= 0 {
			asked = t.work[at]
		}
		return at >= 0
	}) {
		t.fault("no ActivationRequested after %s%s", t.Within, t.blind())
		return work{}, false
	}
	return asked, true
}

// outcomesOf lists what a mail worker said about an enrollment. What cannot be decoded says so by its CloudEvents subject only.
func (w *witness) outcomesOf(enrollmentID string) []fact {
	var all []fact
	for _, f := range w.facts {
		about := f.said.EnrollmentID == enrollmentID || f.Subject == enrollmentID
		if about && (f.Definition.Name == "ActivationMailed" || f.Definition.Name == "ActivationMailFailed") {
			all = append(all, f)
		}
	}
	return all
}

// outcome waits for the mail worker's word and judges it.
func (t *trial) outcome(ctx context.Context, asked work, want string) bool {
	var found []fact
	var unreadable error
	if !t.await(ctx, t.Within, func() bool {
		found = t.outcomesOf(asked.asks.EnrollmentID)
		for _, f := range t.facts {
			if f.fault != nil {
				unreadable = f.fault
			}
		}
		return len(found) > 0
	}) {
		t.fault("no %s after %s%s", want, t.Within, t.blind())
		if unreadable != nil {
			t.saw("a fact that cannot be read: %v", unreadable)
		}
		return false
	}
	f := found[0]
	t.judge(f, asked, want)
	t.saw("%s", f.Definition.Name)
	return true
}

// judge checks what the contract says of an outcome.
func (t *trial) judge(f fact, asked work, want string) {
	if f.fault != nil {
		t.fault("the fact is not valid: %v", f.fault)
		return
	}
	if f.Definition.Name != want {
		t.fault("%s (reason %q), expected %s", f.Definition.Name, f.said.Reason, want)
	}
	for _, field := range []struct {
		name string
		ok   bool
	}{
		{"enrollmentId is not the request's", f.said.EnrollmentID == asked.asks.EnrollmentID},
		{"generation is not the request's", max(f.said.Generation, 1) == asked.asks.Generation},
		{"accountRef is not the request's", asked.asks.AccountRef == "" || f.said.AccountRef == asked.asks.AccountRef},
		{"occurredAt lies before the request", !f.said.OccurredAt.Before(asked.asks.RequestedAt)},
		{"the CloudEvents subject is not the enrollment's id", f.Subject == asked.asks.EnrollmentID},
	} {
		if !field.ok {
			t.fault("%s", field.name)
		}
	}
}

func mailOutcome(ctx context.Context, t *trial) {
	if asked, ok := t.register(ctx, t.MailDomain); ok {
		t.outcome(ctx, asked, "ActivationMailed")
	}
}

func mailUndeliverable(ctx context.Context, t *trial) {
	asked, ok := t.register(ctx, "undeliverable.invalid")
	if !ok || !t.outcome(ctx, asked, "ActivationMailFailed") {
		return
	}
	t.asSeen(func() {
		switch reason := t.outcomesOf(asked.asks.EnrollmentID)[0].said.Reason; reason {
		case "mail-rejected", "mail-never-accepted":
			t.saw("%s", reason)
		default:
			t.fault("its reason is %q, expected mail-rejected or mail-never-accepted", reason)
		}
	})
}

// mail is a message of the inbox, as its API shows it.
type mail struct {
	To        []string `json:"to"`
	Text      string   `json:"text"`
	MessageID string   `json:"messageId"`
}

// mailsTo reads the inbox.
func (t *trial) mailsTo(ctx context.Context, address string) ([]mail, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(t.Inbox, "/")+"/api/v1/messages", nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("read the inbox: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read the inbox: it answers %d", answer.StatusCode)
	}
	var all []mail
	if err := json.NewDecoder(answer.Body).Decode(&all); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.New("read the inbox: its answer is not a list of messages")
	}
	return slices.DeleteFunc(all, func(m mail) bool { return !slices.Contains(m.To, address) }), nil
}

// arrived expects exactly one mail about the request, under the Message-ID that the contract gives it. It comes after the
// outcome: the provider has taken the mail.
func (t *trial) arrived(ctx context.Context, asked work) (mail, bool) {
	mails, err := t.mailsTo(ctx, asked.asks.To)
	if t.failed(err) {
		return mail{}, false
	}
	ids := map[string]bool{}
	for _, m := range mails {
		ids[m.MessageID] = true
	}
	if len(mails) != 1 {
		t.fault("%s with %s, expected one", plural(len(mails), "mail", "mails"), plural(len(ids), "Message-ID", "different Message-IDs"))
		return mail{}, false
	}
	want := fmt.Sprintf("%s.activation.%d.%d@", asked.asks.EnrollmentID, asked.asks.Generation, max(asked.asks.Number, 1))
	if !strings.HasPrefix(mails[0].MessageID, want) {
		t.fault("its Message-ID does not begin with <enrollmentId>.activation.<generation>.<number>@")
	}
	t.saw("one mail")
	return mails[0], true
}

var activationLink = regexp.MustCompile(`https?://[^\s/]+(/activate/[A-Za-z0-9_-]+)`)

// linkIn is the path of the link in a mail; empty: it has none.
func linkIn(m mail) string {
	if found := activationLink.FindStringSubmatch(m.Text); found != nil {
		return found[1]
	}
	return ""
}

func mailLink(ctx context.Context, t *trial) {
	asked, ok := t.register(ctx, t.MailDomain)
	if !ok || !t.outcome(ctx, asked, "ActivationMailed") {
		return
	}
	m, ok := t.arrived(ctx, asked)
	if !ok {
		return
	}
	link := linkIn(m)
	if link == "" {
		t.fault("the text of the mail has no link <tenant base URL>/activate/<token>")
		return
	}
	// Looking at the link changes nothing; only choosing a password does.
	answer, err := t.customer().get(ctx, link)
	if t.failed(err) {
		return
	}
	if answer.status != http.StatusOK || !answer.asks("password") {
		t.fault("the portal answers the link with %d and asks for no password: the token is not the one of the contract's algorithm and key", answer.status)
		return
	}
	t.saw("its link opens")
}

func mailRedelivery(ctx context.Context, t *trial) {
	asked, ok := t.register(ctx, t.MailDomain)
	if !ok || !t.outcome(ctx, asked, "ActivationMailed") {
		return
	}
	again := asked.Message
	again.ID = t.source() + "#" + t.eventID()
	if t.failed(t.Broker.Publish(ctx, again)) {
		return
	}
	standing, err := t.Broker.Standing(ctx)
	if t.failed(err) {
		return
	}
	if !t.await(ctx, t.Within, func() bool { return t.standing.MailDone >= standing.MailLast }) {
		t.fault("the mail worker has not acknowledged the copy after %s, or mails before it wait for another try%s", t.Within, t.blind())
		return
	}
	t.asSeen(func() {
		ids := map[events.Envelope]bool{}
		for _, f := range t.outcomesOf(asked.asks.EnrollmentID) {
			ids[events.Envelope{ID: f.ID, Source: f.Source}] = true
		}
		if len(ids) != 1 {
			t.fault("%d outcomes under different ids, expected the first one again or nothing", len(ids))
		}
	})
	if t.Inbox == "" {
		t.saw("mails not counted: no --inbox-url")
		return
	}
	t.arrived(ctx, asked)
}
