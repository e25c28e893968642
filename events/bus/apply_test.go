package bus_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
)

// What the broker reports back is what the promises rest on, so it is written
// down here once more.
func TestBrokerHasTheSettingsOfTheDesign(t *testing.T) {
	b := bustest.Start(t).Bus
	_, js := b.Raw()
	const day = 24 * time.Hour

	type stream struct {
		Subject      string
		Age, Window  time.Duration
		MaxMsgSize   int32
		ConsumerRows map[string]string
	}
	want := map[string]stream{
		"BILLING":    {"billing.*.>", 14 * day, 10 * time.Minute, 512 << 10, map[string]string{"codes": "30s 10000 "}},
		"MAIL":       {"mail.*.>", 7 * day, time.Hour, 512 << 10, map[string]string{"mailer": "30s 20000 "}},
		"ENROLLMENT": {"enrollment.*.>", 400 * day, time.Hour, 512 << 10, map[string]string{"analytics": "30s 10000 ", "funnel": "30s 10000 ", "progress": "30s 5000 enrollment.*.activation-mailed enrollment.*.activation-mail-failed"}},
		"REQUESTS":   {"requests.*.>", 30 * day, time.Hour, 512 << 10, map[string]string{}},
		"DEADLETTER": {"deadletter.>", 90 * day, day, 1 << 20, map[string]string{}},
	}
	got := map[string]stream{}
	streams := js.ListStreams(t.Context())
	for info := range streams.Info() {
		c := info.Config
		row := stream{strings.Join(c.Subjects, " "), c.MaxAge, c.Duplicates, c.MaxMsgSize, map[string]string{}}
		handle, err := js.Stream(t.Context(), c.Name)
		if err != nil {
			t.Fatal(err)
		}
		consumers := handle.ListConsumers(t.Context())
		for info := range consumers.Info() {
			c := info.Config
			row.ConsumerRows[c.Durable] = c.AckWait.String() + " " + itoa(c.MaxAckPending) + " " + strings.Join(c.FilterSubjects, " ")
			pinned := jetstream.ConsumerConfig{
				Durable: info.Name, Name: info.Name, AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
				MaxDeliver: -1, MaxWaiting: 512,
			}
			if diff := cmp.Diff(pinned, c, ignoring[jetstream.ConsumerConfig]("AckWait", "MaxAckPending", "FilterSubjects", "Description", "Metadata")); diff != "" {
				t.Errorf("consumer %s: %s", info.Name, diff)
			}
		}
		got[c.Name] = row
		pinned := jetstream.StreamConfig{
			Name: c.Name, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew, Replicas: 1,
			MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxConsumers: -1, AllowDirect: true, AllowAtomicPublish: true,
		}
		if diff := cmp.Diff(pinned, c, ignoring[jetstream.StreamConfig]("Subjects", "MaxAge", "Duplicates", "MaxMsgSize", "Description", "Metadata")); diff != "" {
			t.Errorf("stream %s: %s", c.Name, diff)
		}
	}
	if err := streams.Err(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func ignoring[T any](fields ...string) cmp.Option {
	var zero T
	return cmp.Options{cmpopts.IgnoreFields(zero, fields...), cmpopts.EquateEmpty()}
}

func TestApplyMayBeRepeated(t *testing.T) {
	b := bustest.StartConfig(t, bustest.Config{Topology: bus.Topology{}}).Bus.WithTopology(bus.DefaultTopology())
	for _, want := range []string{"created", "unchanged"} {
		changes, err := b.Apply(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(changes) != 10 {
			t.Errorf("%d changes, want 5 streams and 5 consumers", len(changes))
		}
		for _, c := range changes {
			if c.Action != want {
				t.Errorf("%s, want %s", c, want)
			}
		}
	}
	if err := b.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSettingsThatDiffer(t *testing.T) {
	for _, tt := range []struct {
		name     string
		stream   func(*jetstream.StreamConfig)
		consumer func(*jetstream.ConsumerConfig)
		verify   string // in the error of Verify; empty for none
		apply    string // in the error of Apply; empty if it brings the setting up to date
	}{
		{name: "nothing"},
		{
			name:   "the operator's choices",
			stream: func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 30; c.Metadata = map[string]string{"team": "sre"} },
		},
		{
			name:   "a description",
			stream: func(c *jetstream.StreamConfig) { c.Description = "mine" },
		},
		{
			name:   "a work queue",
			stream: func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy },
			verify: "stream BILLING has other settings on the broker: retention is WorkQueue, want Limits",
			apply:  `"billcenter migrate" does not change this`,
		},
		{
			name:   "a stream in memory that drops the oldest",
			stream: func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage; c.Discard = jetstream.DiscardOld },
			verify: "storage is Memory, want File; discard is DiscardOld, want DiscardNew",
			apply:  "storage is Memory, want File",
		},
		{
			name:   "other subjects",
			stream: func(c *jetstream.StreamConfig) { c.Subjects = []string{"billing.mongo.>"} },
			verify: "subjects is [billing.mongo.>], want [billing.*.>]",
			apply:  "subjects is [billing.mongo.>], want [billing.*.>]",
		},
		{
			name:   "a longer memory, which shortening would cut",
			stream: func(c *jetstream.StreamConfig) { c.MaxAge = 1000 * time.Hour },
			verify: "max_age is 1000h0m0s, want 336h0m0s",
			apply:  "max_age is 1000h0m0s, want 336h0m0s",
		},
		{
			name:   "a shorter memory",
			stream: func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour; c.Duplicates = time.Minute },
			verify: `run "billcenter migrate"`,
		},
		{
			name:   "no atomic batches",
			stream: func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false },
			verify: "allow_atomic is false, want true",
		},
		{
			name:     "few messages in flight, given up after five deliveries",
			consumer: func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 10; c.MaxDeliver = 5 },
			verify:   "consumer codes has other settings on the broker: max_deliver is 5, want -1; max_ack_pending is 10, want 10000",
		},
		{
			name:     "new messages only",
			consumer: func(c *jetstream.ConsumerConfig) { c.DeliverPolicy = jetstream.DeliverNewPolicy },
			verify:   "deliver_policy is new, want all",
			apply:    "deliver_policy is new, want all",
		},
		{
			name:     "one tenant only",
			consumer: func(c *jetstream.ConsumerConfig) { c.FilterSubjects = []string{"billing.mongo.>"} },
			verify:   "filter_subjects is [billing.mongo.>], want []",
			apply:    "filter_subjects is [billing.mongo.>], want []",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bustest.StartConfig(t, bustest.Config{Topology: bus.Topology{}}).Bus
			_, js := b.Raw()
			billing := bus.DefaultTopology()[:1]
			b = b.WithTopology(billing)
			stream, consumer := billing[0].Config(), billing[0].Consumers[0].Config()
			if tt.stream != nil {
				tt.stream(&stream)
			}
			if tt.consumer != nil {
				tt.consumer(&consumer)
			}
			if _, err := js.CreateStream(t.Context(), stream); err != nil {
				t.Fatal(err)
			}
			if _, err := js.CreateConsumer(t.Context(), stream.Name, consumer); err != nil {
				t.Fatal(err)
			}

			expect(t, "verify", b.Verify(t.Context(), bus.ConsumerCodes), tt.verify)
			_, err := b.Apply(t.Context())
			expect(t, "apply", err, tt.apply)
			if tt.apply == "" {
				expect(t, "verify afterwards", b.Verify(t.Context()), "")
				return
			}
			var settings *bus.SettingsError
			if !errors.As(err, &settings) {
				t.Errorf("got %T, want a SettingsError", err)
			}
			expect(t, "verify afterwards", b.Verify(t.Context()), tt.verify)
		})
	}
}

