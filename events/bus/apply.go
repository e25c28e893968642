package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrNotMigrated means that a stream or consumer is missing on the broker.
var ErrNotMigrated = errors.New(`run "billcenter migrate"`)

// A Change is what Apply did to one stream or consumer.
type Change struct {
	Kind     string // "stream" or "consumer"
	Name     string
	Action   string       // "created", "updated" or "unchanged"
	Settings []Difference // what was updated
}

func (c Change) String() string {
	text := c.Kind + " " + c.Name + " " + c.Action
	if len(c.Settings) > 0 {
		text += ": " + describe(c.Settings)
	}
	return text
}

// A SettingsError says that a stream or consumer on the broker differs from
// what this program relies on.
type SettingsError struct {
	Kind        string // "stream" or "consumer"
	Name        string
	Differences []Difference
}

func (e *SettingsError) Error() string {
	remedy := `run "billcenter migrate"`
	if len(onlyUnsafe(e.Differences)) > 0 {
		remedy = `"billcenter migrate" does not change this, since it could lose messages`
	}
	return fmt.Sprintf("%s %s has other settings on the broker: %s (%s)", e.Kind, e.Name, describe(e.Differences), remedy)
}

// Apply creates the streams and consumers that are missing and brings settings
// up to date where that can neither lose nor hide a message: descriptions,
// waits, limits that grow. Any other difference is a *SettingsError, and
// nothing that exists is touched then. It works one after the other and may be
// repeated.
func (b *Bus) Apply(ctx context.Context) ([]Change, error) {
	if err := b.refuseUnsafe(ctx); err != nil {
		return nil, err
	}
	var done []Change
	for _, want := range b.topology {
		change, err := b.applyStream(ctx, want)
		if err != nil {
			return done, err
		}
		done = append(done, change)
		for _, c := range want.Consumers {
			change, err := b.applyConsumer(ctx, want, c)
			if err != nil {
				return done, err
			}
			done = append(done, change)
		}
	}
	return done, nil
}

// refuseUnsafe looks at everything first, so that a refused migration has
// changed nothing.
func (b *Bus) refuseUnsafe(ctx context.Context) error {
	var errs []error
	refuse := func(kind, name string, all []Difference) {
		if unsafe := onlyUnsafe(all); len(unsafe) > 0 {
			errs = append(errs, &SettingsError{Kind: kind, Name: name, Differences: unsafe})
		}
	}
	for _, want := range b.topology {
		info, err := b.streamInfo(ctx, want.Name)
		if errors.Is(err, ErrNotMigrated) {
			continue
		}
		if err != nil {
			return err
		}
		refuse("stream", want.Name, diffStream(info.Config, want.config()))
		for _, c := range want.Consumers {
			info, err := b.consumerInfo(ctx, want.Name, c.Name)
			if errors.Is(err, ErrNotMigrated) {
				continue
			}
			if err != nil {
				return err
			}
			refuse("consumer", c.Name, diffConsumer(info.Config, c.config()))
		}
	}
	return errors.Join(errs...)
}

func (b *Bus) applyStream(ctx context.Context, want Stream) (Change, error) {
	change := Change{Kind: "stream", Name: want.Name, Action: "unchanged"}
	info, err := b.streamInfo(ctx, want.Name)
	if errors.Is(err, ErrNotMigrated) {
		asking, done := b.nc.asking(ctx, b.api+"STREAM.CREATE."+want.Name)
		defer done()
		if _, err := b.js.CreateStream(asking, want.config()); err != nil {
			return change, fmt.Errorf("create stream %s: %w", want.Name, brokerError(cause(asking, err)))
		}
		change.Action = "created"
		return change, nil
	}
	if err != nil {
		return change, err
	}
	change.Settings = diffStream(info.Config, want.config())
	if len(change.Settings) == 0 {
		return change, nil
	}
	next, w := info.Config, want.config()
	next.Description, next.MaxAge, next.Duplicates = w.Description, w.MaxAge, w.Duplicates
	next.MaxMsgSize, next.AllowDirect, next.AllowAtomicPublish = w.MaxMsgSize, w.AllowDirect, w.AllowAtomicPublish
	asking, done := b.nc.asking(ctx, b.api+"STREAM.UPDATE."+want.Name)
	defer done()
	if _, err := b.js.UpdateStream(asking, next); err != nil {
		return change, fmt.Errorf("update stream %s: %w", want.Name, brokerError(cause(asking, err)))
	}
	change.Action = "updated"
	return change, nil
}

