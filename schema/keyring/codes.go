package keyring

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"slices"
	"sync"
)

// Hash is what is stored of a registration code, with the key it was made under.
type Hash struct {
	KeyID string
	Sum   []byte // 32 bytes
}

const codePurpose = "billcenter/code/v1"

// CodeHash returns what a code is stored as: HMAC-SHA256 under the newest pepper over tenant, account key and one form of
// the code (enrollment.CodeForms). A copy of the database cannot be searched for codes without the pepper, and one code
// of two accounts has two hashes.
func (r Ring) CodeHash(tenant, accountKey, codeForm string) Hash {
	return r.newest().codeHash(tenant, accountKey, codeForm)
}

// CodeHashes returns what the code may be stored as: one hash for each key, the newest first.
func (r Ring) CodeHashes(tenant, accountKey, codeForm string) []Hash {
	hashes := make([]Hash, len(r.keys))
	for i, k := range r.keys {
		hashes[i] = k.codeHash(tenant, accountKey, codeForm)
	}
	return hashes
}

func (k key) codeHash(tenant, accountKey, codeForm string) Hash {
	return Hash{KeyID: k.id, Sum: k.pepper.mac(codePurpose, tenant, accountKey, codeForm)}
}

// LinkKeys returns the keys of activation links, the newest first: the first one mints, a link is genuine under any.
func (r Ring) LinkKeys() [][]byte {
	keys := make([][]byte, len(r.keys))
	for i, k := range r.keys {
		keys[i] = slices.Clone(k.link())
	}
	return keys
}

// AccountRef returns the name of an account in facts: 32 hexadecimal digits that are the same for ever and lead back to
// the account number only with the key. It is made under the oldest key, since one under the newest would split every
// account's history in two at each rotation. Removing the oldest key renames every account.
func (r Ring) AccountRef(tenant, accountKey string) string {
	return hex.EncodeToString(r.oldest().account.mac("billcenter/account-ref/v1", tenant, accountKey)[:16])
}

// BrokerKey returns the key that the embedded broker encrypts its files with, 64 hexadecimal digits. It is the oldest
// key's, since the broker does not encrypt its block files anew: under another key it would not read what it holds.
// Removing the oldest key makes an embedded broker's data unreadable.
func (r Ring) BrokerKey() string { return hex.EncodeToString(r.oldest().broker()) }

// Sign returns a MAC of 32 bytes over msg under the newest key. Purposes, such as the name of a cookie, are kept apart:
// what is signed for one verifies for no other.
func (r Ring) Sign(purpose string, msg []byte) []byte {
	return r.newest().signature.mac(purpose, string(msg))
}

// Verify reports whether Sign made the MAC for purpose and msg under any key of the ring.
func (r Ring) Verify(purpose string, msg, signature []byte) bool {
	for _, k := range r.keys {
		if hmac.Equal(signature, k.signature.mac(purpose, string(msg))) {
			return true
		}
	}
	return false
}

// signer makes MACs under one key. It keeps used states, since a state knows its key's first block already: a run of bills
// has a hundred thousand codes, each in two forms.
type signer struct {
	states *sync.Pool
}

func newSigner(key secret) signer {
	return signer{&sync.Pool{New: func() any { return hmac.New(sha256.New, key()) }}}
}

// mac is HMAC-SHA256 over the parts, each preceded by its length in bytes (32 bits, big-endian), so that no two lists of
// parts read the same.
func (s signer) mac(parts ...string) []byte {
	framed := make([]byte, 0, 128)
	for _, part := range parts {
		framed = binary.BigEndian.AppendUint32(framed, uint32(len(part)))
		framed = append(framed, part...)
	}
	state := s.states.Get().(hash.Hash)
	defer s.states.Put(state)
	state.Reset()
	state.Write(framed)
	return state.Sum(nil)
}
