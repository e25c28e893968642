package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// publisher names who says a message, for its source: time says that something expired or that an account is closed, staff
// say what they did that customers cannot, customers say the rest.
func publisher(m events.Message) string {
	switch m := m.(type) {
	case events.Expired:
		return "deadlines"
	case events.ActivationMailFailed: // which came back
		return "mailer"
	case events.Cancelled:
		switch m.Reason {
		case string(enrollment.AccountClosed):
			return "deadlines"
		case byHelpdesk:
			return "helpdesk"
		}
	case events.SecurityNoticeRequested:
		if m.Kind == events.EnrollmentClosed {
			return "deadlines"
		}
	case events.Unlocked:
		return "helpdesk"
	case events.CodeReissueRequested:
		if m.Cause == events.HelpdeskAsked {
			return "helpdesk"
		}
	}
	return "portal"
}

// announce puts an event into the outbox of this transaction, under an id made here: however often the relay publishes it,
// it is one event.
func (t *tx) announce(tenant, subject string, m events.Message) error {
	e, err := events.Encode(tenant, events.Envelope{ID: uuid.NewString(), Source: events.Source(tenant, publisher(m)), Subject: subject, Time: t.now}, m)
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	t.out = append(t.out, e)
	return nil
}

// flush writes what was announced, in order, just before the commit.
func (t *tx) flush(ctx context.Context) error {
	if len(t.out) == 0 {
		return nil
	}
	subjects, ids, bodies := make([]string, len(t.out)), make([]string, len(t.out)), make([]string, len(t.out))
	for i, e := range t.out {
		subjects[i], ids[i], bodies[i] = e.Subject, e.MsgID, string(e.Body)
	}
	if _, err := t.ExecContext(ctx, `
		INSERT INTO outbox (subject, msg_id, body) SELECT * FROM unnest($1::text[], $2::text[], $3::text[])`,
		pq.Array(subjects), pq.Array(ids), pq.Array(bodies)); err != nil {
		return fmt.Errorf("write the outbox: %w", err)
	}
	return nil
}

// fact is what the next fact about an enrollment says; it takes the next sequence.
func (e *enrollmentRow) fact(accountRef string, at time.Time, reason enrollment.Reason) events.Fact {
	e.Sequence++
	return events.Fact{
		AccountRef: accountRef, EnrollmentID: e.ID.String(), Sequence: e.Sequence, OccurredAt: at.UTC(), Reason: string(reason),
		Properties: e.properties(),
	}
}

// properties are the same in every fact of an enrollment: what was known at registration, and the address's class.
func (e *enrollmentRow) properties() events.Properties {
	age := e.CodeAgeDays
	return events.Properties{
		Locale: e.Locale, InvoiceMonth: e.InvoiceMonth, CodeAgeDays: &age,
		MailDomainClass: e.Email.DomainClass(),
	}
}

// requestMail announces the work of mailing the present link. Only the mail tells that its address has a log-in: whoever typed
// the address learns nothing of it, and every address costs the same look-up.
func (t *tx) requestMail(ctx context.Context, e *enrollmentRow, ref string, about accountFace, window time.Duration) error {
	var hasLogIn bool
	if err := t.GetContext(ctx, &hasLogIn, `SELECT EXISTS (SELECT FROM users WHERE tenant = $1 AND lower(email) = lower($2))`, e.Tenant, string(e.Email)); err != nil {
		return fmt.Errorf("log-ins of an address: %w", err)
	}
	signedUpAt := e.SignedUpAt.UTC()
	return t.announce(e.Tenant, e.ID.String(), events.ActivationRequested{
		EnrollmentID: e.ID.String(), Generation: e.Generation, Number: e.MailNumber,
		To: string(e.Email), Username: e.Username, CompanyName: about.CompanyName, AccountNumber: about.AccountNumber, AccountRef: ref,
		Locale: e.Locale, RequestedAt: t.now.UTC(), ValidForSeconds: int64(window / time.Second),
		SignedUpAt: &signedUpAt, SignedUpWith: e.SignedUpWith, HasLogIn: hasLogIn,
	})
}
