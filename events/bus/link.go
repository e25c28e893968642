package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrDenied means that the broker's permissions do not allow this user what was
// asked for. It stays so until the operator changes them.
var ErrDenied = errors.New("the broker does not permit it to this user")

// refusalAge is how long a refusal to look at something is believed before the
// broker is asked again; it logs every violation.
const refusalAge = 10 * time.Minute

// A link is a connection that remembers to tell those who wait for an answer
// when it is lost, or when the broker does not let them ask. nats.go lets them
// wait until their deadline.
type link struct {
	*nats.Conn

	mu       sync.Mutex
	epoch    context.Context // ends whenever the connection is lost
	end      context.CancelFunc
	asked    map[*question]struct{} // whose answers are waited for
	refusals map[string]time.Time   // by subject
}

// A question is a call that waits for an answer to what it publishes.
type question struct {
	subjects []string // each may have more tokens at its end
	deny     context.CancelCauseFunc
}

func newLink() *link {
	l := &link{asked: map[*question]struct{}{}, refusals: map[string]time.Time{}}
	l.epoch, l.end = context.WithCancel(context.Background())
	return l
}

// disconnected fails the requests under way.
func (l *link) disconnected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
	l.epoch, l.end = context.WithCancel(context.Background())
	clear(l.refusals)
}

// asking returns a context that ends when the broker refuses one of the subjects.
// Its cause then wraps ErrDenied.
func (l *link) asking(ctx context.Context, subjects ...string) (asking context.Context, done func()) {
	asking, deny := context.WithCancelCause(ctx)
	q := &question{subjects: subjects, deny: deny}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[q] = struct{}{}
	return asking, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.asked, q)
		deny(nil)
	}
}

// denied takes an error that arrived apart from any call and hands it to those
// whom it concerns. It reports whether there are any.
func (l *link) denied(err error) bool {
	subject := deniedSubject(err)
	if subject == "" {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusals[subject] = time.Now()
	told := false
	for q := range l.asked {
		if slices.ContainsFunc(q.subjects, func(s string) bool { return s == subject || strings.HasPrefix(subject, s+".") }) {
			q.deny(fmt.Errorf("%w: publish to %s", ErrDenied, subject))
			told = true
		}
	}
	return told
}

// deniedSubject is what may not be published to; empty if it is about something
// else.
func deniedSubject(err error) string {
	const before = `Permissions Violation for Publish to "`
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return ""
	}
	_, subject, found := strings.Cut(err.Error(), before)
	if !found {
		return ""
	}
	return strings.TrimSuffix(subject, `"`)
}

// refused returns the refusal of the subject that is not old yet.
func (l *link) refused(subject string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.refusals[subject]; ok && time.Since(at) < refusalAge {
		return fmt.Errorf("%w: publish to %s", ErrDenied, subject)
	}
	return nil
}

// cause is why a call failed whose context came from asking.
func cause(asking context.Context, err error) error {
	if denial := context.Cause(asking); err != nil && errors.Is(denial, ErrDenied) {
		return denial
	}
	return err
}

// request sends the message and returns the answer. On ErrDisconnected it is
// unknown whether the broker acted on it.
func (l *link) request(ctx context.Context, msg *nats.Msg) (*nats.Msg, error) {
	l.mu.Lock()
	epoch := l.epoch
	l.mu.Unlock()

	asking, done := l.asking(ctx, msg.Subject)
	defer done()
	waiting, cancel := context.WithTimeout(asking, requestTimeout)
	defer cancel()
	stop := context.AfterFunc(epoch, cancel)
	defer stop()
	answer, err := l.RequestMsgWithContext(waiting, msg)
	if err != nil && epoch.Err() != nil {
		return nil, ErrDisconnected
	}
	return answer, brokerError(cause(asking, err))
}
