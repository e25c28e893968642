package store_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

var somewhere = netip.MustParseAddr("192.0.2.77")

// forgets asks for a reset by username or address.
func (s *scene) forgets(username string, to enrollment.Address) error {
	key, _ := enrollment.UsernameKey(username)
	return s.AskForReset(context.Background(), enrollment.Forgotten{Tenant: mongo, UsernameKey: key, Address: to, Source: somewhere})
}

// resetLink is the link in the mail that was asked for last.
func (s *scene) resetLink() enrollment.Signed {
	s.t.Helper()
	var asked []events.PasswordResetRequested
	for _, e := range s.announced() {
		if e.Definition.Name == "PasswordResetRequested" {
			m, err := events.Data[events.PasswordResetRequested](e)
			ok(s.t, err)
			asked = append(asked, m)
		}
	}
	if len(asked) == 0 {
		s.t.Fatal("no mail was asked for")
	}
	m := asked[len(asked)-1]
	id := storetest.One[enrollment.ID](s.t, s.Database, `SELECT id FROM password_resets WHERE id = $1`, m.ResetID)
	link, err := enrollment.ParseLink(enrollment.MintRecovery(s.Ring.LinkKeys()[0], mongo, id, enrollment.Address(m.To)).Reveal())
	ok(s.t, err)
	return link
}

const otherHash = "$argon2id$v=19$m=19456,t=2,p=1$b3RoZXJvdGhlcm90$aGFzaGhhc2hoYXNoaGFzaA"

func (s *scene) sets(link enrollment.Signed) error {
	_, err := s.ResetPassword(context.Background(), mongo, link, otherHash, somewhere)
	return err
}

func TestAForgottenPasswordIsSetOnceThroughItsLink(t *testing.T) {
	s := stage(t)
	_, user := s.user("100482-7", "Bob’sBuilding")
	ok(t, s.SaveSession(t.Context(), "somebody", mongo, user, 0, []byte("{}"), time.Now().Add(time.Hour)))
	s.forgetOutbox()
	ok(t, s.forgets("BOB'SBUILDING", ""))
	asked := only[events.PasswordResetRequested](t, s.announced())
	if asked.Username != "Bob’sBuilding" || asked.ValidForSeconds != 3600 || asked.Locale != "en-US" {
		t.Errorf("%+v", asked)
	}
	link := s.resetLink()
	for range 2 { // looking changes nothing
		r, err := s.OpenReset(t.Context(), mongo, link)
		ok(t, err)
		if r.Username != "Bob’sBuilding" || !cmp.Equal(r.AccountNumbers, []string{"100482-7"}) || string(r.Email) != asked.To {
			t.Errorf("%+v", r)
		}
	}
	_, err := s.OpenReset(t.Context(), zeros, link)
	refused(t, err, enrollment.LinkDamaged)
	for range enrollment.WrongTriesOnAccount { // the owner tried before; the wait must not outlive the mailbox's word
		_, err := s.attempt(mongo, "bob'sbuilding", "192.0.2.1")
		ok(t, err)
	}

	got := reasons(t, atOnce(20, func(int) error { return s.sets(link) }))
	if diff := cmp.Diff(map[enrollment.Reason]int{"": 1, enrollment.LinkUsed: 19}, got); diff != "" {
		t.Errorf("twenty at once (-want +got):\n%s", diff)
	}
	if c, err := s.attempt(mongo, "bob'sbuilding", "192.0.2.1"); err != nil || c.PasswordHash != otherHash {
		t.Errorf("%+v, %v", c, err)
	}
	if _, found, err := s.Session(t.Context(), "somebody"); err != nil || found {
		t.Errorf("a session of the old password lives: %v", err)
	}
	security, err := s.Security(t.Context(), mongo, user)
	ok(t, err)
	if len(security.Activity) != 1 || security.Activity[0].What != "password-reset" || security.Activity[0].Source != "192.0.2.77/32" {
		t.Errorf("%+v", security.Activity)
	}
}

func TestTheDeadEndsOfAResetLinkAreToldApart(t *testing.T) {
	s := stage(t)
	_, user := s.user("100482-7", "bob")
	ok(t, s.forgets("bob", ""))
	first := s.resetLink()
	s.Pass(t, 61*time.Second)
	ok(t, s.forgets("bob", ""))
	second := s.resetLink()
	ok(t, s.sets(first)) // the older one works too
	refused(t, s.sets(first), enrollment.LinkUsed)
	refused(t, s.sets(second), enrollment.LinkSuperseded)

	s.Pass(t, 61*time.Second)
	ok(t, s.forgets("bob", ""))
	third := s.resetLink()
	_, err := s.ChangePassword(t.Context(), mongo, user, otherHash, somewhere)
	ok(t, err)
	refused(t, s.sets(third), enrollment.LinkSuperseded)

	s.Pass(t, 61*time.Second)
	ok(t, s.forgets("bob", ""))
	fourth := s.resetLink()
	forged, err := enrollment.ParseLink(enrollment.MintRecovery(s.Ring.LinkKeys()[0], mongo, fourth.Enrollment, "eve@company.example").Reveal())
	ok(t, err)
	refused(t, s.sets(forged), enrollment.LinkDamaged) // before anything is told about the reset
	s.Pass(t, time.Hour)
	refused(t, s.sets(fourth), enrollment.LinkExpired)

	id, _ := s.user("200", "ada")
	refused(t, s.sets(s.link(mongo, id, 1, "ada@company.example")), enrollment.LinkDamaged)
}

