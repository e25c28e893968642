package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
)

// Metadata that a received message carries beside its headers. Headers of these
// names are ignored.
const (
	MetadataSubject    = "bus-subject"
	MetadataStream     = "bus-stream"
	MetadataSequence   = "bus-sequence"
	MetadataDeliveries = "bus-deliveries" // this one included, from 1
	MetadataStoredAt   = "bus-stored-at"  // RFC 3339, by the broker's clock

	metadataPrefix     = "bus-"
	metadataRetryAfter = "bus-retry-after"
)

// A Publisher publishes Watermill messages. The topic is the subject, the UUID
// becomes the Nats-Msg-Id, the metadata become headers. Publish returns once all
// messages are stored.
type Publisher struct{ bus *Bus }

var _ message.Publisher = Publisher{}

// NewPublisher returns a Publisher on the connection of b.
func NewPublisher(b *Bus) Publisher { return Publisher{b} }

// Publish honours the context of the first message.
func (p Publisher) Publish(subject string, messages ...*message.Message) error {
	if len(messages) == 0 {
		return nil
	}
	outgoing := make([]Outgoing, len(messages))
	for i, msg := range messages {
		header := make(map[string][]string, len(msg.Metadata))
		for key, value := range msg.Metadata {
			if !strings.HasPrefix(key, metadataPrefix) {
				header[key] = []string{value}
			}
		}
		outgoing[i] = Outgoing{Subject: subject, ID: msg.UUID, Header: header, Data: msg.Payload}
	}
	return p.bus.Publish(messages[0].Context(), outgoing...)
}

// Close does nothing: the connection belongs to the Bus.
func (Publisher) Close() error { return nil }

// SubscriberOptions adjust a Subscriber. The zero value is usable.
type SubscriberOptions struct {
	// MaxInFlight is how many messages of one Subscribe may be with handlers
	// at a time; default 1, with which they are handled in order as long as
	// none fails and nobody else reads the consumer.
	MaxInFlight int

	// DrainTimeout is how long Close lets running handlers finish before it
	// cancels their contexts and returns their messages; default 20 s.
	DrainTimeout time.Duration

	// RetryDelay says how long a message waits after it was delivered that
	// many times and failed; default DefaultRetryDelay. A handler's RetryAfter
	// goes before it.
	RetryDelay func(deliveries uint64) time.Duration
}

// DefaultRetryDelay doubles from one second to five minutes, less up to a
// quarter, so that messages that failed together do not return together.
func DefaultRetryDelay(deliveries uint64) time.Duration {
	const longest = 5 * time.Minute
	delay := longest
	if doublings := max(deliveries, 1) - 1; doublings < 9 { // 2^9 s is beyond it
		delay = min(time.Second<<doublings, longest)
	}
	return delay - rand.N(delay/4)
}

// RetryAfter makes the message wait that long if it is nacked.
func RetryAfter(msg *message.Message, delay time.Duration) {
	msg.Metadata.Set(metadataRetryAfter, delay.String())
}

type incomingKey struct{}

// IncomingFrom returns the delivery behind the Watermill message whose context
// this is, so that a handler can Bury it. nil if there is none.
func IncomingFrom(ctx context.Context) *Incoming {
	in, _ := ctx.Value(incomingKey{}).(*Incoming)
	return in
}

// A Subscriber reads durable consumers. The topic is the consumer's name.
//
// Delivery is at least once. It pulls only what its handlers can take, reports
// progress at a third of AckWait while they run, waits until the broker has an
// Ack, and answers a Nack with a delay. The UUID of a message is Incoming.ID;
// its metadata are the headers, several values joined by ", ", and the Metadata
// constants.
//
// The context of a message outlives the one given to Subscribe: ending that
// stops the delivery of further messages, not the work on those delivered.
type Subscriber struct {
	bus     *Bus
	options SubscriberOptions

	closeOnce sync.Once
	closing   chan struct{}
	running   sync.WaitGroup
	mu        sync.Mutex // orders Subscribe and Close
}

var _ message.Subscriber = (*Subscriber)(nil)

// NewSubscriber returns a Subscriber on the connection of b, which stays open
// when the Subscriber is closed.
func NewSubscriber(b *Bus, options SubscriberOptions) *Subscriber {
	if options.MaxInFlight < 1 {
		options.MaxInFlight = 1
	}
	if options.DrainTimeout <= 0 {
		options.DrainTimeout = 20 * time.Second
	}
	if options.RetryDelay == nil {
		options.RetryDelay = DefaultRetryDelay
	}
	return &Subscriber{bus: b, options: options, closing: make(chan struct{})}
}

// Subscribe delivers the messages of an existing durable consumer until ctx
// ends or the Subscriber is closed; then the channel is closed. While the broker
// is away, or its consumer missing, it waits and tries again.
func (s *Subscriber) Subscribe(ctx context.Context, consumer string) (<-chan *message.Message, error) {
	stream, err := s.bus.topology.Stream(consumer)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	if _, err := s.bus.consumerInfo(ctx, stream.Name, consumer); errors.Is(err, ErrNotMigrated) {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	settings, _ := stream.consumer(consumer)

	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closing:
		return nil, errors.New("subscribe: the subscriber is closed")
	default:
	}
	pulling, stop := context.WithCancel(ctx)
	sub := &subscription{
		Subscriber: s,
		consumer:   settings,
		pulling:    pulling,
		handling:   context.WithoutCancel(ctx),
		slots:      make(chan struct{}, s.options.MaxInFlight),
		output:     make(chan *message.Message),
	}
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		defer stop()
		sub.run()
	}()
	go func() {
		select {
		case <-s.closing:
			stop()
		case <-pulling.Done():
		}
	}()
	return sub.output, nil
}

// Close stops pulling, returns what no handler has begun, lets the running
// handlers finish within DrainTimeout, and closes the channels.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.closeOnce.Do(func() { close(s.closing) })
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

// toMessage never fails: whatever was published reaches a handler, which can
// bury it.
func toMessage(in *Incoming) *message.Message {
	msg := message.NewMessage(in.ID(), in.Data)
	for key, values := range in.Header {
		if key != jetstream.MsgIDHeader && !strings.HasPrefix(key, metadataPrefix) {
			msg.Metadata[key] = strings.Join(values, ", ")
		}
	}
	maps.Copy(msg.Metadata, message.Metadata{
		MetadataSubject:    in.Subject,
		MetadataStream:     in.Stream,
		MetadataSequence:   strconv.FormatUint(in.Sequence, 10),
		MetadataDeliveries: strconv.FormatUint(in.Deliveries, 10),
		MetadataStoredAt:   in.StoredAt.Format(time.RFC3339Nano),
	})
	return msg
}
