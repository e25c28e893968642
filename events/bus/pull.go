package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// This file speaks the pull protocol itself (NATS ADR-13) instead of using
// jetstream.Consumer, for two reasons. nats.go takes a message without payload
// for a status of the broker when its publisher gave it a Status header, so
// that one such event would end every fetch and never be delivered. And its
// fetches cannot be given up without leaving messages behind that return only
// after AckWait.

const (
	// maxRequest bounds one pull request; Pull sends another until it has
	// waited long enough.
	maxRequest = 30 * time.Second

	// heartbeat is how often the broker says that a request is still waiting.
	// After two that fail to come, as after a restart of the broker, the
	// request is sent again.
	heartbeat = time.Second

	// retryPause is the wait before asking a broker again that is not ready.
	retryPause = 100 * time.Millisecond

	statusRoom = 64 // statuses and heartbeats in a request's channel
)

// Pull returns up to max messages: those ready now or, if there is none, those
// ready once the first arrives within wait. An empty batch is not an error.
// Several calls may wait on one consumer at a time, which is how to prefetch;
// what is pulled must be handled within AckWait.
//
// Lost connections and restarts of the broker pass unnoticed, as time without
// messages. A missing stream or consumer is an error that wraps
// ErrNotMigrated, a missing permission one that wraps ErrDenied. When ctx ends, Pull returns at once with its error, and the
// messages it had go back to the broker.
func (b *Bus) Pull(ctx context.Context, consumer string, max int, wait time.Duration) ([]*Incoming, error) {
	stream, err := b.topology.Stream(consumer)
	if err != nil {
		return nil, err
	}
	if max < 1 {
		return nil, fmt.Errorf("pull from %s: max is %d, must be at least 1", consumer, max)
	}
	deadline := time.Now().Add(wait)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		remaining := time.Until(deadline)
		batch, again, err := b.request(ctx, stream.Name, consumer, max, min(remaining, maxRequest))
		if err != nil || len(batch) > 0 || time.Until(deadline) <= 0 {
			return batch, err
		}
		if again {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(retryPause, time.Until(deadline))):
		}
	}
}

// request sends one pull request and collects what comes of it. It reports
// whether another may follow at once.
func (b *Bus) request(ctx context.Context, stream, consumer string, max int, wait time.Duration) (batch []*Incoming, again bool, err error) {
	inbox := b.nc.NewInbox()
	// The channel takes all that the request may bring: what does not fit is
	// dropped by nats.go and would come again only after AckWait.
	received := make(chan *nats.Msg, max+statusRoom)
	sub, err := b.nc.ChanSubscribe(inbox, received)
	if err != nil {
		return nil, false, unlessAway(err)
	}
	r := &pullRequest{nc: b.nc, inbox: inbox, max: max, sub: sub, received: received}
	defer r.end()

	order := struct {
		Batch     int           `json:"batch"`
		NoWait    bool          `json:"no_wait"` // with Expires: the first message ends the wait
		Expires   time.Duration `json:"expires,omitempty"`
		Heartbeat time.Duration `json:"idle_heartbeat,omitempty"`
	}{Batch: max, NoWait: true}
	if wait > 0 {
		order.Expires = wait
	}
	silence := wait + time.Second
	if wait >= 2*heartbeat {
		order.Heartbeat = heartbeat
		silence = 2*heartbeat + heartbeat/2
	}
	data, err := json.Marshal(order)
	if err != nil {
		return nil, false, err
	}
	subject := b.api + "CONSUMER.MSG.NEXT." + stream + "." + consumer
	ctx, done := b.nc.asking(ctx, subject)
	defer done()
	if err := b.nc.PublishRequest(subject, inbox, data); err != nil {
		r.over = true
		return nil, false, unlessAway(err)
	}

	again, err = r.collect(ctx, silence)
	if err == nil && r.unanswered {
		_, err = b.consumerInfo(ctx, stream, consumer)
		if err != nil && !errors.Is(err, ErrNotMigrated) {
			b.log.Warn("no answer to a pull request", "consumer", consumer, "error", err)
			err = nil
		}
	}
	if err != nil {
		// What came before the error is not lost on the caller's account.
		r.giveBack()
		return nil, false, fmt.Errorf("pull from %s: %w", consumer, err)
	}
	return r.batch, again, nil
}

// unlessAway hides that the broker is away: to a reader that is waiting.
func unlessAway(err error) error {
	if err = brokerError(err); errors.Is(err, ErrDisconnected) && !errors.Is(err, nats.ErrConnectionClosed) {
		return nil
	}
	return err
}

type pullRequest struct {
	nc       *link
	inbox    string
	max      int
	sub      *nats.Subscription
	received chan *nats.Msg

	batch      []*Incoming
	over       bool // the broker has ended the request, nothing more will come
	unanswered bool // nobody serves the consumer
}

// collect returns when the request is over, nothing was heard for the time
// given, or ctx ends.
func (r *pullRequest) collect(ctx context.Context, silence time.Duration) (again bool, err error) {
	timer := time.NewTimer(silence)
	defer timer.Stop()
	for !r.over {
		select {
		case msg := <-r.received:
			timer.Reset(silence)
			if again, err = r.take(msg); err != nil {
				return false, err
			}
		case <-timer.C:
			return true, nil
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	return again, nil
}

func (r *pullRequest) take(msg *nats.Msg) (again bool, err error) {
	if msg.Subject == r.inbox {
		return r.status(msg.Header.Get("Status"), strings.ToLower(msg.Header.Get("Description")))
	}
	in, err := newIncoming(r.nc, msg)
	if err != nil {
		return false, err
	}
	r.batch = append(r.batch, in)
	r.over = len(r.batch) == r.max
	return true, nil
}

// status handles what the broker says about the request itself.
func (r *pullRequest) status(code, description string) (again bool, err error) {
	if code == "100" { // heartbeat
		return true, nil
	}
	r.over = true
	switch {
	case code == "404", code == "408" && strings.Contains(description, "timeout"):
		return true, nil
	case code == "503", strings.Contains(description, "consumer deleted"):
		r.unanswered = true
		return false, nil
	case code == "400", strings.Contains(description, "push based"):
		return false, fmt.Errorf("the broker refuses to deliver: %s %s", code, description)
	}
	// Leadership change, server shutdown, too many requests waiting: all pass.
	return false, nil
}

// end gives up what is left of the request. The subscription is drained, not
// cut: messages already on their way are caught and go back to the broker at
// once.
func (r *pullRequest) end() {
	if r.over {
		_ = r.sub.Unsubscribe() // fails only on a closed connection
		return
	}
	r.batch = nil
	drained := make(chan struct{})
	r.sub.SetClosedHandler(func(string) { close(drained) })
	if err := r.sub.Drain(); err == nil {
		select {
		case <-drained:
		case <-time.After(2 * time.Second): // the connection is going down
		}
	}
	for {
		select {
		case msg := <-r.received:
			if msg.Subject != r.inbox {
				_, _ = r.take(msg)
			}
			continue
		default:
		}
		break
	}
	r.giveBack()
}

func (r *pullRequest) giveBack() {
	_ = NakAll(r.batch, 0) // where this fails, AckWait does the same later
	r.batch = nil
}
