package deadlines_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/producers/deadlines"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

const (
	tenant  = storetest.Mongo
	account = "100482-7"
)

// scene is a database in which billing invited one account, and a keeper that looks often.
type scene struct {
	t      testing.TB
	db     *storetest.Database
	log    *buffer
	keeper *deadlines.Keeper
}

func open(t testing.TB) *scene {
	s := &scene{t: t, db: storetest.New(t), log: &buffer{}}
	s.keeper = &deadlines.Keeper{Store: s.db, Log: slog.New(slog.NewTextHandler(s.log, nil)), Every: 10 * time.Millisecond}
	r := events.Received{Sequence: 1, Message: events.InvoiceEmailed{
		AccountNumber: account, BillingEmail: "ap@bobsbuilding.example", EmailedAt: time.Now().Add(-time.Hour), RegistrationCode: "QX4T88ZK",
		Invoice: &events.Invoice{Number: "INV-1"},
	}}
	r.Tenant, r.ID, r.Source, r.Data = tenant, "1", events.Source(tenant, "billing"), []byte(`{}`)
	if _, err := s.db.TakeBilling(t.Context(), []events.Received{r}); err != nil {
		t.Fatal(err)
	}
	return s
}

// run starts a keeper that is stopped with the test.
func (s *scene) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.keeper.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("Run: %v", err)
		}
	})
}

func (s *scene) register(code enrollment.Secret) (enrollment.ID, error) {
	s.t.Helper()
	name, err := enrollment.ParseUsername("ada")
	if err != nil {
		s.t.Fatal(err)
	}
	admitted, err := s.db.Register(s.t.Context(), enrollment.Application{
		Tenant: tenant, AccountNumber: account, Code: code, Email: "ada@bobsbuilding.example", Username: name,
		RequestID: fmt.Sprint("form-", time.Now().UnixNano()), Source: netip.MustParseAddr("198.51.100.7"),
	})
	return admitted.Enrollment, err
}

