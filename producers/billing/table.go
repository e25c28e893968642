package billing

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mongotel/billcenter/events"
)

// column is a field of InvoiceEmailed that a table can hold. An empty cell is an absent field.
type column struct {
	name     string // the field's path in the data
	required bool
	number   bool
}

var columns = []column{
	{name: "accountNumber", required: true},
	{name: "companyName"},
	{name: "billingEmail", required: true},
	{name: "emailedAt", required: true},
	{name: "registrationCode"},
	{name: "registrationCodeExpiresAt"},
	{name: "locale"},
	{name: "invoice.number", required: true},
	{name: "invoice.issuedOn"},
	{name: "invoice.dueOn"},
	{name: "invoice.currency"},
	{name: "invoice.amountDueMinor", number: true},
	{name: "invoice.documentUrl"},
}

// Columns lists the names that a CSV file's header may have.
func Columns() []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return names
}

// table is a CSV file with a header.
type table struct {
	in     *limited
	csv    *csv.Reader
	start  int64 // of the header in the file
	line   int   // on which the last row began
	header []column
}

func newTable(in *bufio.Reader, start int64, mapped map[string]string) (*table, error) {
	t := &table{in: &limited{r: in}, start: start}
	t.csv = csv.NewReader(t.in)
	t.csv.ReuseRecord = true
	t.in.allow(0)
	names, err := t.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty; its first line names the columns")
	}
	if fault, ok := errors.AsType[*Fault](t.unreadable(err)); ok {
		return nil, fmt.Errorf("the header %s", fault.Why)
	}
	if err != nil {
		return nil, t.unreadable(err)
	}
	found := 0
	for i, name := range names {
		name = strings.TrimSpace(name)
		if to, ok := mapped[name]; ok {
			found++
			if name = to; to == "" {
				t.header = append(t.header, column{})
				continue
			}
		}
		c, err := columnNamed(i+1, name)
		if err != nil {
			return nil, err
		}
		if slices.Contains(t.header, c) {
			return nil, fmt.Errorf("the header has the column %s twice", c.name)
		}
		t.header = append(t.header, c)
	}
	if found < len(mapped) {
		return nil, errors.New("the header lacks a column that the mapping names")
	}
	for _, c := range columns {
		if c.required && !slices.Contains(t.header, c) {
			return nil, fmt.Errorf("the header has no column %s", c.name)
		}
	}
	return t, nil
}

// columnNamed finds a column of the header. A name that it does not know is not repeated: where the header is missing, it
// is a customer's.
func columnNamed(position int, name string) (column, error) {
	i := slices.IndexFunc(columns, func(c column) bool { return c.name == name })
	if i >= 0 {
		return columns[i], nil
	}
	if strings.Contains(name, ";") || strings.Contains(name, "\t") {
		return column{}, errors.New("the header is not separated by commas; write the file as RFC 4180 has it")
	}
	if near, ok := nearest(name, Columns()); ok {
		return column{}, fmt.Errorf("column %d of the header has an unknown name; did you mean %s?", position, near)
	}
	return column{}, fmt.Errorf("column %d of the header has an unknown name; the first line names the columns, and they are %s",
		position, strings.Join(Columns(), ", "))
}

func (t *table) next() (rawRecord, error) {
	for {
		t.in.allow(t.csv.InputOffset())
		cells, err := t.csv.Read()
		if err != nil {
			return rawRecord{}, t.unreadable(err)
		}
		t.line, _ = t.csv.FieldPos(0)
		if !slices.ContainsFunc(cells, func(cell string) bool { return cell != "" }) {
			continue // a spreadsheet's empty row
		}
		body, err := t.object(cells)
		if err != nil {
			return rawRecord{}, faultAt(t.line, err)
		}
		return rawRecord{line: t.line, end: t.start + t.csv.InputOffset(), json: body}, nil
	}
}

// unreadable tells a fault of one row from the end of the file.
func (t *table) unreadable(err error) error {
	p, ok := errors.AsType[*csv.ParseError](err)
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case errors.Is(err, errTooLong):
		return fmt.Errorf("the row after that of line %d is longer than 1 MiB; is a quote not closed?", t.line)
	case !ok:
		return fmt.Errorf("read: %w", err)
	case errors.Is(err, csv.ErrFieldCount):
		return &Fault{Line: p.StartLine, Kind: events.FieldInvalid, Why: "does not have as many cells as the header has columns"}
	default:
		return &Fault{Line: p.StartLine, Kind: events.FieldInvalid,
			Why: fmt.Sprintf(`has a quote in the wrong place (line %d, byte %d); a cell with quotes is quoted, its quotes doubled`, p.Line, p.Column)}
	}
}

// object writes a row as the data that it stands for.
func (t *table) object(cells []string) ([]byte, error) {
	data, invoice := map[string]any{}, map[string]any{}
	for i, cell := range cells {
		c := t.header[i]
		if cell == "" || c.name == "" { // absent, or left out by the mapping
			continue
		}
		if !utf8.ValidString(cell) {
			return nil, &events.Malformed{Fault: events.FieldInvalid, Field: c.name, Why: "is not valid UTF-8; save the file as UTF-8"}
		}
		var value any = cell
		if c.number {
			n, err := strconv.ParseInt(cell, 10, 64)
			if err != nil {
				return nil, &events.Malformed{Fault: events.FieldInvalid, Field: c.name, Why: "is not a whole number of the currency's minor unit: 12345 for 123.45 USD"}
			}
			value = n
		}
		if field, ok := strings.CutPrefix(c.name, "invoice."); ok {
			invoice[field] = value
			continue
		}
		data[c.name] = value
	}
	data["invoice"] = invoice
	return json.Marshal(data)
}

var errTooLong = errors.New("the record is too long")

// limited keeps a quote that is never closed from taking the whole file into memory.
type limited struct {
	r          io.Reader
	read, most int64
}

// allow lets a record of maxRecord bytes begin at an offset, and the reader's buffer run ahead of it.
func (l *limited) allow(offset int64) { l.most = offset + maxRecord + 64<<10 }

func (l *limited) Read(p []byte) (int, error) {
	if l.read >= l.most {
		return 0, errTooLong
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.most-l.read)])
	l.read += int64(n)
	return n, err
}

// nearest finds the name that a mistyped one was meant to be: the path or its last part, in any case, with no more than a
// third of its letters wrong.
func nearest(name string, known []string) (string, bool) {
	best, least := "", 1+len(name)/3
	for _, k := range known {
		last := k[strings.LastIndex(k, ".")+1:]
		d := min(distance(strings.ToLower(name), strings.ToLower(k)), distance(strings.ToLower(name), strings.ToLower(last)))
		if d < least {
			best, least = k, d
		}
	}
	return best, best != ""
}

// distance is Levenshtein's, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
