// Package billing is what the billing system says: it publishes InvoiceEmailed and billing's other events from a file of
// NDJSON or CSV (Read, Publish), plays Mongotel's billing run on a newcomer's machine (SampleRun), and makes up as many
// events as a load test wants (Generate).
//
// It needs a Publisher and knows neither the broker nor the database. What became of an event after it was stored on the
// stream is not its business.
package billing

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/mongotel/billcenter/events"
)

// A Publisher stores events on the stream and returns nil once every one of them is stored. An event whose MsgID is known
// there counts as stored, so that a batch can be published again after any error.
type Publisher func(ctx context.Context, batch []events.Encoded) error

// Origin says whose records a file holds and how they are written down.
type Origin struct {
	Tenant string
	Source string // of records that are bare data: //mongo.billcenter.net/billing
	Format Format

	// Columns maps the names of a CSV file's header to those of Columns(), for a file that billing's own tool wrote. The empty
	// name leaves a column out. A column that is not here must have a name of Columns() itself.
	Columns map[string]string

	// Foreign takes whole events of every type of the contract, not only billing's own: for checking a file, not for publishing it.
	Foreign bool
}

// Format of a file.
type Format string

const (
	Auto   Format = ""       // told by the first character: a brace begins NDJSON
	NDJSON Format = "ndjson" // an object a line: InvoiceEmailed's data, or a whole CloudEvent
	CSV    Format = "csv"    // RFC 4180; the header names InvoiceEmailed's fields by their paths
)

// FormatOf tells a file's format by the end of its name, where that is enough.
func FormatOf(name string) Format {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".csv":
		return CSV
	case ".ndjson", ".jsonl", ".json":
		return NDJSON
	default:
		return Auto
	}
}

// A Record is one event of a file, valid and ready for the wire.
type Record struct {
	Line    int   // from 1, where the record begins
	Repeats int   // the line of the same event earlier in the file, if that was within the last 100,000 records; else 0
	End     int64 // bytes of the file up to the record's end
	Event   events.Encoded
}

// A Fault says which record of a file cannot be taken, and why. Its text never repeats a value.
type Fault struct {
	Line  int          `json:"line"`
	Kind  events.Fault `json:"fault"`
	Field string       `json:"field,omitempty"` // or column
	Why   string       `json:"why"`
}

func (f *Fault) Error() string {
	if f.Field == "" {
		return fmt.Sprintf("line %d: %s", f.Line, f.Why)
	}
	return fmt.Sprintf("line %d: %s %s", f.Line, f.Field, f.Why)
}