func (b *Bus) applyConsumer(ctx context.Context, stream Stream, want Consumer) (Change, error) {
	change := Change{Kind: "consumer", Name: want.Name, Action: "unchanged"}
	info, err := b.consumerInfo(ctx, stream.Name, want.Name)
	asking, done := b.nc.asking(ctx, b.api+"CONSUMER.CREATE."+stream.Name+"."+want.Name)
	defer done()
	if errors.Is(err, ErrNotMigrated) {
		if _, err := b.js.CreateConsumer(asking, stream.Name, want.config()); err != nil {
			return change, fmt.Errorf("create consumer %s: %w", want.Name, brokerError(cause(asking, err)))
		}
		change.Action = "created"
		return change, nil
	}
	if err != nil {
		return change, err
	}
	change.Settings = diffConsumer(info.Config, want.config())
	if len(change.Settings) == 0 {
		return change, nil
	}
	next, w := info.Config, want.config()
	next.Description, next.AckWait, next.BackOff = w.Description, w.AckWait, w.BackOff
	next.MaxDeliver, next.MaxAckPending = w.MaxDeliver, w.MaxAckPending
	if _, err := b.js.UpdateConsumer(asking, stream.Name, next); err != nil {
		return change, fmt.Errorf("update consumer %s: %w", want.Name, brokerError(cause(asking, err)))
	}
	change.Action = "updated"
	return change, nil
}

// Verify checks that the named streams and consumers exist with the settings
// that this program relies on, and that no consumer has lost its place. A
// consumer's stream is checked with it, as far as this user may look at that;
// without names, everything is. A worker calls it before it starts and must not
// start on an error. A description may differ.
func (b *Bus) Verify(ctx context.Context, names ...string) error {
	wanted := func(name string) bool { return len(names) == 0 }
	if len(names) > 0 {
		known := make(map[string]bool, len(names))
		for _, name := range names {
			known[name] = true
			if !b.topology.has(name) {
				return fmt.Errorf("%q is neither a stream nor a consumer of the topology", name)
			}
		}
		wanted = func(name string) bool { return known[name] }
	}
	var errs []error
	for _, s := range b.topology {
		var consumers []Consumer
		for _, c := range s.Consumers {
			if wanted(c.Name) {
				consumers = append(consumers, c)
			}
		}
		if wanted(s.Name) || len(consumers) > 0 {
			errs = append(errs, b.verifyStream(ctx, s, wanted(s.Name), consumers))
		}
	}
	return errors.Join(errs...)
}

func (b *Bus) verifyStream(ctx context.Context, want Stream, itself bool, consumers []Consumer) error {
	info, err := b.streamInfo(ctx, want.Name)
	switch {
	case errors.Is(err, ErrDenied) && !itself:
		// A service in an account of its own sees no more than its consumer. The
		// settings of the stream, and that it has not lost its end, are then left
		// to those who may look.
		b.log.Info("only the consumer is checked, since this user may not look at its stream", "stream", want.Name)
		return errors.Join(b.verifyConsumers(ctx, want, consumers, nil)...)
	case err != nil:
		return err
	}
	errs := b.verifyConsumers(ctx, want, consumers, info)
	return errors.Join(append(errs, verdict("stream", want.Name, diffStream(info.Config, want.config())))...)
}

// verifyConsumers leaves out their places where the stream is not known.
func (b *Bus) verifyConsumers(ctx context.Context, want Stream, consumers []Consumer, stream *jetstream.StreamInfo) []error {
	var errs []error
	for _, c := range consumers {
		have, err := b.consumerInfo(ctx, want.Name, c.Name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, verdict("consumer", c.Name, diffConsumer(have.Config, c.config())))
		if stream != nil {
			errs = append(errs, checkPlace(have, stream.State.LastSeq))
		}
	}
	return errs
}

func verdict(kind, name string, all []Difference) error {
	if differences := withoutDescription(all); len(differences) > 0 {
		return &SettingsError{Kind: kind, Name: name, Differences: differences}
	}
	return nil
}

// ErrLostPlace means that a consumer believes to have read messages that its
// stream does not have: the stream lost its end, for instance in a restore from
// a backup. It would skip the messages that take those sequences next.
var ErrLostPlace = errors.New("the stream is behind its consumer")

// checkPlace compares a consumer with the last sequence of its stream.
func checkPlace(c *jetstream.ConsumerInfo, last uint64) error {
	if c.AckFloor.Stream <= last && c.Delivered.Stream <= last {
		return nil
	}
	return fmt.Errorf("consumer %s has read up to sequence %d (acknowledged up to %d), but stream %s ends at %d: %w; "+
		"publish the lost events again and reset the consumer to sequence %d",
		c.Name, c.Delivered.Stream, c.AckFloor.Stream, c.Stream, last, ErrLostPlace, last+1)
}

func (t Topology) has(name string) bool {
	for _, s := range t {
		if s.Name == name {
			return true
		}
		if _, ok := s.consumer(name); ok {
			return true
		}
	}
	return false
}

