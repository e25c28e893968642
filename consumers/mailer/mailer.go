// Package mailer sends the mails that events ask for, each once as far as SMTP allows, and tells what became of the
// activation mails.
//
// A mail has a row in the ledger that is claimed before it is sent and settled after. A mail known as accepted is never
// sent again; one whose outcome nobody knows is, under the same Message-ID and with the same link, three times at most.
// What the relay definitely did not take is tried again while the link would still help, or fails visibly.
//
// It keeps no state of its own and decides nothing about enrollments.
package mailer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// Name is the durable consumer's.
const Name = "mailer"

// MaxInFlight is how many mails are on their way at a time, so that a slow relay holds up few connections and a quick one
// is not outrun.
const MaxInFlight = 8

// Ledger remembers each mail. Every method is one committed transaction.
type Ledger interface {
	// ClaimMail says whether to send a mail. With SendNow the caller holds the claim and must settle or release it. A claim
	// that is neither, because the process was killed or the relay's answer never came, counts as a send of unknown outcome.
	// After too many of those, or after GiveUpAt, the ledger settles the mail as failed by itself.
	ClaimMail(ctx context.Context, m enrollment.Mail) (enrollment.Claim, error)
	// MailAccepted settles a mail that the relay took.
	MailAccepted(ctx context.Context, m enrollment.Mail) (enrollment.MailOutcome, error)
	// MailRefused settles a mail that the relay refused for good.
	MailRefused(ctx context.Context, m enrollment.Mail, f enrollment.MailFailure) (enrollment.MailOutcome, error)
	// ReleaseMail gives the claim back: the mail was not sent, and may be later.
	ReleaseMail(ctx context.Context, m enrollment.Mail, f enrollment.MailFailure) error
}

// Transport hands over one mail; see Relay.Send for what its errors mean.
type Transport interface {
	Send(ctx context.Context, from, to string, message []byte) error
}

// Options are what a Mailer works with.
type Options struct {
	Ledger    Ledger
	Transport Transport
	Publisher consumers.Publisher
	Tenant    func(id string) (Letterhead, bool)
	LinkKey   []byte          // the newest; verifying takes older ones too
	Pauses    []time.Duration // before a mail that was not taken is tried again; nil: DefaultPauses
	Log       *slog.Logger
}

// DefaultPauses returns the pauses after a temporary refusal; the last one goes on while the link would live.
func DefaultPauses() []time.Duration {
	return []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour}
}

// noticeLife is how long a notice is tried. RFC 5321 section 4.5.4.1 asks for four to five days; MAIL keeps it for seven.
const noticeLife = 5 * 24 * time.Hour

// settleTime bounds writing the outcome of a mail, and goes on when the worker is being stopped.
const settleTime = 10 * time.Second

// Mailer is safe for concurrent use.
type Mailer struct {
	o        Options
	composer *composer
}

// New returns a Mailer; it fails only on broken templates.
func New(o Options) (*Mailer, error) {
	c, err := newComposer()
	if err != nil {
		return nil, err
	}
	if o.Pauses == nil {
		o.Pauses = DefaultPauses()
	}
	return &Mailer{o: o, composer: c}, nil
}

// Routes are the events that the mailer handles.
func (m *Mailer) Routes() []consumers.Route {
	return []consumers.Route{
		consumers.On(m.ActivationRequested), consumers.On(m.PasswordResetRequested), consumers.On(m.EnrollmentNoticeRequested),
		consumers.On(m.SecurityNoticeRequested),
	}
}