func expect(t *testing.T, what string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: got %v, want %q", what, err, want)
	}
}

func TestVerifyNamesTheMigration(t *testing.T) {
	b := bustest.StartConfig(t, bustest.Config{Topology: bus.Topology{}}).Bus.WithTopology(bus.DefaultTopology())
	for _, name := range []string{bus.ConsumerCodes, bus.StreamMail} {
		err := b.Verify(t.Context(), name)
		if !errors.Is(err, bus.ErrNotMigrated) || !strings.Contains(err.Error(), `run "billcenter migrate"`) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := b.Verify(t.Context(), "codez"); err == nil {
		t.Error("a name that does not exist was verified")
	}
	if status := streamStatus(t, b, bus.StreamBilling); !status.Missing || !status.Consumers[0].Missing {
		t.Errorf("got %+v, want missing", status)
	}
}

func TestAConsumerAheadOfItsStreamHasLostItsPlace(t *testing.T) {
	for _, tt := range []struct {
		name              string
		acked, read, last uint64
		want              error
	}{
		{"a new stream", 0, 0, 0, nil},
		{"some to read", 5, 7, 9, nil},
		{"all read", 9, 9, 9, nil},
		{"acknowledged beyond the end", 10, 10, 9, bus.ErrLostPlace},
		{"delivered beyond the end", 5, 10, 9, bus.ErrLostPlace},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var info jetstream.ConsumerInfo
			info.AckFloor.Stream, info.Delivered.Stream = tt.acked, tt.read
			if err := bus.CheckPlace(&info, tt.last); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestStatusCounts(t *testing.T) {
	b := bustest.Start(t).Bus
	publish(t, b, invoices(0, 10)...)
	batch := pull(t, b, bus.ConsumerCodes, 4)
	if err := bus.AckAll(t.Context(), batch[:2]); err != nil {
		t.Fatal(err)
	}
	if err := batch[2].Nak(0); err != nil {
		t.Fatal(err)
	}
	for _, in := range pull(t, b, bus.ConsumerCodes, 7) {
		if returned := in.Sequence == 3; returned != (in.Deliveries == 2) {
			t.Errorf("message %d is delivered for the %d. time", in.Sequence, in.Deliveries)
		}
	}
	got := streamStatus(t, b, bus.StreamBilling)
	want := bus.StreamStatus{
		Name: bus.StreamBilling, Messages: 10, FirstSeq: 1, LastSeq: 10,
		Consumers: []bus.ConsumerStatus{{Name: bus.ConsumerCodes, Pending: 0, AckPending: 8, Redelivered: 1, AckFloor: 2}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(bus.StreamStatus{}, "Bytes", "LastTime")); diff != "" {
		t.Error(diff)
	}
	if got.Bytes == 0 || got.LastTime.IsZero() {
		t.Errorf("got %+v", got)
	}
}
