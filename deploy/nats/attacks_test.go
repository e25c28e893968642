package nats_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/mongotel/billcenter/deploy/nats/natstest"
	"github.com/mongotel/billcenter/events/bus"
)

// An attack asks the broker for something that the user may have, in a way that
// makes it act on something that the user may not touch.
type attack struct {
	name    string
	user    string
	subject string
	reply   string // empty for an inbox
	data    string
	header  nats.Header
	stores  string // stream and subject of what the user may store by it, if the broker takes it at all
}

const (
	pull      = `{"batch":1,"no_wait":true}`
	pullLater = `{"batch":1,"expires":1000000000}`
)

var attacks = []attack{
	{name: "the acknowledgement of an event becomes mail to be sent", user: mongo,
		subject: "billing.mongo.invoice.emailed", reply: "mail.mongo.activation.requested", stores: "BILLING billing.mongo.invoice.emailed"},
	{name: "the acknowledgement of an event becomes another tenant's event", user: mongo,
		subject: "billing.mongo.invoice.emailed", reply: "billing.acme.invoice.emailed", stores: "BILLING billing.mongo.invoice.emailed"},
	{name: "the acknowledgement of an event becomes a fact", user: mongo,
		subject: "billing.mongo.invoice.emailed", reply: "enrollment.mongo.activated", stores: "BILLING billing.mongo.invoice.emailed"},
	{name: "the acknowledgement of an outcome becomes an invoice", user: mailteam,
		subject: "enrollment.mongo.activation-mailed", reply: "billing.mongo.invoice.emailed", stores: "ENROLLMENT enrollment.mongo.activation-mailed"},
	{name: "the acknowledgement of an event purges a stream", user: mongo,
		subject: "billing.mongo.invoice.emailed", reply: "$JS.API.STREAM.PURGE.MAIL"},
	{name: "the acknowledgement of an event deletes a stream", user: mongo,
		subject: "billing.mongo.invoice.emailed", reply: "$JS.API.STREAM.DELETE.MAIL"},
	{name: "the acknowledgement of an event is written over the answer to another service", user: mongo,
		subject: "billing.mongo.invoice.emailed", reply: "_R_.anything", stores: "BILLING billing.mongo.invoice.emailed"},

	{name: "queued mail becomes an invoice", user: mailteam,
		subject: "$JS.API.CONSUMER.MSG.NEXT.MAIL.mailer", reply: "billing.mongo.invoice.emailed", data: pull},
	{name: "queued mail becomes an invoice, in a request that waits", user: mailteam,
		subject: "$JS.API.CONSUMER.MSG.NEXT.MAIL.mailer", reply: "billing.mongo.invoice.emailed", data: pullLater},
	{name: "queued mail becomes a request to billing", user: mailteam,
		subject: "$JS.API.CONSUMER.MSG.NEXT.MAIL.mailer", reply: "requests.mongo.code-reissue.requested", data: pull},
	{name: "queued mail becomes a dead letter", user: mailteam,
		subject: "$JS.API.CONSUMER.MSG.NEXT.MAIL.mailer", reply: "deadletter.mailer.mongo", data: pull},
	{name: "queued mail becomes a fact", user: mailer,
		subject: "$JS.API.CONSUMER.MSG.NEXT.MAIL.mailer", reply: "enrollment.mongo.activated", data: pull},
	{name: "a fact becomes an invoice", user: analytics,
		subject: "$JS.API.CONSUMER.MSG.NEXT.ENROLLMENT.analytics", reply: "billing.mongo.invoice.emailed", data: pull},
	{name: "a fact becomes an outcome of mail", user: analytics,
		subject: "$JS.API.CONSUMER.MSG.NEXT.ENROLLMENT.analytics", reply: "enrollment.mongo.activation-mailed", data: pull},
	{name: "a request to billing becomes mail", user: mongo,
		subject: "$JS.API.CONSUMER.MSG.NEXT.REQUESTS.billing-mongo", reply: "mail.mongo.activation.requested", data: pull},
	{name: "an acknowledgement that asks for more makes an invoice of it", user: mailteam,
		subject: "$JS.ACK.MAIL.mailer.1.999999.999999.1.0", reply: "billing.mongo.invoice.emailed", data: "+NXT " + pull},
	{name: "the state of a consumer becomes an invoice", user: mailteam,
		subject: "$JS.API.CONSUMER.INFO.MAIL.mailer", reply: "billing.mongo.invoice.emailed"},

	// The status of a request that finds nothing has no payload, and an
	// acknowledgement without payload is one.
	{name: "an empty answer acknowledges what codes has not stored", user: mailteam,
		subject: "$JS.API.CONSUMER.MSG.NEXT.MAIL.mailer", reply: "$JS.ACK.BILLING.codes.1.1.1.1.0", data: `{"no_wait":true,"batch":`},
	{name: "an empty answer acknowledges what codes has not stored, by way of facts", user: analytics,
		subject: "$JS.API.CONSUMER.MSG.NEXT.ENROLLMENT.analytics", reply: "$JS.ACK.BILLING.codes.1.1.1.1.0", data: `{"no_wait":true,"batch":`},
	{name: "the acknowledgement of an event acknowledges what codes has not stored", user: mongo,
		subject: "billing.mongo.invoice.emailed", reply: "$JS.ACK.BILLING.codes.1.1.1.1.0", stores: "BILLING billing.mongo.invoice.emailed"},

	{name: "the trace of an event becomes mail to be sent", user: mongo,
		subject: "billing.mongo.invoice.emailed", header: nats.Header{"Nats-Trace-Dest": {"mail.mongo.activation.requested"}}, stores: "BILLING billing.mongo.invoice.emailed"},
	{name: "a header says that the request comes from another account", user: mailteam,
		subject: "$JS.API.CONSUMER.MSG.NEXT.MAIL.mailer", data: pull,
		header: nats.Header{"Nats-Request-Info": {`{"acc":"OPERATOR","svc":"CORE","user":"operator","reply":"billing.mongo.invoice.emailed"}`}}},
	{name: "a header replaces all that the stream holds", user: mongo,
		subject: "billing.mongo.invoice.emailed", header: nats.Header{"Nats-Rollup": {"all"}}},
	{name: "a header schedules an event on another subject", user: mongo,
		subject: "billing.mongo.invoice.emailed", header: nats.Header{"Nats-Schedule": {"@at 2020-01-01T00:00:00Z"}, "Nats-Schedule-Target": {"billing.acme.invoice.emailed"}}},
	{name: "a header lets an event vanish before it was read", user: mongo,
		subject: "billing.mongo.invoice.emailed", header: nats.Header{"Nats-TTL": {"1s"}}},
}

