package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// WithTopology returns a bus on the same connection for a topology of a test.
func (b *Bus) WithTopology(t Topology) *Bus {
	other := *b
	other.topology = t
	return &other
}

// Raw gives tests what the package keeps from others: to be a foreign client, or
// an operator who changed something behind our back.
func (b *Bus) Raw() (*nats.Conn, jetstream.JetStream) { return b.nc.Conn, b.js }

// Config is what the topology asks of the broker.
func (s Stream) Config() jetstream.StreamConfig     { return s.config() }
func (c Consumer) Config() jetstream.ConsumerConfig { return c.config() }

// CheckPlace is the check for a stream that lost its end.
var CheckPlace = checkPlace

// PublishAtomically publishes one batch, without the way out of publishing one by
// one.
func (b *Bus) PublishAtomically(ctx context.Context, messages []Outgoing) error {
	prepared, err := b.prepareAll(messages)
	if err != nil {
		return err
	}
	return b.publishAtomically(ctx, prepared)
}

// PublishWithoutCommit is a publisher that dies within a batch.
func (b *Bus) PublishWithoutCommit(ctx context.Context, messages []Outgoing) error {
	prepared, err := b.prepareAll(messages)
	if err != nil {
		return err
	}
	for i, m := range prepared {
		m.Header.Set(headerBatchID, "of a publisher that died")
		m.Header.Set(headerBatchSequence, number(i+1))
	}
	if err := b.openBatch(ctx, prepared[0]); err != nil {
		return err
	}
	for _, m := range prepared[1:] {
		if err := b.nc.PublishMsg(m.Msg); err != nil {
			return err
		}
	}
	return b.nc.FlushTimeout(5 * time.Second)
}

func (b *Bus) prepareAll(messages []Outgoing) ([]*outgoing, error) {
	prepared := make([]*outgoing, len(messages))
	for i, m := range messages {
		p, err := b.prepare(i, m, subjectOfEvent)
		if err != nil {
			return nil, err
		}
		prepared[i] = p
	}
	return prepared, nil
}

// EncodeOriginal and DecodeOriginal are the two halves of a round trip.
var (
	EncodeOriginal = encodeOriginal
	DecodeOriginal = decodeOriginal
)
