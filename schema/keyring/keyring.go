// Package keyring holds the one file of keys that an installation has, and everything that is derived from it: the pepper
// of registration codes, the key of activation links, the name of an account in facts, the seal of dead letters, the
// broker's encryption key, and signatures. Callers ask for a result and rarely see a key.
//
// The file is JSON:
//
//	{"keys": [{"id": "2026-11-a", "createdAt": "2026-11-20T08:00:00Z", "secret": "<base64 of 32 random bytes>"}]}
//
// To rotate, add a key with a later createdAt and restart. From then on the newest key makes and every key verifies. A
// key may go once nothing that it made is needed any more: codes, links and dead letters all have their time. The oldest
// key is the exception, since AccountRef and BrokerKey stay with it for good; should it have leaked, see the two.
//
// The package hashes no passwords and encrypts no database; it has no way to make a lost key again.
package keyring

import (
	"cmp"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Ring is a key ring, ready to use. It is safe for concurrent use and prints no more than the ids of its keys.
type Ring struct {
	keys []key // newest first, at least one
}

// key is one entry of the file with a key for each purpose, so that what one purpose gives away helps against no other.
type key struct {
	id        string
	createdAt time.Time

	pepper     signer
	account    signer
	signature  signer
	link       secret
	deadLetter secret
	broker     secret
}

// secret is a derived key of 32 bytes. It is a func because a func is the one thing that no verb of fmt looks into,
// however deep it is buried.
type secret func() []byte

// derive makes the keys of all purposes by HKDF-SHA256 (RFC 5869). The names are part of the file format: whoever
// changes one makes everything unreadable that was made before.
func derive(id string, createdAt time.Time, root []byte) (key, error) {
	var err error
	purpose := func(name string) secret {
		derived, e := hkdf.Key(sha256.New, root, nil, "billcenter/keyring/v1/"+name, 32)
		if e != nil {
			err = fmt.Errorf("derive the %s key of %q: %w", name, id, e)
		}
		return func() []byte { return derived }
	}
	k := key{
		id: id, createdAt: createdAt,
		pepper:     newSigner(purpose("pepper")),
		account:    newSigner(purpose("account-ref")),
		signature:  newSigner(purpose("signature")),
		link:       purpose("link"),
		deadLetter: purpose("dead-letter"),
		broker:     purpose("broker"),
	}
	return k, err
}

// arrange puts the newest key first.
func arrange(keys []key) *Ring {
	slices.SortFunc(keys, func(a, b key) int { return cmp.Or(b.createdAt.Compare(a.createdAt), strings.Compare(b.id, a.id)) })
	return &Ring{keys: keys}
}

func (r Ring) newest() key { return r.keys[0] }

func (r Ring) oldest() key { return r.keys[len(r.keys)-1] }

// KeyIDs returns the ids of the keys, the newest first.
func (r Ring) KeyIDs() []string {
	ids := make([]string, len(r.keys))
	for i, k := range r.keys {
		ids[i] = k.id
	}
	return ids
}

func (r Ring) String() string       { return "key ring [" + strings.Join(r.KeyIDs(), " ") + "]" }
func (r Ring) LogValue() slog.Value { return slog.StringValue(r.String()) }
