package bus

import (
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The streams.
const (
	StreamBilling    = "BILLING"
	StreamMail       = "MAIL"
	StreamEnrollment = "ENROLLMENT"
	StreamRequests   = "REQUESTS"
	StreamDeadLetter = "DEADLETTER"
)

// The durable consumers.
const (
	ConsumerCodes    = "codes"
	ConsumerMailer   = "mailer"
	ConsumerProgress = "progress"
	ConsumerFunnel   = "funnel"

	// ConsumerAnalytics belongs to whoever follows the facts outside of Bill
	// Center, so that they and our funnel do not take each other's messages.
	ConsumerAnalytics = "analytics"
)

const day = 24 * time.Hour

const (
	// maxEventBytes leaves room to bury any event: sealed and encoded it grows
	// by a third, and a dead letter must fit the broker's default max_payload
	// of 1 MiB.
	maxEventBytes      = 512 << 10
	maxDeadLetterBytes = 1 << 20
)

// A Topology is what must exist on the broker before anything can run. It is
// created by Apply and only checked by everyone else.
type Topology []Stream

// A Stream stores the messages of one domain, the first token of its subjects.
// All streams are file stores with limits retention that refuse new messages
// rather than dropping old ones, and that take atomic batches.
type Stream struct {
	Name            string
	Description     string
	Subjects        []string
	MaxAge          time.Duration // how long a message is kept
	DuplicateWindow time.Duration // how long a repeated message id is recognised
	MaxMessageBytes int32         // headers and payload together
	Consumers       []Consumer
}

// A Consumer is a durable pull consumer that remembers, message by message,
// what has been acknowledged. It starts with the oldest message and delivers
// each one until it is acknowledged or terminated.
type Consumer struct {
	Name        string
	Description string
	Filters     []string      // subjects; empty for all of the stream
	AckWait     time.Duration // silence after which a message is delivered again

	// MaxAckPending stops deliveries at that many unacknowledged messages.
	// Messages that wait for a retry count too, so it bounds how many
	// failing ones can be outstanding before they block the rest.
	MaxAckPending int
}

// DefaultTopology returns the streams and consumers of Bill Center.
func DefaultTopology() Topology {
	return Topology{
		{
			Name:            StreamBilling,
			Description:     "What billing says; holds registration codes until consumer codes has stored them.",
			Subjects:        []string{"billing.*.>"},
			MaxAge:          14 * day,
			DuplicateWindow: 10 * time.Minute,
			MaxMessageBytes: maxEventBytes,
			Consumers: []Consumer{{
				Name:        ConsumerCodes,
				Description: "Stores codes and invoices, in batches.",
				AckWait:     30 * time.Second,
				// Ten batches of 1000: two being stored and two prefetched by
				// each of two processes, and some that wait for a retry.
				MaxAckPending: 10_000,
			}},
		},
		{
			Name:            StreamMail,
			Description:     "Mail to be sent.",
			Subjects:        []string{"mail.*.>"},
			MaxAge:          7 * day,
			DuplicateWindow: time.Hour,
			MaxMessageBytes: maxEventBytes,
			Consumers: []Consumer{{
				Name:        ConsumerMailer,
				Description: "Hands mail to the SMTP relay.",
				// The mailer reports progress while an SMTP dialogue lasts; a
				// customer whose mail a killed one held waits this long.
				AckWait: 30 * time.Second,
				// Mails deferred by their receivers wait here for up to hours;
				// those of one large provider must not hold up all others.
				MaxAckPending: 20_000,
			}},
		},
		{
			Name:            StreamEnrollment,
			Description:     "Facts about enrollments, free of personal data.",
			Subjects:        []string{"enrollment.*.>"},
			MaxAge:          400 * day,
			DuplicateWindow: time.Hour,
			MaxMessageBytes: maxEventBytes,
			Consumers: []Consumer{
				{
					Name:        ConsumerProgress,
					Description: "Moves an enrollment on after its mail went out or failed.",
					Filters:     []string{"enrollment.*.activation-mailed", "enrollment.*.activation-mail-failed"},
					AckWait:     30 * time.Second,
					// Single transactions, no batches; the rest is for retries.
					MaxAckPending: 5_000,
				},
				{
					Name:          ConsumerFunnel,
					Description:   "Builds journeys and reports, in batches.",
					AckWait:       30 * time.Second,
					MaxAckPending: 10_000, // as codes
				},
				{
					Name:          ConsumerAnalytics,
					Description:   "Facts for readers outside of Bill Center.",
					AckWait:       30 * time.Second,
					MaxAckPending: 10_000,
				},
			},
		},
		{
			Name:            StreamRequests,
			Description:     "What Bill Center asks of billing.",
			Subjects:        []string{"requests.*.>"},
			MaxAge:          30 * day,
			DuplicateWindow: time.Hour,
			MaxMessageBytes: maxEventBytes,
		},
		{
			Name:        StreamDeadLetter,
			Description: "Messages that were given up, sealed.",
			Subjects:    []string{"deadletter.>"},
			MaxAge:      90 * day,
			// A consumer that died between burying a message and terminating
			// it may stay down over night.
			DuplicateWindow: day,
			MaxMessageBytes: maxDeadLetterBytes,
		},
	}
}

// BillingConsumer is the durable consumer with which a tenant's billing system
// reads what is asked of it. Each has one of its own, since permissions are
// given by consumer.
func BillingConsumer(tenant string) string { return "billing-" + tenant }

// ForTenants returns the topology with the consumers that each tenant has.
func (t Topology) ForTenants(tenants ...string) Topology {
	t = slices.Clone(t)
	i := slices.IndexFunc(t, func(s Stream) bool { return s.Name == StreamRequests })
	if i < 0 {
		return t
	}
	t[i].Consumers = slices.Clone(t[i].Consumers)
	for _, tenant := range tenants {
		t[i].Consumers = append(t[i].Consumers, Consumer{
			Name:          BillingConsumer(tenant),
			Description:   "What is asked of the billing system of " + tenant + ".",
			Filters:       []string{"requests." + tenant + ".>"},
			AckWait:       30 * time.Second,
			MaxAckPending: 1_000,
		})
	}
	return t
}

// Stream returns the stream that the consumer reads.
func (t Topology) Stream(consumer string) (Stream, error) {
	for _, s := range t {
		for _, c := range s.Consumers {
			if c.Name == consumer {
				return s, nil
			}
		}
	}
	return Stream{}, fmt.Errorf("consumer %q is not part of the topology", consumer)
}

func (s Stream) consumer(name string) (Consumer, bool) {
	for _, c := range s.Consumers {
		if c.Name == name {
			return c, true
		}
	}
	return Consumer{}, false
}

// config leaves replicas, placement and MaxBytes to the operator.
func (s Stream) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               s.Name,
		Description:        s.Description,
		Subjects:           s.Subjects,
		Retention:          jetstream.LimitsPolicy,
		Storage:            jetstream.FileStorage,
		Discard:            jetstream.DiscardNew,
		MaxAge:             s.MaxAge,
		Duplicates:         s.DuplicateWindow,
		MaxMsgSize:         s.MaxMessageBytes,
		MaxMsgs:            -1,
		MaxMsgsPerSubject:  -1,
		MaxBytes:           -1,
		MaxConsumers:       -1,
		Replicas:           1,
		AllowDirect:        true,
		AllowAtomicPublish: true,
	}
}

func (c Consumer) config() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Name:           c.Name,
		Durable:        c.Name,
		Description:    c.Description,
		FilterSubjects: c.Filters,
		DeliverPolicy:  jetstream.DeliverAllPolicy,
		ReplayPolicy:   jetstream.ReplayInstantPolicy,
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        c.AckWait,
		MaxDeliver:     -1,
		MaxAckPending:  c.MaxAckPending,
	}
}
