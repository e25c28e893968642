// Command bench measures the parts of Bill Center that must be quick, each beside the usual way of doing the same in the
// same run: on one PostgreSQL with fsync on and brokers that fsync every message, which it starts itself and throws away.
//
// A result is a ratio, and the absolute figures are there to check it with. Nothing here decides whether a figure is good
// enough: the machine, and who else works on it, decides more. It is a module of its own, so that the peers are not among
// the dependencies of the product.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
)

func main() {
	if dir := os.Getenv(brokerVariable); dir != "" {
		os.Exit(holdBroker(dir, os.Stdin, os.Stdout, os.Stderr))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // as cmd/billcenter does; the peers have it too
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `bench measures Bill Center beside its peers.

  ingest     InvoiceEmailed from the stream to committed rows and published facts, beside Watermill handlers
  relay      the outbox to the broker, beside the same with every message published for itself
  register   registrations by concurrent customers, beside a bare insert and commit by as many
`

// run is main without the process: arguments in, exit code out.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	commands := map[string]func(context.Context, []string, io.Writer, io.Writer) error{
		"ingest": ingest, "relay": relay, "register": register,
	}
	var command func(context.Context, []string, io.Writer, io.Writer) error
	if len(args) > 0 {
		command = commands[args[0]]
	}
	if command == nil {
		fmt.Fprint(stderr, usage)
		return 2
	}
	switch err := command(ctx, args[1:], stdout, stderr); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// options are what every command takes.
type options struct {
	rounds     int
	json       bool
	dir        string
	idle       time.Duration
	cpuProfile string
}

func (o *options) register(f *flag.FlagSet) {
	f.IntVar(&o.rounds, "rounds", 3, "how often everything is measured, in turn")
	f.BoolVar(&o.json, "json", false, "print for programs")
	f.StringVar(&o.dir, "dir", "", "folder for the servers' data, on the disk to be measured (default: the temporary folder)")
	f.StringVar(&o.cpuProfile, "cpuprofile", "", "write a CPU profile of the first measurement, which is ours, to this file")
	f.DurationVar(&o.idle, "wait-idle", 0, "wait at most so long before each measurement until the machine is 85 % idle (Linux)")
}

func (o *options) parse(f *flag.FlagSet, args []string, stderr io.Writer) error {
	f.SetOutput(stderr)
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%s takes no argument %q", f.Name(), f.Arg(0))
	}
	if o.rounds < 1 {
		return errors.New("-rounds must be at least 1")
	}
	return nil
}
