package codes_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

func TestABillRunIsKeptAndLeavesTheBroker(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.Config{})
	run := mixed(t, 3000)
	s.publishes(run.out...)
	s.run(s.worker())
	eventually(t, "all is stored", func() bool { return s.count(`SELECT count(*) FROM inbox`) == run.mails+run.closures+run.methods })
	eventually(t, "nothing of the bill run is left on the broker", s.emptied)
	s.came(run)
	if n := s.facts.tried(); n != len(run.facts) {
		t.Errorf("%d facts were published for %d codes", n, len(run.facts))
	}
}

func TestTwoWorkersShareABillRun(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.Config{})
	run := mixed(t, 1200)
	s.publishes(run.out...)
	other := s.worker()
	conn := s.Dial(bus.Options{})
	other.Bus, other.Facts = conn, consumers.PublishOn(conn)
	s.run(s.worker())
	s.run(other)
	eventually(t, "nothing of the bill run is left on the broker", s.emptied)
	s.came(run)
}

// The id is what lets readers of the facts know a repetition: a build that makes another one counts every customer twice.
func TestWhatTheFactSays(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.Config{})
	dateless := invoice("100482-8", "QX4T88ZK")
	dateless.Invoice.IssuedOn = ""
	dateless.BillingEmail = "bob@gmail.com"
	s.publishes(said(t, tenant, "17", invoice("100482-7", "QX4T88ZK")), said(t, tenant, "18", dateless), said(t, tenant, "19", invoice("100482-9", "")))
	if err := s.worker().Take(t.Context(), s.pulls(3)); err != nil {
		t.Fatal(err)
	}
	facts := s.announced()
	if len(facts) != 2 {
		t.Fatalf("%d facts, want 2", len(facts))
	}
	ref := func(account string) string {
		return storetest.One[string](t, s.db, `SELECT ref FROM accounts WHERE account_key = $1`, account)
	}
	for i, want := range []struct {
		id   string
		data events.Fact
	}{
		{"dd01c619-b063-5b43-bf74-ed11ff7c12c1", events.Fact{AccountRef: ref("1004827"), OccurredAt: emailed,
			Properties: events.Properties{Locale: "en-US", InvoiceMonth: "2026-10", MailDomainClass: "company"}}},
		{invitedID("18"), events.Fact{AccountRef: ref("1004828"), OccurredAt: emailed,
			Properties: events.Properties{Locale: "en-US", InvoiceMonth: "2026-11", MailDomainClass: "freemail"}}},
	} {
		fact, err := events.Data[events.Invited](facts[i])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.data, fact.Fact); diff != "" {
			t.Errorf("fact %d (-want +got):\n%s", i, diff)
		}
		e := facts[i].Envelope
		if e.ID != want.id || e.Source != "//mongo.billcenter.net/codes" || e.Subject != want.data.AccountRef || !e.Time.Equal(emailed) {
			t.Errorf("fact %d came as %+v, want id %s", i, e, want.id)
		}
	}
}

func TestARedeliveryRepeatsItsFactWordByWord(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.Config{})
	s.facts.fail = func(call int) error {
		if call == 1 {
			return errors.New("the broker is away")
		}
		return nil
	}
	s.publishes(said(t, tenant, "1", invoice("100482-7", "QX4T88ZK")))
	w := s.worker()
	if err := w.Take(t.Context(), s.pulls(1)); err == nil {
		t.Error("no error, though the fact was not published")
	}
	if err := w.Take(t.Context(), s.pulls(1)); err != nil {
		t.Error(err)
	}
	if len(s.facts.calls) != 2 {
		t.Fatalf("published %d times, want 2", len(s.facts.calls))
	}
	if diff := cmp.Diff(s.facts.calls[0], s.facts.calls[1]); diff != "" {
		t.Errorf("the fact (-first +second):\n%s", diff)
	}

	// A copy under another sequence, as after a replay, owes no fact.
	again := said(t, tenant, "1", invoice("100482-7", "QX4T88ZK"))
	again.ID += "-again"
	s.publishes(again)
	if err := w.Take(t.Context(), s.pulls(1)); err != nil || len(s.facts.calls) != 2 {
		t.Errorf("err = %v, published %d times, want 2", err, len(s.facts.calls))
	}
}

func TestStoppingFinishesTheBatchAtHand(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.Config{})
	begun, finish := make(chan struct{}), make(chan struct{})
	s.store.before = func(context.Context, int64, []events.Received) error {
		close(begun)
		<-finish
		return nil
	}
	s.publishes(said(t, tenant, "1", invoice("100482-7", "QX4T88ZK")))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.worker().Run(ctx) }()
	<-begun
	cancel()
	close(finish)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if n := s.count(`SELECT count(*) FROM invoice_emails`); n != 1 || len(s.invitations()) != 1 {
		t.Errorf("%d mails kept", n)
	}
	if !s.emptied() {
		t.Error("the worker left a code behind on the broker")
	}
}

// What a worker acknowledged and was killed before purging would otherwise stay until the next bill run.
func TestAWorkerPurgesWhatAnotherOneStored(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.Config{})
	s.publishes(said(t, tenant, "1", invoice("100482-7", "QX4T88ZK")))
	if err := s.worker().Take(t.Context(), s.pulls(1)); err != nil {
		t.Fatal(err)
	}
	if s.emptied() {
		t.Fatal("Take purges by itself")
	}
	s.run(s.worker())
	eventually(t, "the code left the broker", s.emptied)
}

func TestAWorkerEndsWhereGoingOnIsPointless(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.Config{})
	s.publishes(said(t, tenant, "1", invoice("100482-7", "QX4T88ZK")))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	broken := errors.New("a person must mend it")
	s.store.before = func(context.Context, int64, []events.Received) error { return &consumers.Fatal{Err: broken} }
	if err := s.worker().Run(ctx); !errors.Is(err, broken) {
		t.Errorf("Run = %v, want %v", err, broken)
	}

	foreign := bustest.StartConfig(t, bustest.Config{Topology: bus.Topology{}})
	w := s.worker()
	w.Bus = foreign.Dial(bus.Options{Topology: bus.DefaultTopology()})
	if err := w.Run(ctx); !errors.Is(err, bus.ErrNotMigrated) {
		t.Errorf("Run = %v, want %v", err, bus.ErrNotMigrated)
	}
}
