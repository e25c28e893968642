package main

import (
	"bytes"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mongotel/billcenter/producers/billing/conformance"
)

// unhurried are the kit's flags on a machine that tests other things at the same time.
var unhurried = []string{"--within", patience.String(), "--purge-within", "30s"}

// conforms runs the kit against an `up` and expects an exit code.
func conforms(t *testing.T, want int, dir string, flags ...string) (printed string) {
	t.Helper()
	args := append([]string{"events", "conformance", "--data-dir", filepath.Join(dir, "data")}, unhurried...)
	var out, errs bytes.Buffer
	if code := run(t.Context(), append(args, flags...), strings.NewReader(""), &out, &errs); code != want {
		t.Fatalf("exit %d, want %d\n%s%s", code, want, out.String(), errs.String())
	}
	return out.String()
}

func TestTheSystemConformsToItsContract(t *testing.T) {
	t.Parallel()
	up := start(t, "--no-demo")
	printed := conforms(t, 0, up.dir, "--mail-worker", "--json")
	report := decode[conformance.Report](t, printed)
	if cases := len(conformance.Cases()); report.Passed != cases || len(report.Cases) != cases {
		t.Errorf("%d of %d cases passed:\n%s", report.Passed, cases, printed)
	}
	if code := regexp.MustCompile(`\b[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}\b|/activate/`).FindString(printed); code != "" {
		t.Errorf("the report shows %q", code)
	}

	// Once more on the same system, as a person would look at one case, without all that `up` gives.
	table := conforms(t, 0, up.dir, "--only", "duplicate-id,mail-outcome")
	for _, line := range []string{`pass +duplicate-id +\d+ +1 Invited`, `not run +mail-outcome +0 +.*--mail-worker`, `1 passed, 0 failed, 1 not run`} {
		if !regexp.MustCompile(line).MatchString(table) {
			t.Errorf("no line %q in:\n%s", line, table)
		}
	}
	table = conforms(t, exitFailed, up.dir, "--only", "plain-invoice", "--tenant", "nobody")
	for _, line := range []string{`FAIL +plain-invoice`, `expected +one valid Invited`, `seen .*tenant-unknown`} {
		if !regexp.MustCompile(line).MatchString(table) {
			t.Errorf("no line %q in:\n%s", line, table)
		}
	}
}

func TestConformanceOfNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, tt := range []struct {
		name  string
		flags []string
	}{
		{"no broker is named and no up runs", nil},
		{"the broker cannot be reached", []string{"--nats-url", "nats://" + freeAddr(t)}},
		{"the tenant cannot be one", []string{"--tenant", "Mongo"}},
	} {
		t.Run(tt.name, func(t *testing.T) { conforms(t, exitUsage, dir, tt.flags...) })
	}
	listed := conforms(t, 0, dir, "--list")
	for _, c := range conformance.Cases() {
		if !strings.Contains(listed, c.Name+" ") {
			t.Errorf("%s is not listed", c.Name)
		}
	}
}