// ActivationRequested sends the registration e-mail and publishes ActivationMailed or ActivationMailFailed.
func (m *Mailer) ActivationRequested(ctx context.Context, e events.Event, r events.ActivationRequested) error {
	tenant, base, err := m.tenant(e.Tenant)
	if err != nil {
		return err
	}
	id, to, err := recipient("enrollmentId", r.EnrollmentID, r.To)
	if err != nil {
		return err
	}
	valid := time.Duration(r.ValidForSeconds) * time.Second
	mail := enrollment.Mail{
		Tenant:        e.Tenant,
		Enrollment:    id,
		Purpose:       enrollment.ActivationMail,
		Generation:    r.Generation,
		Number:        max(r.Number, 1),
		AccountNumber: r.AccountNumber,
		GiveUpAt:      r.RequestedAt.Add(valid),
	}
	mail.MessageID = messageID(mail, base)
	token := enrollment.Mint(m.o.LinkKey, e.Tenant, enrollment.Link{Enrollment: id, Generation: r.Generation}, to)
	l := tenant.letter(r.Locale)
	l.Username = oneLine(r.Username)
	l.Company = oneLine(r.CompanyName)
	l.AccountTail = tail(oneLine(r.AccountNumber))
	l.Link = base.JoinPath("activate", token.Reveal()).String()
	l.NotMe = l.Link + "/not-me"
	if r.SignedUpAt != nil {
		l.At = r.SignedUpAt.In(tenant.Zone)
		l.Browser, l.System, _ = strings.Cut(oneLine(r.SignedUpWith), ", ")
	}
	if r.HasLogIn {
		l.LogIn = base.JoinPath("login").String()
	}
	l.Lifetime = inWords(valid)
	l.Until = time.Now().Add(valid).In(tenant.Zone)

	outcome, err := m.deliver(ctx, mail, tenant, to, l)
	if err != nil || outcome == nil {
		return err
	}
	return m.report(ctx, e, mail, *outcome)
}

// PasswordResetRequested sends the username and a link for a new password. It is tried while the link works; no fact follows.
func (m *Mailer) PasswordResetRequested(ctx context.Context, e events.Event, r events.PasswordResetRequested) error {
	tenant, base, err := m.tenant(e.Tenant)
	if err != nil {
		return err
	}
	id, to, err := recipient("resetId", r.ResetID, r.To)
	if err != nil {
		return err
	}
	mail := enrollment.Mail{
		Tenant:     e.Tenant,
		Enrollment: id,
		Purpose:    enrollment.ResetMail,
		Generation: 1,
		Number:     1,
		GiveUpAt:   r.RequestedAt.Add(time.Duration(r.ValidForSeconds) * time.Second),
	}
	mail.MessageID = messageID(mail, base)
	l := tenant.letter(r.Locale)
	l.Username = oneLine(r.Username)
	l.Link = base.JoinPath("reset-password", enrollment.MintRecovery(m.o.LinkKey, e.Tenant, id, to).Reveal()).String()
	l.Until = mail.GiveUpAt.In(tenant.Zone)

	_, err = m.deliver(ctx, mail, tenant, to, l)
	return err
}

// EnrollmentNoticeRequested tells the billing address of record that its account was enrolled. No fact follows.
func (m *Mailer) EnrollmentNoticeRequested(ctx context.Context, e events.Event, r events.EnrollmentNoticeRequested) error {
	tenant, base, err := m.tenant(e.Tenant)
	if err != nil {
		return err
	}
	id, to, err := recipient("enrollmentId", r.EnrollmentID, r.To)
	if err != nil {
		return err
	}
	mail := enrollment.Mail{
		Tenant:        e.Tenant,
		Enrollment:    id,
		Purpose:       enrollment.NoticeMail,
		Generation:    1,
		Number:        1,
		AccountNumber: r.AccountNumber,
		GiveUpAt:      r.ActivatedAt.Add(noticeLife),
	}
	mail.MessageID = messageID(mail, base)
	l := tenant.letter(r.Locale)
	l.Company = oneLine(r.CompanyName)
	l.Account = oneLine(r.AccountNumber)
	l.At = r.ActivatedAt.In(tenant.Zone)

	_, err = m.deliver(ctx, mail, tenant, to, l)
	return err
}