func (s *scene) registers() enrollment.ID {
	s.t.Helper()
	id, err := s.register("QX4T88ZK")
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// crowd makes n more enrollments like the given one.
func (s *scene) crowd(like enrollment.ID, n int) {
	s.t.Helper()
	s.db.Aside.MustExec(`
		INSERT INTO enrollments (id, tenant, account, code_hash, state, username, username_key, email, expires_at)
		SELECT gen_random_uuid(), tenant, account, sha256(n::text::bytea), state, username, username_key, email, expires_at
		FROM enrollments, generate_series(1, $2) AS n WHERE id = $1`, like, n)
}

func (s *scene) count(query string, args ...any) int {
	s.t.Helper()
	return storetest.One[int](s.t, s.db, query, args...)
}

func (s *scene) states() map[string]int {
	s.t.Helper()
	var rows []struct {
		State string
		N     int
	}
	if err := s.db.Aside.Select(&rows, `SELECT state, count(*) AS n FROM enrollments GROUP BY state`); err != nil {
		s.t.Fatal(err)
	}
	states := map[string]int{}
	for _, r := range rows {
		states[r.State] = r.N
	}
	return states
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

const tenDays = 10 * 24 * time.Hour // longer than any window, shorter than a code's life

func TestWhenTheTimeRunsOutCodeAndUsernameAreFree(t *testing.T) {
	t.Parallel()
	s := open(t)
	late := s.registers()
	s.db.Pass(t, tenDays)
	s.run()
	eventually(t, "the enrollment expired", func() bool { return s.states()["expired"] == 1 })

	var body string
	if err := s.db.Aside.Get(&body, `SELECT body FROM outbox WHERE subject = 'enrollment.mongo.expired'`); err != nil {
		t.Fatal(err)
	}
	e, err := events.Decode("enrollment.mongo.expired", events.StructuredHeader(), []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if fact, err := events.Data[events.Expired](e); err != nil || fact.EnrollmentID != late.String() || fact.Reason != "mail-never-accepted" {
		t.Errorf("fact %+v, %v", fact, err)
	}
	if again := s.registers(); again == late { // the same code under the same username
		t.Error("the enrollment lives on")
	}
	if diff := cmp.Diff(map[string]int{"expired": 1, "registered": 1}, s.states()); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}

func TestManyKeepersExpireEachOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.crowd(s.registers(), 699) // more than a keeper takes at a time
	s.db.Pass(t, tenDays)
	s.keeper.Every = time.Hour // one look must do
	s.run()
	s.run()
	eventually(t, "all expired", func() bool { return s.states()["expired"] == 700 })
	facts := s.count(`SELECT count(*) FROM outbox WHERE subject = 'enrollment.mongo.expired'`)
	about := s.count(`SELECT count(DISTINCT body::jsonb #>> '{data,enrollmentId}') FROM outbox WHERE subject = 'enrollment.mongo.expired'`)
	if facts != 700 || about != 700 {
		t.Errorf("%d facts about %d enrollments, want 700", facts, about)
	}
}

func TestWhatIsOverIsForgotten(t *testing.T) {
	t.Parallel()
	s := open(t)
	if _, err := s.register("WRONG-CODE"); err == nil {
		t.Fatal("a wrong code was taken")
	}
	s.db.Pass(t, 401*24*time.Hour)
	if _, err := s.register("WRONG-CODE"); err == nil {
		t.Fatal("a wrong code was taken")
	}
	if n := s.count(`SELECT count(*) FROM refusals`); n != 2 {
		t.Fatalf("%d refusals, want 2", n)
	}
	s.run()
	eventually(t, "the old refusal is forgotten", func() bool { return s.count(`SELECT count(*) FROM refusals`) == 1 })
}

func TestADatabaseThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := open(t)
	if _, err := s.register("WRONG-CODE"); err == nil {
		t.Fatal("a wrong code was taken")
	}
	s.registers()
	s.db.Pass(t, 401*24*time.Hour)
	s.db.Down(t)
	s.run()
	for _, told := range []string{"enrollments not expired yet", "views not ended yet", "what is over is not forgotten yet"} {
		eventually(t, "the log says: "+told, func() bool { return strings.Contains(s.log.String(), told) })
	}
	s.db.Up(t)
	eventually(t, "the enrollment expired", func() bool { return s.states()["expired"] == 1 })
	eventually(t, "the refusal is forgotten", func() bool { return s.count(`SELECT count(*) FROM refusals`) == 0 })
}

// stopping is a store during whose work the process is told to stop.
type stopping struct {
	*storetest.Database
	stop func()
}

func (s stopping) ExpireDue(ctx context.Context, limit int) (int, error) {
	s.stop()
	return s.Database.ExpireDue(ctx, limit)
}

func TestStoppingFinishesWhatIsAtHand(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.crowd(s.registers(), 599)
	s.db.Pass(t, tenDays)
	ctx, cancel := context.WithCancel(t.Context())
	s.keeper.Store = stopping{s.db, cancel}
	if err := s.keeper.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"expired": 500, "registered": 100}, s.states()); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}

func TestAClosedAccountCancelsWhatIsPending(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.registers()
	s.run()
	r := events.Received{Sequence: 2, Message: events.AccountClosed{AccountNumber: account, ClosedAt: time.Now().Add(-time.Minute)}}
	r.Tenant, r.ID, r.Source, r.Data = tenant, "2", events.Source(tenant, "billing"), []byte(`{}`)
	if _, err := s.db.TakeBilling(t.Context(), []events.Received{r}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the enrollment is cancelled", func() bool { return s.states()["cancelled"] == 1 })
	if n := s.count(`SELECT count(*) FROM outbox WHERE subject = 'enrollment.mongo.cancelled' AND body LIKE '%"account-closed"%'`); n != 1 {
		t.Errorf("%d facts, want one", n)
	}
	if n := s.count(`SELECT count(*) FROM usernames`); n != 0 {
		t.Error("the username is not free")
	}
}
