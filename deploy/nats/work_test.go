package nats_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/mongotel/billcenter/deploy/nats/natstest"
	"github.com/mongotel/billcenter/events/bus"
)

// What is left to everyone is enough: each service does its work with its own
// user, through the same code as in production.
func TestEveryoneCanDoTheirWork(t *testing.T) {
	broker := migrated(t)
	roles, staff := dial(t, broker, core), dial(t, broker, operator)

	for _, tenant := range []string{"mongo", "acme"} {
		billing := dial(t, broker, "billing-"+tenant)
		publish(t, billing, some(1, "billing."+tenant+".invoice.emailed"))
		publish(t, billing, some(30, "billing."+tenant+".account.closed")) // an atomic batch
		publish(t, roles, some(2, "requests."+tenant+".code-reissue.requested"))
	}
	settled(t, roles, bus.ConsumerCodes, 62)
	if upTo, err := roles.PurgeBelowAckFloor(t.Context(), bus.ConsumerCodes); err != nil || upTo != 62 {
		t.Errorf("purged up to %d, %v", upTo, err)
	}
	for _, tenant := range []string{"mongo", "acme"} {
		billing := dial(t, broker, "billing-"+tenant)
		for _, in := range settled(t, billing, bus.BillingConsumer(tenant), 2) {
			if !strings.HasPrefix(in.Subject, "requests."+tenant+".") {
				t.Errorf("billing of %s was asked on %s", tenant, in.Subject)
			}
		}
	}

	for i, worker := range []string{mailer, mailteam} {
		publish(t, roles, some(3, fmt.Sprintf("mail.mongo.work-%d.requested", i)))
		b := dial(t, broker, worker)
		settled(t, b, bus.ConsumerMailer, 3)
		publish(t, b, some(1, fmt.Sprintf("enrollment.tenant-%d.activation-mailed", i)))
		publish(t, b, some(20, fmt.Sprintf("enrollment.tenant-%d.activation-mail-failed", i)))
	}
	publish(t, roles, some(1, "mail.mongo.odd.requested"))
	own := dial(t, broker, mailer)
	batch, err := own.Pull(t.Context(), bus.ConsumerMailer, 1, patience)
	if err != nil {
		t.Fatal(err)
	}
	if err := own.Bury(t.Context(), batch[0], bus.Verdict{Reason: "type-unknown"}); err != nil {
		t.Error(err)
	}

	for user, consumer := range map[string]string{analytics: bus.ConsumerAnalytics, core: bus.ConsumerFunnel} {
		settled(t, dial(t, broker, user), consumer, 42)
	}
	settled(t, roles, bus.ConsumerProgress, 42)

	if err := staff.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	letters := 0
	for l, err := range staff.DeadLetters(t.Context(), bus.DeadLetterFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		letters++
		if err := staff.Replay(t.Context(), l.ID); err != nil {
			t.Error(err)
		}
	}
	if letters != 1 {
		t.Errorf("%d dead letters, want 1", letters)
	}
	settled(t, own, bus.ConsumerMailer, 1)

	err = dial(t, broker, mongo).Publish(t.Context(), some(20, "billing.acme.invoice.emailed")...)
	if !errors.Is(err, bus.ErrDenied) || !strings.Contains(err.Error(), "billing.acme.invoice.emailed") {
		t.Errorf("billing of mongo for acme: got %v", err)
	}
}

func some(n int, subject string) []bus.Outgoing {
	all := make([]bus.Outgoing, n)
	for i := range all {
		all[i] = bus.Outgoing{Subject: subject, ID: fmt.Sprintf("%s#%d", subject, i), Data: []byte("{}")}
	}
	return all
}

func publish(t *testing.T, b *bus.Bus, out []bus.Outgoing) {
	t.Helper()
	if err := b.Publish(t.Context(), out...); err != nil {
		t.Fatal(err)
	}
}

// settled verifies the consumer as a worker does, takes n messages and acknowledges
// them.
func settled(t *testing.T, b *bus.Bus, consumer string, n int) []*bus.Incoming {
	t.Helper()
	if err := b.Verify(t.Context(), consumer); err != nil {
		t.Fatal(err)
	}
	var all []*bus.Incoming
	for len(all) < n {
		batch, err := b.Pull(t.Context(), consumer, n-len(all), patience)
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 {
			t.Fatalf("%s: %d messages, want %d", consumer, len(all), n)
		}
		if err := bus.AckAll(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		all = append(all, batch...)
	}
	return all
}

func TestNobodyComesInWithoutTheirPassword(t *testing.T) {
	broker := natstest.Start(t)
	_, withPassword, _ := strings.Cut(broker.URL(mongo), "://")
	password, address, _ := strings.Cut(strings.TrimPrefix(withPassword, mongo+":"), "@")
	trusted := nats.RootCAs(broker.CAFile)
	for _, tt := range []struct {
		name    string
		url     string
		options []nats.Option
	}{
		{"without a name", "tls://" + address, []nats.Option{trusted}},
		{"with a wrong password", "tls://" + mongo + ":wrong@" + address, []nats.Option{trusted}},
		{"with another's password", "tls://" + operator + ":" + password + "@" + address, []nats.Option{trusted}},
		{"as nobody that exists", "tls://admin:" + password + "@" + address, []nats.Option{trusted}},
		{"to a broker that cannot prove itself", broker.URL(mongo), nil},
	} {
		nc, err := nats.Connect(tt.url, tt.options...)
		if err == nil {
			nc.Close()
			t.Errorf("%s: connected", tt.name)
		}
	}
	// A client that asks for no TLS gets it all the same, or nothing.
	nc, err := nats.Connect("nats://"+withPassword, trusted)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.TLSConnectionState(); err != nil {
		t.Errorf("a connection in plaintext: %v", err)
	}
}

func TestTheServerIsSetUpToLoseNothing(t *testing.T) {
	o := natstest.Start(t).Options
	if !o.JetStream || !o.SyncAlways || o.StoreDir != "/data" {
		t.Errorf("JetStream %v, sync_interval always %v, store_dir %s", o.JetStream, o.SyncAlways, o.StoreDir)
	}
	if o.JetStreamKey == "" || o.JetStreamCipher != server.AES {
		t.Error("not encrypted at rest")
	}
	if o.MaxPayload != 1<<20 {
		t.Errorf("max_payload is %d, a dead letter needs 1 MiB", o.MaxPayload)
	}
	if o.TLSConfig == nil || o.AllowNonTLS {
		t.Error("plaintext is allowed")
	}
	if o.HTTPHost != "127.0.0.1" || o.HTTPPort != 8222 || o.HTTPSPort != 0 {
		t.Errorf("monitoring on %s:%d", o.HTTPHost, o.HTTPPort)
	}
	if o.Websocket.Port != 0 || o.MQTT.Port != 0 || o.LeafNode.Port != 0 || o.Gateway.Port != 0 || o.Cluster.Port != 0 || o.ProfPort != 0 || len(o.LeafNode.Remotes) != 0 {
		t.Error("a port is open that nobody needs")
	}
	if o.NoAuthUser != "" || o.SystemAccount != "SYS" || len(o.Users) != len(users) || len(o.Nkeys) != 0 {
		t.Errorf("users %d, no_auth_user %q, system account %q", len(o.Users), o.NoAuthUser, o.SystemAccount)
	}
	for _, u := range o.Users {
		if !strings.HasPrefix(u.Password, "$2") {
			t.Errorf("the password of %s is not hashed", u.Username)
		}
	}
}
