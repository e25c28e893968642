package billing_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/events"
	"github.com/mongotel/billcenter/producers/billing"
)

var until = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// stream is a Publisher that stores what it is given, and fails as it is told.
type stream struct {
	ids     []string // in the order of their first storing
	known   map[string]bool
	batches []int
	fail    func(call int) error
	calls   int
}

func (s *stream) publish(_ context.Context, batch []events.Encoded) error {
	s.calls++
	if s.fail != nil {
		if err := s.fail(s.calls); err != nil {
			return err
		}
	}
	s.batches = append(s.batches, len(batch))
	if s.known == nil {
		s.known = map[string]bool{}
	}
	for _, e := range batch {
		if !s.known[e.MsgID] {
			s.known[e.MsgID] = true
			s.ids = append(s.ids, e.MsgID)
		}
	}
	return nil
}

func generated(t testing.TB, n int) string {
	t.Helper()
	var b strings.Builder
	if err := billing.Generate(&b, n, 7, until); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func onDisk(t testing.TB, content string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "run.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return f
}

// piped hides that a reader could be read twice.
type piped struct{ io.Reader }

// counted are a summary's numbers without its time.
func counted(s billing.Summary) billing.Summary {
	s.Seconds = 0
	return s
}

func TestPublishSendsEveryRecordInOrderAndInBatches(t *testing.T) {
	content := generated(t, 2_345)
	var want []string
	for _, r := range readAll(t, content) {
		want = append(want, r.Event.MsgID)
	}
	for name, open := range map[string]func() io.Reader{
		"a file":     func() io.Reader { return onDisk(t, content) },
		"a pipe":     func() io.Reader { return piped{strings.NewReader(content)} },
		"a skipping": func() io.Reader { return piped{strings.NewReader(content)} },
	} {
		t.Run(name, func(t *testing.T) {
			var s stream
			summary, err := billing.Publish(t.Context(), open(), s.publish, billing.Options{Origin: mongo, SkipInvalid: name == "a skipping"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(billing.Summary{Read: 2_345, Published: 2_345}, counted(summary)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(want, s.ids); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]int{1000, 1000, 345}, s.batches); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPublishBeginsWhereTheFileStands(t *testing.T) {
	f := onDisk(t, "# exported by hand\n"+ada)
	if _, err := f.Seek(int64(len("# exported by hand\n")), io.SeekStart); err != nil {
		t.Fatal(err)
	}
	var s stream
	if summary, err := billing.Publish(t.Context(), f, s.publish, billing.Options{Origin: mongo}); err != nil || summary.Published != 1 {
		t.Errorf("%+v %v", summary, err)
	}
}

func TestAFileWithFaultsIsPublishedNotAtAll(t *testing.T) {
	content := generated(t, 1_500) + `{"accountNumber":""}` + "\n" + ada + "\n{"
	for name, r := range map[string]io.Reader{"a file": onDisk(t, content), "a pipe": piped{strings.NewReader(content)}} {
		var s stream
		var faults []int
		summary, err := billing.Publish(t.Context(), r, s.publish, billing.Options{
			Origin: mongo, OnFault: func(f *billing.Fault) { faults = append(faults, f.Line) },
		})
		invalid, ok := errors.AsType[*billing.InvalidError](err)
		if !ok || invalid.Invalid != 2 || invalid.Read != 1_503 || s.calls != 0 {
			t.Errorf("%s: %v after %d calls", name, err, s.calls)
		}
		if diff := cmp.Diff([]int{1_501, 1_503}, faults); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(billing.Summary{Read: 1_503, Invalid: 2}, counted(summary)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestSkipInvalidPublishesTheRest(t *testing.T) {
	var s stream
	summary, err := billing.Publish(t.Context(), strings.NewReader("{}\n"+bob+"\nx\n"+ada), s.publish, billing.Options{Origin: mongo, SkipInvalid: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(billing.Summary{Read: 4, Published: 2, Invalid: 2}, counted(summary)); diff != "" {
		t.Error(diff)
	}
}

func TestADryRunPublishesNothing(t *testing.T) {
	var s stream
	summary, err := billing.Publish(t.Context(), strings.NewReader(bob+"\n"+bob+"\n{}\n"+ada), s.publish, billing.Options{Origin: mongo, DryRun: true})
	if err != nil || s.calls != 0 {
		t.Errorf("%d calls, %v", s.calls, err)
	}
	if diff := cmp.Diff(billing.Summary{Read: 4, Repeated: 1, Invalid: 1, DryRun: true}, counted(summary)); diff != "" {
		t.Error(diff)
	}
}

func TestARepeatedRecordIsPublishedOnce(t *testing.T) {
	var s stream
	summary, err := billing.Publish(t.Context(), strings.NewReader(strings.Repeat(bob+"\n", 2_500)+ada), s.publish, billing.Options{Origin: mongo})
	if err != nil || len(s.ids) != 2 || !cmp.Equal(s.batches, []int{2}) {
		t.Errorf("%d ids in %v, %v", len(s.ids), s.batches, err)
	}
	if diff := cmp.Diff(billing.Summary{Read: 2_501, Published: 2, Repeated: 2_499}, counted(summary)); diff != "" {
		t.Error(diff)
	}
}

func TestASecondRunPublishesTheSameIDs(t *testing.T) {
	var s stream
	for range 2 {
		if _, err := billing.Publish(t.Context(), strings.NewReader(generated(t, 1_200)), s.publish, billing.Options{Origin: mongo}); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.ids) != 1_200 {
		t.Errorf("%d ids for 1200 records", len(s.ids))
	}
}

func TestProgressIsToldOftenAndToTheEnd(t *testing.T) {
	content := generated(t, 2_500)
	var seen []billing.Progress
	var s stream
	_, err := billing.Publish(t.Context(), strings.NewReader(content), s.publish, billing.Options{
		Origin: mongo, OnProgress: func(p billing.Progress) { seen = append(seen, p) },
	})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, p := range seen {
		if p.Total != int64(len(content)) || p.Bytes > p.Total {
			t.Errorf("%d of %d bytes", p.Bytes, p.Total)
		}
		told = append(told, fmt.Sprint(p.Phase, " ", p.Records))
	}
	want := []string{"checking 1000", "checking 2000", "checking 2500", "publishing 1000", "publishing 2000", "publishing 2500"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
	if last := seen[len(seen)-1]; last.Bytes != last.Total {
		t.Errorf("ended at %d of %d bytes", last.Bytes, last.Total)
	}
}

func TestAFailingPublisherIsTriedAgainUnderTheSameIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream{fail: func(call int) error {
			if call == 2 || call == 3 || call == 4 {
				return errors.New("no route to host")
			}
			return nil
		}}
		var waits []time.Duration
		summary, err := billing.Publish(t.Context(), strings.NewReader(generated(t, 2_000)), s.publish, billing.Options{
			Origin: mongo, OnRetry: func(_ error, after time.Duration) { waits = append(waits, after) },
		})
		if err != nil || summary.Published != 2_000 || len(s.ids) != 2_000 {
			t.Errorf("%+v with %d ids, %v", summary, len(s.ids), err)
		}
		if diff := cmp.Diff([]time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond}, waits); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPatienceEnds(t *testing.T) {
	down := errors.New("no route to host")
	synctest.Test(t, func(t *testing.T) {
		s := stream{fail: func(call int) error {
			if call > 1 {
				return down
			}
			return nil
		}}
		began := time.Now()
		summary, err := billing.Publish(t.Context(), strings.NewReader(generated(t, 2_000)), s.publish, billing.Options{Origin: mongo, Patience: 10 * time.Second})
		stopped, ok := errors.AsType[*billing.StoppedError](err)
		if !ok || !errors.Is(err, down) || stopped.Published != 1_000 || stopped.Line != 1_000 || summary.Published != 1_000 {
			t.Errorf("%+v, %v", summary, err)
		}
		if took := time.Since(began); took < 5*time.Second || took > 10*time.Second {
			t.Errorf("gave up after %s", took)
		}
		if !strings.Contains(err.Error(), "running it again is safe") {
			t.Errorf("%v", err)
		}
	})
}

func TestAPermanentFailureIsNotTriedAgain(t *testing.T) {
	refused := errors.New("no such stream")
	s := stream{fail: func(int) error { return refused }}
	_, err := billing.Publish(t.Context(), strings.NewReader(bob), s.publish, billing.Options{
		Origin: mongo, Permanent: func(err error) bool { return errors.Is(err, refused) },
	})
	if !errors.Is(err, refused) || s.calls != 1 {
		t.Errorf("%d calls, %v", s.calls, err)
	}
}

func TestAnInterruptionSaysHowFarItCame(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := stream{fail: func(call int) error {
		if call == 3 {
			cancel()
			return ctx.Err()
		}
		return nil
	}}
	summary, err := billing.Publish(ctx, strings.NewReader(generated(t, 5_000)), s.publish, billing.Options{Origin: mongo})
	stopped, ok := errors.AsType[*billing.StoppedError](err)
	if !ok || stopped.Published != 2_000 || stopped.Line != 2_000 || summary.Published != 2_000 || !errors.Is(err, context.Canceled) || s.calls != 3 {
		t.Errorf("%+v after %d calls, %v", summary, s.calls, err)
	}
}

func TestAnInterruptionEndsTheWaitForInput(t *testing.T) {
	for _, skip := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		terminal, keyboard := io.Pipe()
		ended := make(chan error)
		var s stream
		go func() {
			_, err := billing.Publish(ctx, piped{terminal}, s.publish, billing.Options{Origin: mongo, SkipInvalid: skip})
			ended <- err
		}()
		if _, err := keyboard.Write([]byte(bob + "\n")); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		keyboard.Close()
	}
}

func TestWhatIsSpooledLeavesNothingBehind(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := stream{fail: func(int) error {
		left, err := os.ReadDir(os.TempDir())
		if err != nil || len(left) > 0 {
			t.Errorf("while publishing there is %v, %v", left, err)
		}
		return nil
	}}
	if _, err := billing.Publish(t.Context(), piped{strings.NewReader(bob)}, s.publish, billing.Options{Origin: mongo}); err != nil || s.calls != 1 {
		t.Errorf("%d calls, %v", s.calls, err)
	}
}

func TestAFileThatChangesMeanwhileIsNoticed(t *testing.T) {
	file := &changing{Reader: *bytes.NewReader([]byte(generated(t, 1_500)))}
	var s stream
	_, err := billing.Publish(t.Context(), file, s.publish, billing.Options{Origin: mongo})
	if err == nil || !strings.Contains(err.Error(), "the file changed while it was read") {
		t.Errorf("%v", err)
	}
}

// changing is cut short between its first and its second reading.
type changing struct {
	bytes.Reader
	rewound int
}

func (c *changing) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekStart {
		if c.rewound++; c.rewound == 2 {
			content := make([]byte, c.Size()-20)
			if _, err := c.ReadAt(content, 0); err != nil {
				return 0, err
			}
			c.Reader.Reset(content)
		}
	}
	return c.Reader.Seek(offset, whence)
}
