package bus_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
)

func TestDialingNobody(t *testing.T) {
	broker := bustest.Start(t)
	broker.Kill()
	if _, err := bus.Dial(t.Context(), bus.Options{URL: broker.URL}); err == nil {
		t.Error("connected to nobody")
	}
	patient, err := bus.Dial(t.Context(), bus.Options{URL: broker.URL, WaitForBroker: true})
	if err != nil {
		t.Fatal(err)
	}
	if patient.Healthy() == nil {
		t.Error("healthy without a broker")
	}
	if err := patient.Publish(t.Context(), invoices(0, 1)...); err == nil {
		t.Error("published to nobody")
	}
	broker.Restart()
	eventually(t, "connected", func() bool { return patient.Healthy() == nil })
	publish(t, patient, invoices(0, 1)...)
	if err := patient.Close(); err != nil {
		t.Error(err)
	}
	if err := patient.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

// The permissions that consumer codes needs. What it is not allowed to do fails
// at once, by name, although the broker says so apart from the call.
func TestAWorkerNeedsOnlyItsOwnPermissions(t *testing.T) {
	url := serve(t, &server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		Users: []*server.User{
			{Username: "operator", Password: "o"},
			{Username: "codes", Password: "c", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Allow: []string{
					"$JS.API.STREAM.INFO.BILLING",
					"$JS.API.STREAM.PURGE.BILLING",
					"$JS.API.CONSUMER.INFO.BILLING.codes",
					"$JS.API.CONSUMER.MSG.NEXT.BILLING.codes",
					"$JS.ACK.BILLING.codes.>",
					"deadletter.codes.*",
				}},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_codes.>"}},
			}},
		},
	})
	operator := dial(t, bus.Options{URL: "nats://operator:o@" + url})
	if _, err := operator.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, operator, invoices(0, 30)...)

	var log syncBuffer
	codes := dial(t, bus.Options{
		URL:         "nats://codes:c@" + url,
		InboxPrefix: "_INBOX_codes",
		Sealer:      bustest.Sealer{},
		Log:         slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err := codes.Verify(t.Context(), bus.ConsumerCodes); err != nil {
		t.Fatal(err)
	}
	batch := pull(t, codes, bus.ConsumerCodes, 30)
	if err := codes.Bury(t.Context(), batch[0], malformed); err != nil {
		t.Fatal(err)
	}
	if err := bus.AckAll(t.Context(), batch[1:]); err != nil {
		t.Fatal(err)
	}
	if upTo, err := codes.PurgeBelowAckFloor(t.Context(), bus.ConsumerCodes); err != nil || upTo != 30 {
		t.Errorf("purged up to %d, %v", upTo, err)
	}
	denied := func(what, subject string, err error) {
		t.Helper()
		if !errors.Is(err, bus.ErrDenied) || !strings.Contains(err.Error(), subject) {
			t.Errorf("%s: got %v, want that it may not publish to %s", what, err, subject)
		}
	}
	denied("one event", "billing.mongo.invoice.emailed", codes.Publish(t.Context(), invoices(100, 1)...))
	denied("a batch of events", "billing.mongo.invoice.emailed", codes.Publish(t.Context(), invoices(100, 20)...))
	_, err := codes.Pull(t.Context(), bus.ConsumerMailer, 1, time.Minute)
	denied("work of others", "$JS.API.CONSUMER.MSG.NEXT.MAIL.mailer", err)
	_, err = codes.Apply(t.Context())
	denied("the topology", "$JS.API.STREAM.INFO.MAIL", err)
	denied("everything", "$JS.API.STREAM.INFO.MAIL", codes.Verify(t.Context()))
	denied("a consumer of others", "$JS.API.CONSUMER.INFO.MAIL.mailer", codes.Verify(t.Context(), bus.ConsumerMailer))
	denied("a stream of others", "$JS.API.STREAM.INFO.MAIL", codes.Verify(t.Context(), bus.StreamMail))
	_, err = codes.DeadLetter(t.Context(), 1)
	denied("a dead letter", "$JS.API.STREAM.INFO.DEADLETTER", err)
	for range 2 {
		status, err := codes.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range status {
			if mine := s.Name == bus.StreamBilling; s.Denied == mine || s.Missing {
				t.Errorf("status of %s: %+v", s.Name, s)
			}
		}
	}
	if text := log.String(); strings.Contains(text, "codes:c") || strings.Contains(text, "Permissions Violation") {
		t.Errorf("the log has a password, or what its callers know: %s", text)
	}
}

// A service in an account of its own may see its consumer and nothing else.
func TestVerifyChecksWhatItMaySee(t *testing.T) {
	url := serve(t, &server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		Users: []*server.User{
			{Username: "operator", Password: "o"},
			{Username: "mailer", Password: "m", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Allow: []string{"$JS.API.CONSUMER.INFO.MAIL.mailer"}},
			}},
		},
	})
	var log syncBuffer
	mailer := dial(t, bus.Options{URL: "nats://mailer:m@" + url, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err := mailer.Verify(t.Context(), bus.ConsumerMailer); !errors.Is(err, bus.ErrNotMigrated) {
		t.Errorf("before the migration: %v", err)
	}
	operator := dial(t, bus.Options{URL: "nats://operator:o@" + url})
	if _, err := operator.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := mailer.Verify(t.Context(), bus.ConsumerMailer); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "only the consumer is checked") {
		t.Errorf("the log does not say what was not checked: %s", log.String())
	}
	_, js := operator.Raw()
	foreign := bus.Consumer{Name: bus.ConsumerMailer, AckWait: time.Minute, MaxAckPending: 1}.Config()
	if _, err := js.UpdateConsumer(t.Context(), bus.StreamMail, foreign); err != nil {
		t.Fatal(err)
	}
	if err := mailer.Verify(t.Context(), bus.ConsumerMailer); !errors.As(err, new(*bus.SettingsError)) {
		t.Errorf("foreign settings: %v", err)
	}
}

