package nats_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/mongotel/billcenter/events/bus"
)

// The README's steps, on a broker that stays up.
func TestATenantIsAddedWithoutInterruption(t *testing.T) {
	broker := migrated(t)
	others := connect(t, broker, core)
	lost := make(chan struct{}, 1)
	others.SetDisconnectErrHandler(func(*nats.Conn, error) { lost <- struct{}{} })

	const tenant = "nova"
	secret := broker.NewPassword(t, "billing-"+tenant)
	broker.Edit(t, "secrets.conf", func(text string) string { return text + secret })
	broker.Edit(t, "accounts.conf", func(text string) string {
		named := strings.NewReplacer("BILLING_ACME", "BILLING_NOVA", "acme", tenant)
		exports := regexp.MustCompile(`(?m)^      \{.*accounts: \[BILLING_ACME\] \}\n`)
		account := regexp.MustCompile(`(?ms)^  BILLING_ACME \{\n.*?^  \}\n`)
		if n := len(exports.FindAllString(text, -1)); n != 4 {
			t.Fatalf("acme has %d exports, the README says four", n)
		}
		all := strings.Join(exports.FindAllString(text, -1), "")
		text = strings.Replace(text, all, all+named.Replace(all), 1)
		block := account.FindString(text)
		return strings.Replace(text, block, block+"\n"+named.Replace(block), 1)
	})
	// The server learns of a new account in one reload, and follows its imports
	// only from the next one on.
	broker.Reload(t)
	broker.Reload(t)
	staff, err := bus.Dial(t.Context(), bus.Options{
		URL: broker.URL(operator), RootCAFile: broker.CAFile, Topology: bus.DefaultTopology().ForTenants("mongo", "acme", tenant),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer staff.Close()
	if _, err := staff.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}

	nova := connect(t, broker, "billing-"+tenant)
	for subject, may := range map[string]bool{
		"billing.nova.invoice.emailed":                      true,
		"$JS.API.CONSUMER.INFO.REQUESTS.billing-nova":       true,
		"$JS.API.CONSUMER.MSG.NEXT.REQUESTS.billing-nova":   true,
		"$JS.ACK.REQUESTS.billing-nova.1.999999.999999.1.0": true,
		"billing.acme.invoice.emailed":                      false,
		"$JS.API.CONSUMER.MSG.NEXT.REQUESTS.billing-acme":   false,
		"$JS.ACK.REQUESTS.billing-acme.1.999999.999999.1.0": false,
		"mail.nova.activation.requested":                    false,
		"enrollment.nova.activation-mailed":                 false,
		"$JS.API.CONSUMER.MSG.NEXT.ENROLLMENT.analytics":    false,
	} {
		if _, err := ask(nova, &nats.Msg{Subject: subject, Data: []byte("{")}); (err == nil) != may {
			t.Errorf("%s: may %v, but the broker says %v", subject, may, err)
		}
	}
	for user, may := range map[string]bool{mongo: false, acme: false, mailer: false, operator: true} {
		if _, err := ask(connect(t, broker, user), &nats.Msg{Subject: "billing.nova.invoice.emailed"}); (err == nil) != may {
			t.Errorf("%s for nova: may %v, but the broker says %v", user, may, err)
		}
	}
	if _, err := ask(others, &nats.Msg{Subject: "mail.mongo.activation.requested"}); err != nil {
		t.Error(err)
	}
	select {
	case <-lost:
		t.Error("a connection of another was lost")
	default:
	}
}

func TestAPasswordThatWasReplacedIsWorthNothing(t *testing.T) {
	broker := migrated(t)
	old := broker.URL(mailer)
	nc := connect(t, broker, mailer)
	lost := make(chan error, 1)
	nc.SetDisconnectErrHandler(func(_ *nats.Conn, err error) { lost <- err })
	fresh := broker.NewPassword(t, mailer)
	broker.Edit(t, "secrets.conf", func(text string) string {
		return regexp.MustCompile(`(?m)^MAILER_PASSWORD:.*\n`).ReplaceAllLiteralString(text, fresh)
	})
	broker.Reload(t)
	<-lost
	if again, err := nats.Connect(old, nats.RootCAs(broker.CAFile)); !errors.Is(err, nats.ErrAuthorization) {
		if err == nil {
			again.Close()
		}
		t.Errorf("the old password: got %v", err)
	}
	if _, err := ask(connect(t, broker, mailer), &nats.Msg{Subject: "$JS.API.CONSUMER.INFO.MAIL.mailer"}); err != nil {
		t.Errorf("the new password: %v", err)
	}
}
