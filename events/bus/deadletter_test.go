package bus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
)

const secret = "7F3K-9QWD-M2XA"

// poison is an event with a code and a header of two values.
func poison(n int) bus.Outgoing {
	m := invoices(n, 1)[0]
	m.Header = map[string][]string{"ce-type": {"a", "b"}, "Content-Type": {"application/cloudevents+json"}}
	m.Data = []byte(`{"registrationCode":"` + secret + `"}`)
	return m
}

var malformed = bus.Verdict{
	EventID: "1", Source: "//mongo.billcenter.net/billing", Type: "net.billcenter.invoice.emailed.v1",
	Reason: "malformed", Detail: "accountNumber: missing",
}

func letters(t *testing.T, b *bus.Bus, filter bus.DeadLetterFilter) []bus.DeadLetter {
	t.Helper()
	var all []bus.DeadLetter
	for letter, err := range b.DeadLetters(t.Context(), filter) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, letter)
	}
	return all
}

func TestBuriedMessagesAreReadableButForTheirContent(t *testing.T) {
	b := bustest.Start(t).Bus
	publish(t, b, poison(0))
	in := pull(t, b, bus.ConsumerCodes, 1)[0]
	if err := b.Bury(t.Context(), in, malformed); err != nil {
		t.Fatal(err)
	}
	want := bus.DeadLetter{
		ID: 1, Consumer: "codes", Stream: "BILLING", Sequence: 1, Subject: "billing.mongo.invoice.emailed", Tenant: "mongo",
		EventID: "1", Source: "//mongo.billcenter.net/billing", Type: "net.billcenter.invoice.emailed.v1",
		Reason: "malformed", Detail: "accountNumber: missing", Deliveries: 1, StoredAt: in.StoredAt,
	}
	got := letters(t, b, bus.DeadLetterFilter{})
	if diff := cmp.Diff([]bus.DeadLetter{want}, got, cmpopts.IgnoreFields(bus.DeadLetter{}, "DeadAt")); diff != "" {
		t.Error(diff)
	}
	if age := time.Since(got[0].DeadAt); age < 0 || age > time.Hour {
		t.Errorf("dead at %s", got[0].DeadAt)
	}
	eventually(t, "the original terminated", func() bool {
		return streamStatus(t, b, bus.StreamBilling).Consumers[0].AckFloor == 1
	})
	raw := readAll(t, b, bus.StreamDeadLetter)[0]
	if raw.Subject != "deadletter.codes.mongo" || bytes.Contains(raw.Data, []byte(secret)) {
		t.Errorf("%s holds %s", raw.Subject, raw.Data)
	}
}