func TestTheBrokerIsNobodysDeputy(t *testing.T) {
	t.Run("as deployed", func(t *testing.T) { launchAll(t) })
	t.Run("by the accounts alone", func(t *testing.T) { launchAll(t, withoutPermissions) })
}

func launchAll(t *testing.T, adjust ...func(*server.Options)) {
	broker := migrated(t, adjust...)
	stage := setStage(t, broker)
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			before := stage.state(t)
			nc := connect(t, broker, a.user)
			reply := a.reply
			if reply == "" {
				reply = nc.NewInbox()
			}
			if err := nc.PublishMsg(&nats.Msg{Subject: a.subject, Reply: reply, Data: []byte(a.data), Header: a.header}); err != nil {
				t.Fatal(err)
			}
			if err := nc.FlushTimeout(patience); err != nil {
				t.Fatal(err)
			}
			stage.settle(t)
			after := stage.state(t)
			if a.stores != "" && after.stored[a.stores] == before.stored[a.stores]+1 {
				before.stored[a.stores]++
			}
			if diff := cmp.Diff(before, after, cmp.AllowUnexported(state{})); diff != "" {
				t.Errorf("what the streams hold and codes has acknowledged (-before +after):\n%s", diff)
			}
		})
	}

	// The same within one account, which is what an account per service is for.
	t.Run("control", func(t *testing.T) {
		before := stage.state(t)
		nc := connect(t, broker, core)
		for _, subject := range []string{"$JS.API.CONSUMER.MSG.NEXT.MAIL.mailer", "mail.mongo.activation.requested"} {
			if err := nc.PublishRequest(subject, "billing.mongo.forged", []byte(pull)); err != nil {
				t.Fatal(err)
			}
		}
		// A delivery keeps its subject, even in a stream that is for others.
		stage.settle(t)
		after := stage.state(t)
		for _, forged := range []string{"BILLING mail.mongo.activation.requested", "BILLING billing.mongo.forged"} {
			if after.stored[forged] != before.stored[forged]+1 {
				t.Errorf("%s was not stored: either the server prevents it now, or nothing above is proven", forged)
			}
		}
	})
}

// A stage is a broker on which there is something to take and to destroy.
type stage struct {
	operator *nats.Conn
	bus      *bus.Bus
}

type state struct {
	stored       map[string]int // by stream and subject
	acknowledged uint64         // by codes, up to this sequence
	delivered    int            // to codes, and not acknowledged
}

