package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// sitting is somebody of the staff who signed in.
func (s *scene) sitting(token string) enrollment.Staff {
	s.t.Helper()
	ok(s.t, s.OpenStaffSession(s.t.Context(), token, enrollment.Staff{Subject: "idp|7", Name: "Grace", Roles: []string{"agent"}}, time.Hour, 2*time.Hour))
	by, err := s.StaffSession(s.t.Context(), token)
	ok(s.t, err)
	return by
}

// seen is a user of account 1, whose caller is not verified yet, and another account.
func seen(t *testing.T) (s *scene, user int64, name string) {
	s = stage(t)
	s.bills(mongo, invoice("1", "QX4T-88ZK", daysAgo(1)), invoice("2", "AAAA-BBBB", daysAgo(1)))
	a := s.form(mongo, "1", "QX4T-88ZK")
	_, user = s.enrolls(a)
	return s, user, a.Username.Display
}

func TestACallerIsVerifiedForASittingAndAnAccount(t *testing.T) {
	s, _, _ := seen(t)
	ctx, grace, other := t.Context(), s.sitting("one"), s.sitting("two")
	verified := func(by enrollment.Staff, account string, want enrollment.CallerCheck) {
		t.Helper()
		c, err := s.Caller(ctx, by, mongo, account)
		ok(t, err)
		if c.How != want || c.Verified() != (want != "") {
			t.Errorf("verified for %s: %+v, want %q", account, c, want)
		}
	}
	for _, none := range []enrollment.CallerCheck{"", "sounded nice"} {
		refused(t, s.VerifyCaller(ctx, grace, mongo, "1", none), enrollment.Missing)
	}
	verified(grace, "1", "")
	for _, how := range enrollment.CallerChecks {
		ok(t, s.VerifyCaller(ctx, grace, mongo, "1", how))
		if how == enrollment.NotVerified {
			how = ""
		}
		verified(grace, "1", how)
	}
	ok(t, s.VerifyCaller(ctx, grace, mongo, "1", enrollment.CalledBack))
	verified(grace, "2", "")
	verified(other, "1", "")
	s.Pass(t, enrollment.CallerCheckLife-time.Minute)
	verified(grace, "1", enrollment.CalledBack)
	s.Pass(t, time.Minute)
	verified(grace, "1", "")

	ok(t, s.VerifyCaller(ctx, grace, mongo, "1", enrollment.CalledBack))
	ok(t, s.EndStaffSession(ctx, "one"))
	if n := s.number(`SELECT count(*) FROM caller_checks`); n != 0 {
		t.Errorf("%d checks outlive the session", n)
	}
	if err := s.VerifyCaller(ctx, other, zeros, "1", enrollment.CalledBack); err != enrollment.ErrUnknown {
		t.Errorf("another tenant's account: %v", err)
	}
	trail := strings.Join(s.audited(), "\n")
	for _, line := range []string{
		"idp|7 verify-caller mongo 1: the caller could not be verified (nothing may be told)",
		"idp|7 verify-caller mongo 1: the caller was called back at the number of record (holds until ",
	} {
		if !strings.Contains(trail, line) {
			t.Errorf("the trail lacks %q:\n%s", line, trail)
		}
	}
}

