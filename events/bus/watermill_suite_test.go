package bus_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
)

// Watermill's universal suite. Of its features we have consumer groups (a
// durable each), persistence, and order where one message is in flight to one
// subscriber. Not exactly-once delivery, which nobody has; nor
// NewSubscriberReceivesOldMessages, which asks that every new subscriber reads
// from the start, while ours continue where their durable stands.
func TestUniversalSuiteInOrder(t *testing.T) {
	t.Parallel()
	s := newSuite(t, bustest.Config{Topology: bus.Topology{}, LazySync: true}, 1)
	features := s.features()
	features.GuaranteedOrder = true
	features.GuaranteedOrderWithSingleSubscriber = true
	features.ForceShort = true // its long form, below, does not depend on the order
	tests.TestPubSub(t, features, s.create, s.createGroup)
}

func TestUniversalSuiteConcurrently(t *testing.T) {
	t.Parallel()
	s := newSuite(t, bustest.Config{Topology: bus.Topology{}, Process: true, LazySync: true}, 100)
	features := s.features()
	features.RestartServiceCommand = s.restartCommand(t)
	tests.TestPubSub(t, features, s.create, s.createGroup)
}

// suiteTopology has a stream for the topic, since the suite publishes messages
// with the same UUID to several topics, and a durable for the group.
func suiteTopology(topic, group string) bus.Topology {
	return bus.Topology{{
		Name:            "SUITE-" + topic,
		Subjects:        []string{"suite.any." + topic},
		MaxAge:          time.Hour,
		DuplicateWindow: time.Minute,
		MaxMessageBytes: 1 << 20,
		Consumers: []bus.Consumer{{
			Name:          group,
			AckWait:       2 * time.Second,
			MaxAckPending: 10_000,
		}},
	}}
}

type suite struct {
	broker      *bustest.Broker
	maxInFlight int
	migrating   sync.Mutex // nats-server has a race in creating two streams at a time
	published   sync.Map   // UUIDs whose Publish has succeeded
}

func newSuite(t *testing.T, c bustest.Config, maxInFlight int) *suite {
	return &suite{broker: bustest.StartConfig(t, c), maxInFlight: maxInFlight}
}

func (s *suite) features() tests.Features {
	return tests.Features{ConsumerGroups: true, Persistent: true}
}

// restartCommand kills the broker process; a supervisor starts it again, and
// the command returns when it is back.
func (s *suite) restartCommand(t *testing.T) []string {
	request := filepath.Join(t.TempDir(), "restart")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(request); err == nil {
				s.broker.Restart()
				_ = os.Remove(request)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return []string{"sh", "-c", fmt.Sprintf("touch %[1]s && while [ -e %[1]s ]; do sleep 0.01; done", request)}
}

func (s *suite) create(t *testing.T) (message.Publisher, message.Subscriber) {
	return s.createGroup(t, "all")
}

func (s *suite) createGroup(_ *testing.T, group string) (message.Publisher, message.Subscriber) {
	pub := topicPublisher{bus.NewPublisher(s.broker.Bus), &s.published}
	return pub, &topicSubscriber{suite: s, group: group}
}

// topicPublisher makes the suite's topics subjects.
type topicPublisher struct {
	bus.Publisher
	published *sync.Map
}

func (p topicPublisher) Publish(topic string, messages ...*message.Message) error {
	if err := p.Publisher.Publish("suite.any."+topic, messages...); err != nil {
		return err
	}
	for _, m := range messages {
		p.published.Store(m.UUID, true)
	}
	return nil
}

// topicSubscriber subscribes to the durable of its group on the topic.
type topicSubscriber struct {
	*suite
	group string

	mu       sync.Mutex
	subs     []*bus.Subscriber
	holdings sync.WaitGroup
}

func (s *topicSubscriber) bus(topic string) *bus.Bus {
	return s.broker.Bus.WithTopology(suiteTopology(topic, s.group))
}

// SubscribeInitialize is the suite's name for a migration.
func (s *topicSubscriber) SubscribeInitialize(topic string) error {
	s.migrating.Lock()
	defer s.migrating.Unlock()
	_, err := s.bus(topic).Apply(context.Background())
	return err
}

func (s *topicSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	sub := bus.NewSubscriber(s.bus(topic), bus.SubscriberOptions{
		MaxInFlight:  s.maxInFlight,
		DrainTimeout: 500 * time.Millisecond,
		RetryDelay:   func(uint64) time.Duration { return 0 },
	})
	s.mu.Lock()
	s.subs = append(s.subs, sub)
	s.mu.Unlock()
	in, err := sub.Subscribe(ctx, s.group)
	if err != nil || s.maxInFlight == 1 {
		return in, err
	}
	return s.oncePublished(in), nil
}

// oncePublished holds each message back until its Publish has returned. TestReconnect counts a message as sent only then, and calls
// one that was faster than its acknowledgement too much.
func (s *topicSubscriber) oncePublished(in <-chan *message.Message) <-chan *message.Message {
	out := make(chan *message.Message)
	s.holdings.Go(func() {
		defer close(out)
		for m := range in {
			for m.Context().Err() == nil {
				if _, ok := s.published.Load(m.UUID); ok {
					break
				}
				time.Sleep(2 * time.Millisecond)
			}
			select {
			case out <- m:
			case <-m.Context().Done():
			}
		}
	})
	return out
}

func (s *topicSubscriber) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.subs {
		if err := sub.Close(); err != nil {
			return err
		}
	}
	s.holdings.Wait()
	return nil
}
