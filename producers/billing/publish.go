package billing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mongotel/billcenter/events"
)

const (
	batchSize = 1000 // the most that the stream takes at once

	defaultPatience = time.Minute
	firstWait       = 100 * time.Millisecond
	longestWait     = 5 * time.Second
)

// Options of Publish.
type Options struct {
	Origin

	DryRun bool // check everything, publish nothing

	// SkipInvalid publishes the valid records in one pass. Otherwise nothing is published unless every record is valid.
	SkipInvalid bool

	// Patience is how long a batch is tried again while the publisher fails; 0: one minute.
	Patience time.Duration

	// Permanent reports an error of the publisher that no waiting will cure; nil: there are none.
	Permanent func(error) bool

	OnFault    func(*Fault)                         // each record that cannot be taken; may be nil
	OnProgress func(Progress)                       // at least once every 1000 records; may be nil
	OnRetry    func(err error, after time.Duration) // before each wait; may be nil
}

// Progress of a Publish.
type Progress struct {
	Phase   Phase
	Records int
	Bytes   int64 // of the file, up to the last record
	Total   int64 // bytes of the file; 0: not known
}

// Phase of a Publish.
type Phase string

const (
	Checking   Phase = "checking"
	Publishing Phase = "publishing"
)

// Summary says what Publish did.
type Summary struct {
	Read      int     `json:"read"`      // records, the invalid ones included
	Published int     `json:"published"` // stored on the stream, or stored there before under the same id
	Repeated  int     `json:"repeated"`  // the same event as an earlier record of the file, published once
	Invalid   int     `json:"invalid"`
	DryRun    bool    `json:"dryRun,omitempty"`
	Seconds   float64 `json:"seconds"`
}

// InvalidError says that nothing was published because some records are invalid.
type InvalidError struct{ Invalid, Read int }

func (e *InvalidError) Error() string {
	return fmt.Sprintf("%d of %d records are invalid; nothing was published", e.Invalid, e.Read)
}

// StoppedError says that Publish ended before the end of the file.
type StoppedError struct {
	Published int // records that are stored for certain
	Line      int // of the last of them; 0: none
	Err       error
}

func (e *StoppedError) Error() string {
	if e.Published == 0 {
		return fmt.Sprintf("stopped before any record was known to be published; running it again is safe, since every record keeps its id: %v", e.Err)
	}
	return fmt.Sprintf("stopped with %d records published, the last of them on line %d; running it again is safe, since every record keeps its id: %v",
		e.Published, e.Line, e.Err)
}

func (e *StoppedError) Unwrap() error { return e.Err }

// Publish publishes a file's records in their order, 1000 at a time. Running it again is safe: every record has the same id
// each time, and what is known under its id is not stored a second time.
//
// It reads a file twice, so that nothing is published of one with faults (*InvalidError); what cannot be read twice is copied
// to a temporary file first. When the publisher fails for longer than Options.Patience, or ctx ends, the error is a
// *StoppedError that says how far it came.
func Publish(ctx context.Context, r io.Reader, publish Publisher, o Options) (Summary, error) {
	began := time.Now()
	run := run{Options: o, publish: publish}
	err := run.file(ctx, r)
	run.summary.DryRun = o.DryRun
	run.summary.Seconds = time.Since(began).Seconds()
	return run.summary, err
}

// run is one call of Publish.
type run struct {
	Options
	publish Publisher
	total   int64
	summary Summary
	line    int // of the last record that was published
}

func (r *run) file(ctx context.Context, in io.Reader) error {
	file, size, rewindable := rewind(in)
	if !rewindable {
		piped, end := interruptible(ctx, in)
		defer end()
		if r.SkipInvalid || r.DryRun {
			return r.pass(ctx, piped)
		}
		spooled, err := spool(piped)
		if err != nil {
			return err
		}
		defer spooled.Close()
		file, size, _ = rewind(spooled)
	}
	r.total = size
	if r.SkipInvalid || r.DryRun {
		return r.pass(ctx, file)
	}

	start, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	check := *r
	check.DryRun = true
	if err := check.pass(ctx, file); err != nil {
		r.summary = check.summary
		return err
	}
	if check.summary.Invalid > 0 {
		r.summary = check.summary
		return &InvalidError{Invalid: check.summary.Invalid, Read: check.summary.Read}
	}
	if _, err := file.Seek(start, io.SeekStart); err != nil {
		return fmt.Errorf("read again: %w", err)
	}
	return r.pass(ctx, file)
}