func (b *Bus) streamInfo(ctx context.Context, stream string) (*jetstream.StreamInfo, error) {
	asking, done := b.nc.asking(ctx, b.api+"STREAM.INFO."+stream)
	defer done()
	s, err := b.js.Stream(asking, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("stream %s does not exist on the broker: %w", stream, ErrNotMigrated)
	}
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", stream, brokerError(cause(asking, err)))
	}
	return s.CachedInfo(), nil
}

func (b *Bus) consumerInfo(ctx context.Context, stream, consumer string) (*jetstream.ConsumerInfo, error) {
	asking, done := b.nc.asking(ctx, b.api+"CONSUMER.INFO."+stream+"."+consumer)
	defer done()
	c, err := b.js.Consumer(asking, stream, consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("consumer %s of stream %s does not exist on the broker: %w", consumer, stream, ErrNotMigrated)
	}
	if err != nil {
		return nil, fmt.Errorf("look up consumer %s: %w", consumer, brokerError(cause(asking, err)))
	}
	return c.CachedInfo(), nil
}

// A StreamStatus is the state of one stream of the topology.
type StreamStatus struct {
	Name      string
	Missing   bool // not on the broker; the rest is zero then
	Denied    bool // this user may not look at it; the rest is zero then
	Messages  uint64
	Bytes     uint64
	FirstSeq  uint64
	LastSeq   uint64
	LastTime  time.Time // of the newest message
	Consumers []ConsumerStatus
}

// A ConsumerStatus is the state of one durable consumer.
type ConsumerStatus struct {
	Name        string
	Missing     bool
	Denied      bool
	Pending     uint64 // not delivered yet
	AckPending  int    // delivered, neither acknowledged nor terminated
	Redelivered int    // of AckPending, those delivered more than once
	AckFloor    uint64 // sequence up to which everything is done
	Waiting     int    // pull requests; 0 when no worker is listening
}

// Status reports on every stream and consumer of the topology. What is missing,
// or denied to this user, is reported, not an error.
func (b *Bus) Status(ctx context.Context) ([]StreamStatus, error) {
	var all []StreamStatus
	for _, s := range b.topology {
		status := StreamStatus{Name: s.Name}
		info, err := b.lookAtStream(ctx, s.Name)
		switch {
		case errors.Is(err, ErrNotMigrated):
			status.Missing = true
		case errors.Is(err, ErrDenied):
			status.Denied = true
		case err != nil:
			return nil, err
		default:
			status.Messages, status.Bytes = info.State.Msgs, info.State.Bytes
			status.FirstSeq, status.LastSeq = info.State.FirstSeq, info.State.LastSeq
			status.LastTime = info.State.LastTime
		}
		for _, c := range s.Consumers {
			consumer := ConsumerStatus{Name: c.Name}
			info, err := b.lookAtConsumer(ctx, s.Name, c.Name)
			switch {
			case errors.Is(err, ErrNotMigrated):
				consumer.Missing = true
			case errors.Is(err, ErrDenied):
				consumer.Denied = true
			case err != nil:
				return nil, err
			default:
				consumer.take(info)
			}
			status.Consumers = append(status.Consumers, consumer)
		}
		all = append(all, status)
	}
	return all, nil
}

func (c *ConsumerStatus) take(info *jetstream.ConsumerInfo) {
	c.Pending, c.AckPending = info.NumPending, info.NumAckPending
	c.Redelivered, c.AckFloor = info.NumRedelivered, info.AckFloor.Stream
	c.Waiting = info.NumWaiting
}

// ConsumerStatus reports on one consumer, and when the broker looked, by its own
// clock.
func (b *Bus) ConsumerStatus(ctx context.Context, consumer string) (status ConsumerStatus, at time.Time, err error) {
	s, err := b.topology.Stream(consumer)
	if err != nil {
		return status, at, err
	}
	info, err := b.lookAtConsumer(ctx, s.Name, consumer)
	if err != nil {
		return status, at, err
	}
	status.Name = consumer
	status.take(info)
	return status, info.TimeStamp.UTC(), nil
}

// lookAtStream and lookAtConsumer do not ask again what was denied a short while
// ago: Status is called every few seconds.
func (b *Bus) lookAtStream(ctx context.Context, stream string) (*jetstream.StreamInfo, error) {
	if err := b.nc.refused(b.api + "STREAM.INFO." + stream); err != nil {
		return nil, err
	}
	return b.streamInfo(ctx, stream)
}

func (b *Bus) lookAtConsumer(ctx context.Context, stream, consumer string) (*jetstream.ConsumerInfo, error) {
	if err := b.nc.refused(b.api + "CONSUMER.INFO." + stream + "." + consumer); err != nil {
		return nil, err
	}
	return b.consumerInfo(ctx, stream, consumer)
}

func describe(differences []Difference) string {
	texts := make([]string, len(differences))
	for i, d := range differences {
		texts[i] = fmt.Sprintf("%s is %s, want %s", d.Setting, d.Have, d.Want)
	}
	return strings.Join(texts, "; ")
}
