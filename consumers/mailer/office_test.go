package mailer_test

import (
	"bytes"
	"context"
	"log/slog"
	netmail "net/mail"
	"sync"
	"testing"
	"time"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/consumers/mailer"
	"github.com/mongotel/billcenter/deploy/local"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
	"github.com/mongotel/billcenter/schema/locale"
)

var linkKey = []byte("a link key for tests, 32 bytes!!")

func mongotel(t testing.TB) mailer.Letterhead {
	t.Helper()
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	return mailer.Letterhead{
		Name:    "Mongotel",
		BaseURL: "https://mongo.billcenter.net",
		Color:   "#0b57b0",
		From:    netmail.Address{Name: "Mongotel Bill Center", Address: "no-reply@mongotel.example"},
		ReplyTo: netmail.Address{Name: "Mongotel Helpdesk", Address: "helpdesk@mongotel.example"},
		Support: mailer.Support{Phone: "(718) 942-9990", ShortCode: "611", Email: "helpdesk@mongotel.example", Hours: hours},
		Zone:    zone,
		Locales: []locale.Locale{localeOf(t, "en-US"), localeOf(t, "es-US")},
	}
}

func hours(l locale.Locale) string {
	if l.Language() == "es" {
		return "de lunes a viernes"
	}
	return "Monday to Friday, 9 AM to 5 PM"
}

func localeOf(t testing.TB, tag string) locale.Locale {
	t.Helper()
	l, err := locale.Parse(tag)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// office is a mailer at work between a real broker and a real SMTP server.
type office struct {
	t      *testing.T
	broker *bustest.Broker
	inbox  *local.Inbox
	ledger *ledger
	logged *buffer
	mailer *mailer.Mailer
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func open(t *testing.T) *office {
	t.Helper()
	inbox, err := local.StartInbox(local.InboxOptions{Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := inbox.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	o := &office{t: t, broker: bustest.Start(t), inbox: inbox, ledger: newLedger(), logged: &buffer{}}
	o.mailer = o.newMailer(inbox.SMTPAddr(), o.ledger)
	return o
}

func (o *office) newMailer(smtpAddr string, l mailer.Ledger) *mailer.Mailer {
	o.t.Helper()
	transport, err := mailer.NewRelay(mailer.RelayOptions{Address: smtpAddr, Security: mailer.Plaintext, Timeout: 5 * time.Second})
	if err != nil {
		o.t.Fatal(err)
	}
	letterhead := mongotel(o.t)
	m, err := mailer.New(mailer.Options{
		Ledger:    l,
		Transport: transport,
		Publisher: consumers.PublishOn(o.broker.Bus),
		Tenant:    func(id string) (mailer.Letterhead, bool) { return letterhead, id == "mongo" },
		LinkKey:   linkKey,
		Pauses:    []time.Duration{20 * time.Millisecond},
		Log:       slog.New(slog.NewTextHandler(o.logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return m
}

// work starts the mailer and returns how to stop it, which gives its error.
func (o *office) work() (stop func() error) {
	o.t.Helper()
	w := &consumers.Worker{
		Bus:         o.broker.Bus,
		Consumer:    mailer.Name,
		Routes:      o.mailer.Routes(),
		Known:       func(tenant string) bool { return tenant == "mongo" },
		MaxInFlight: mailer.MaxInFlight,
		MaxDelay:    shortLease,
		Log:         slog.New(slog.NewTextHandler(o.logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	o.t.Cleanup(func() { _ = stop() })
	return stop
}

// ask publishes an event under an id and returns that event's data.
func (o *office) ask(id string, m events.Message) {
	o.t.Helper()
	e, err := events.Encode("mongo", events.Envelope{ID: id, Source: "//mongo.billcenter.net/portal"}, m)
	if err != nil {
		o.t.Fatal(err)
	}
	if err := consumers.PublishOn(o.broker.Bus).Publish(o.t.Context(), e); err != nil {
		o.t.Fatal(err)
	}
}

func activation() events.ActivationRequested {
	signedUp := time.Date(2026, 11, 20, 13, 5, 0, 0, time.UTC)
	return events.ActivationRequested{
		EnrollmentID: "0191f3a0-0000-7000-8000-000000000001", Generation: 1, To: "ada@bobsbuilding.example", Username: "Bob’sBuilding",
		CompanyName: "Bob's Building", AccountNumber: "100482-7", Locale: "en-US", RequestedAt: time.Now(), ValidForSeconds: 72 * 3600,
		SignedUpAt: &signedUp, SignedUpWith: "Firefox, Windows",
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// finished waits until the mailer has nothing to do.
func (o *office) finished() {
	o.t.Helper()
	eventually(o.t, "every request is settled", func() bool {
		streams, err := o.broker.Bus.Status(o.t.Context())
		if err != nil {
			o.t.Fatal(err)
		}
		for _, s := range streams {
			for _, c := range s.Consumers {
				if c.Name == mailer.Name {
					// A message just stored may be in neither count yet.
					return c.Pending == 0 && c.AckPending == 0 && c.AckFloor == s.LastSeq
				}
			}
		}
		return false
	})
}

// facts returns what was published about mails, as (id, data) pairs.
func (o *office) facts() (ids []string, facts []events.Event) {
	o.t.Helper()
	for {
		batch, err := o.broker.Bus.Pull(o.t.Context(), bus.ConsumerProgress, 100, 50*time.Millisecond)
		if err != nil {
			o.t.Fatal(err)
		}
		if len(batch) == 0 {
			return ids, facts
		}
		for _, in := range batch {
			e, err := events.Decode(in.Subject, in.Header, in.Data)
			if err != nil {
				o.t.Fatal(err)
			}
			ids, facts = append(ids, e.MsgID()), append(facts, e)
		}
		if err := bus.AckAll(o.t.Context(), batch); err != nil {
			o.t.Fatal(err)
		}
	}
}

// mailed expects one ActivationMailed and nothing else.
func (o *office) mailed() events.ActivationMailed {
	o.t.Helper()
	_, facts := o.facts()
	if len(facts) != 1 {
		o.t.Fatalf("%d facts, want one", len(facts))
	}
	f, err := events.Data[events.ActivationMailed](facts[0])
	if err != nil {
		o.t.Fatal(err)
	}
	return f
}

// failed expects one ActivationMailFailed and nothing else.
func (o *office) failed() events.ActivationMailFailed {
	o.t.Helper()
	_, facts := o.facts()
	if len(facts) != 1 {
		o.t.Fatalf("%d facts, want one", len(facts))
	}
	f, err := events.Data[events.ActivationMailFailed](facts[0])
	if err != nil {
		o.t.Fatal(err)
	}
	return f
}
