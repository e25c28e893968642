package bus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A Stored is a message as it lies in a stream.
type Stored struct {
	Subject  string
	Header   map[string][]string
	Data     []byte
	Sequence uint64
	StoredAt time.Time // by the broker's clock
}

// Stored returns the messages that a stream holds on a subject, which may have
// wildcards, beyond a sequence and in their order. It is for looking on: it reads
// message by message, acknowledges nothing and leaves nothing on the broker.
// Whoever asks again beyond the last sequence follows the stream. An error ends
// it.
func (b *Bus) Stored(ctx context.Context, stream, subject string, after uint64) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		s, err := b.js.Stream(ctx, stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			yield(Stored{}, fmt.Errorf("stream %s does not exist on the broker: %w", stream, ErrNotMigrated))
			return
		}
		if err != nil {
			yield(Stored{}, fmt.Errorf("look up stream %s: %w", stream, brokerError(err)))
			return
		}
		for last := s.CachedInfo().State.LastSeq; after < last; {
			msg, err := s.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(subject))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return
			}
			if err != nil {
				yield(Stored{}, fmt.Errorf("read stream %s beyond %d: %w", stream, after, brokerError(err)))
				return
			}
			after = msg.Sequence
			if !yield(Stored{msg.Subject, msg.Header, msg.Data, msg.Sequence, msg.Time}, nil) {
				return
			}
		}
	}
}