// An account for the service and one for the streams, so that a reply subject
// cannot reach into another service's streams.
func TestAServiceInAnAccountOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "nats.conf")
	err := os.WriteFile(file, []byte(`
		listen: "127.0.0.1:-1"
		jetstream: { store_dir: "`+filepath.Join(dir, "store")+`" }
		accounts: {
			CORE: {
				jetstream: enabled
				users: [{ user: operator, password: o }]
				exports: [
					{ service: "$JS.API.>", response_type: stream }
					{ service: "$JS.ACK.>" }
					{ service: "billing.>" }
				]
			}
			CODES: {
				users: [{ user: codes, password: c }]
				imports: [
					{ service: { account: CORE, subject: "$JS.API.>" }, to: "CORE.API.>" }
					{ service: { account: CORE, subject: "$JS.ACK.>" } }
					{ service: { account: CORE, subject: "billing.>" } }
				]
			}
		}`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	options.NoLog, options.NoSigs = true, true
	url := serve(t, options)
	if _, err := dial(t, bus.Options{URL: "nats://operator:o@" + url}).Apply(t.Context()); err != nil {
		t.Fatal(err)
	}

	codes := dial(t, bus.Options{URL: "nats://codes:c@" + url, APIPrefix: "CORE.API"})
	if err := codes.Verify(t.Context(), bus.ConsumerCodes); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 30} { // alone, and as a batch
		publish(t, codes, invoices(n, n)...)
	}
	if err := bus.AckAll(t.Context(), pull(t, codes, bus.ConsumerCodes, 31)); err != nil {
		t.Fatal(err)
	}
	if batch, err := codes.Pull(t.Context(), bus.ConsumerCodes, 10, 50*time.Millisecond); err != nil || len(batch) > 0 {
		t.Errorf("got %d messages, %v", len(batch), err)
	}
	if upTo, err := codes.PurgeBelowAckFloor(t.Context(), bus.ConsumerCodes); err != nil || upTo != 31 {
		t.Errorf("purged up to %d, %v", upTo, err)
	}
}

// serve runs a broker with the options and returns its address.
func serve(t *testing.T, options *server.Options) string {
	t.Helper()
	broker, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	go broker.Start()
	t.Cleanup(func() { broker.Shutdown(); broker.WaitForShutdown() })
	if !broker.ReadyForConnections(20 * time.Second) {
		t.Fatal("the broker is not ready")
	}
	return broker.Addr().String()
}

func dial(t *testing.T, o bus.Options) *bus.Bus {
	t.Helper()
	b, err := bus.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
