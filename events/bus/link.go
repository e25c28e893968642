package bus

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"
)

// A link is a connection that remembers to tell those who wait for an answer
// when it is lost. nats.go lets them wait until their deadline.
type link struct {
	*nats.Conn

	mu    sync.Mutex
	epoch context.Context // ends whenever the connection is lost
	end   context.CancelFunc
}

func newLink() *link {
	l := new(link)
	l.epoch, l.end = context.WithCancel(context.Background())
	return l
}

// disconnected fails the requests under way.
func (l *link) disconnected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
	l.epoch, l.end = context.WithCancel(context.Background())
}

// request sends the message and returns the answer. On ErrDisconnected it is
// unknown whether the broker acted on it.
func (l *link) request(ctx context.Context, msg *nats.Msg) (*nats.Msg, error) {
	l.mu.Lock()
	epoch := l.epoch
	l.mu.Unlock()

	waiting, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stop := context.AfterFunc(epoch, cancel)
	defer stop()
	answer, err := l.RequestMsgWithContext(waiting, msg)
	if err != nil && epoch.Err() != nil {
		return nil, ErrDisconnected
	}
	return answer, brokerError(err)
}
