package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// PurgeBelowAckFloor removes from the consumer's stream every message that it,
// and every other consumer of that stream in the topology, has finished with,
// up to the first that one of them has not. It returns the sequence up to which
// the stream is now empty. Consumers outside the topology are not waited for.
//
// The purge is one request whatever its size. A broker killed at any moment of
// it loses nothing: the consumer may come back with an older acknowledgement
// floor than the stream's first message, and then continues with what is left.
func (b *Bus) PurgeBelowAckFloor(ctx context.Context, consumer string) (upTo uint64, err error) {
	s, err := b.topology.Stream(consumer)
	if err != nil {
		return 0, err
	}
	// The consumers are looked at before their stream, so that no message that
	// arrives in between can make a floor look too high.
	var lowest *jetstream.ConsumerInfo
	for _, c := range s.Consumers {
		info, err := b.consumerInfo(ctx, s.Name, c.Name)
		if err != nil {
			return 0, fmt.Errorf("purge stream %s: %w", s.Name, err)
		}
		if lowest == nil || info.AckFloor.Stream < lowest.AckFloor.Stream {
			lowest = info
		}
	}
	stream, err := b.js.Stream(ctx, s.Name)
	if err != nil {
		return 0, fmt.Errorf("purge stream %s: %w", s.Name, brokerError(err))
	}
	state, floor := stream.CachedInfo().State, lowest.AckFloor.Stream
	// Purging by a floor that the stream has not reached would delete what is
	// stored next, unread.
	if err := checkPlace(lowest, state.LastSeq); err != nil {
		return 0, fmt.Errorf("purge stream %s: %w", s.Name, err)
	}
	if floor < state.FirstSeq {
		return max(state.FirstSeq, 1) - 1, nil
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(floor+1)); err != nil {
		return 0, fmt.Errorf("purge stream %s up to %d: %w", s.Name, floor, brokerError(err))
	}
	return floor, nil
}
