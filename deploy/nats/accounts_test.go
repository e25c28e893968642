package nats_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// services are the users in accounts of their own that are not trusted with
// everything.
var services = []string{mongo, acme, mailer, mailteam, analytics}

// The permissions of the users are the second wall. This is the first: what the
// accounts import and export has to hold by itself. Every request is a valid one,
// so that it would take effect if it got through.
func TestTheAccountsAloneHoldEveryoneBack(t *testing.T) {
	broker := migrated(t, withoutPermissions)
	watching := connect(t, broker, operator)
	for _, s := range []string{"billing.mongo.x", "mail.mongo.x", "enrollment.mongo.x", "requests.mongo.x", "deadletter.codes.mongo"} {
		if _, err := ask(watching, &nats.Msg{Subject: s}); err != nil {
			t.Fatal(err)
		}
	}
	before := stored(t, watching)
	for _, user := range services {
		nc := connect(t, broker, user)
		inbox := nc.NewInbox()
		answers, err := nc.SubscribeSync(inbox + ".*")
		if err != nil {
			t.Fatal(err)
		}
		var forbidden []string
		var allowed string
		for _, r := range matrix() {
			switch may := slices.Contains(r.may, user); {
			case may && strings.HasPrefix(r.does, "look at"):
				allowed = r.subjects[0]
			case !may && !strings.Contains(r.does, "$SYS"): // a server answers each account about itself
				forbidden = append(forbidden, r.subjects...)
			}
		}
		for i, subject := range forbidden {
			if err := nc.PublishRequest(subject, inbox+"."+strconv.Itoa(i), body(subject)); err != nil {
				t.Fatal(err)
			}
		}
		// The broker handles the requests of a connection in their order.
		if _, err := ask(nc, &nats.Msg{Subject: allowed}); err != nil {
			t.Fatalf("%s, %s: %v", user, allowed, err)
		}
		for n, _, _ := answers.Pending(); n > 0; n-- {
			answer, err := answers.NextMsg(patience)
			if errors.Is(err, nats.ErrNoResponders) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if !refusal(answer) {
				asked := "what delivers " + answer.Subject // a delivery has no other
				if i, err := strconv.Atoi(strings.TrimPrefix(answer.Subject, inbox+".")); err == nil {
					asked = forbidden[i]
				}
				t.Errorf("%s, %s: answered with %q %v", user, asked, answer.Data, answer.Header)
			}
		}
	}
	if diff := cmp.Diff(before, stored(t, watching)); diff != "" {
		t.Errorf("the streams (-before +after):\n%s", diff)
	}
	if err := dial(t, broker, operator).Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func withoutPermissions(o *server.Options) {
	for _, u := range o.Users {
		u.Permissions = nil
	}
}

// refusal is an error, be it in the answer of the API or in a status.
func refusal(answer *nats.Msg) bool {
	if status, err := strconv.Atoi(answer.Header.Get("Status")); err == nil && status >= 400 {
		return true
	}
	var said struct{ Error json.RawMessage }
	return json.Unmarshal(answer.Data, &said) == nil && len(said.Error) > 0
}

// body is a request that the subject takes.
func body(subject string) []byte {
	call, ok := strings.CutPrefix(subject, "$JS.API.")
	if !ok {
		return []byte("an event")
	}
	tokens := append(strings.Split(call, "."), "", "", "")
	is := func(prefix string) bool { return strings.HasPrefix(call, prefix) }
	switch {
	case is("CONSUMER.CREATE.") && tokens[3] == "":
		return []byte(`{"stream_name":"` + tokens[2] + `","config":{"ack_policy":"none"}}`)
	case is("CONSUMER.CREATE."):
		return []byte(`{"stream_name":"` + tokens[2] + `","config":{"name":"` + tokens[3] + `","ack_policy":"none"}}`)
	case is("CONSUMER.DURABLE.CREATE."):
		return []byte(`{"stream_name":"` + tokens[3] + `","config":{"durable_name":"` + tokens[4] + `","ack_policy":"none"}}`)
	case is("CONSUMER.MSG.NEXT."):
		return []byte(`{"batch":1,"no_wait":true}`)
	case is("CONSUMER.PAUSE."):
		return []byte(`{"pause_until":"2999-01-01T00:00:00Z"}`)
	case is("CONSUMER.UNPIN."):
		return []byte(`{"group":"x"}`)
	case is("STREAM.CREATE."), is("STREAM.UPDATE."):
		return []byte(`{"name":"` + tokens[2] + `","subjects":["other.>"],"description":"changed"}`)
	case is("STREAM.MSG."), is("DIRECT.GET.") && tokens[3] == "":
		return []byte(`{"seq":1}`)
	case is("STREAM.SNAPSHOT."):
		return []byte(`{"deliver_subject":"snapshot","no_consumers":true}`)
	case is("STREAM.RESTORE."):
		return []byte(`{"config":{"name":"` + tokens[2] + `","subjects":["other.>"]},"state":{}}`)
	}
	return nil
}
