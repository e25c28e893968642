package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/mongotel/billcenter/schema/enrollment"
)

func (s *scene) saves(token string, user, epoch int64, data string, life time.Duration) {
	s.t.Helper()
	ok(s.t, s.SaveSession(s.t.Context(), token, mongo, user, epoch, []byte(data), time.Now().Add(life)))
}

// finds fails unless the session keeps what is wanted; "" wants none.
func (s *scene) finds(token, want string) {
	s.t.Helper()
	data, found, err := s.Session(s.t.Context(), token)
	ok(s.t, err)
	if string(data) != want || found != (want != "") {
		s.t.Errorf("%s: %q, found %t, want %q", token, data, found, want)
	}
}

func TestASession(t *testing.T) {
	s := stage(t)
	_, user := s.user("100482-7", "bob")
	save := func(token, data string) { t.Helper(); s.saves(token, user, 0, data, 30*time.Minute) }
	s.finds("t1", "")
	save("t1", "bob")
	save("t1", "bob, who saw invoices")
	save("t2", "bob on his phone")
	s.finds("t1", "bob, who saw invoices")
	ok(t, s.SaveSession(t.Context(), "t1", zeros, user, 0, []byte("another tenant's"), time.Now().Add(time.Hour)))
	s.finds("t1", "bob, who saw invoices")

	ok(t, s.EndSession(t.Context(), "t1"))
	s.finds("t1", "")
	s.finds("t2", "bob on his phone")
	save("t1", "a request that was under way")
	s.finds("t1", "")
	if n := s.number(`SELECT count(*) FROM sessions WHERE token_hash = 't1' AND data = ''`); n != 1 {
		t.Error("an ended session keeps what it knew")
	}
	ok(t, s.EndSession(t.Context(), "t1"))

	s.Pass(t, 31*time.Minute)
	s.finds("t2", "")
}

func TestOneSessionIsEndedFromAnother(t *testing.T) {
	s := stage(t)
	_, bob := s.user("100", "bob")
	_, ada := s.user("200", "ada")
	s.saves("lost phone", bob, 0, "phone", time.Hour)
	s.Pass(t, time.Minute)
	s.saves("here", bob, 0, "here", time.Hour)
	security, err := s.Security(t.Context(), mongo, bob)
	ok(t, err)
	var open []string
	for _, each := range security.Sessions {
		open = append(open, string(each.Data))
	}
	if diff := cmp.Diff([]string{"here", "phone"}, open); diff != "" {
		t.Fatalf("sessions (-want +got):\n%s", diff)
	}
	if idle := time.Since(security.Sessions[1].UsedAt); idle < time.Minute || idle > 2*time.Minute {
		t.Errorf("the phone was used %s ago", idle)
	}
	phone := security.Sessions[1].ID
	end := func(tenant string, user int64, id uuid.UUID) error {
		return s.EndSessionOf(t.Context(), tenant, user, id, somewhere)
	}
	for name, err := range map[string]error{"a stranger's": end(mongo, ada, phone), "another tenant's": end(zeros, bob, phone), "nobody's": end(mongo, bob, uuid.New())} {
		if !errors.Is(err, enrollment.ErrUnknown) {
			t.Errorf("%s session: %v", name, err)
		}
	}
	s.finds("lost phone", "phone")
	for range 2 { // two clicks
		ok(t, end(mongo, bob, phone))
	}
	s.finds("lost phone", "")
	s.finds("here", "here")
	s.saves("lost phone", bob, 0, "a request that was under way", time.Hour)
	s.finds("lost phone", "")
	if n := s.number(`SELECT count(*) FROM user_activity WHERE what = 'session-ended' AND user_id = ` + fmt.Sprint(bob)); n != 1 {
		t.Errorf("%d activities, want 1", n)
	}
}

// A log-in is counted, compared and only then stored: what ends all sessions may come in between.
func TestALogInUnderWayDoesNotOutliveTheEndOfAllSessions(t *testing.T) {
	s := stage(t)
	_, user := s.user("100482-7", "bob")
	for name, end := range map[string]func() error{
		"signed out everywhere": func() error { return s.SignOutEverywhere(t.Context(), mongo, user, somewhere) },
		"another password": func() error {
			_, err := s.ChangePassword(t.Context(), mongo, user, otherHash, somewhere)
			return err
		},
	} {
		c, err := s.attempt(mongo, "bob", "192.0.2.1")
		ok(t, err)
		ok(t, end())
		s.saves(name, user, c.Epoch, "bob", time.Hour)
		s.finds(name, "")
		c, err = s.attempt(mongo, "bob", "192.0.2.1")
		ok(t, err)
		s.saves("after "+name, user, c.Epoch, "bob", time.Hour)
		s.finds("after "+name, "bob")
	}
}

func TestOfLogInsAndTheEndOfAllSessionsAtOnceNoOldSessionIsLeft(t *testing.T) {
	s := stage(t)
	_, user := s.user("100482-7", "bob")
	for round := range 10 {
		c, err := s.attempt(mongo, "bob", fmt.Sprintf("192.0.2.%d", round+1))
		ok(t, err)
		reasons(t, atOnce(8, func(i int) error {
			if i == 4 {
				return s.SignOutEverywhere(t.Context(), mongo, user, somewhere)
			}
			return s.SaveSession(t.Context(), fmt.Sprint(round, "-", i), mongo, user, c.Epoch, []byte("bob"), time.Now().Add(time.Hour))
		}))
		if n := s.number(`SELECT count(*) FROM sessions WHERE NOT ended`); n != 0 {
			t.Fatalf("round %d: %d sessions outlived the end of all", round, n)
		}
	}
}
