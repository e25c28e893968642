package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

func usersOf(h enrollment.Holding) string {
	var names []string
	for _, u := range h.Users {
		names = append(names, u.Username)
	}
	return strings.Join(names, ", ")
}

// colleague is one more user of an account.
func (s *scene) colleague(account, code, name string) int64 {
	s.t.Helper()
	s.bills(mongo, invoice(account, code, time.Now().UTC()))
	_, user := s.enrolls(s.form(mongo, account, code, named(s.t, name)))
	return user
}

func (s *scene) ends(user int64, account, whose string) error {
	return s.EndAccess(s.t.Context(), mongo, user, account, whose, somewhere)
}

func TestAccessEndsForOneAccountAndIsNotedForBoth(t *testing.T) {
	s := stage(t)
	_, bob := s.user("100", "Bob")
	ada := s.colleague("100", "ADAS-CODE-1", "Ada")
	s.bills(mongo, invoice("200", "7F3K-9QWD", daysAgo(1)))
	ok(t, s.adds(ada, "200", "7F3K-9QWD"))
	_, eve := s.user("300", "Eve")
	c, err := s.Customer(t.Context(), mongo, bob)
	ok(t, err)
	if got := c.Accounts[0]; usersOf(got) != "Bob, Ada" || got.Users[1].Email == "" || time.Since(got.Users[1].Since) > time.Hour {
		t.Errorf("%+v", got)
	}
	for name, err := range map[string]error{
		"a stranger":                    s.ends(eve, "100", "ada"),
		"an account of the colleague's": s.ends(bob, "200", "ada"),
		"somebody who does not see it":  s.ends(bob, "100", "eve"),
		"another tenant":                s.EndAccess(t.Context(), zeros, bob, "100", "ada", somewhere),
	} {
		if !errors.Is(err, enrollment.ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if diff := cmp.Diff([]string{"100", "200"}, s.accountsOf(ada)); diff != "" {
		t.Fatalf("before (-want +got):\n%s", diff)
	}
	_, err = s.attempt(mongo, "bob", somewhere.String())
	ok(t, err)
	ok(t, s.ends(bob, "100", "ada"))
	if diff := cmp.Diff([]string{"200"}, s.accountsOf(ada)); diff != "" {
		t.Errorf("the colleague's accounts (-want +got):\n%s", diff)
	}
	if n := s.number(`SELECT count(*) FROM attempts WHERE scope = 'login-source-user'`); n != 0 {
		t.Error("the try at the password was not taken back")
	}
	for user, want := range map[int64]enrollment.Activity{
		bob: {What: "colleague-removed", About: "Ada", Source: enrollment.SourceKey(somewhere)}, ada: {What: "access-lost", About: "100"},
	} {
		page, err := s.Security(t.Context(), mongo, user)
		ok(t, err)
		got := page.Activity[0]
		got.At = time.Time{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("activity (-want +got):\n%s", diff)
		}
	}
	if err := s.ends(ada, "100", "bob"); !errors.Is(err, enrollment.ErrUnknown) {
		t.Errorf("who lost access ends another one's: %v", err)
	}
	refused(t, s.ends(bob, "100", "bob"), enrollment.LastUser)
	s.bills(mongo, invoice("100", "ADAS-CODE-2", time.Now().UTC()))
	ok(t, s.adds(ada, "100", "ADAS-CODE-2")) // a later code opens it again
	ok(t, s.ends(bob, "100", "bob"))
	if got := s.accountsOf(bob); got != nil {
		t.Errorf("who gave up access sees %v", got)
	}
}

func TestOfManyWhoRemoveEachOtherOneStays(t *testing.T) {
	s := stage(t)
	_, first := s.user("100", "user0")
	users := []int64{first}
	for i := range 5 {
		users = append(users, s.colleague("100", fmt.Sprint("CODE-NUMBER-", i), fmt.Sprint("user", i+1)))
	}
	atOnce(30, func(i int) error { return s.ends(users[i%6], "100", fmt.Sprint("user", (i*7+i/6+1)%6)) })
	if n := s.number(`SELECT count(*) FROM memberships`); n < 1 {
		t.Error("nobody is left to see the account")
	}
	got := reasons(t, atOnce(12, func(i int) error {
		err := s.ends(users[i%6], "100", fmt.Sprint("user", i%6)) // each leaves
		if errors.Is(err, enrollment.ErrUnknown) {
			return nil
		}
		return err
	}))
	if n := s.number(`SELECT count(*) FROM memberships`); n != 1 || got[enrollment.LastUser] == 0 {
		t.Errorf("%d users are left, answers %v", n, got)
	}
}

func TestWhereAnAccountHasOneUserNobodyEndsAnAccess(t *testing.T) {
	s := stage(t)
	_, bob := s.user("100", "bob")
	s.colleague("100", "ADAS-CODE-1", "ada")
	alone := store.New(s.DB, s.Ring, func(tenant string) (enrollment.Policy, bool) {
		p, known := storetest.Policy(tenant)
		p.SeveralUsers = false
		return p, known
	})
	if err := alone.EndAccess(t.Context(), mongo, bob, "100", "ada", somewhere); !errors.Is(err, enrollment.ErrUnknown) {
		t.Error(err)
	}
}
