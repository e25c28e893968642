package bus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// An Incoming is a message delivered to a durable consumer. It is delivered
// again unless Ack, Nak or Term reaches the broker within the consumer's
// AckWait, counted from the delivery or the last InProgress.
type Incoming struct {
	Subject    string
	Header     map[string][]string // as published; any key may have several values
	Data       []byte
	Stream     string
	Consumer   string
	Sequence   uint64    // in the stream
	Deliveries uint64    // this one included
	StoredAt   time.Time // by the broker's clock

	nc      *link
	reply   string
	settled atomic.Bool // acknowledged, returned or terminated
}

// ackTimeout bounds the wait for the confirmation of an acknowledgement. A
// broker that was killed since the delivery may have forgotten it, and then
// never answers.
const ackTimeout = 5 * time.Second

// ErrUnbound means that an Incoming did not come from a broker.
var ErrUnbound = errors.New("the message has no broker to answer to")

// ID returns the Nats-Msg-Id or, where the publisher set none, the message's
// stream and sequence. It is the same for every delivery.
func (in *Incoming) ID() string {
	if values := in.Header[jetstream.MsgIDHeader]; len(values) > 0 && values[0] != "" {
		return values[0]
	}
	return fmt.Sprintf("%s#%d", in.Stream, in.Sequence)
}

// Ack says that the effect of the message is committed. It does not wait for
// the broker; see AckAll. Once a message was acknowledged, returned or
// terminated, further calls do nothing.
func (in *Incoming) Ack() error { return in.settle("+ACK") }

// Nak returns the message, to be delivered again after the delay. While it
// waits it counts against the consumer's MaxAckPending.
func (in *Incoming) Nak(delay time.Duration) error {
	if delay <= 0 {
		return in.settle("-NAK")
	}
	return in.settle(fmt.Sprintf(`-NAK {"delay": %d}`, delay.Nanoseconds()))
}

// Term says that the message must not be delivered again. Bury calls it; there
// is hardly another reason to.
func (in *Incoming) Term() error { return in.settle("+TERM") }

// InProgress restarts AckWait.
func (in *Incoming) InProgress() error {
	if in.nc == nil {
		return ErrUnbound
	}
	if in.settled.Load() {
		return nil
	}
	return in.tell("+WPI")
}

// ackAndWait is Ack, confirmed by the broker.
func (in *Incoming) ackAndWait(ctx context.Context) error {
	if in.nc == nil {
		return ErrUnbound
	}
	if in.settled.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	if _, err := in.nc.request(ctx, &nats.Msg{Subject: in.reply, Data: []byte("+ACK")}); err != nil {
		return fmt.Errorf("acknowledge message %d of %s: %w", in.Sequence, in.Stream, err)
	}
	in.settled.Store(true)
	return nil
}

func (in *Incoming) settle(verdict string) error {
	if in.nc == nil {
		return ErrUnbound
	}
	if in.settled.Swap(true) {
		return nil
	}
	if err := in.tell(verdict); err != nil {
		in.settled.Store(false)
		return err
	}
	return nil
}

func (in *Incoming) tell(verdict string) error {
	if err := in.nc.Publish(in.reply, []byte(verdict)); err != nil {
		return fmt.Errorf("answer message %d of %s: %w", in.Sequence, in.Stream, brokerError(err))
	}
	return nil
}

// AckAll acknowledges the messages and returns once the broker has received
// every acknowledgement. Messages whose acknowledgement fails come again. A
// broker that is killed within 100 ms may forget acknowledgements even so.
func AckAll(ctx context.Context, batch []*Incoming) error {
	// The broker handles the acknowledgements of one consumer in order, so
	// confirming the last confirms all.
	last := make(map[string]*Incoming)
	var order []string
	for _, in := range batch {
		key := in.Stream + "." + in.Consumer
		if previous := last[key]; previous != nil {
			if err := previous.Ack(); err != nil {
				return err
			}
		} else {
			order = append(order, key)
		}
		last[key] = in
	}
	for _, key := range order {
		if err := last[key].ackAndWait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// NakAll returns the messages, to be delivered again after the delay.
func NakAll(batch []*Incoming, delay time.Duration) error {
	var errs []error
	for _, in := range batch {
		errs = append(errs, in.Nak(delay))
	}
	return errors.Join(errs...)
}

// newIncoming reads the delivery's metadata from the reply subject.
func newIncoming(nc *link, msg *nats.Msg) (*Incoming, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("message on %s is not a delivery: %w", msg.Subject, err)
	}
	return &Incoming{
		Subject:    msg.Subject,
		Header:     msg.Header,
		Data:       msg.Data,
		Stream:     meta.Stream,
		Consumer:   meta.Consumer,
		Sequence:   meta.Sequence.Stream,
		Deliveries: meta.NumDelivered,
		StoredAt:   meta.Timestamp.UTC(),
		nc:         nc,
		reply:      msg.Reply,
	}, nil
}
