package billing

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/mongotel/billcenter/events"
)

// lines is a file of JSON objects, each on a line of its own. An object may also span lines, as `billcenter events sample`
// prints it, so long as none of its further lines begins with a brace: so a line that was cut short costs itself only.
type lines struct {
	in     *bufio.Reader
	line   int // number of the last line read
	end    int64
	record []byte
}

func (l *lines) next() (rawRecord, error) {
	l.record = l.record[:0]
	for len(bytes.TrimSpace(l.record)) == 0 {
		l.record = l.record[:0]
		if err := l.readLine(); err != nil {
			return rawRecord{}, err
		}
	}
	first := l.line
	var o object
	for o.read(l.record); o.open(); {
		head, err := l.in.Peek(1)
		if err != nil || head[0] == '{' || len(l.record) > maxRecord {
			break // an error comes again
		}
		n := len(l.record)
		if err := l.readLine(); err != nil {
			return rawRecord{}, err
		}
		o.read(l.record[n:])
	}
	if len(l.record) > maxRecord {
		return rawRecord{}, &Fault{Line: first, Kind: events.NotJSON, Why: "is longer than 1 MiB"}
	}
	return rawRecord{line: first, end: l.end, json: bytes.TrimRight(l.record, "\r\n")}, nil
}

// readLine appends a line to the record. Of a record that is too long it keeps one byte too many, to tell.
func (l *lines) readLine() error {
	for begun := false; ; begun = true {
		part, err := l.in.ReadSlice('\n')
		l.end += int64(len(part))
		l.record = append(l.record, part[:min(len(part), maxRecord+1-len(l.record))]...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(part) == 0 && !begun:
			return io.EOF
		case err == nil, errors.Is(err, io.EOF):
			l.line++
			return nil
		default:
			return fmt.Errorf("read line %d: %w", l.line+1, err)
		}
	}
}

// object follows the braces and quotes of a JSON object.
type object struct {
	depth            int
	quoted, escaping bool
}

func (o *object) read(part []byte) {
	for _, c := range part {
		switch {
		case o.escaping:
			o.escaping = false
		case o.quoted:
			o.escaping = c == '\\'
			o.quoted = c != '"'
		case c == '"':
			o.quoted = true
		case c == '{' || c == '[':
			o.depth++
		case c == '}' || c == ']':
			o.depth--
		}
	}
}

// open reports whether the object goes on. No string does on another line.
func (o *object) open() bool { return o.depth > 0 && !o.quoted }