// pass reads the records once and, unless it is a dry run, publishes them.
func (r *run) pass(ctx context.Context, in io.Reader) error {
	batch := make([]events.Encoded, 0, batchSize)
	var last Record
	for record, err := range Read(in, r.Origin) {
		if ctx.Err() != nil {
			return r.stopped(context.Cause(ctx))
		}
		fault, isFault := errors.AsType[*Fault](err)
		if err != nil && !isFault {
			return r.stopped(err)
		}
		r.summary.Read++
		switch {
		case isFault:
			r.summary.Invalid++
			if r.OnFault != nil {
				r.OnFault(fault)
			}
			if !r.SkipInvalid && !r.DryRun {
				return r.stopped(fmt.Errorf("the file changed while it was read: %w", fault))
			}
		case record.Repeats > 0:
			r.summary.Repeated++
		default:
			batch, last = append(batch, record.Event), record
		}
		if len(batch) == batchSize {
			if err := r.send(ctx, batch, last); err != nil {
				return err
			}
			batch = batch[:0]
		}
		if r.summary.Read%batchSize == 0 {
			r.report(last)
		}
	}
	if err := r.send(ctx, batch, last); err != nil {
		return err
	}
	r.report(last)
	return nil
}

func (r *run) report(last Record) {
	if r.OnProgress == nil {
		return
	}
	phase := Publishing
	if r.DryRun {
		phase = Checking
	}
	r.OnProgress(Progress{Phase: phase, Records: r.summary.Read, Bytes: last.End, Total: r.total})
}

// stopped says how far the run came, unless it came nowhere for a reason of the file's own.
func (r *run) stopped(err error) error {
	if r.summary.Published == 0 && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &StoppedError{Published: r.summary.Published, Line: r.line, Err: err}
}

// send publishes a batch, whose last record is given, and tries again for as long as patience lasts.
func (r *run) send(ctx context.Context, batch []events.Encoded, last Record) error {
	if r.DryRun || len(batch) == 0 {
		return nil
	}
	patience := r.Patience
	if patience == 0 {
		patience = defaultPatience
	}
	deadline := time.Now().Add(patience)
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		err := r.publish(ctx, batch)
		switch {
		case err == nil:
			r.summary.Published += len(batch)
			r.line = last.Line
			return nil
		case ctx.Err() != nil:
			return r.stopped(context.Cause(ctx))
		case r.Permanent != nil && r.Permanent(err), time.Now().Add(wait).After(deadline):
			return &StoppedError{Published: r.summary.Published, Line: r.line, Err: err}
		}
		if r.OnRetry != nil {
			r.OnRetry(err, wait)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return r.stopped(context.Cause(ctx))
		}
	}
}

// rewind reports whether a reader can be read twice, and how many bytes are left in it.
func rewind(r io.Reader) (file io.ReadSeeker, size int64, ok bool) {
	file, ok = r.(io.ReadSeeker)
	if !ok {
		return nil, 0, false
	}
	here, err := file.Seek(0, io.SeekCurrent) // fails on a pipe
	if err != nil {
		return nil, 0, false
	}
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, 0, false
	}
	if _, err := file.Seek(here, io.SeekStart); err != nil {
		return nil, 0, false
	}
	return file, end - here, true
}

// interruptible gives a read that would wait for a terminal or a pipe an end with ctx.
func interruptible(ctx context.Context, r io.Reader) (out *io.PipeReader, end func()) {
	out, in := io.Pipe()
	go func() {
		_, err := io.Copy(in, r)
		in.CloseWithError(err)
	}()
	forget := context.AfterFunc(ctx, func() { in.CloseWithError(context.Cause(ctx)) })
	return out, func() { forget(); out.Close() }
}

// spool copies what can be read once only to a file. The file holds codes: nobody else may read it, and it has no name any
// more, so that nothing is left of it however the process ends.
func spool(r io.Reader) (*os.File, error) {
	f, err := os.CreateTemp("", "billcenter-publish-*")
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, fmt.Errorf("spool: %w", errors.Join(err, f.Close()))
	}
	if _, err := io.Copy(f, r); err != nil {
		return nil, fmt.Errorf("spool: %w", errors.Join(err, f.Close()))
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("spool: %w", errors.Join(err, f.Close()))
	}
	return f, nil
}
