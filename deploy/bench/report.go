package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// Report is what a command prints.
type Report struct {
	Command  string         `json:"command"`
	Machine  Machine        `json:"machine"`
	Variants []Variant      `json:"variants"`
	Ratios   []Ratio        `json:"ratios"`           // of the first variant to each other
	Worker   []WorkerResult `json:"worker,omitempty"` // ingest: more about each round of codes.Worker
}

// Machine is what the figures were taken on.
type Machine struct {
	OS         string  `json:"os"`
	Cores      int     `json:"cores"`
	Go         string  `json:"go"`
	Postgres   string  `json:"postgres"`
	FsyncMS    float64 `json:"fsyncMillis"` // of a page that was just written: the median of 200
	LoadBefore string  `json:"loadBefore,omitempty"`
	LoadAfter  string  `json:"loadAfter,omitempty"`
}

// Variant is one way of doing the work, measured once a round.
type Variant struct {
	Name   string   `json:"name"`
	Median float64  `json:"median"` // a second, as are Min and Max
	Min    float64  `json:"min"`
	Max    float64  `json:"max"`
	CPU    CPU      `json:"cpu"` // of the median's round
	Rounds []Result `json:"rounds"`
}

// add takes the result of one more round.
func (v *Variant) add(r Result) {
	v.Rounds = append(v.Rounds, r)
	sorted := slices.SortedFunc(slices.Values(v.Rounds), func(a, b Result) int { return cmp.Compare(a.PerSecond, b.PerSecond) })
	middle := sorted[len(sorted)/2]
	v.Min, v.Median, v.Max, v.CPU = sorted[0].PerSecond, middle.PerSecond, sorted[len(sorted)-1].PerSecond, middle.CPU
}

// Ratio is how many times as quick the first is as the second. Min and Max are over the rounds, each compared with what was
// measured beside it.
type Ratio struct {
	Of      string  `json:"of"`
	To      string  `json:"to"`
	Medians float64 `json:"medians"`
	Min     float64 `json:"min"`
	Max     float64 `json:"max"`
}

func ratio(of, to Variant) Ratio {
	r := Ratio{Of: of.Name, To: to.Name, Medians: of.Median / to.Median}
	for i := range of.Rounds {
		x := of.Rounds[i].PerSecond / to.Rounds[i].PerSecond
		if i == 0 {
			r.Min, r.Max = x, x
		}
		r.Min, r.Max = min(r.Min, x), max(r.Max, x)
	}
	return r
}

func (g *ground) machine(ctx context.Context) (Machine, error) {
	m := Machine{OS: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version(), LoadBefore: loadAverage()}
	if err := g.admin.GetContext(ctx, &m.Postgres, `SHOW server_version`); err != nil {
		return m, fmt.Errorf("version of PostgreSQL: %w", err)
	}
	fsync, err := fsyncTime(g.dir)
	m.FsyncMS = fsync.Seconds() * 1000
	return m, err
}

// fsyncTime tells how much the disk makes of an fsync: where it costs nothing, as in memory, batching has less to gain.
func fsyncTime(dir string) (_ time.Duration, err error) {
	f, err := os.CreateTemp(dir, "fsync-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	var took []time.Duration
	page := make([]byte, 8<<10)
	for range 200 {
		if _, err := f.WriteAt(page, 0); err != nil {
			return 0, err
		}
		began := time.Now()
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

func (r *Report) print(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	m := r.Machine
	fmt.Fprintf(w, "%s: %s, %d cores, %s, PostgreSQL %s, fsync %.2f ms", r.Command, m.OS, m.Cores, m.Go, m.Postgres, m.FsyncMS)
	if m.LoadBefore != "" {
		fmt.Fprintf(w, ", load %s before, %s after", m.LoadBefore, m.LoadAfter)
	}
	fmt.Fprint(w, "\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "median/s\tmin\tmax\tevents\tCPU µs/event: client\tPostgres\tbroker\tothers, cores\t  ")
	for _, v := range r.Variants {
		fmt.Fprintf(t, "%.0f\t%.0f\t%.0f\t%d\t%.1f\t%.1f\t%.1f\t%.2f\t  %s\n",
			v.Median, v.Min, v.Max, v.Rounds[0].Events, v.CPU.Client, v.CPU.Postgres, v.CPU.Broker, v.CPU.Others, v.Name)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, x := range r.Ratios {
		fmt.Fprintf(w, "%.1f times (%.1f to %.1f)  %s  /  %s\n", x.Medians, x.Min, x.Max, x.Of, x.To)
	}
	if len(r.Worker) > 0 {
		return printWorker(w, r.Worker)
	}
	return nil
}

func printWorker(w io.Writer, rounds []WorkerResult) error {
	fmt.Fprintln(w, "\nThe worker, round by round:")
	for i, r := range rounds {
		c := r.Counts
		fmt.Fprintf(w, "%d. %d events: %d inbox rows, %d invoice rows, %d codes, %d facts, %d left on the bus, %d dead letters; acknowledged after %.2f s (%.0f/s), purged after %.2f s\n",
			i+1, c.Events, c.InboxRows, c.InvoiceRows, c.CodeRows, c.Facts, c.LeftOnBus, c.DeadLetters, r.SecondsToAcked, float64(r.Events)/r.SecondsToAcked, r.Seconds)
		if p := r.Phases; p != nil {
			fmt.Fprintf(w, "   time of its pipelines: pull %.0f %%, decode %.0f %%, store %.0f %%, make facts %.0f %%, publish them %.0f %%, acknowledge %.0f %% (%d batches)\n",
				100*p.Pull, 100*p.Decode, 100*p.Store, 100*p.Facts, 100*p.Publish, 100*p.Ack, p.Batches)
		}
	}
	fmt.Fprintln(w, "\nMemory in MiB while it ran (growth: second half's maximum / first half's):")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "round\tmin\tmax\tlast\tgrowth\t  ")
	const mib = 1 << 20
	for i, r := range rounds {
		for _, s := range []struct {
			name string
			Series
		}{{"heap, live", r.Memory.Live}, {"heap, with what is to be collected", r.Memory.Heap}, {"resident", r.Memory.Resident}, {"resident, broker", r.Memory.BrokerSize}} {
			fmt.Fprintf(t, "%d\t%.1f\t%.1f\t%.1f\t%.2f\t  %s\n", i+1, float64(s.Min)/mib, float64(s.Max)/mib, float64(s.Last)/mib, s.Growth, s.name)
		}
	}
	return t.Flush()
}
