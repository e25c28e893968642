package enrollment

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// Link is what an activation link names: an enrollment, and the address it went to by that address's generation (1 for
// the first, one more for each correction).
type Link struct {
	Enrollment ID
	Generation uint32
}

const (
	linkPurpose = "billcenter/activation/v1"
	macSize     = 20 // 160 bits of HMAC-SHA256
	linkSize    = len(ID{}) + 4 + macSize
)

// linkEncoding is strict, so that one link has one spelling.
var linkEncoding = base64.RawURLEncoding.Strict()

// Mint returns the token of an activation link, 54 characters that are safe in a path. The mail worker derives it from
// an ActivationRequested, so no link travels on the bus, and a redelivery mails the same link again:
//
//	token = base64url, unpadded, of (enrollment id, 16 bytes ‖ generation, 4 bytes ‖ the first 20 bytes of mac)
//	mac   = HMAC-SHA256 under the tenants' link key of five parts, each preceded by its length in bytes:
//	        "billcenter/activation/v1", tenant, enrollment id, generation, address
//
// Generation and lengths are 32 bits, big-endian. The address is in the form that ParseAddress returns.
// testdata/activation-links.json has vectors for workers in other languages.
func Mint(key []byte, tenant string, link Link, address Address) Secret {
	return mint(linkPurpose, key, tenant, link, address)
}

func mint(purpose string, key []byte, tenant string, link Link, address Address) Secret {
	token := make([]byte, 0, linkSize)
	token = append(token, link.Enrollment[:]...)
	token = binary.BigEndian.AppendUint32(token, link.Generation)
	token = append(token, linkMAC(purpose, key, tenant, link, address)...)
	return Secret(linkEncoding.EncodeToString(token))
}

func linkMAC(purpose string, key []byte, tenant string, link Link, address Address) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range [...][]byte{
		[]byte(purpose),
		[]byte(tenant),
		link.Enrollment[:],
		binary.BigEndian.AppendUint32(nil, link.Generation),
		[]byte(address),
	} {
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		mac.Write(part)
	}
	return mac.Sum(nil)[:macSize]
}

// Signed is a link as it came in: well-formed, but anybody's until Genuine says otherwise.
type Signed struct {
	Link
	mac [macSize]byte
}

// mailClientTails are the characters around a link in a sentence that mail clients take for a part of it.
const mailClientTails = ".,;:!?>)]}\"'*_"

// ParseLink reads a token from a URL. The punctuation that some mail clients hang on to a link is taken off; any other
// change, padding and the standard alphabet included, is a *Refusal with LinkDamaged.
func ParseLink(token string) (Signed, error) {
	damaged := &Refusal{Reason: LinkDamaged}
	size := linkEncoding.EncodedLen(linkSize)
	if len(token) < size || strings.Trim(token[size:], mailClientTails) != "" {
		return Signed{}, damaged
	}
	// The decoder skips line breaks, which would leave less than a whole link.
	raw, err := linkEncoding.DecodeString(token[:size])
	if err != nil || len(raw) != linkSize {
		return Signed{}, damaged
	}
	var s Signed
	n := copy(s.Enrollment[:], raw)
	s.Generation = binary.BigEndian.Uint32(raw[n:])
	copy(s.mac[:], raw[n+4:])
	return s, nil
}

// Genuine reports whether the link was minted under key for this tenant and address, in a time that does not depend on
// how much of it is right.
func (s Signed) Genuine(key []byte, tenant string, address Address) bool {
	return s.genuine(linkPurpose, key, tenant, address)
}

func (s Signed) genuine(purpose string, key []byte, tenant string, address Address) bool {
	return hmac.Equal(s.mac[:], linkMAC(purpose, key, tenant, s.Link, address))
}
