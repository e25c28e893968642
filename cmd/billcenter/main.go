// Command billcenter is the whole of Bill Center enrollment: `up` runs everything on one machine, `run` runs roles against
// external services, and the other commands set up, publish, explain and check. The package only wires: what a part does is
// written where the part lives.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // tenants' time zones, also where the system has none

	"github.com/alecthomas/kong"
)

// commands is the command line.
type commands struct {
	Up          upCommand          `cmd:"" help:"Run everything on this machine, for trying it out: database, broker, inbox and all roles."`
	Run         runCommand         `cmd:"" help:"Run roles against external services."`
	Migrate     migrateCommand     `cmd:"" help:"Bring the database's schema, the streams and the consumers up to date, or show how they stand."`
	Publish     publishCommand     `cmd:"" help:"Publish billing's events from a file (NDJSON or CSV)."`
	Events      eventsCommand      `cmd:"" help:"The events of the contract: list, sample, validate."`
	Funnel      funnelCommand      `cmd:"" help:"The report: where customers drop off, and why."`
	Simulate    simulateCommand    `cmd:"" help:"Customers who sign up, err, leave and come back on the real pages, and what the funnel must say about them."`
	Account     accountCommand     `cmd:"" help:"The timeline of an account, and why its customer cannot enroll."`
	Bounce      bounceCommand      `cmd:"" help:"Record a mail that came back, from a delivery status notification; for the mail system to pipe into."`
	Deadletters deadlettersCommand `cmd:"" help:"Messages that could not be handled: list, show, replay, drop."`
	Audit       auditCommand       `cmd:"" help:"Check what the system promises on live data; exit 1 names what is broken."`
	Doctor      doctorCommand      `cmd:"" help:"Check configuration, database, broker, SMTP and clock."`
	Keys        keysCommand        `cmd:"" help:"Keys for other programs: the mail worker's."`
	Version     versionCommand     `cmd:"" help:"Print the version."`
}

// Exit codes.
const (
	exitFailed = 1 // the command could not do its work, or found what it looked for
	exitUsage  = 2 // the command line or a setting is wrong; nothing was done
)

// invocation is what a command works with besides its flags.
type invocation struct {
	context.Context
	stdin          io.Reader
	stdout, stderr io.Writer
}

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // a few megabytes live: collecting them less often makes a bill run an eighth quicker
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		stop() // the second signal ends the process at once
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main without the process: arguments in, exit code out.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var c commands
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("billcenter"),
		kong.Description("Bill Center enrollment: from the code in a billing e-mail to the customer's first log-in."),
		kong.DefaultEnvars("BILLCENTER"),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
	)
	if err != nil {
		fmt.Fprintln(stderr, "billcenter:", err)
		return exitFailed
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if err != nil {
		fmt.Fprintln(stderr, "billcenter:", err)
		fmt.Fprintln(stderr, "See `billcenter --help`.")
		return exitUsage
	}
	err = parsed.Run(&invocation{Context: ctx, stdin: stdin, stdout: stdout, stderr: stderr})
	var told *exit
	switch {
	case errors.As(err, &told):
		return told.code
	case errors.Is(err, syscall.EPIPE): // the reader has seen enough
		return 0
	case errors.As(err, new(*usageError)):
		fmt.Fprintln(stderr, "billcenter:", err)
		return exitUsage
	case err != nil:
		fmt.Fprintln(stderr, "billcenter:", err)
		return exitFailed
	}
	return 0
}

// exit ends a command that has said everything already.
type exit struct{ code int }

func (e *exit) Error() string { return fmt.Sprintf("exit %d", e.code) }

// usageError is a setting that cannot be worked with.
type usageError struct{ err error }

func (u *usageError) Error() string { return u.err.Error() }
func (u *usageError) Unwrap() error { return u.err }
