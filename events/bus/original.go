package bus

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
)

// The original of a dead letter is kept as its headers and its payload, byte by
// byte and hardly larger than they were, so that whatever a stream accepted fits
// into a dead letter.

var errDamagedOriginal = errors.New("the original of the dead letter is damaged")

func encodeOriginal(header map[string][]string, data []byte) []byte {
	encoded := binary.AppendUvarint(nil, uint64(len(header)))
	for _, key := range slices.Sorted(maps.Keys(header)) {
		encoded = appendString(encoded, key)
		encoded = binary.AppendUvarint(encoded, uint64(len(header[key])))
		for _, value := range header[key] {
			encoded = appendString(encoded, value)
		}
	}
	return append(encoded, data...)
}

func appendString(encoded []byte, s string) []byte {
	return append(binary.AppendUvarint(encoded, uint64(len(s))), s...)
}

func decodeOriginal(encoded []byte) (header map[string][]string, data []byte, err error) {
	rest := originalReader{encoded}
	keys, err := rest.count()
	if err != nil {
		return nil, nil, err
	}
	header = make(map[string][]string)
	for range keys {
		key, err := rest.string()
		if err != nil {
			return nil, nil, err
		}
		values, err := rest.count()
		if err != nil {
			return nil, nil, err
		}
		for range values {
			value, err := rest.string()
			if err != nil {
				return nil, nil, err
			}
			header[key] = append(header[key], value)
		}
	}
	return header, rest.left, nil
}

type originalReader struct{ left []byte }

// count reads a number of things that follow, each of at least one byte.
func (r *originalReader) count() (uint64, error) {
	n, size := binary.Uvarint(r.left)
	if size <= 0 || n > uint64(len(r.left)-size) {
		return 0, errDamagedOriginal
	}
	r.left = r.left[size:]
	return n, nil
}

func (r *originalReader) string() (string, error) {
	n, err := r.count()
	if err != nil {
		return "", err
	}
	s := string(r.left[:n])
	r.left = r.left[n:]
	return s, nil
}
