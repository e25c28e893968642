package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

const (
	// pullWait is how long a subscription waits in one Pull.
	pullWait = 30 * time.Second

	// pullRetry is the pause after a Pull that failed.
	pullRetry = time.Second

	// maxPull keeps the batch of one Pull small enough to be handed out within
	// AckWait.
	maxPull = 256
)

// A subscription is one Subscribe: one loop that pulls, and for each message a
// goroutine that keeps it alive until its handler is done.
type subscription struct {
	*Subscriber
	consumer Consumer
	pulling  context.Context // ends when no more messages are wanted
	handling context.Context // never ends
	slots    chan struct{}   // one taken per message in flight
	output   chan *message.Message
}

func (s *subscription) run() {
	var inFlight sync.WaitGroup
	drained := make(chan struct{}) // closed when the time to finish is up
	for s.takeSlot() {
		var flights []*flight
		for _, in := range s.pull(1 + s.takeFreeSlots()) {
			f := s.begin(in, drained)
			flights = append(flights, f)
			inFlight.Go(func() {
				f.tend()
				<-s.slots
			})
		}
		for _, f := range flights {
			s.handOut(f)
		}
	}
	timer := time.AfterFunc(s.options.DrainTimeout, func() { close(drained) })
	inFlight.Wait()
	timer.Stop()
	close(s.output)
}

func (s *subscription) takeSlot() bool {
	select {
	case s.slots <- struct{}{}:
		return s.pulling.Err() == nil
	case <-s.pulling.Done():
		return false
	}
}

func (s *subscription) takeFreeSlots() (taken int) {
	for taken < maxPull-1 {
		select {
		case s.slots <- struct{}{}:
			taken++
		default:
			return taken
		}
	}
	return taken
}

// pull returns at most as many messages as slots were taken, and gives back the
// slots that stay empty.
func (s *subscription) pull(slots int) []*Incoming {
	batch, err := s.bus.Pull(s.pulling, s.consumer.Name, slots, pullWait)
	for range slots - len(batch) {
		<-s.slots
	}
	if err != nil && s.pulling.Err() == nil {
		s.bus.log.Error("cannot pull messages", "consumer", s.consumer.Name, "error", err)
		select {
		case <-time.After(pullRetry):
		case <-s.pulling.Done():
		}
	}
	return batch
}

// handOut blocks until a handler takes the message. A message that nobody has
// taken when the subscription ends is returned at once.
func (s *subscription) handOut(f *flight) {
	select {
	case <-s.pulling.Done(): // first, so that nothing is begun after the end
		close(f.unwanted)
		return
	default:
	}
	select {
	case s.output <- f.msg:
	case <-s.pulling.Done():
		close(f.unwanted)
	}
}

// A flight is one message between its delivery and its settlement.
type flight struct {
	*subscription
	in       *Incoming
	msg      *message.Message
	cancel   context.CancelFunc
	unwanted chan struct{}   // closed when no handler will get it
	drained  <-chan struct{} // closed when the handlers' time is up
}

func (s *subscription) begin(in *Incoming, drained <-chan struct{}) *flight {
	ctx, cancel := context.WithCancel(context.WithValue(s.handling, incomingKey{}, in))
	msg := toMessage(in)
	msg.SetContext(ctx)
	return &flight{s, in, msg, cancel, make(chan struct{}), drained}
}

// tend keeps the broker informed until the message is settled. It runs from
// the moment of the delivery, so that AckWait does not pass in a queue.
func (f *flight) tend() {
	defer f.cancel()
	heartbeat := time.NewTicker(f.consumer.AckWait / 3)
	defer heartbeat.Stop()
	for {
		select {
		case <-f.msg.Acked():
			f.log("cannot acknowledge; the message will come again", f.acknowledge())
			return
		case <-f.msg.Nacked():
			f.log("cannot return the message; it will come again after its AckWait", f.in.Nak(f.retryDelay()))
			return
		case <-f.unwanted:
			f.log("cannot return the message; it will come again after its AckWait", f.in.Nak(0))
			return
		case <-f.drained:
			f.bus.log.Warn("a handler did not finish in time", "consumer", f.consumer.Name, "sequence", f.in.Sequence)
			f.cancel()
			f.log("cannot return the message; it will come again after its AckWait", f.in.Nak(0))
			return
		case <-heartbeat.C:
			f.log("cannot report progress", f.in.InProgress())
		}
	}
}

// acknowledge waits out a broker that is away, for as long as the message will
// not have been delivered to someone else. Acknowledging twice does no harm.
func (f *flight) acknowledge() error {
	for deadline := time.Now().Add(f.consumer.AckWait); ; {
		err := f.in.ackAndWait(f.handling)
		if !errors.Is(err, ErrDisconnected) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(retryPause):
		case <-f.drained:
			return err
		}
	}
}

func (f *flight) log(what string, err error) {
	if err != nil {
		f.bus.log.Warn(what, "consumer", f.consumer.Name, "sequence", f.in.Sequence, "error", err)
	}
}

func (f *flight) retryDelay() time.Duration {
	if asked, err := time.ParseDuration(f.msg.Metadata.Get(metadataRetryAfter)); err == nil {
		return asked
	}
	return f.options.RetryDelay(f.in.Deliveries)
}
