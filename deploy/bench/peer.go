package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmjetstream "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/jetstream"
	wmnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mongotel/billcenter/events/bus"
)

// peer is a Watermill handler on a subscriber of watermill-nats, which inserts one row for each message: the way that
// Watermill's documentation leads to. It keeps one plain row, where codes.Worker keeps three and publishes a fact.
type peer struct {
	name       string
	subscriber func(url string) (message.Subscriber, error)
}

const peerConsumer = "plain"

const subject = "billing." + tenant + ".invoice.emailed"

// onNATS is pkg/nats, which watermill-nats recommends for production. ManualAck is not its default: without it nats.go
// acknowledges what no handler has acknowledged, so that messages are lost.
func onNATS(subscribers int) peer {
	return peer{
		name: fmt.Sprintf("watermill pkg/nats, %d subscriber(s)", subscribers),
		subscriber: func(url string) (message.Subscriber, error) {
			return wmnats.NewSubscriber(wmnats.SubscriberConfig{
				URL: url, SubscribersCount: subscribers, QueueGroupPrefix: peerConsumer,
				JetStream: wmnats.JetStreamConfig{
					DurablePrefix:    peerConsumer,
					SubscribeOptions: []nats.SubOpt{nats.ManualAck(), nats.AckExplicit(), nats.DeliverAll()},
				},
			}, watermill.NopLogger{})
		},
	}
}

// onJetStream is pkg/jetstream, in beta, which has one message in flight.
func onJetStream() peer {
	return peer{
		name: "watermill pkg/jetstream",
		subscriber: func(url string) (message.Subscriber, error) {
			return wmjetstream.NewSubscriber(wmjetstream.SubscriberConfig{
				URL: url, Logger: watermill.NopLogger{},
				ResourceInitializer: func(ctx context.Context, js jetstream.JetStream, _ string) (jetstream.Consumer, func(context.Context, watermill.LoggerAdapter), error) {
					c, err := js.CreateOrUpdateConsumer(ctx, bus.StreamBilling, jetstream.ConsumerConfig{Durable: peerConsumer, AckPolicy: jetstream.AckExplicitPolicy})
					return c, nil, err
				},
			})
		},
	}
}

// insertPlain is autocommitted, thus a commit and an fsync for each message. A redelivery changes nothing.
const insertPlain = `
	INSERT INTO plain_invoice_emails (event_id, tenant, account_number, company_name, billing_email, locale, emailed_at, code_hash,
		code_expires_at, invoice_number, issued_on, due_on, currency, amount_due_minor, document_url)
	VALUES (:event_id, :tenant, :account_number, :company_name, :billing_email, :locale, :emailed_at, :code_hash,
		:code_expires_at, :invoice_number, :issued_on, :due_on, :currency, :amount_due_minor, :document_url)
	ON CONFLICT (event_id) DO NOTHING`

// measurePeer runs a peer on n events. The clock runs until every event is a committed row and every message acknowledged.
func (g *ground) measurePeer(ctx context.Context, p peer, n int) (_ Result, err error) {
	s, err := g.newStage(ctx)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.makePlainTable(ctx); err != nil {
		return Result{}, err
	}
	l, err := s.load(ctx, n)
	if err != nil {
		return Result{}, err
	}
	if err := s.settle(ctx); err != nil {
		return Result{}, err
	}
	r, err := s.runPeer(ctx, p, l)
	if err != nil {
		return r, err
	}
	rows, err := s.count(ctx, `SELECT count(*) FROM plain_invoice_emails`)
	if err == nil && rows != l.events {
		err = fmt.Errorf("%d rows of %d events", rows, l.events)
	}
	return r, err
}

func (s *stage) runPeer(ctx context.Context, p peer, l loaded) (_ Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, finishTime(l.events))
	defer cancel()
	conn, err := nats.Connect(s.broker.url)
	if err != nil {
		return Result{}, err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return Result{}, err
	}
	subscriber, err := p.subscriber(s.broker.url)
	if err != nil {
		return Result{}, err
	}
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return Result{}, err
	}
	var handled atomic.Int64
	all := make(chan struct{})
	router.AddConsumerHandler(peerConsumer, subject, subscriber, func(m *message.Message) error {
		row, err := rowOf(m.Payload, s.ground.ring)
		if err != nil {
			return err
		}
		if _, err := s.db.NamedExecContext(m.Context(), insertPlain, row); err != nil {
			return err
		}
		if handled.Add(1) == int64(l.events) {
			close(all)
		}
		return nil
	})

	m, err := s.startMeter()
	if err != nil {
		return Result{}, err
	}
	ended, stop := start(ctx, router.Run)
	defer stop()
	if err := waitFor(ctx, all, ended); err != nil {
		return Result{}, err
	}
	if err := awaitPeerAcked(ctx, js, l.events); err != nil {
		return Result{}, err
	}
	r, err := m.stop(l.events)
	if err != nil {
		return r, err
	}
	return r, stop()
}

// awaitPeerAcked asks for the state of the stream's consumers, since a peer's may be a push or a pull consumer.
func awaitPeerAcked(ctx context.Context, js jetstream.JetStream, n int) error {
	stream, err := js.Stream(ctx, bus.StreamBilling)
	if err != nil {
		return err
	}
	for {
		consumers := stream.ListConsumers(ctx)
		for info := range consumers.Info() {
			if info.Name == peerConsumer && info.AckFloor.Stream >= uint64(n) {
				return nil
			}
		}
		if err := consumers.Err(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not every message is acknowledged: %w", ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}