// SecurityNoticeRequested tells somebody what was done, or tried, to their account or log-in. No fact follows.
func (m *Mailer) SecurityNoticeRequested(ctx context.Context, e events.Event, r events.SecurityNoticeRequested) error {
	tenant, base, err := m.tenant(e.Tenant)
	if err != nil {
		return err
	}
	id, to, err := recipient("noticeId", r.NoticeID, r.To)
	if err != nil {
		return err
	}
	mail := enrollment.Mail{
		Tenant:        e.Tenant,
		Enrollment:    id,
		Purpose:       enrollment.Purpose(r.Kind),
		Generation:    1,
		Number:        1,
		AccountNumber: r.AccountNumber,
		GiveUpAt:      r.OccurredAt.Add(noticeLife),
	}
	mail.MessageID = messageID(mail, base)
	l := tenant.letter(r.Locale)
	l.Username = oneLine(r.Username)
	l.Company = oneLine(r.CompanyName)
	l.Account = oneLine(r.AccountNumber)
	l.AccountTail = tail(l.Account)
	l.At = r.OccurredAt.In(tenant.Zone)

	_, err = m.deliver(ctx, mail, tenant, to, l)
	return err
}

func (m *Mailer) tenant(id string) (Letterhead, *url.URL, error) {
	t, ok := m.o.Tenant(id)
	if !ok {
		return t, nil, &events.Malformed{Fault: events.TenantUnknown, Field: "subject", Why: "names a tenant that does not exist; replay it once it does"}
	}
	base, err := url.Parse(t.BaseURL)
	if err != nil {
		return t, nil, fmt.Errorf("base URL of tenant %s: %w", id, err)
	}
	return t, base, nil
}

// recipient takes an address as the form does: what SMTP could read as something else is refused before it gets there.
func recipient(field, named, address string) (enrollment.ID, enrollment.Address, error) {
	id, err := uuid.Parse(named)
	if err != nil {
		return id, "", &events.Malformed{Fault: events.FieldInvalid, Field: "data." + field, Why: "is not a UUID"}
	}
	to, err := enrollment.ParseAddress(address)
	if err != nil {
		return id, "", &events.Malformed{Fault: events.FieldInvalid, Field: "data.to", Why: "is not an address that mail can be sent to"}
	}
	return id, to, nil
}

// deliver brings a mail to its outcome. Without one, and without an error, there is nothing to do or to tell.
func (m *Mailer) deliver(ctx context.Context, mail enrollment.Mail, tenant Letterhead, to enrollment.Address, l letter) (*enrollment.MailOutcome, error) {
	message, err := m.composer.compose(mail.Purpose, stationery{
		From: tenant.From, ReplyTo: tenant.ReplyTo, To: to, MessageID: mail.MessageID, Date: time.Now(),
	}, l)
	if err != nil {
		return nil, err
	}
	claim, err := m.o.Ledger.ClaimMail(ctx, mail)
	if err != nil {
		return nil, fmt.Errorf("claim mail %s: %w", mail.MessageID, err)
	}
	switch claim.Verdict {
	case enrollment.SendNow:
		return m.send(ctx, mail, tenant.From.Address, to, message)
	case enrollment.Settled:
		return &claim.Outcome, nil
	case enrollment.HeldByOther:
		return nil, &consumers.Later{Pauses: []time.Duration{claim.RetryAfter}, Err: fmt.Errorf("mail %s is being sent by another worker", mail.MessageID)}
	case enrollment.Moot:
		m.o.Log.DebugContext(ctx, "mail is not wanted any more", "message_id", mail.MessageID)
		return nil, nil
	default:
		return nil, fmt.Errorf("claim mail %s: the ledger says %q", mail.MessageID, claim.Verdict)
	}
}

