package portal

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/semaphore"
)

// The cost of one password hash: OWASP's minimum for Argon2id, some 20 ms and 19 MiB.
const (
	leastMemory = 19 * 1024 // KiB
	hashPasses  = 2
	hashThreads = 1
	hashLength  = 32 // bytes
	saltLength  = 16 // bytes
)

// hashMemory is less only in tests, which hash by the hundred.
var hashMemory uint32 = leastMemory

// hashWait is how long a request queues for a core before it is told to come back.
const hashWait = 2 * time.Second

var errBusy = errors.New("portal: passwords: no core became free in time")

// passwords hashes and verifies. Not more than one hash runs per core, since 64 at once would take over a gigabyte and
// finish no sooner.
type passwords struct {
	cores    *semaphore.Weighted
	patience time.Duration // in the queue for a core
	dummy    string        // verified where there is no user, so that the answer takes as long
}

func newPasswords() *passwords {
	p := &passwords{cores: semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0))), patience: hashWait}
	p.dummy = encode(salt(), rand.Text())
	return p
}

// hash returns a PHC string. errBusy: too many others are waiting.
func (p *passwords) hash(ctx context.Context, password string) (string, error) {
	if err := p.queue(ctx); err != nil {
		return "", err
	}
	defer p.cores.Release(1)
	return encode(salt(), password), nil
}

// verify compares in constant time. An empty phc is a user that does not exist: the same work, and never true.
func (p *passwords) verify(ctx context.Context, phc, password string) (bool, error) {
	known := phc != ""
	if !known {
		phc = p.dummy
	}
	want, err := decode(phc)
	if err != nil {
		return false, err
	}
	if err := p.queue(ctx); err != nil {
		return false, err
	}
	defer p.cores.Release(1)
	got := argon2.IDKey([]byte(password), want.salt, want.passes, want.memory, want.threads, uint32(len(want.sum)))
	return subtle.ConstantTimeCompare(got, want.sum) == 1 && known, nil
}

func (p *passwords) queue(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	if err := p.cores.Acquire(waiting, 1); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("portal: passwords: %w", ctx.Err())
		}
		return errBusy
	}
	return nil
}

func salt() []byte {
	s := make([]byte, saltLength)
	rand.Read(s) // never fails: crypto/rand ends the process instead
	return s
}

func encode(salt []byte, password string) string {
	sum := argon2.IDKey([]byte(password), salt, hashPasses, hashMemory, hashThreads, hashLength)
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashPasses, hashThreads, b64(salt), b64(sum))
}

// hashed is a PHC string taken apart.
type hashed struct {
	memory, passes uint32
	threads        uint8
	salt, sum      []byte
}

// decode reads a PHC string; its errors do not quote it. The bounds keep a damaged row from asking for all memory.
func decode(phc string) (hashed, error) {
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return hashed{}, errors.New("portal: passwords: stored hash is no argon2id PHC string")
	}
	var h hashed
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.threads); err != nil {
		return hashed{}, fmt.Errorf("portal: passwords: parameters of a stored hash: %w", err)
	}
	var saltErr, sumErr error
	h.salt, saltErr = base64.RawStdEncoding.DecodeString(parts[4])
	h.sum, sumErr = base64.RawStdEncoding.DecodeString(parts[5])
	if err := errors.Join(saltErr, sumErr); err != nil {
		return hashed{}, errors.New("portal: passwords: base64 of a stored hash")
	}
	if h.memory > 256*1024 || h.passes < 1 || h.passes > 16 || h.threads < 1 || len(h.salt) < 8 || len(h.sum) < 16 || len(h.sum) > 64 {
		return hashed{}, errors.New("portal: passwords: parameters of a stored hash are out of bounds")
	}
	return h, nil
}
