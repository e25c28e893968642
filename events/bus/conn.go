// Package bus carries events over NATS JetStream. It is the only package that
// knows the broker: the streams and durable consumers (topology.go), publishing
// that returns once everything is stored (publish.go), reading with explicit
// acknowledgements (incoming.go), a Watermill Publisher and Subscriber
// (watermill.go), and dead letters (deadletter.go).
//
// It deals in subjects, headers and bytes. What an event means, whether it is
// well formed, and whether a failed one is retried or buried is decided by its
// callers.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// connectTimeout bounds one attempt to reach the broker.
	connectTimeout = 5 * time.Second

	// requestTimeout bounds a request whose context has no deadline. It must
	// outlast a batch of 1000 that waits for a slow disk.
	requestTimeout = 15 * time.Second

	// stallWait is how long a publisher waits for room among the pending
	// acknowledgements. nats.go's 200 ms is too short where every message is
	// fsynced: the acks of thousands arrive together, after the last of them.
	stallWait = 30 * time.Second

	// maxPendingAcks is shared by all publishers of a connection.
	maxPendingAcks = 16_000

	drainTimeout = 10 * time.Second
)

// ErrDisconnected means that the broker cannot be reached at the moment. The
// connection is being restored; the call may be repeated.
var ErrDisconnected = errors.New("the broker is not connected")

// Options say how to reach the broker.
type Options struct {
	// URL of the broker, or several separated by commas. A user and password
	// in it are used and never logged.
	URL string

	// Name is shown in the broker's list of connections.
	Name string

	// CredentialsFile is a NATS .creds file; empty for none.
	CredentialsFile string

	// RootCAFile is a PEM file that vouches for the broker; empty for the
	// system's certificates.
	RootCAFile string

	// InboxPrefix replaces _INBOX, so that permissions can keep the replies to
	// one service from the others.
	InboxPrefix string

	// APIPrefix replaces $JS.API, for deployments with an account per service.
	APIPrefix string

	// WaitForBroker lets Dial return before the broker is up. Servers set it;
	// commands do not, so that a wrong address is an error at once.
	WaitForBroker bool

	// Topology names the streams and consumers; nil for DefaultTopology.
	Topology Topology

	// Sealer encrypts dead letters. Only those who bury or replay need one.
	Sealer Sealer

	// Log receives what happens outside any call: lost and restored
	// connections, permission violations. nil discards.
	Log *slog.Logger
}

// A Bus is one connection to the broker. It is safe for concurrent use and
// reconnects for as long as it is open.
type Bus struct {
	nc       *link
	js       jetstream.JetStream
	api      string // prefix of the JetStream API with its final dot
	topology Topology
	sealer   Sealer
	log      *slog.Logger
	closed   <-chan struct{}
}

// Dial connects to the broker. The context bounds only the first attempt.
func Dial(ctx context.Context, o Options) (*Bus, error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	topology := o.Topology
	if topology == nil {
		topology = DefaultTopology()
	}
	closed := make(chan struct{})
	nc := newLink()

	conn, err := nats.Connect(o.URL, append(connOptions(ctx, o, log),
		// Permission violations arrive only here. What nobody waits for, such as
		// an acknowledgement, is only logged.
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if nc.denied(err) {
				return
			}
			attrs := []any{"error", err}
			if sub != nil {
				attrs = append(attrs, "subject", sub.Subject)
			}
			log.Error("broker reported an error", attrs...)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			nc.disconnected()
			if err != nil {
				log.Warn("broker connection lost", "error", err)
			}
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }))...)
	if err != nil {
		return nil, fmt.Errorf("connect to the broker: %w", err)
	}
	nc.Conn = conn

	options := []jetstream.JetStreamOpt{
		jetstream.WithDefaultTimeout(requestTimeout),
		jetstream.WithPublishAsyncMaxPending(maxPendingAcks),
		jetstream.WithPublishAsyncTimeout(stallWait),
	}
	var js jetstream.JetStream
	api := jetstream.DefaultAPIPrefix
	if o.APIPrefix != "" {
		api = o.APIPrefix + "."
		js, err = jetstream.NewWithAPIPrefix(conn, o.APIPrefix, options...)
	} else {
		js, err = jetstream.New(conn, options...)
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("use JetStream: %w", err)
	}
	return &Bus{nc: nc, js: js, api: api, topology: topology, sealer: o.Sealer, log: log, closed: closed}, nil
}

func connOptions(ctx context.Context, o Options, log *slog.Logger) []nats.Option {
	timeout := connectTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(min(timeout, time.Until(deadline)), time.Millisecond)
	}
	options := []nats.Option{
		nats.Name(o.Name),
		nats.Timeout(timeout),
		nats.DrainTimeout(drainTimeout),
		nats.RetryOnFailedConnect(o.WaitForBroker),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, time.Second),
		// Without this a broker that rejects the credentials twice, for
		// instance while they are being rotated, ends the connection for good.
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		// Nothing is buffered for later: a call made while the broker is away
		// fails then and there, instead of taking effect after its caller has
		// given up on it.
		nats.ReconnectBufSize(-1),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("broker connection restored", "url", nc.ConnectedUrlRedacted())
		}),
	}
	if o.CredentialsFile != "" {
		options = append(options, nats.UserCredentials(o.CredentialsFile))
	}
	if o.RootCAFile != "" {
		options = append(options, nats.RootCAs(o.RootCAFile))
	}
	if o.InboxPrefix != "" {
		options = append(options, nats.CustomInboxPrefix(o.InboxPrefix))
	}
	return options
}

// Healthy returns nil while the broker is connected, else an error that wraps
// ErrDisconnected. It asks nothing of the broker.
func (b *Bus) Healthy() error {
	if status := b.nc.Status(); status != nats.CONNECTED {
		if last := b.nc.LastError(); last != nil {
			return fmt.Errorf("%w (%s): %w", ErrDisconnected, status, last)
		}
		return fmt.Errorf("%w (%s)", ErrDisconnected, status)
	}
	return nil
}

// Close sends what is buffered, waits at most ten seconds for calls in
// progress, and disconnects.
func (b *Bus) Close() error {
	err := b.nc.Drain()
	switch {
	case errors.Is(err, nats.ErrConnectionClosed):
		return nil
	case err != nil:
		// Not connected, so there is nothing to drain into.
		b.nc.Close()
		return nil
	}
	select {
	case <-b.closed:
		return nil
	case <-time.After(drainTimeout + time.Second):
		b.nc.Close()
		return errors.New("close the broker connection: draining took too long")
	}
}

// brokerError gives the errors of nats.go that callers act on a name of ours.
func brokerError(err error) error {
	switch {
	case errors.Is(err, nats.ErrReconnectBufExceeded), // see ReconnectBufSize above
		errors.Is(err, nats.ErrDisconnected),
		errors.Is(err, nats.ErrConnectionReconnecting),
		errors.Is(err, nats.ErrConnectionClosed),
		errors.Is(err, nats.ErrConnectionDraining):
		return fmt.Errorf("%w: %w", ErrDisconnected, err)
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%w: %w", ErrNoStream, err)
	}
	return err
}
