package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

func TestAUsernameThatLooksLikeOneThatIsHeldIsTaken(t *testing.T) {
	s := stage(t)
	s.user("100", "Bobl") // a user's
	s.bills(mongo, invoice("200", "QX4T-88ZK", daysAgo(1)), invoice("300", "QX4T-88ZK", daysAgo(1)))
	s.bills(zeros, invoice("200", "QX4T-88ZK", daysAgo(1)))
	s.admits(s.form(mongo, "200", "QX4T-88ZK", named(t, "b0b1-billing"))) // one that is pending
	for _, name := range []string{"bob1", "BOBI", "bob|", "BobI-billing"} {
		_, err := s.register(s.form(mongo, "300", "QX4T-88ZK", named(t, name)))
		no, isRefusal := errors.AsType[*enrollment.Refusal](err)
		if !isRefusal || no.Reason != enrollment.UsernameTaken {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(no.Suggestions) != 3 || name != "BobI-billing" && slices.Contains(no.Suggestions, name+"-billing") {
			t.Errorf("%s: suggested %v", name, no.Suggestions)
		}
	}
	s.admits(s.form(zeros, "200", "QX4T-88ZK", named(t, "bob1"))) // another tenant's
	s.admits(s.form(mongo, "300", "QX4T-88ZK", named(t, "bob2")))
	if c, err := s.attempt(mongo, "bob1", "192.0.2.1"); err != nil || c.User != 0 {
		t.Errorf("who types a look-alike logs in as user %d, %v", c.User, err)
	}
}

func TestWhoGoesOnMayTakeALookAlikeOfTheirOwnName(t *testing.T) {
	s := stage(t)
	s.bills(mongo, invoice("100", "QX4T-88ZK", daysAgo(1)), invoice("200", "QX4T-88ZK", daysAgo(1)))
	a := s.form(mongo, "100", "QX4T-88ZK", named(t, "bob1"))
	id := s.admits(a)
	held := func() string {
		return storetest.One[string](t, s.Database, `SELECT username_key || ' ' || skeleton FROM usernames WHERE enrollment = $1`, id)
	}
	for _, each := range []struct{ name, held string }{{"bobl", "bobl bobl"}, {"bibi", "bibi bibi"}, {"BIBI", "bibi blbl"}} {
		a.RequestID, a.Username = "form "+each.name, username(t, each.name)
		if got := s.admits(a); got != id || held() != each.held {
			t.Errorf("%s: enrollment %s holds %q, want %q", each.name, got, held(), each.held)
		}
	}
	_, err := s.register(s.form(mongo, "200", "QX4T-88ZK", named(t, "b1b1")))
	refused(t, err, enrollment.UsernameTaken)
	s.admits(s.form(mongo, "200", "QX4T-88ZK", named(t, "bob1")))
}

func TestOfLookAlikesAtOnceOneIsTaken(t *testing.T) {
	s := stage(t)
	names := []string{"bob1", "bobl", "BobI", "bob|", "B0B1"}
	forms := make([]enrollment.Application, 4*len(names))
	for i := range forms {
		s.bills(mongo, invoice(fmt.Sprint("A-", i), "QX4T-88ZK", daysAgo(1)))
		forms[i] = s.form(mongo, fmt.Sprint("A-", i), "QX4T-88ZK", named(t, names[i%len(names)]))
	}
	got := reasons(t, atOnce(len(forms), func(i int) error { _, err := s.register(forms[i]); return err }))
	if diff := cmp.Diff(map[enrollment.Reason]int{"": 1, enrollment.UsernameTaken: len(forms) - 1}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

func TestNamesFromBeforeTheyWereComparedStayAndHaveNoMoreTwins(t *testing.T) {
	db, migrate := before(t, 7)
	db.MustExec(`INSERT INTO accounts (tenant, account_key, ref) VALUES ('mongo', '1', 'r')`)
	for i, name := range []string{"bobl", "bob1", "BobI", "ada", "eve"} {
		tenant := mongo
		if name == "eve" {
			tenant = zeros
		}
		db.MustExec(`
			WITH e AS (
				INSERT INTO enrollments (id, tenant, account, code_hash, state, username, username_key, email, expires_at)
				SELECT gen_random_uuid(), $1, id, decode(repeat($4, 32), 'hex'), 'registered', $2, $3, 'a@b.example', now() + interval '1 day' FROM accounts
				RETURNING id)
			INSERT INTO usernames (tenant, username_key, enrollment) SELECT $1, $3, id FROM e`,
			tenant, name, username(t, name).Key, fmt.Sprintf("0%d", i))
	}
	migrate()
	s := store.New(db, storetest.Ring(t), storetest.Policy)
	compare := func(want ...int) {
		t.Helper()
		for _, n := range want {
			if got, err := s.CompareUsernames(t.Context(), 3); err != nil || got != n {
				t.Errorf("compared %d, %v; want %d", got, err, n)
			}
		}
	}
	look := func() (rows []struct {
		Skeleton string
		Names    int
		Twins    int
	}) {
		t.Helper()
		ok(t, db.Select(&rows, `SELECT skeleton, count(*) AS names, count(*) FILTER (WHERE twin) AS twins FROM usernames GROUP BY skeleton ORDER BY skeleton`))
		return rows
	}
	want := []struct {
		Skeleton string
		Names    int
		Twins    int
	}{{"ada", 1, 0}, {"bobl", 3, 2}, {"eve", 1, 0}}
	compare(3, 2, 0)
	if diff := cmp.Diff(want, look()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	db.MustExec(`UPDATE usernames SET skeleton_version = 'of another Unicode', skeleton = 'x', twin = true WHERE username_key <> 'ada'`)
	compare(3, 1, 0)
	if diff := cmp.Diff(want, look()); diff != "" {
		t.Errorf("after another Unicode (-want +got):\n%s", diff)
	}
	if _, err := db.Exec(`UPDATE usernames SET twin = false WHERE twin`); err == nil {
		t.Error("the database lets two names look alike")
	}
}