func TestEverybodyOfAnAddressIsReminded(t *testing.T) {
	s := stage(t)
	const shared enrollment.Address = "Office@company.example"
	for i, name := range []string{"bob", "ada"} {
		account := []string{"100", "200"}[i]
		s.bills(mongo, invoice(account, "QX4T-88ZK", daysAgo(1)))
		s.enrolls(s.form(mongo, account, "QX4T-88ZK", named(t, name), func(a *enrollment.Application) { a.Email = shared }))
	}
	s.forgetOutbox()
	ok(t, s.forgets("", "office@COMPANY.example"))
	var reminded []string
	for _, e := range s.announced() {
		m, err := events.Data[events.PasswordResetRequested](e)
		ok(t, err)
		if m.To != string(shared) {
			t.Errorf("mail to %s, want the address on record", m.To)
		}
		reminded = append(reminded, m.Username)
	}
	if diff := cmp.Diff([]string{"bob", "ada"}, reminded); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNobodyLearnsWhoExistsFromAWish(t *testing.T) {
	s := stage(t)
	s.user("100482-7", "bob")
	traces := func(name string) string {
		s.DB.MustExec(`DELETE FROM attempts`)
		s.DB.MustExec(`DELETE FROM password_resets`)
		ok(t, s.forgets(name, ""))
		return s.dump(`SELECT scope, wrong FROM attempts`) + s.dump(`SELECT count(*) FROM password_resets`)
	}
	if diff := cmp.Diff(traces("bob"), traces("eve")); diff != "" {
		t.Errorf("traces (-known +unknown):\n%s", diff)
	}
}

func TestAMailboxIsNoTargetForWishes(t *testing.T) {
	s := stage(t)
	s.user("100482-7", "bob")
	mails := func() int {
		n := 0
		for _, name := range names(s.announced()) {
			if name == "PasswordResetRequested" {
				n++
			}
		}
		return n
	}
	for range 3 {
		ok(t, s.forgets("bob", ""))
	}
	if mails() != 1 {
		t.Errorf("%d mails within a minute, want 1", mails())
	}
	for range 6 {
		s.Pass(t, 11*time.Minute)
		ok(t, s.forgets("bob", ""))
	}
	if mails() != enrollment.MaxResets {
		t.Errorf("%d mails in a day, want %d", mails(), enrollment.MaxResets)
	}
	s.Pass(t, time.Hour)
	for range enrollment.WrongTriesOnTenant {
		ok(t, s.forgets("eve", ""))
	}
	waitIs(t, s.forgets("eve", ""), 30*time.Second)
}

func TestAChangedPasswordEndsAllSessions(t *testing.T) {
	s := stage(t)
	_, user := s.user("100482-7", "bob")
	for _, token := range []string{"a", "b"} {
		ok(t, s.SaveSession(t.Context(), token, mongo, user, 0, []byte(token), time.Now().Add(time.Hour)))
	}
	security, err := s.Security(t.Context(), mongo, user)
	ok(t, err)
	if len(security.Sessions) != 2 {
		t.Errorf("%d sessions", len(security.Sessions))
	}
	_, err = s.attempt(mongo, "bob", somewhere.String())
	ok(t, err)
	epoch, err := s.ChangePassword(t.Context(), mongo, user, otherHash, somewhere)
	ok(t, err)
	if n := s.number(`SELECT coalesce(sum(wrong), 0) FROM attempts WHERE scope LIKE 'login%'`); n != 0 {
		t.Errorf("%d wrong tries are left of a right one", n)
	}
	security, err = s.Security(t.Context(), mongo, user)
	ok(t, err)
	if len(security.Sessions) != 0 || security.Activity[0].What != "password-changed" {
		t.Errorf("%+v", security)
	}
	ok(t, s.SaveSession(t.Context(), "c", mongo, user, epoch, []byte("c"), time.Now().Add(time.Hour)))
	ok(t, s.SignOutEverywhere(t.Context(), mongo, user, somewhere))
	if _, found, err := s.Session(t.Context(), "c"); found || err != nil {
		t.Errorf("still signed in: %v", err)
	}
	if err := s.SignOutEverywhere(t.Context(), zeros, user, somewhere); err != enrollment.ErrUnknown {
		t.Errorf("another tenant's user: %v", err)
	}
}
