package portal

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestPasswords(t *testing.T) {
	defer func(cheap uint32) { hashMemory = cheap }(hashMemory)
	hashMemory = leastMemory // as customers get it
	p, ctx := newPasswords(), t.Context()
	phc, err := p.hash(ctx, "correct staple bruise kettle")
	if err != nil {
		t.Fatal(err)
	}
	if want := "$argon2id$v=19$m=19456,t=2,p=1$"; !strings.HasPrefix(phc, want) {
		t.Errorf("hash does not begin with %s", want)
	}
	if again, err := p.hash(ctx, "correct staple bruise kettle"); err != nil || again == phc {
		t.Errorf("the same password again: same hash, or error %v", err)
	}
	for _, c := range []struct {
		name, phc, password string
		want                bool
	}{
		{"the right password", phc, "correct staple bruise kettle", true},
		{"a wrong one", phc, "correct staple bruise kettlf", false},
		{"none", phc, "", false},
		{"a user that does not exist", "", "correct staple bruise kettle", false},
		{"another cost, as an older version may have used", "$argon2id$v=19$m=1024,t=1,p=1$c29tZXNhbHQ$9WOQL2KXo3V7ZpRqWXlYXWUU1tbWWD1yvLHwwVxKFJI", "x", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := p.verify(ctx, c.phc, c.password); err != nil || got != c.want {
				t.Errorf("got %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestPasswordsRefuseDamagedHashes(t *testing.T) {
	p := newPasswords()
	for _, phc := range []string{
		"plain text",
		"$2a$12$abcdefghijklmnopqrstuu",
		"$argon2id$v=18$m=19456,t=2,p=1$c29tZXNhbHQ$c29tZXNhbHQxMjM0NTY3OA",
		"$argon2id$v=19$m=99999999,t=2,p=1$c29tZXNhbHQ$c29tZXNhbHQxMjM0NTY3OA",
		"$argon2id$v=19$m=19456,t=0,p=1$c29tZXNhbHQ$c29tZXNhbHQxMjM0NTY3OA",
		"$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$",
		"$argon2id$v=19$m=19456,t=2,p=1$!$c29tZXNhbHQxMjM0NTY3OA",
	} {
		ok, err := p.verify(t.Context(), phc, "x")
		if ok || err == nil {
			t.Errorf("%s: verified %v, error %v", phc, ok, err)
		} else if strings.Contains(err.Error(), "c29t") {
			t.Errorf("error quotes the hash: %v", err)
		}
	}
}

func TestPasswordsDoNotQueueForEver(t *testing.T) {
	p := newPasswords()
	for p.cores.TryAcquire(1) { // every core is taken
	}
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	if _, err := p.hash(gone, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that hung up got %v", err)
	}
	p.patience = 0
	if _, err := p.verify(t.Context(), "", "x"); !errors.Is(err, errBusy) {
		t.Errorf("got %v, want errBusy", err)
	}
}
