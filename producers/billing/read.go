package billing

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/mongotel/billcenter/events"
)

// maxRecord is how long a record may be. It is twice what the stream takes, so that a record which is somewhat too large is
// told what it is.
const maxRecord = 1 << 20

// Read yields the records of a file, in its order and in constant memory. A record that cannot be taken is yielded as a
// *Fault, and reading goes on; any other error ends it. A byte order mark before the first record is passed over, since
// editors write one; so are blank lines.
func Read(r io.Reader, from Origin) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		s, err := open(r, from)
		if err != nil {
			yield(Record{}, err)
			return
		}
		reader := reader{origin: from}
		for {
			raw, err := s.next()
			if errors.Is(err, io.EOF) {
				return
			}
			record, err := reader.record(raw, err)
			if !yield(record, err) {
				return
			}
			if _, fault := errors.AsType[*Fault](err); err != nil && !fault {
				return
			}
		}
	}
}

// rawRecord is a record as it stands in the file, turned into JSON.
type rawRecord struct {
	line int
	end  int64
	json []byte // until the next record is read
}

// records is a file's format. A *Fault in next concerns the record alone.
type records interface {
	next() (rawRecord, error)
}

var byteOrderMark = []byte("\ufeff")

func open(r io.Reader, from Origin) (records, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	head, err := in.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read: %w", err)
	}
	start := 0
	switch {
	case bytes.HasPrefix(head, byteOrderMark):
		start, err = in.Discard(len(byteOrderMark))
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		head = head[start:]
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}), bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return nil, errors.New("the file is UTF-16; save it as UTF-8")
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return nil, errors.New("the file is compressed; decompress it first: gunzip -c FILE | billcenter publish -")
	}
	head = bytes.TrimLeft(head, " \t\r\n")
	if bytes.HasPrefix(head, []byte{'['}) {
		return nil, errors.New("the file is a JSON array; write one object a line: jq -c '.[]' FILE | billcenter publish -")
	}
	if from.Format == CSV || from.Format == Auto && len(head) > 0 && head[0] != '{' {
		return newTable(in, int64(start), from.Columns)
	}
	return &lines{in: in, end: int64(start)}, nil
}

// reader turns raw records into events and notices those that it has seen.
type reader struct {
	origin Origin
	recent recent
}

func (r *reader) record(raw rawRecord, err error) (Record, error) {
	if err != nil {
		return Record{}, err
	}
	event, err := encode(r.origin, raw.json)
	if err != nil {
		return Record{}, faultAt(raw.line, err)
	}
	record := Record{Line: raw.line, End: raw.end, Event: event}
	earlier, same := r.recent.add(event, raw.line)
	if earlier != 0 && !same {
		return Record{}, &Fault{
			Line: raw.line, Kind: events.IDReused, Field: "id",
			Why: fmt.Sprintf("is that of line %d, which says something else; each event has an id of its own", earlier),
		}
	}
	record.Repeats = earlier
	return record, nil
}

// faultAt turns what is malformed in a record into a fault of its line.
func faultAt(line int, err error) error {
	m, ok := events.AsMalformed(err)
	if !ok {
		return fmt.Errorf("line %d: %w", line, err)
	}
	return &Fault{Line: line, Kind: m.Fault, Field: m.Field, Why: m.Why}
}