// send runs with the claim held.
func (m *Mailer) send(ctx context.Context, mail enrollment.Mail, from string, to enrollment.Address, message []byte) (*enrollment.MailOutcome, error) {
	err := m.o.Transport.Send(ctx, from, string(to), message)
	if err == nil {
		return m.accept(ctx, mail)
	}
	again := &consumers.Later{Pauses: m.o.Pauses, Until: mail.GiveUpAt, Err: fmt.Errorf("mail %s: %w", mail.MessageID, err)}
	no, definite := errors.AsType[*NotSent](err)
	if !definite {
		// The claim stays. The ledger counts it and allows another try, or not.
		return nil, again
	}
	switch {
	case no.Misconfigured():
		return nil, errors.Join(&consumers.Fatal{Err: again.Err}, m.release(ctx, mail, no))
	case no.Final():
		return m.refuse(ctx, mail, enrollment.MailFailure{Reason: rejected, SMTPStatus: no.Code, Reply: no.Enhanced})
	default:
		// It comes back when it is to be given up at the latest, and the ledger does that by the database's clock.
		return nil, errors.Join(again, m.release(ctx, mail, no))
	}
}

// Reasons of failures, from the contract's closed list.
const (
	rejected      = "mail-rejected"
	neverAccepted = "mail-never-accepted"
)

// accept is worth several tries: the mail is out, and if nobody writes that down it goes out again.
func (m *Mailer) accept(ctx context.Context, mail enrollment.Mail) (*enrollment.MailOutcome, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause *= 2 {
		outcome, err := m.o.Ledger.MailAccepted(ctx, mail)
		if err == nil {
			m.o.Log.InfoContext(ctx, "mail accepted", "message_id", mail.MessageID)
			return &outcome, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("settle mail %s as accepted: %w", mail.MessageID, err)
		}
	}
}

func (m *Mailer) refuse(ctx context.Context, mail enrollment.Mail, f enrollment.MailFailure) (*enrollment.MailOutcome, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	outcome, err := m.o.Ledger.MailRefused(ctx, mail, f)
	if err != nil {
		return nil, fmt.Errorf("settle mail %s as refused: %w", mail.MessageID, err)
	}
	m.o.Log.WarnContext(ctx, "mail failed", "message_id", mail.MessageID, "reason", f.Reason, "status", f.SMTPStatus, "reply", f.Reply)
	return &outcome, nil
}

func (m *Mailer) release(ctx context.Context, mail enrollment.Mail, no *NotSent) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	reply := no.Enhanced
	if no.Code == 0 {
		reply = "no reply at " + string(no.Phase)
	}
	f := enrollment.MailFailure{Reason: neverAccepted, SMTPStatus: no.Code, Reply: reply}
	if err := m.o.Ledger.ReleaseMail(ctx, mail, f); err != nil {
		return fmt.Errorf("release mail %s: %w", mail.MessageID, err)
	}
	return nil
}

// report publishes the outcome. A redelivery comes here again with the ledger's answer and repeats the same event.
func (m *Mailer) report(ctx context.Context, cause events.Event, mail enrollment.Mail, o enrollment.MailOutcome) error {
	fact := events.Fact{
		AccountRef:   o.AccountRef,
		EnrollmentID: mail.Enrollment.String(),
		Sequence:     o.Sequence,
		OccurredAt:   o.At,
		Reason:       o.Failure,
		Properties: events.Properties{
			Locale:          o.Locale,
			InvoiceMonth:    o.InvoiceMonth,
			CodeAgeDays:     o.CodeAgeDays,
			MailDomainClass: o.MailDomainClass,
		},
	}
	var message events.Message = events.ActivationMailed{Fact: fact, Generation: mail.Generation}
	if !o.Accepted {
		message = events.ActivationMailFailed{Fact: fact, Generation: mail.Generation, SMTPStatus: o.SMTPStatus}
	}
	envelope := consumers.Following(cause, "mail outcome", events.Source(mail.Tenant, "mailer"), fact.EnrollmentID, o.At)
	encoded, err := events.Encode(mail.Tenant, envelope, message)
	if err != nil {
		// %v: a fault in what we say is ours, and must not pass for one in what we were asked.
		return fmt.Errorf("report mail %s: %v", mail.MessageID, err)
	}
	if err := m.o.Publisher.Publish(ctx, encoded); err != nil {
		return fmt.Errorf("report mail %s: %w", mail.MessageID, err)
	}
	return nil
}
