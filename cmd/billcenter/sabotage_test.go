//go:build ci

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/producers/billing/conformance"
)

// A kit that passes everything judges nothing. Each build here has one fault put in, and the kit must find it: the cases
// that turn red are the ones about it, and no others.
func TestTheConformanceKitFindsSabotage(t *testing.T) {
	for _, tt := range []struct {
		name      string
		file      string
		old, with string
		flags     []string
		red       []string
	}{
		{
			name: "a fact is published again for every copy of an event", file: "consumers/codes/batch.go",
			old:  "\tif !ok || m.RegistrationCode == \"\" || !r.FactsDue {\n\t\treturn\n\t}",
			with: "\tif !ok || m.RegistrationCode == \"\" {\n\t\treturn\n\t}\n\td.Event.ID += fmt.Sprint(d.Sequence)",
			red:  []string{"duplicate-id", "redelivery", "thousand-mixed"},
		},
		{
			name: "an id that is used again is taken for a copy", file: "schema/store/billing.go",
			old: "if !slices.Equal(k.Fingerprint, it.fingerprint) &&", with: "if false &&",
			red: []string{"id-reused", "id-reused-keeps-first", "thousand-mixed"},
		},
		{
			name: "superseded codes are accepted for ever", file: "schema/enrollment/standing.go",
			old: "case !s.SupersededAt.IsZero() &&", with: "case false &&",
			red: []string{"late-older-event", "superseded-code"},
		},
		{
			name: "the code that arrived last is taken for the newest", file: "schema/store/register.go",
			old: "m.code_folded_hash, m.emailed_at, m.code_expires_at, m.issued_on",
			with: "m.code_folded_hash, m.code_expires_at, m.issued_on, greatest(m.emailed_at, (SELECT max(b.emailed_at) + interval '1 second'\n" +
				"FROM invoice_emails AS b JOIN inbox AS j ON j.id = b.event WHERE b.account = m.account AND j.stream_sequence < i.stream_sequence)) AS emailed_at",
			red: []string{"late-older-event"},
		},
		{
			name: "malformed events are acknowledged and forgotten", file: "consumers/judge.go",
			old: "return Decision{Verdict: Bury, Fault: m}", with: "return Decision{Verdict: Done}",
			red: append(expecting("dead letter "), "id-reused-keeps-first", "thousand-mixed"),
		},
		{
			name: "names in another case are taken for unknown ones", file: "events/unmarshal.go",
			old: "if strings.EqualFold(k, name) {", with: "if strings.EqualFold(k, name) && false {",
			red: []string{"case-variant-key", "thousand-mixed"},
		},
		{
			name: "a code stays on the broker for a while", file: "consumers/codes/codes.go",
			old: "purgePause    = 250 * time.Millisecond", with: "purgePause    = 5 * time.Second",
			flags: []string{"--only", "plain-invoice,duplicate-id", "--purge-within", "2s"}, // BILLING empties late for every case
			red:   []string{"plain-invoice"},
		},
		{
			name: "a mail is sent again for every copy of its request", file: "consumers/mailer/mailer.go",
			old:  "\tcase enrollment.Settled:\n\t\treturn &claim.Outcome, nil",
			with: "\tcase enrollment.Settled:\n\t\treturn &claim.Outcome, m.o.Transport.Send(ctx, tenant.From.Address, string(to), message)",
			red:  []string{"mail-redelivery"},
		},
		{
			name: "the link is made of something else", file: "consumers/mailer/mailer.go",
			old: "Generation: r.Generation}, to)", with: "Generation: r.Generation + 1}, to)",
			red: []string{"mail-link", "used-code"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := upOf(t, sabotaged(t, tt.file, tt.old, tt.with))
			report := decode[conformance.Report](t, conforms(t, exitFailed, dir, append(tt.flags, "--mail-worker", "--json")...))
			var red []string
			for _, c := range report.Cases {
				if c.Verdict != conformance.Passed {
					red = append(red, c.Name)
					t.Logf("%s %s: %s", c.Verdict, c.Name, c.Seen)
				}
			}
			if diff := cmp.Diff(slices.Sorted(slices.Values(tt.red)), slices.Sorted(slices.Values(red))); diff != "" {
				t.Errorf("the cases that failed (-want +got):\n%s", diff)
			}
		})
	}
}

// expecting lists the cases whose expectation begins so, what is parked left out.
func expecting(start string) []string {
	var names []string
	for _, c := range conformance.Cases() {
		if strings.HasPrefix(c.Expected, start) && !strings.Contains(c.Expected, "parked") {
			names = append(names, c.Name)
		}
	}
	return names
}

// sabotaged builds the program with one place of one file replaced. The tree stays as it is.
func sabotaged(t *testing.T, file, old, with string) (binary string) {
	t.Helper()
	dir := t.TempDir()
	original, err := filepath.Abs(filepath.Join("..", "..", file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), old); n != 1 {
		t.Fatalf("%s has %q %d times, want once", file, old, n)
	}
	changed := filepath.Join(dir, filepath.Base(file))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{
		changed: []byte(strings.Replace(string(source), old, with, 1)), filepath.Join(dir, "overlay.json"): overlay,
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary = filepath.Join(dir, "billcenter")
	if out, err := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// upOf runs a binary's `up` until the test ends and returns its folder.
func upOf(t *testing.T, binary string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "billcenter-up-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ready := filepath.Join(dir, "ready.json")
	p := &process{t: t, done: make(chan error, 1)}
	p.cmd = exec.Command(binary, append([]string{"up", "--no-demo", "--data-dir", filepath.Join(dir, "data"), "--ready-file", ready}, anyPorts()...)...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(p.stop)
	eventually(t, "the ready file", func() error {
		if over, why := p.over(); over {
			t.Fatalf("up did not start: %s", why)
		}
		if _, err := os.Stat(ready); err != nil {
			return fmt.Errorf("not there: %w", err)
		}
		return nil
	})
	return dir
}
