package codes_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
)

// hold stops the store after its first batch is committed, until the test has done its harm.
func (s *scene) hold() (reached, harmed chan struct{}) {
	reached, harmed = make(chan struct{}), make(chan struct{})
	s.store.after = func(call int64, _ []events.Receipt) error {
		if call == 1 {
			close(reached)
			<-harmed
		}
		return nil
	}
	return reached, harmed
}

func TestABrokerKilledInTheMiddleOfABillRun(t *testing.T) {
	t.Parallel()
	impatient := bus.DefaultTopology()
	impatient[0].Consumers[0].AckWait = 2 * time.Second // what was delivered before the kill comes again after it
	s := open(t, bustest.Config{Process: true, Topology: impatient})
	run := mixed(t, 1200)
	s.publishes(run.out...)
	reached, harmed := s.hold()
	s.run(s.worker())
	<-reached
	s.Kill() // a batch is committed; nobody knows of it, and its facts are still to be published
	close(harmed)
	s.Restart()
	eventually(t, "nothing of the bill run is left on the broker", s.emptied)
	s.came(run)
}

func TestADatabaseThatGoesAwayInTheMiddleOfABillRun(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.Config{})
	run := mixed(t, 1200)
	s.publishes(run.out...)
	inTheWay := s.db.Aside.MustBegin()
	inTheWay.MustExec(`LOCK TABLE accounts IN EXCLUSIVE MODE`)
	s.run(s.worker())
	eventually(t, "a batch is in the middle of its transaction", func() bool {
		return s.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
	})
	s.db.Down(t)
	if err := inTheWay.Rollback(); err != nil {
		t.Fatal(err)
	}
	failed := s.store.calls.Load()
	eventually(t, "it is tried again while the database is away", func() bool { return s.store.calls.Load() >= failed+5 })
	if b, ok := s.stream(); !ok || b.Messages != uint64(len(run.out)) {
		t.Errorf("%d messages are left of %d, though nothing was stored", b.Messages, len(run.out))
	}
	s.db.Up(t)
	eventually(t, "nothing of the bill run is left on the broker", s.emptied)
	s.came(run)
}

func TestACommitWhoseAnswerNeverCame(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.Config{})
	run := mixed(t, 100)
	s.publishes(run.out...)
	s.store.after = func(call int64, _ []events.Receipt) error {
		if call == 1 {
			return errors.New("connection reset by peer")
		}
		return nil
	}
	s.run(s.worker())
	eventually(t, "nothing of the bill run is left on the broker", s.emptied)
	s.came(run)
	if n := s.facts.tried(); n != len(run.facts) {
		t.Errorf("%d facts were published for %d codes", n, len(run.facts))
	}
}

// without is a broker that was not migrated to the end.
func without(stream string) bustest.Config {
	return bustest.Config{Topology: slices.DeleteFunc(bus.DefaultTopology(), func(s bus.Stream) bool { return s.Name == stream })}
}

func (s *scene) migrates() {
	s.t.Helper()
	whole := s.Dial(bus.Options{Topology: bus.DefaultTopology()})
	if _, err := whole.Apply(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.Bus = whole // for what the test looks at
}

func TestNothingIsAcknowledgedWhoseFactIsNotPublished(t *testing.T) {
	t.Parallel()
	s := open(t, without(bus.StreamEnrollment))
	run := &billRun{facts: map[string]int{}, dead: map[uint64]events.Fault{}}
	for i := range 200 {
		run.mailed(t, fmt.Sprint("m", i), "QX4T88ZK")
	}
	s.publishes(run.out...)
	s.run(s.worker())
	eventually(t, "it is tried a few times", func() bool { return s.facts.tried() >= 5*len(run.out) })
	if b, ok := s.stream(); !ok || b.Messages != uint64(len(run.out)) || b.Consumers[0].AckFloor != 0 {
		t.Errorf("acknowledged without facts: %+v", b)
	}
	if n := s.count(`SELECT count(*) FROM inbox`); n != len(run.out) {
		t.Errorf("%d events are stored, want all %d", n, len(run.out))
	}
	s.migrates()
	eventually(t, "nothing of the bill run is left on the broker", s.emptied)
	s.came(run)
}

func TestNothingIsGivenUpWhoseDeadLetterIsNotWritten(t *testing.T) {
	t.Parallel()
	s := open(t, without(bus.StreamDeadLetter))
	run := mixed(t, 100)
	s.publishes(run.out...)
	w := s.worker()
	if err := w.Take(t.Context(), s.pulls(len(run.out))); !errors.Is(err, bus.ErrNoStream) {
		t.Errorf("Take = %v, want %v", err, bus.ErrNoStream)
	}
	if n := s.count(`SELECT count(*) FROM inbox`); n != run.mails+run.closures+run.methods {
		t.Errorf("%d events are stored, want all others", n)
	}
	if b, ok := s.stream(); !ok || b.Consumers[0].AckPending != len(run.dead) || b.Consumers[0].AckFloor != 49 {
		t.Errorf("acknowledged without dead letters: %+v", b)
	}
	s.run(w)
	eventually(t, "they come again", func() bool { b, ok := s.stream(); return ok && b.Consumers[0].Redelivered == len(run.dead) })
	s.migrates()
	eventually(t, "nothing of the bill run is left on the broker", s.emptied)
	s.came(run)
}

// What the database refuses is found among what it would take.
func TestWhatTheDatabaseRefusesStandsAlone(t *testing.T) {
	t.Parallel()
	s := open(t, bustest.Config{})
	s.db.Aside.MustExec(`ALTER TABLE invoice_emails ADD CONSTRAINT no_such_company CHECK (company_name <> 'Nobody Ltd')`)
	run := mixed(t, 100)
	for _, id := range []string{"r1", "r2"} {
		refused := invoice("ACC-"+id, "QX4T88ZK")
		refused.CompanyName = "Nobody Ltd"
		run.buries(said(t, tenant, id, refused), events.RejectedByDatabase)
		run.mailed(t, "after-"+id, "QX4T88ZK")
	}
	reused := said(t, tenant, "e00000", invoice("another", "QX4T88ZK"))
	reused.ID += "-reused" // else the broker would take it for the first
	run.buries(reused, events.IDReused)
	s.publishes(run.out...)
	if err := s.worker().Take(context.Background(), s.pulls(len(run.out))); err != nil {
		t.Error(err)
	}
	s.came(run)
}