func TestReplayBringsTheMessageBackAsItWas(t *testing.T) {
	b := bustest.Start(t).Bus
	sent := poison(0)
	publish(t, b, sent)
	for _, wantID := range []string{sent.ID + "#replay#1", sent.ID + "#replay#2"} { // replayed, dead again, replayed
		if err := b.Bury(t.Context(), pull(t, b, bus.ConsumerCodes, 1)[0], malformed); err != nil {
			t.Fatal(err)
		}
		id := letters(t, b, bus.DeadLetterFilter{})[0].ID
		if err := b.Replay(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		in := pull(t, b, bus.ConsumerCodes, 1)[0]
		if in.ID() != wantID || in.Subject != sent.Subject || !bytes.Equal(in.Data, sent.Data) {
			t.Errorf("got %s on %s: %s", in.ID(), in.Subject, in.Data)
		}
		header := in.Header
		delete(header, jetstream.MsgIDHeader)
		if diff := cmp.Diff(sent.Header, header); diff != "" {
			t.Error(diff)
		}
		if err := in.Nak(0); err != nil {
			t.Fatal(err)
		}
		if _, err := b.DeadLetter(t.Context(), id); !errors.Is(err, bus.ErrNoDeadLetter) {
			t.Errorf("the letter is still there: %v", err)
		}
		if err := b.Replay(t.Context(), id); !errors.Is(err, bus.ErrNoDeadLetter) {
			t.Errorf("replayed twice: %v", err)
		}
	}
}

func TestReplayOfAMessageWithoutAUsableID(t *testing.T) {
	b := bustest.Start(t).Bus
	conn, _ := b.Raw()
	for i, id := range []string{"", "\x01", strings.Repeat("x", 2000)} {
		_, err := conn.RequestMsg(&nats.Msg{
			Subject: "billing.mongo.invoice.emailed", Data: []byte("x"), Header: nats.Header{"Nats-Msg-Id": {id}},
		}, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		in := pull(t, b, bus.ConsumerCodes, 1)[0]
		if err := b.Bury(t.Context(), in, malformed); err != nil {
			t.Fatal(err)
		}
		if err := b.Replay(t.Context(), uint64(i+1)); err != nil {
			t.Fatal(err)
		}
		again := pull(t, b, bus.ConsumerCodes, 1)
		if want := fmt.Sprintf("BILLING#%d#replay#%d", in.Sequence, i+1); again[0].ID() != want {
			t.Errorf("got id %q, want %q", again[0].ID(), want)
		}
		if err := bus.AckAll(t.Context(), again); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAMessageIsTerminatedOnlyOnceItsLetterIsStored(t *testing.T) {
	for _, tt := range []struct {
		name    string
		disturb func(*testing.T, jetstream.JetStream)
	}{
		{"the stream is missing", func(t *testing.T, js jetstream.JetStream) {
			if err := js.DeleteStream(t.Context(), bus.StreamDeadLetter); err != nil {
				t.Fatal(err)
			}
		}},
		{"the stream is full", func(t *testing.T, js jetstream.JetStream) {
			stream, err := js.Stream(t.Context(), bus.StreamDeadLetter)
			if err != nil {
				t.Fatal(err)
			}
			config := stream.CachedInfo().Config
			config.MaxBytes = 10
			if _, err := js.UpdateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bustest.Start(t).Bus
			_, js := b.Raw()
			for i := range 20 {
				publish(t, b, poison(i))
			}
			tt.disturb(t, js)
			batch := pull(t, b, bus.ConsumerCodes, 20)
			for _, size := range []int{1, 19} {
				var burials []bus.Burial
				for _, in := range batch[:size] {
					burials = append(burials, bus.Burial{In: in, Verdict: malformed})
				}
				batch = batch[size:]
				if err := b.BuryAll(t.Context(), burials); err == nil {
					t.Error("no error")
				}
				for _, burial := range burials {
					if err := burial.In.Nak(0); err != nil { // is still ours to return
						t.Error(err)
					}
				}
			}
			for _, in := range pull(t, b, bus.ConsumerCodes, 20) {
				if in.Deliveries != 2 {
					t.Errorf("message %d came for the %d. time", in.Sequence, in.Deliveries)
				}
			}
		})
	}
}

func TestBuryingTwiceLeavesOneLetter(t *testing.T) {
	b := bustest.Start(t).Bus
	publish(t, b, poison(0))
	first := pull(t, b, bus.ConsumerCodes, 1)[0]
	if err := first.Nak(0); err != nil { // as if the consumer had died
		t.Fatal(err)
	}
	again := pull(t, b, bus.ConsumerCodes, 1)[0]
	for _, in := range []*bus.Incoming{first, again} {
		if err := b.Bury(t.Context(), in, malformed); err != nil {
			t.Fatal(err)
		}
	}
	if got := letters(t, b, bus.DeadLetterFilter{}); len(got) != 1 {
		t.Errorf("%d letters", len(got))
	}
}

// Sequences start over when a stream is made anew; its messages are others.
func TestTheSameSequenceOfANewStreamIsAnotherLetter(t *testing.T) {
	b := bustest.Start(t).Bus
	_, js := b.Raw()
	for range 2 {
		publish(t, b, poison(0))
		if err := b.Bury(t.Context(), pull(t, b, bus.ConsumerCodes, 1)[0], malformed); err != nil {
			t.Fatal(err)
		}
		if err := js.DeleteStream(t.Context(), bus.StreamBilling); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Apply(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := letters(t, b, bus.DeadLetterFilter{}); len(got) != 2 {
		t.Errorf("%d letters, want 2", len(got))
	}
}

func TestAFloodOfPoisonIsBuriedInBatches(t *testing.T) {
	b := bustest.Start(t).Bus
	const n = 3000
	publish(t, b, invoices(0, n)...)
	var burials []bus.Burial
	for _, in := range pull(t, b, bus.ConsumerCodes, n) {
		burials = append(burials, bus.Burial{In: in, Verdict: malformed})
	}
	if err := b.BuryAll(t.Context(), burials); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all terminated", func() bool {
		return streamStatus(t, b, bus.StreamBilling).Consumers[0].AckFloor == n
	})
	if got := streamStatus(t, b, bus.StreamDeadLetter).Messages; got != n {
		t.Errorf("%d letters", got)
	}
	batched := readAll(t, b, bus.StreamDeadLetter)[n-1].Header.Get("Nats-Batch-Sequence")
	if batched != "1000" {
		t.Errorf("the last letter is number %q of its batch", batched)
	}
}

func TestDeadLettersAreFiltered(t *testing.T) {
	b := bustest.Start(t).Bus
	conn, _ := b.Raw()
	bury := func(consumer, subject, reason string) {
		t.Helper()
		if _, err := conn.RequestMsg(&nats.Msg{Subject: subject, Data: []byte("x")}, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		if err := b.Bury(t.Context(), pull(t, b, consumer, 1)[0], bus.Verdict{Reason: reason, Parked: reason == "unknown-version"}); err != nil {
			t.Fatal(err)
		}
	}
	bury("codes", "billing.mongo.invoice.emailed", "malformed")
	bury("codes", "billing.acme.invoice.emailed", "unknown-tenant")
	bury("mailer", "mail.mongo.activation.requested", "unknown-version")
	bury("codes", "billing.ACME.invoice.emailed", "unknown-tenant") // no tenant can have this name

	for _, tt := range []struct {
		name   string
		filter bus.DeadLetterFilter
		want   []uint64
	}{
		{"all", bus.DeadLetterFilter{}, []uint64{1, 2, 3, 4}},
		{"by consumer", bus.DeadLetterFilter{Consumer: "codes"}, []uint64{1, 2, 4}},
		{"by tenant", bus.DeadLetterFilter{Tenant: "mongo"}, []uint64{1, 3}},
		{"without a tenant", bus.DeadLetterFilter{Tenant: "_"}, []uint64{4}},
		{"by reason", bus.DeadLetterFilter{Reason: "unknown-tenant"}, []uint64{2, 4}},
		{"parked", bus.DeadLetterFilter{Parked: true}, []uint64{3}},
		{"by consumer and tenant, continued", bus.DeadLetterFilter{Consumer: "codes", Tenant: "mongo", After: 1}, nil},
		{"continued", bus.DeadLetterFilter{After: 2}, []uint64{3, 4}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []uint64
			for _, letter := range letters(t, b, tt.filter) {
				got = append(got, letter.ID)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}

	if err := b.Drop(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := b.Drop(t.Context(), 2); !errors.Is(err, bus.ErrNoDeadLetter) {
		t.Errorf("dropped twice: %v", err)
	}
	if err := b.Replay(t.Context(), 4); !errors.Is(err, bus.ErrRefused) {
		t.Errorf("replayed to a subject that nobody may publish to: %v", err)
	}
	if got := letters(t, b, bus.DeadLetterFilter{}); len(got) != 3 {
		t.Errorf("%d letters are left, want 3", len(got))
	}
	if got := streamStatus(t, b, bus.StreamDeadLetter); len(got.Consumers) != 0 {
		t.Errorf("listing left %+v", got.Consumers)
	}
}

func TestALetterThatCannotBeReadDoesNotHideTheOthers(t *testing.T) {
	b := bustest.Start(t).Bus
	conn, _ := b.Raw()
	for _, data := range []string{"not a letter", "{}"} {
		if _, err := conn.Request("deadletter.codes.mongo", []byte(data), 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	var good, bad int
	for letter, err := range b.DeadLetters(t.Context(), bus.DeadLetterFilter{}) {
		if letter.ID == 0 {
			t.Fatal(err)
		}
		if err != nil {
			bad++
		} else {
			good++
		}
	}
	if good != 1 || bad != 1 {
		t.Errorf("%d good, %d bad", good, bad)
	}
	if err := b.Drop(t.Context(), 1); err != nil {
		t.Errorf("drop what cannot be read: %v", err)
	}
}

// Whoever may write to DEADLETTER must not be able to send an original elsewhere.
func TestALetterWithAnotherAddressDoesNotOpen(t *testing.T) {
	b := bustest.Start(t).Bus
	conn, _ := b.Raw()
	publish(t, b, poison(0))
	if err := b.Bury(t.Context(), pull(t, b, bus.ConsumerCodes, 1)[0], malformed); err != nil {
		t.Fatal(err)
	}
	raw := readAll(t, b, bus.StreamDeadLetter)[0]
	forged := bytes.Replace(raw.Data, []byte("billing.mongo.invoice"), []byte("billing.other.invoice"), 1)
	if _, err := conn.Request(raw.Subject, forged, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := b.Replay(t.Context(), 2); err == nil {
		t.Error("the forged letter was replayed")
	}
	if err := b.Replay(t.Context(), 1); err != nil {
		t.Errorf("the real one: %v", err)
	}
}

// Whatever a stream takes must fit into a dead letter, or it could never leave
// its consumer.
func TestTheLargestAndOddestMessagesCanBeBuried(t *testing.T) {
	b := bustest.Start(t).Bus
	conn, _ := b.Raw()
	const limit, headerLimit = 512 << 10, 64 << 10
	tiny := nats.Header{}
	for i := range headerLimit / 12 {
		tiny["k"+itoa(i)] = []string{"\x01"}
	}
	for _, tt := range []struct {
		name string
		msg  *nats.Msg
	}{
		{"a large payload", &nats.Msg{Data: bytes.Repeat([]byte{0xff}, limit)}},
		{"a large header", &nats.Msg{Header: nats.Header{"a": {strings.Repeat("\x02", headerLimit-30)}}}},
		{"very many headers", &nats.Msg{Header: tiny}},
		{"no payload", &nats.Msg{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.msg.Subject = "billing.mongo.invoice.emailed"
			answer, err := conn.RequestMsg(tt.msg, 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			var ack struct{ Error json.RawMessage }
			if err := json.Unmarshal(answer.Data, &ack); err != nil || ack.Error != nil {
				t.Fatalf("not stored: %s", answer.Data)
			}
			in := pull(t, b, bus.ConsumerCodes, 1)[0]
			verdict := bus.Verdict{
				EventID: strings.Repeat("é", 100_000), Source: strings.Repeat("\x00", 100_000), Type: "\xff",
				Detail: strings.Repeat("x", 100_000),
			}
			if err := b.Bury(t.Context(), in, verdict); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, letter := range letters(t, b, bus.DeadLetterFilter{}) {
		if len(letter.EventID) > 256 || len(letter.Source) > 256 || len(letter.Detail) > 1024 {
			t.Errorf("letter %d is not cut", letter.ID)
		}
	}
}

func TestAnOriginalSurvivesItsEncoding(t *testing.T) {
	header := map[string][]string{"a": {"1", "2", ""}, "b": {}, "": {"x"}}
	encoded := bus.EncodeOriginal(header, []byte("payload"))
	gotHeader, gotData, err := bus.DecodeOriginal(encoded)
	if err != nil || string(gotData) != "payload" {
		t.Errorf("got %q, %v", gotData, err)
	}
	if diff := cmp.Diff(map[string][]string{"a": {"1", "2", ""}, "": {"x"}}, gotHeader); diff != "" {
		t.Error(diff)
	}
	for n := range encoded { // cut anywhere, it must not panic
		_, _, _ = bus.DecodeOriginal(encoded[:n])
	}
}

func FuzzDecodeOriginal(f *testing.F) {
	f.Add(bus.EncodeOriginal(map[string][]string{"a": {"1", "2"}}, []byte("x")))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, encoded []byte) {
		header, data, err := bus.DecodeOriginal(encoded)
		if err != nil {
			return
		}
		again, rest, err := bus.DecodeOriginal(bus.EncodeOriginal(header, data))
		if err != nil || !bytes.Equal(rest, data) || !cmp.Equal(header, again) {
			t.Errorf("%q does not survive a round trip: %v", encoded, err)
		}
	})
}

func TestWithoutASealerNothingIsBuried(t *testing.T) {
	broker := bustest.Start(t)
	b, err := bus.Dial(t.Context(), bus.Options{URL: broker.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	publish(t, b, poison(0))
	if err := b.Bury(context.Background(), pull(t, b, bus.ConsumerCodes, 1)[0], malformed); err == nil {
		t.Error("buried in the open")
	}
}