func setStage(t *testing.T, broker *natstest.Broker) *stage {
	t.Helper()
	s := &stage{connect(t, broker, operator), dial(t, broker, operator)}
	for _, subject := range []string{
		"billing.mongo.invoice.emailed", "billing.acme.invoice.emailed", "mail.mongo.activation.requested", "mail.acme.activation.requested",
		"enrollment.mongo.registered", "enrollment.mongo.activated", "requests.mongo.code-reissue.requested", "deadletter.codes.mongo",
	} {
		for i := range 10 { // more than all attacks together take
			if _, err := ask(s.operator, &nats.Msg{Subject: subject, Data: fmt.Append(nil, i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Work that codes has and has not acknowledged.
	if _, err := dial(t, broker, core).Pull(t.Context(), bus.ConsumerCodes, 5, patience); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stage) state(t *testing.T) state {
	t.Helper()
	now := state{stored: stored(t, s.operator)}
	maps.DeleteFunc(now.stored, func(key string, _ int) bool { return strings.HasSuffix(key, fence) })
	status, err := s.bus.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, stream := range status {
		for _, c := range stream.Consumers {
			if c.Name == bus.ConsumerCodes {
				now.acknowledged, now.delivered = c.AckFloor, c.AckPending
			}
		}
	}
	return now
}

const fence = ".fence.passed"

// settle waits until the broker has done what it was asked to before: an answer
// that becomes a message passes the same queues as the answers that follow it. The
// control shows that it is enough.
func (s *stage) settle(t *testing.T) {
	t.Helper()
	for range 3 {
		for _, domain := range []string{"billing", "mail", "enrollment", "requests", "deadletter"} {
			if _, err := ask(s.operator, &nats.Msg{Subject: domain + fence}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Nobody hears what passes between others, nor can speak into it.
func TestNobodyListensInOrSpeaksForOthers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		adjust []func(*server.Options)
	}{{name: "as deployed"}, {"by the accounts alone", []func(*server.Options){withoutPermissions}}} {
		t.Run(tt.name, func(t *testing.T) {
			broker := migrated(t, tt.adjust...)
			listeners := map[string]*nats.Subscription{}
			patterns := []string{">", "*.>", "billing.>", "mail.>", "enrollment.>", "requests.>", "deadletter.>", "$JS.>", "$JS.ACK.>", "_R_.>", "_INBOX.>"}
			for _, user := range append(slices.Clone(services), operator) {
				nc := connect(t, broker, user)
				for _, p := range patterns {
					sub, err := nc.SubscribeSync(p)
					if err != nil {
						t.Fatal(err)
					}
					listeners[user+" "+p] = sub
				}
				if err := nc.FlushTimeout(patience); err != nil {
					t.Fatal(err)
				}
				if denied := nc.LastError() != nil; denied != (user != operator && tt.adjust == nil) {
					t.Errorf("%s: subscriptions denied: %v (%v)", user, denied, nc.LastError())
				}
			}

			working := connect(t, broker, core)
			inbox := working.NewInbox()
			answers, err := working.SubscribeSync(inbox)
			if err != nil {
				t.Fatal(err)
			}
			billing := connect(t, broker, mongo) // its own account hears what it says itself
			if _, err := ask(billing, &nats.Msg{Subject: "billing.mongo.invoice.emailed", Data: []byte("a code")}); err != nil {
				t.Fatal(err)
			}
			for _, subject := range []string{"mail.mongo.activation.requested", "enrollment.mongo.registered", "requests.mongo.code-reissue.requested", "deadletter.codes.mongo"} {
				if _, err := ask(working, &nats.Msg{Subject: subject, Data: []byte("a secret")}); err != nil {
					t.Fatal(err)
				}
			}
			for _, user := range services {
				nc := connect(t, broker, user)
				if err := nc.Publish(inbox, []byte("forged by "+user)); err != nil {
					t.Fatal(err)
				}
				if err := nc.FlushTimeout(patience); err != nil {
					t.Fatal(err)
				}
			}
			if err := working.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.BILLING.codes", inbox, []byte(pull)); err != nil {
				t.Fatal(err)
			}
			if m, err := answers.NextMsg(patience); err != nil || string(m.Data) != "a code" {
				t.Fatalf("codes heard %v, %v", m, err)
			}
			if more, _, _ := answers.Pending(); more > 0 {
				t.Errorf("codes heard %d messages more", more)
			}
			for who, sub := range listeners {
				for n, _, _ := sub.Pending(); n > 0; n-- {
					m, err := sub.NextMsg(patience)
					if err != nil {
						t.Fatal(err)
					}
					own := strings.HasPrefix(who, mongo) && (m.Subject == "billing.mongo.invoice.emailed" || strings.HasPrefix(m.Subject, "_INBOX.")) ||
						strings.HasPrefix(string(m.Data), "forged by "+strings.Fields(who)[0]) ||
						strings.HasPrefix(who, operator) && strings.HasPrefix(m.Subject, "$JS.EVENT.")
					if !own {
						t.Errorf("%s heard %q on %s", who, m.Data, m.Subject)
					}
				}
			}
		})
	}
}
