package main

import (
	"strings"
	"testing"
)

// Usernames from before they were compared are compared by whatever brings the database up to date.
func TestMigratingComparesUsernames(t *testing.T) {
	t.Parallel()
	up := processUp(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)
	up.visitor(t).fill("/signup", fields{"account_number": account, "registration_code": code, "email": "bob@bobsbuilding.example", "username": "b0b"}).is(200, "/signup/check-email")
	db := up.db(t)
	look := func() (is string) {
		t.Helper()
		if err := db.Get(&is, `SELECT coalesce(skeleton, 'unknown') FROM usernames`); err != nil {
			t.Fatal(err)
		}
		return is
	}
	before := func() { db.MustExec(`UPDATE usernames SET skeleton = NULL, skeleton_version = ''`) }
	before()
	said := up.command(t, 0, "migrate", "--nats-url", up.NATS, "--database-url", up.Database)
	if look() != "bob" || !strings.Contains(said, "compared 1 usernames") {
		t.Errorf("b0b looks like %s; migrate said:\n%s", look(), said)
	}
	before()
	up.killAndStart()
	if look() != "bob" {
		t.Errorf("after another start b0b looks like %s", look())
	}
}
