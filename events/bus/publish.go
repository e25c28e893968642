package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrRefused means that a message can never be published as it is.
	ErrRefused = errors.New("message refused")

	// ErrNoStream means that no stream takes the subject. Either the broker
	// has not been migrated, or it is just starting.
	ErrNoStream = errors.New(`no stream answers; if this persists, run "billcenter migrate"`)
)

const (
	// asyncWindow bounds the unacknowledged messages of one Publish.
	asyncWindow = 1000

	maxIDBytes     = 1024
	maxTenantBytes = 32

	// maxHeaderBytes is the broker's limit for all headers of a message.
	maxHeaderBytes = 64 << 10
)

// An Outgoing is a message to be published.
type Outgoing struct {
	// Subject is <domain>.<tenant>.<event...> in printable ASCII.
	Subject string

	// ID becomes the Nats-Msg-Id. Within the stream's duplicate window a
	// second message with the same ID is taken for the first.
	ID string

	// Header may have several values for a key. Keys beginning with Nats- are
	// orders to the broker and left out, so that a copied header cannot, for
	// instance, make it purge a stream.
	Header map[string][]string

	Data []byte
}

// A PublishError says which message could not be published. Others of the same
// call may have been stored.
type PublishError struct {
	Index   int // in the arguments of Publish
	Subject string
	ID      string
	Err     error
}

func (e *PublishError) Error() string {
	return fmt.Sprintf("publish %q to %s: %v", e.ID, e.Subject, e.Err)
}

func (e *PublishError) Unwrap() error { return e.Err }

// Publish stores the messages and returns nil only once the broker has
// acknowledged every one of them, in the order given within a domain. On any
// error the caller repeats the call with the same IDs: what is already stored is
// then recognised and counts as success. An error that wraps ErrRefused is
// returned before anything is sent and will not go away.
func (b *Bus) Publish(ctx context.Context, messages ...Outgoing) error {
	return b.publish(ctx, messages, subjectOfEvent)
}

func (b *Bus) publish(ctx context.Context, messages []Outgoing, check func(subject string) error) error {
	var domains []string
	byDomain := make(map[string][]*outgoing)
	for i, m := range messages {
		prepared, err := b.prepare(i, m, check)
		if err != nil {
			return &PublishError{Index: i, Subject: m.Subject, ID: m.ID, Err: err}
		}
		domain, _, _ := strings.Cut(m.Subject, ".")
		if byDomain[domain] == nil {
			domains = append(domains, domain)
		}
		byDomain[domain] = append(byDomain[domain], prepared)
	}
	for _, domain := range domains {
		// A domain is a stream, and a batch cannot span streams.
		for _, batch := range batches(byDomain[domain]) {
			if err := b.publishBatch(ctx, batch); err != nil {
				return err
			}
		}
	}
	return nil
}

// outgoing is a message that passed all checks.
type outgoing struct {
	*nats.Msg
	index int
	id    string
}

func (o *outgoing) failed(err error) error {
	return &PublishError{Index: o.index, Subject: o.Subject, ID: o.id, Err: brokerError(err)}
}

func (b *Bus) prepare(index int, m Outgoing, check func(string) error) (*outgoing, error) {
	if err := check(m.Subject); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := validID(m.ID); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	header := make(nats.Header, len(m.Header)+3) // room for the batch headers
	for key, values := range m.Header {
		if isBrokerHeader(key) {
			continue
		}
		if err := validHeaderKey(key); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		header[key] = values
	}
	header[jetstream.MsgIDHeader] = []string{m.ID}
	msg := &nats.Msg{Subject: m.Subject, Header: header, Data: m.Data}
	if limit := b.sizeLimit(m.Subject); msg.Size() > limit {
		return nil, fmt.Errorf("%w: it has %d bytes with its headers, the limit is %d", ErrRefused, msg.Size(), limit)
	}
	if size := msg.Size() - len(msg.Subject) - len(msg.Data); size > maxHeaderBytes-batchHeaderBytes {
		return nil, fmt.Errorf("%w: its headers have %d bytes, the limit is %d", ErrRefused, size, maxHeaderBytes-batchHeaderBytes)
	}
	return &outgoing{Msg: msg, index: index, id: m.ID}, nil
}

