package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// A Sealer encrypts the original of a dead letter, which may hold a
// registration code or an address. The context is authenticated but not stored
// with it: Open must fail under another one.
type Sealer interface {
	Seal(plain, context []byte) (sealed []byte, err error)
	Open(sealed, context []byte) (plain []byte, err error)
}

var (
	// ErrNoDeadLetter means that there is no dead letter with the ID, or no
	// longer.
	ErrNoDeadLetter = errors.New("no such dead letter")

	errNoSealer   = errors.New("this bus has no sealer for dead letters")
	errUnreadable = errors.New("it is not in the form of a dead letter")
)

const (
	// Attributes of a malformed event may be of any size.
	maxAttributeBytes = 256
	maxDetailBytes    = 1024

	deadLetterDomain = "deadletter"

	noTenant = "_" // in the subject of a letter whose tenant is not valid

	// confirmTimeout bounds the wait for the broker to have the terminations.
	confirmTimeout = 5 * time.Second
)

// A DeadLetter is a message that a consumer gave up. All of it may be shown to
// staff and logged; the original is stored sealed beside it.
type DeadLetter struct {
	ID         uint64    `json:"id"`         // its sequence in DEADLETTER
	Consumer   string    `json:"consumer"`   // who gave up
	Stream     string    `json:"stream"`     // where the original was stored
	Sequence   uint64    `json:"sequence"`   // of the original
	Subject    string    `json:"subject"`    // of the original
	Tenant     string    `json:"tenant"`     // "_" where the subject names none
	EventID    string    `json:"eventId"`    // CloudEvents id, if it could be read
	Source     string    `json:"source"`     // CloudEvents source
	Type       string    `json:"type"`       // CloudEvents type
	Reason     string    `json:"reason"`     // a code from the consumer's closed list
	Detail     string    `json:"detail"`     // field and rule, never a value
	Deliveries uint64    `json:"deliveries"` // of the original, until it was given up
	StoredAt   time.Time `json:"storedAt"`   // of the original
	DeadAt     time.Time `json:"deadAt"`

	// Parked marks a message that this release cannot handle but a later one
	// may, such as an event of an unknown major version.
	Parked bool `json:"parked"`
}

// sealedLetter is the payload in DEADLETTER.
type sealedLetter struct {
	DeadLetter
	Sealed []byte `json:"sealed"`
}

// A Verdict is what a consumer says about a message that it gives up.
type Verdict struct {
	EventID string
	Source  string
	Type    string
	Reason  string
	Detail  string
	Parked  bool
}

// A Burial is a message with its verdict.
type Burial struct {
	In      *Incoming
	Verdict Verdict
}

// Bury stores the message as a dead letter and then terminates it. See BuryAll.
func (b *Bus) Bury(ctx context.Context, in *Incoming, verdict Verdict) error {
	return b.BuryAll(ctx, []Burial{{In: in, Verdict: verdict}})
}

// BuryAll stores the messages as dead letters and terminates them only once all
// are stored. On an error none is terminated, so that all are delivered again;
// burying a message twice leaves one dead letter.
func (b *Bus) BuryAll(ctx context.Context, burials []Burial) error {
	if b.sealer == nil {
		return errNoSealer
	}
	letters := make([]Outgoing, len(burials))
	for i, burial := range burials {
		letter, err := b.letter(burial.In, burial.Verdict)
		if err != nil {
			return fmt.Errorf("bury message %d of %s: %w", burial.In.Sequence, burial.In.Stream, err)
		}
		letters[i] = letter
	}
	if err := b.publish(ctx, letters, subjectOfLetter); err != nil {
		return fmt.Errorf("bury: %w", err)
	}
	for _, burial := range burials {
		if err := burial.In.Term(); err != nil {
			return fmt.Errorf("bury: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	if err := b.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("bury: %w", brokerError(err))
	}
	return nil
}

func (b *Bus) letter(in *Incoming, verdict Verdict) (Outgoing, error) {
	letter := sealedLetter{DeadLetter: DeadLetter{
		Consumer:   in.Consumer,
		Stream:     in.Stream,
		Sequence:   in.Sequence,
		Subject:    in.Subject,
		Tenant:     tenantOf(in.Subject),
		EventID:    shorten(verdict.EventID, maxAttributeBytes),
		Source:     shorten(verdict.Source, maxAttributeBytes),
		Type:       shorten(verdict.Type, maxAttributeBytes),
		Reason:     shorten(verdict.Reason, maxAttributeBytes),
		Detail:     shorten(verdict.Detail, maxDetailBytes),
		Deliveries: in.Deliveries,
		StoredAt:   in.StoredAt,
		DeadAt:     time.Now().UTC(),
		Parked:     verdict.Parked,
	}}
	var err error
	letter.Sealed, err = b.sealer.Seal(encodeOriginal(in.Header, in.Data), sealContext(letter.DeadLetter))
	if err != nil {
		return Outgoing{}, fmt.Errorf("seal: %w", err)
	}
	data, err := json.Marshal(letter)
	if err != nil {
		return Outgoing{}, err
	}
	return Outgoing{
		Subject: strings.Join([]string{deadLetterDomain, in.Consumer, letter.Tenant}, "."),
		// The time tells apart the messages of two streams of one name, should
		// the stream have been made anew with its sequences starting over.
		ID: fmt.Sprintf("%s#%d#%d#%s", in.Stream, in.Sequence, in.StoredAt.UnixNano(), in.Consumer),
		// Those who list dead letters need not parse them.
		Header: map[string][]string{"Content-Type": {"application/json"}},
		Data:   data,
	}, nil
}

// sealContext binds the sealed original to the readable fields that decide
// where a replay sends it.
func sealContext(l DeadLetter) []byte {
	return fmt.Appendf(nil, "deadletter\x00%s\x00%s\x00%d\x00%s", l.Consumer, l.Stream, l.Sequence, l.Subject)
}

func tenantOf(subject string) string {
	if tokens := strings.Split(subject, "."); len(tokens) > 1 && validTenant(tokens[1]) {
		return tokens[1]
	}
	return noTenant
}

// subjectOfLetter accepts deadletter.<consumer>.<tenant>.
func subjectOfLetter(subject string) error {
	tokens, err := literalTokens(subject)
	if err != nil {
		return err
	}
	if len(tokens) != 3 {
		return fmt.Errorf("subject %q is not deadletter.<consumer>.<tenant>", subject)
	}
	return nil
}

// shorten cuts after at most limit bytes and keeps the text valid UTF-8.
func shorten(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}
