package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"slices"
)

// Sealer encrypts dead letters, which may hold a registration code. It is safe for concurrent use.
type Sealer struct {
	ring Ring
}

// DeadLetters returns the sealer of dead letters.
func (r Ring) DeadLetters() Sealer { return Sealer{ring: r} }

// ErrNotSealed says that something is no output of Seal, was changed, or belongs to another context.
var ErrNotSealed = errors.New("not sealed by this key ring, or changed since")

// sealVersion is the first byte of what is sealed: the layout below.
const sealVersion = 1

// Seal encrypts plain with AES-256-GCM under the newest key. Context is what the ciphertext belongs to, such as the
// letter's own address; it is authenticated but not contained. The result is a version byte, the length of the key's id,
// the id, a random nonce of 12 bytes, the ciphertext and a tag of 16 bytes.
func (s Sealer) Seal(plain, context []byte) ([]byte, error) {
	k := s.ring.newest()
	aead, err := k.aead()
	if err != nil {
		return nil, err
	}
	head := append([]byte{sealVersion, byte(len(k.id))}, k.id...)
	return aead.Seal(head, nil, plain, bind(head, context)), nil
}

// Open returns what was sealed for the same context under any key of the ring. Its error is ErrNotSealed, or names the
// key that the ring lacks.
func (s Sealer) Open(sealed, context []byte) ([]byte, error) {
	if len(sealed) < 2 || sealed[0] != sealVersion || len(sealed) < 2+int(sealed[1]) {
		return nil, ErrNotSealed
	}
	head, body := sealed[:2+int(sealed[1])], sealed[2+int(sealed[1]):]
	id := string(head[2:])
	at := slices.IndexFunc(s.ring.keys, func(k key) bool { return k.id == id })
	if at < 0 {
		if !keyID.MatchString(id) {
			return nil, ErrNotSealed
		}
		return nil, fmt.Errorf("sealed under the key %q, which the key ring lacks", id)
	}
	aead, err := s.ring.keys[at].aead()
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, body, bind(head, context))
	if err != nil {
		return nil, ErrNotSealed // the cause says no more than that
	}
	return plain, nil
}

func (k key) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.deadLetter())
	if err != nil {
		return nil, fmt.Errorf("dead letter key %q: %w", k.id, err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("dead letter key %q: %w", k.id, err)
	}
	return aead, nil
}

// bind authenticates the head along with the context. The head says its own length.
func bind(head, context []byte) []byte { return append(slices.Clone(head), context...) }
