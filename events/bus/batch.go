package bus

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Atomic batches (NATS ADR-50): messages with a common batch id and rising
// sequence are staged by the broker and stored together when the last one says
// so. Where every write is fsynced a batch costs one fsync instead of one per
// message. nats.go has no call for them.
const (
	headerBatchID       = "Nats-Batch-Id"
	headerBatchSequence = "Nats-Batch-Sequence"
	headerBatchCommit   = "Nats-Batch-Commit"

	maxBatch = 1000 // the broker's limit

	// batchHeaderBytes is what the three headers add to a message at most.
	batchHeaderBytes = 128

	// maxBatchBytes keeps what the broker copies into memory for a commit small.
	maxBatchBytes = 8 << 20

	// minBatch is where a batch becomes faster than single messages in flight
	// together: its fixed cost is 2 to 3 ms.
	minBatch = 15
)

// Broker error codes. After each of them nothing of the batch is stored.
const (
	codeBatchDisabled  jetstream.ErrorCode = 10174
	codeBatchDuplicate jetstream.ErrorCode = 10201 // an id in it is already stored
	codeBatchInflight  jetstream.ErrorCode = 10210 // too many batches open
)

// batches cuts messages into pieces that the broker takes as one batch.
func batches(messages []*outgoing) [][]*outgoing {
	var all [][]*outgoing
	start, size := 0, 0
	for i, m := range messages {
		if i-start == maxBatch || (i > start && size+m.Size() > maxBatchBytes) {
			all = append(all, messages[start:i])
			start, size = i, 0
		}
		size += m.Size()
	}
	return append(all, messages[start:])
}

// publishBatch stores at most maxBatch messages of one stream.
func (b *Bus) publishBatch(ctx context.Context, messages []*outgoing) error {
	if len(messages) < minBatch {
		return b.publishAsync(ctx, messages)
	}
	err := b.publishAtomically(ctx, messages)
	var refusal *jetstream.APIError
	if errors.As(err, &refusal) {
		switch refusal.ErrorCode {
		case codeBatchDuplicate, codeBatchInflight, codeBatchDisabled:
			for _, m := range messages {
				m.Header.Del(headerBatchID)
				m.Header.Del(headerBatchSequence)
				m.Header.Del(headerBatchCommit)
			}
			return b.publishAsync(ctx, messages)
		}
	}
	return err
}

func (b *Bus) publishAtomically(ctx context.Context, messages []*outgoing) error {
	id := rand.Text()
	for i, m := range messages {
		m.Header.Set(headerBatchID, id)
		m.Header.Set(headerBatchSequence, strconv.Itoa(i+1))
	}
	first, middle, last := messages[0], messages[1:len(messages)-1], messages[len(messages)-1]

	// The broker answers the first message, so that a batch it does not want
	// is not sent to it.
	if err := b.openBatch(ctx, first); err != nil {
		return err
	}
	for _, m := range middle {
		err := ctx.Err()
		if err == nil {
			err = b.nc.PublishMsg(m.Msg)
		}
		if err != nil {
			b.abandonBatch(id, first.Subject)
			return m.failed(err)
		}
	}
	last.Header.Set(headerBatchCommit, "1")
	return b.commitBatch(ctx, last, len(messages))
}

func (b *Bus) openBatch(ctx context.Context, m *outgoing) error {
	response, err := b.nc.request(ctx, m.Msg)
	if err != nil {
		if !errors.Is(err, ErrDenied) {
			b.abandonBatch(m.Header.Get(headerBatchID), m.Subject)
		}
		return m.failed(err)
	}
	if len(response.Data) == 0 {
		return nil
	}
	if err := new(batchAck).decode(response.Data); err != nil {
		return m.failed(err)
	}
	return m.failed(errors.New("the broker stored the message instead of opening a batch with it"))
}

// commitBatch leaves the outcome open where the answer does not come: the batch
// is then stored as a whole or not at all, and publishing it again tells.
func (b *Bus) commitBatch(ctx context.Context, m *outgoing, want int) error {
	response, err := b.nc.request(ctx, m.Msg)
	if err != nil {
		return m.failed(err)
	}
	var ack batchAck
	if err := ack.decode(response.Data); err != nil {
		return m.failed(err)
	}
	if ack.Count != want {
		return m.failed(fmt.Errorf("the broker stored %d messages of a batch of %d", ack.Count, want))
	}
	return nil
}

// abandonBatch breaks the batch's sequence, upon which the broker drops what it
// has staged at once instead of after ten seconds; it holds only so many open
// batches. Nothing depends on it, so its error does not matter.
func (b *Bus) abandonBatch(id, subject string) {
	_ = b.nc.PublishMsg(&nats.Msg{Subject: subject, Header: nats.Header{
		headerBatchID:       {id},
		headerBatchSequence: {"0"},
	}})
}

type batchAck struct {
	Error  *jetstream.APIError `json:"error"`
	Stream string              `json:"stream"`
	Count  int                 `json:"count"`
}

func (a *batchAck) decode(data []byte) error {
	if err := json.Unmarshal(data, a); err != nil {
		return fmt.Errorf("broker's answer to a batch: %w", err)
	}
	if a.Error != nil {
		return a.Error
	}
	if a.Stream == "" {
		return errors.New("broker's answer to a batch names no stream")
	}
	return nil
}