func TestStaffViewAsACustomer(t *testing.T) {
	s, user, name := seen(t)
	ctx, grace, other := t.Context(), s.sitting("one"), s.sitting("two")
	because := enrollment.Errand{By: grace, Reason: "caller asked about INV-1"}
	over := func(by enrollment.Staff) {
		t.Helper()
		if v, err := s.ViewedBy(ctx, by, "/account"); err != enrollment.ErrUnknown {
			t.Errorf("sees %+v, %v", v, err)
		}
	}
	begins := func() {
		t.Helper()
		ok(t, s.BeginView(ctx, because, mongo, "1", name))
	}
	s.forgetOutbox()
	refused(t, s.BeginView(ctx, because, mongo, "1", name), enrollment.CallerNotVerified)
	ok(t, s.VerifyCaller(ctx, grace, mongo, "1", enrollment.GavePIN))
	refused(t, s.BeginView(ctx, enrollment.Errand{By: grace, Reason: "hm"}, mongo, "1", name), enrollment.TooShort)
	refused(t, s.BeginView(ctx, enrollment.Errand{By: other, Reason: because.Reason}, mongo, "1", name), enrollment.CallerNotVerified)
	for account, who := range map[string]string{"1": "nobody", "2": name, "3": name} {
		if err := s.BeginView(ctx, because, mongo, account, who); err != enrollment.ErrUnknown {
			t.Errorf("%s of account %s: %v", who, account, err)
		}
	}
	over(grace)

	begins()
	v, err := s.ViewedBy(ctx, grace, "/account/invoices")
	ok(t, err)
	want := enrollment.View{Tenant: mongo, User: user, Username: name, AccountNumber: "1", Until: v.Until}
	if diff := cmp.Diff(want, v); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	_, err = s.ViewedBy(ctx, grace, "")
	ok(t, err)
	over(other)
	ended, err := s.EndView(ctx, grace)
	ok(t, err)
	if ended.AccountNumber != "1" {
		t.Errorf("ended %+v", ended)
	}
	over(grace)
	if _, err := s.EndView(ctx, grace); err != enrollment.ErrUnknown {
		t.Errorf("ended twice: %v", err)
	}
	begins()
	begins()
	ok(t, s.EndStaffSession(ctx, "one"))
	over(grace)

	grace = s.sitting("three")
	because.By = grace
	ok(t, s.VerifyCaller(ctx, grace, mongo, "1", enrollment.GavePIN))
	begins()
	s.Pass(t, enrollment.ViewLife)
	over(grace)
	for i, want := range []int{1, 0} {
		if n, err := s.EndViews(ctx, 10); err != nil || n != want {
			t.Errorf("look %d ended %d, %v, want %d", i, n, err, want)
		}
	}
	begins()
	s.Pass(t, enrollment.ViewLife)
	ok(t, s.VerifyCaller(ctx, grace, mongo, "1", enrollment.GavePIN))
	begins() // and nobody looked at the time meanwhile

	var got []string
	for _, line := range s.audited() {
		if strings.Contains(line, " view-") {
			before, after, _ := strings.Cut(line, " until ")
			_, after, _ = strings.Cut(after, ", the")
			got = append(got, before+after)
		}
	}
	const for1 = " mongo 1: caller asked about INV-1 (user "
	begin, end := "idp|7 view-as"+for1+name+", caller gave the PIN or password of the account)", "idp|7 view-end"+for1+name+", "
	trail := []string{begin, end + "its time was up)", begin, end + "its time was up)", begin, end + "signed out)", begin, end + "another view began)", begin, end + "left)",
		"idp|7 view-page" + for1 + name + ", /account/invoices)", begin}
	if diff := cmp.Diff(trail, got); diff != "" {
		t.Errorf("the trail, newest first (-want +got):\n%s", diff)
	}
	if told := s.announced(); len(told) > 0 {
		t.Errorf("the funnel hears %v", names(told))
	}
	security, err := s.Security(ctx, mongo, user)
	ok(t, err)
	seen := 0
	for _, a := range security.Activity {
		if a.What == "viewed-by-support" && a.Source == "" {
			seen++
		}
	}
	if seen != 6 {
		t.Errorf("the customer is told of %d views, want 6: %+v", seen, security.Activity)
	}
}

// A view lasts no longer than what it was allowed for: a caller who is verified, and a user who sees the account.
func TestAViewEndsWithWhatItRestsOn(t *testing.T) {
	s, user, name := seen(t)
	ctx, grace := t.Context(), s.sitting("one")
	begins := func() {
		t.Helper()
		ok(t, s.BeginView(ctx, enrollment.Errand{By: grace, Reason: "caller asked about INV-1"}, mongo, "1", name))
		_, err := s.ViewedBy(ctx, grace, "/account")
		ok(t, err)
	}
	over := func(why string) {
		t.Helper()
		if v, err := s.ViewedBy(ctx, grace, "/account"); err != enrollment.ErrUnknown {
			t.Errorf("%s: sees %+v, %v", why, v, err)
		}
	}
	ok(t, s.VerifyCaller(ctx, grace, mongo, "1", enrollment.CalledBack))
	begins()
	ok(t, s.VerifyCaller(ctx, grace, mongo, "2", enrollment.NotVerified))
	_, err := s.ViewedBy(ctx, grace, "/account")
	ok(t, err)
	ok(t, s.VerifyCaller(ctx, grace, mongo, "1", enrollment.NotVerified))
	over("the check was taken back")
	if trail := s.audited(); !strings.HasSuffix(trail[1], "the caller could not be verified)") {
		t.Errorf("the trail, newest first: %q", trail)
	}

	ok(t, s.VerifyCaller(ctx, grace, mongo, "1", enrollment.CalledBack))
	s.Pass(t, enrollment.CallerCheckLife-time.Minute)
	begins()
	s.Pass(t, time.Minute)
	over("the check lapsed")

	ok(t, s.VerifyCaller(ctx, grace, mongo, "1", enrollment.CalledBack))
	begins()
	s.DB.MustExec(`DELETE FROM memberships WHERE user_id = $1`, user)
	over("the user lost the account")
}

// Of a view that begins and a check that is taken back, whichever comes second hears of the first.
func TestNoViewOutlivesACheckTakenBackMeanwhile(t *testing.T) {
	s, _, name := seen(t)
	ctx, grace := t.Context(), s.sitting("one")
	for range 20 {
		ok(t, s.VerifyCaller(ctx, grace, mongo, "1", enrollment.CalledBack))
		for _, err := range atOnce(2, func(i int) error {
			if i == 0 {
				return s.VerifyCaller(ctx, grace, mongo, "1", enrollment.NotVerified)
			}
			return s.BeginView(ctx, enrollment.Errand{By: grace, Reason: "caller asked about INV-1"}, mongo, "1", name)
		}) {
			if err != nil {
				refused(t, err, enrollment.CallerNotVerified)
			}
		}
		if v, err := s.ViewedBy(ctx, grace, ""); err != enrollment.ErrUnknown {
			t.Fatalf("sees %+v, %v", v, err)
		}
	}
}
