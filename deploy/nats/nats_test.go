package nats_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mongotel/billcenter/deploy/nats/natstest"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
)

var update = flag.Bool("update", false, "write the table into README.md")

// patience is for answers that must come; none is waited for that must not.
const patience = 20 * time.Second

// Every user tries everything. The broker's own word decides whether it was let:
// an answer, a permissions violation, or that nobody hears the subject.
func TestEveryUserMayDoWhatTheTableSaysAndNothingElse(t *testing.T) {
	broker := migrated(t)
	if got := slices.Sorted(slices.Values(broker.Users())); !slices.Equal(got, slices.Sorted(slices.Values(users))) {
		t.Fatalf("users are %v, the matrix knows %v", got, users)
	}
	acknowledged := map[string]int{}
	for _, user := range users {
		nc := connect(t, broker, user)
		for _, r := range matrix() {
			may := slices.Contains(r.may, user)
			for _, subject := range r.subjects {
				answer, err := ask(nc, &nats.Msg{Subject: subject, Data: []byte("{")})
				switch {
				case err == nil && r.store && may:
					ack := pubAck(t, answer)
					if ack.Error != nil {
						t.Errorf("%s may %s, but %s: %s", user, r.does, subject, answer.Data)
					}
					acknowledged[ack.Stream+" "+subject]++
				case (err == nil) != may:
					t.Errorf("%s, %s: may %v, but the broker says %v", user, subject, may, err)
				case err != nil && !errors.Is(err, nats.ErrPermissionViolation) && !errors.Is(err, nats.ErrNoResponders):
					t.Errorf("%s, %s: %v", user, subject, err)
				}
			}
		}
	}
	if diff := cmp.Diff(acknowledged, stored(t, connect(t, broker, operator))); diff != "" {
		t.Errorf("what the streams hold (-acknowledged +stored):\n%s", diff)
	}
}

func TestTheReadmeShowsTheMatrix(t *testing.T) {
	const from, to = "<!-- matrix -->\n", "<!-- /matrix -->"
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), from)
	shown, after, closed := strings.Cut(rest, to)
	if !ok || !closed {
		t.Fatal("README.md has no place for the matrix")
	}
	if *update {
		if err := os.WriteFile("README.md", []byte(before+from+table()+to+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(table(), shown); diff != "" {
		t.Errorf("run `go test ./deploy/nats -update` (-matrix +README):\n%s", diff)
	}
}

// migrated starts a broker and does what `billcenter migrate` does, as the operator.
func migrated(t *testing.T, adjust ...func(*server.Options)) *natstest.Broker {
	t.Helper()
	broker := natstest.Start(t, adjust...)
	if _, err := dial(t, broker, operator).Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	return broker
}

// dial connects as one of our programs does.
func dial(t *testing.T, broker *natstest.Broker, user string) *bus.Bus {
	t.Helper()
	b, err := bus.Dial(t.Context(), bus.Options{
		URL: broker.URL(user), RootCAFile: broker.CAFile, Name: t.Name(), Topology: topology(), Sealer: bustest.Sealer{},
	})
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// connect connects as a foreign program does.
func connect(t *testing.T, broker *natstest.Broker, user string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(broker.URL(user), nats.RootCAs(broker.CAFile), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// ask publishes the message and returns the answer, nats.ErrPermissionViolation,
// or nats.ErrNoResponders. A violation is known once the broker has answered the
// ping that follows the message.
func ask(nc *nats.Conn, msg *nats.Msg) (*nats.Msg, error) {
	if msg.Reply == "" {
		msg.Reply = nc.NewInbox()
	}
	sub, err := nc.SubscribeSync(msg.Reply)
	if err != nil {
		return nil, err
	}
	defer sub.Unsubscribe()
	if err := nc.PublishMsg(msg); err != nil {
		return nil, err
	}
	if err := nc.FlushTimeout(patience); err != nil {
		return nil, err
	}
	if err := nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `"`+msg.Subject+`"`) {
		return nil, err
	}
	answer, err := sub.NextMsg(patience)
	if err != nil {
		return nil, err
	}
	if err := nc.FlushTimeout(patience); err != nil {
		return nil, err
	}
	if more, _, _ := sub.Pending(); more > 0 {
		return nil, errors.New("answered more than once")
	}
	var refusal struct {
		Error struct {
			Code int `json:"err_code"`
		} `json:"error"`
	}
	const notInThisAccount = 10039 // JetStream is not enabled for it
	if json.Unmarshal(answer.Data, &refusal) == nil && refusal.Error.Code == notInThisAccount {
		return nil, nats.ErrNoResponders
	}
	return answer, nil
}

type ack struct {
	Stream string
	Seq    uint64
	Error  *struct{ Description string }
}

func pubAck(t *testing.T, answer *nats.Msg) ack {
	t.Helper()
	var a ack
	if err := json.Unmarshal(answer.Data, &a); err != nil {
		t.Errorf("answer to %s: %v", answer.Subject, err)
	}
	return a
}

// stored counts what all streams hold, by stream and subject: what was made to be
// stored by a delivery stands in one stream under the subject of another.
func stored(t *testing.T, operator *nats.Conn) map[string]int {
	t.Helper()
	js, err := jetstream.New(operator)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, s := range topology() {
		stream, err := js.Stream(t.Context(), s.Name)
		if err != nil {
			t.Fatal(err)
		}
		info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(">"))
		if err != nil {
			t.Fatal(err)
		}
		for subject, n := range info.State.Subjects {
			counts[s.Name+" "+subject] = int(n)
		}
	}
	return counts
}