// sizeLimit is what the stream and the broker both take, in a batch too.
func (b *Bus) sizeLimit(subject string) int {
	limit := maxDeadLetterBytes
	domain, _, _ := strings.Cut(subject, ".")
	for _, s := range b.topology {
		for _, pattern := range s.Subjects {
			if first, _, _ := strings.Cut(pattern, "."); first == domain && s.MaxMessageBytes > 0 {
				limit = int(s.MaxMessageBytes)
			}
		}
	}
	if broker := int(b.nc.MaxPayload()); broker > 0 {
		limit = min(limit, broker)
	}
	return limit - batchHeaderBytes
}

// publishAsync publishes one by one, with up to asyncWindow acknowledgements
// outstanding. A duplicate is a success.
func (b *Bus) publishAsync(ctx context.Context, messages []*outgoing) error {
	subjects := make([]string, len(messages))
	for i, m := range messages {
		subjects[i] = m.Subject
	}
	slices.Sort(subjects)
	ctx, done := b.nc.asking(ctx, slices.Compact(subjects)...)
	defer done()

	futures := make([]jetstream.PubAckFuture, 0, len(messages))
	settled := 0
	for i, m := range messages {
		if i-settled >= asyncWindow {
			if err := settle(ctx, messages[settled], futures[settled]); err != nil {
				return err
			}
			settled++
		}
		if ctx.Err() != nil {
			return m.failed(context.Cause(ctx))
		}
		future, err := b.js.PublishMsgAsync(m.Msg, jetstream.WithStallWait(stallWait))
		if err != nil {
			return m.failed(err)
		}
		futures = append(futures, future)
	}
	for i := settled; i < len(futures); i++ {
		if err := settle(ctx, messages[i], futures[i]); err != nil {
			return err
		}
	}
	return nil
}

func settle(ctx context.Context, m *outgoing, future jetstream.PubAckFuture) error {
	select {
	case <-future.Ok():
		return nil
	case err := <-future.Err():
		return m.failed(err)
	case <-ctx.Done():
		return m.failed(context.Cause(ctx))
	}
}

// subjectOfEvent accepts <domain>.<tenant>.<event...>. The broker would take
// wildcards literally and store the message where nobody looks for it.
func subjectOfEvent(subject string) error {
	tokens, err := literalTokens(subject)
	if err != nil {
		return err
	}
	if len(tokens) < 3 {
		return fmt.Errorf("subject %q is not <domain>.<tenant>.<event>", subject)
	}
	if tokens[0] == deadLetterDomain {
		return fmt.Errorf("subject %q is for dead letters, which are made by Bury", subject)
	}
	if !validTenant(tokens[1]) {
		return fmt.Errorf("subject %q has no tenant of the form [a-z0-9-]{1,%d}", subject, maxTenantBytes)
	}
	return nil
}

func literalTokens(subject string) ([]string, error) {
	for _, c := range []byte(subject) {
		if c <= ' ' || c >= 0x7f {
			return nil, fmt.Errorf("subject %q has a character that is not printable ASCII", subject)
		}
		if c == '*' || c == '>' {
			return nil, fmt.Errorf("subject %q has a wildcard", subject)
		}
	}
	tokens := strings.Split(subject, ".")
	for _, token := range tokens {
		if token == "" {
			return nil, fmt.Errorf("subject %q has an empty token", subject)
		}
	}
	return tokens, nil
}

func validTenant(tenant string) bool {
	if tenant == "" || len(tenant) > maxTenantBytes {
		return false
	}
	for _, c := range []byte(tenant) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// validID accepts what survives the journey through a header unchanged.
func validID(id string) error {
	if id == "" {
		return errors.New("the message id is empty")
	}
	if len(id) > maxIDBytes {
		return fmt.Errorf("the message id has %d bytes, the limit is %d", len(id), maxIDBytes)
	}
	if strings.TrimSpace(id) != id || strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("the message id %q has blanks around it or a control character", id)
	}
	return nil
}

func validHeaderKey(key string) error {
	for _, c := range []byte(key) {
		if c <= ' ' || c >= 0x7f || c == ':' {
			return fmt.Errorf("header key %q is not a token", key)
		}
	}
	if key == "" {
		return errors.New("a header key is empty")
	}
	return nil
}

func isBrokerHeader(key string) bool {
	const prefix = "nats-"
	return len(key) >= len(prefix) && strings.EqualFold(key[:len(prefix)], prefix)
}
