package keyring_test

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mongotel/billcenter/schema/keyring"
)

func TestACodeHashDependsOnEverythingItIsMadeFrom(t *testing.T) {
	r := ring(t, oldKey)
	base := r.CodeHash("mongo", "1004827", "7F3K")
	if len(base.Sum) != 32 || base.KeyID != "2026-11-a" {
		t.Errorf("hash = %s, %d bytes", base.KeyID, len(base.Sum))
	}
	if again := r.CodeHash("mongo", "1004827", "7F3K"); !bytes.Equal(again.Sum, base.Sum) {
		t.Error("asked twice, the hashes differ")
	}
	for _, tt := range []struct {
		name  string
		other keyring.Hash
	}{
		{"tenant", r.CodeHash("acme", "1004827", "7F3K")},
		{"account", r.CodeHash("mongo", "1004828", "7F3K")},
		{"code", r.CodeHash("mongo", "1004827", "7F3L")},
		{"where one part ends", r.CodeHash("mongo", "100482", "77F3K")},
		{"key", ring(t, newKey).CodeHash("mongo", "1004827", "7F3K")},
	} {
		if bytes.Equal(tt.other.Sum, base.Sum) {
			t.Errorf("the %s does not count", tt.name)
		}
	}
}

func TestTheNewestKeyHashesAndEveryKeyFinds(t *testing.T) {
	before, after := ring(t, oldKey), ring(t, newKey, oldKey)
	stored := before.CodeHash("mongo", "1004827", "7F3K")
	fresh := after.CodeHash("mongo", "1004827", "7F3K")
	if fresh.KeyID != "2027-05-a" {
		t.Errorf("a new code is hashed under %s", fresh.KeyID)
	}
	found := after.CodeHashes("mongo", "1004827", "7F3K")
	if len(found) != 2 || found[0].KeyID != fresh.KeyID || !bytes.Equal(found[0].Sum, fresh.Sum) ||
		found[1].KeyID != stored.KeyID || !bytes.Equal(found[1].Sum, stored.Sum) {
		t.Errorf("hashes under %v do not find both codes", after.KeyIDs())
	}
}

func TestLinkKeysStartWithTheNewest(t *testing.T) {
	keys := ring(t, oldKey, newKey).LinkKeys()
	if len(keys) != 2 || !bytes.Equal(keys[0], ring(t, newKey).LinkKeys()[0]) || !bytes.Equal(keys[1], ring(t, oldKey).LinkKeys()[0]) {
		t.Error("the order is another one")
	}
}

func TestRotationLeavesAccountsAndTheBrokerAlone(t *testing.T) {
	before, after := ring(t, oldKey), ring(t, newKey, oldKey)
	ref := before.AccountRef("mongo", "1004827")
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(ref) {
		t.Errorf("AccountRef = %q", ref)
	}
	if after.AccountRef("mongo", "1004827") != ref {
		t.Error("the account has another name")
	}
	if before.AccountRef("acme", "1004827") == ref || before.AccountRef("mongo", "1004828") == ref {
		t.Error("another account has the same name")
	}
	if after.BrokerKey() != before.BrokerKey() {
		t.Error("the broker has another key")
	}
}

func TestASignatureHoldsForItsPurposeAndMessageUnderAnyKey(t *testing.T) {
	before, after := ring(t, oldKey), ring(t, newKey, oldKey)
	old, fresh := before.Sign("signup", []byte("a")), after.Sign("signup", []byte("a"))
	for _, tt := range []struct {
		name      string
		ring      *keyring.Ring
		purpose   string
		msg       string
		signature []byte
		want      bool
	}{
		{"under the newest key", after, "signup", "a", fresh, true},
		{"under an older key", after, "signup", "a", old, true},
		{"under a key that is not there", before, "signup", "a", fresh, false},
		{"for another purpose", after, "log-in", "a", fresh, false},
		{"of another message", after, "signup", "b", fresh, false},
		{"with a letter moved", after, "signu", "pa", fresh, false},
		{"cut off", after, "signup", "a", fresh[:16], false},
		{"none", after, "signup", "a", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.ring.Verify(tt.purpose, []byte(tt.msg), tt.signature); got != tt.want {
				t.Errorf("Verify = %t", got)
			}
		})
	}
}

func TestPurposesHaveDifferentKeys(t *testing.T) {
	r := ring(t, oldKey)
	link, broker := r.LinkKeys()[0], []byte(r.BrokerKey())
	if slices.Equal(link, broker[:32]) || bytes.Equal(r.Sign("billcenter/code/v1", nil), r.CodeHash("", "", "").Sum) {
		t.Error("two purposes share a key")
	}
}

func TestASealedLetterOpensUnderAnyKeyForItsContext(t *testing.T) {
	before, after := ring(t, oldKey), ring(t, newKey, oldKey)
	plain := []byte(`{"registrationCode":"7F3K-9QWD-M2XA"}`)
	for _, sealing := range []*keyring.Ring{before, after} {
		sealed, err := sealing.DeadLetters().Seal(plain, []byte("letter 1"))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(sealed, []byte("7F3K")) {
			t.Error("the code stands in the sealed letter")
		}
		if opened, err := after.DeadLetters().Open(sealed, []byte("letter 1")); err != nil || !bytes.Equal(opened, plain) {
			t.Errorf("Open = %q, %v", opened, err)
		}
	}
}

func TestSealingTwiceGivesDifferentLetters(t *testing.T) {
	letters := ring(t, oldKey).DeadLetters()
	one, err := letters.Seal([]byte("same"), nil)
	if err != nil {
		t.Fatal(err)
	}
	two, err := letters.Seal([]byte("same"), nil)
	if err != nil || bytes.Equal(one, two) {
		t.Errorf("the same letter twice, %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	before, after := ring(t, oldKey), ring(t, newKey, oldKey)
	sealed, err := after.DeadLetters().Seal([]byte("a letter"), []byte("letter 1"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		changed := slices.Clone(sealed)
		changed[i] ^= 1
		if _, err := after.DeadLetters().Open(changed, []byte("letter 1")); err == nil {
			t.Errorf("byte %d was changed and nobody noticed", i)
		}
		if _, err := after.DeadLetters().Open(sealed[:i], []byte("letter 1")); !errors.Is(err, keyring.ErrNotSealed) && i > 10 {
			t.Errorf("cut off at %d: %v", i, err)
		}
	}
	for _, tt := range []struct {
		name            string
		sealed, context string
	}{
		{"nothing", "", "letter 1"},
		{"another context", string(sealed), "letter 2"},
		{"what was never sealed", `{"specversion":"1.0"}`, "letter 1"},
		{"another version", "\x02" + string(sealed[1:]), "letter 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := after.DeadLetters().Open([]byte(tt.sealed), []byte(tt.context)); !errors.Is(err, keyring.ErrNotSealed) {
				t.Errorf("Open: %v", err)
			}
		})
	}
	_, err = before.DeadLetters().Open(sealed, []byte("letter 1"))
	if err == nil || !strings.Contains(err.Error(), `"2027-05-a"`) {
		t.Errorf("without the key: %v", err)
	}
}

// Billing sends a hundred thousand codes in a run, and each is hashed in two forms.
func BenchmarkCodeHash(b *testing.B) {
	r := ring(b, oldKey)
	b.ReportAllocs()
	for b.Loop() {
		r.CodeHash("mongo", "1004827", "7F3K9QWDM2XA")
	}
}
