package main

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(brokerVariable); dir != "" {
		os.Exit(holdBroker(dir, os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// bench runs a command as main does and returns its report. How quick anything was is not looked at: CI's machines differ.
func bench(t *testing.T, args ...string) Report {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), append(args, "-json", "-rounds", "1", "-dir", t.TempDir()), &stdout, &stderr); code != 0 {
		t.Fatalf("bench %v: exit code %d\n%s", args, code, &stderr)
	}
	var r Report
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatalf("bench %v printed no report: %v\n%s", args, err, &stdout)
	}
	return r
}

// measured are the variants of a report by how many events each took.
func measured(r Report) map[string]int {
	all := map[string]int{}
	for _, v := range r.Variants {
		for _, round := range v.Rounds {
			all[v.Name] += round.Events
		}
	}
	return all
}

func TestEveryEventIsStoredItsFactPublishedAndItsCodeGoneFromTheBroker(t *testing.T) {
	r := bench(t, "ingest", "-n", "2000", "-peer-n", "50", "-subscribers", "0")

	want := map[string]int{
		"codes.Worker": 2000, storeAlone.name: 2000, unnestAlone.name: 2000,
		onNATS(1).name: 50, onJetStream().name: 50,
	}
	if diff := cmp.Diff(want, measured(r)); diff != "" {
		t.Errorf("events by variant (-want +got):\n%s", diff)
	}
	if len(r.Worker) != 1 {
		t.Fatalf("%d rounds of the worker, want 1", len(r.Worker))
	}
	got := r.Worker[0].Counts
	if got.Codes < 1500 || got.Codes >= got.Events {
		t.Errorf("%d of %d events have a code; most should, and some should not", got.Codes, got.Events)
	}
	all := Counts{Events: 2000, Codes: got.Codes, InboxRows: 2000, InvoiceRows: 2000, CodeRows: got.Codes, Facts: uint64(got.Codes)}
	if diff := cmp.Diff(all, got); diff != "" {
		t.Errorf("what stands where at the end (-want +got):\n%s", diff)
	}
}

func TestTheRelayCarriesEveryRow(t *testing.T) {
	r := bench(t, "relay", "-n", "2000", "-peer-n", "100")
	want := map[string]int{r.Variants[0].Name: 2000, r.Variants[1].Name: 100}
	if diff := cmp.Diff(want, measured(r)); diff != "" {
		t.Errorf("rows by variant (-want +got):\n%s", diff)
	}
}

func TestEveryCustomerIsRegistered(t *testing.T) {
	r := bench(t, "register", "-n", "200")
	if diff := cmp.Diff(map[string]int{r.Variants[0].Name: 200, r.Variants[1].Name: 200}, measured(r)); diff != "" {
		t.Errorf("registrations by variant (-want +got):\n%s", diff)
	}
}

func TestCountsThatDoNotAddUpAreAnError(t *testing.T) {
	whole := Counts{Events: 10, Codes: 8, InboxRows: 10, InvoiceRows: 10, CodeRows: 8, Facts: 8}
	if err := whole.check(); err != nil {
		t.Errorf("counts that add up: %v", err)
	}
	for name, spoil := range map[string]func(*Counts){
		"an event is not in the inbox":       func(c *Counts) { c.InboxRows-- },
		"an invoice is missing":              func(c *Counts) { c.InvoiceRows-- },
		"a code is missing":                  func(c *Counts) { c.CodeRows-- },
		"a fact is missing":                  func(c *Counts) { c.Facts-- },
		"a fact is there twice":              func(c *Counts) { c.Facts++ },
		"a code is still on the bus":         func(c *Counts) { c.LeftOnBus++ },
		"a valid event became a dead letter": func(c *Counts) { c.DeadLetters++ },
	} {
		c := whole
		spoil(&c)
		if c.check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
