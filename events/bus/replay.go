package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// A DeadLetterFilter selects dead letters; the zero value selects all.
type DeadLetterFilter struct {
	Consumer string
	Tenant   string // "_" for letters without a valid tenant
	Reason   string
	Parked   bool   // only those that are parked
	After    uint64 // only IDs above it, to continue a listing
}

// DeadLetters returns the matching dead letters, oldest first. It reads the
// stream message by message and leaves nothing on the broker. A letter that
// cannot be read comes with its ID and an error, and the listing goes on; an
// error with a zero ID ends it.
func (b *Bus) DeadLetters(ctx context.Context, filter DeadLetterFilter) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		stream, err := b.deadLetterStream(ctx)
		if err != nil {
			yield(DeadLetter{}, err)
			return
		}
		last := stream.CachedInfo().State.LastSeq
		for next := filter.After + 1; next <= last; next++ {
			msg, err := stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(filter.subject()))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return
			}
			if err != nil {
				yield(DeadLetter{}, fmt.Errorf("list dead letters after %d: %w", next-1, brokerError(err)))
				return
			}
			next = msg.Sequence
			letter, err := readLetter(msg)
			if err == nil && !filter.matches(letter.DeadLetter) {
				continue
			}
			if !yield(letter.DeadLetter, err) {
				return
			}
		}
	}
}

// matches checks what the subject does not say.
func (f DeadLetterFilter) matches(l DeadLetter) bool {
	return (f.Reason == "" || f.Reason == l.Reason) && (!f.Parked || l.Parked)
}

func (f DeadLetterFilter) subject() string {
	token := func(s string) string {
		if s == "" {
			return "*"
		}
		return s
	}
	return deadLetterDomain + "." + token(f.Consumer) + "." + token(f.Tenant)
}

// DeadLetter returns one dead letter, or an error that wraps ErrNoDeadLetter.
func (b *Bus) DeadLetter(ctx context.Context, id uint64) (DeadLetter, error) {
	_, letter, err := b.findLetter(ctx, id)
	return letter.DeadLetter, err
}

// Replay publishes the original of a dead letter once more to its subject, with
// its headers, and then deletes the letter. Its Nats-Msg-Id is a new one, so that
// the stream's duplicate window does not swallow it; consumers still know the
// event by the id inside. Repeating a Replay that failed halfway publishes
// nothing twice within that window.
func (b *Bus) Replay(ctx context.Context, id uint64) error {
	if b.sealer == nil {
		return errNoSealer
	}
	stream, letter, err := b.findLetter(ctx, id)
	if err != nil {
		return err
	}
	original, err := b.sealer.Open(letter.Sealed, sealContext(letter.DeadLetter))
	if err != nil {
		return fmt.Errorf("replay dead letter %d: unseal: %w", id, err)
	}
	header, data, err := decodeOriginal(original)
	if err != nil {
		return fmt.Errorf("replay dead letter %d: %w", id, err)
	}
	again := Outgoing{Subject: letter.Subject, ID: replayID(header, letter.DeadLetter), Header: header, Data: data}
	if err := b.Publish(ctx, again); err != nil {
		return fmt.Errorf("replay dead letter %d: %w", id, err)
	}
	return deleteLetter(ctx, stream, id)
}

const replayMark = "#replay#"

// replayID carries the letter's number, so that an event that dies and is
// replayed again gets another one.
func replayID(header map[string][]string, l DeadLetter) string {
	original := Incoming{Header: header, Stream: l.Stream, Sequence: l.Sequence}
	base, _, _ := strings.Cut(original.ID(), replayMark)
	id := fmt.Sprintf("%s%s%d", base, replayMark, l.ID)
	if validID(id) != nil { // one that we would not have published
		return fmt.Sprintf("%s#%d%s%d", l.Stream, l.Sequence, replayMark, l.ID)
	}
	return id
}

// Drop deletes a dead letter. Its original is lost then.
func (b *Bus) Drop(ctx context.Context, id uint64) error {
	stream, _, err := b.findLetter(ctx, id)
	if err != nil && !errors.Is(err, errUnreadable) {
		return err
	}
	return deleteLetter(ctx, stream, id)
}

func (b *Bus) findLetter(ctx context.Context, id uint64) (jetstream.Stream, sealedLetter, error) {
	stream, err := b.deadLetterStream(ctx)
	if err != nil {
		return nil, sealedLetter{}, err
	}
	msg, err := stream.GetMsg(ctx, id)
	if errors.Is(err, jetstream.ErrMsgNotFound) || id == 0 {
		return nil, sealedLetter{}, fmt.Errorf("dead letter %d: %w", id, ErrNoDeadLetter)
	}
	if err != nil {
		return nil, sealedLetter{}, fmt.Errorf("dead letter %d: %w", id, brokerError(err))
	}
	letter, err := readLetter(msg)
	return stream, letter, err
}

func (b *Bus) deadLetterStream(ctx context.Context) (jetstream.Stream, error) {
	asking, done := b.nc.asking(ctx, b.api+"STREAM.INFO."+StreamDeadLetter)
	defer done()
	stream, err := b.js.Stream(asking, StreamDeadLetter)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("stream %s does not exist on the broker: %w", StreamDeadLetter, ErrNotMigrated)
	}
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", StreamDeadLetter, brokerError(cause(asking, err)))
	}
	return stream, nil
}

func readLetter(msg *jetstream.RawStreamMsg) (sealedLetter, error) {
	var letter sealedLetter
	err := json.Unmarshal(msg.Data, &letter)
	letter.ID = msg.Sequence
	if err != nil {
		return sealedLetter{DeadLetter: DeadLetter{ID: msg.Sequence}}, fmt.Errorf("dead letter %d: %w: %w", msg.Sequence, errUnreadable, err)
	}
	return letter, nil
}

// deleteLetter overwrites the letter on disk. One that is gone already, because
// two people replayed it at a time, is as good.
func deleteLetter(ctx context.Context, stream jetstream.Stream, id uint64) error {
	err := stream.SecureDeleteMsg(ctx, id)
	if err == nil {
		return nil
	}
	if _, missing := stream.GetMsg(ctx, id); errors.Is(missing, jetstream.ErrMsgNotFound) {
		return nil
	}
	return fmt.Errorf("delete dead letter %d: %w", id, brokerError(err))
}
