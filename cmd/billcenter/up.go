package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mongotel/billcenter/consumers"
	"github.com/mongotel/billcenter/consumers/mailer"
	"github.com/mongotel/billcenter/deploy/local"
	"github.com/mongotel/billcenter/schema"
	"github.com/mongotel/billcenter/schema/keyring"
	"github.com/mongotel/billcenter/schema/store"
	"github.com/mongotel/billcenter/schema/tenants"
)

type upCommand struct {
	logging
	DataDir    string `help:"Folder that holds everything; delete it to start over." default:".billcenter" type:"path" placeholder:"DIR"`
	PortalAddr string `help:"Address of the customers' portal." default:"127.0.0.1:8080"`
	StaffAddr  string `help:"Address of the back office." default:"127.0.0.1:8090"`
	OpsAddr    string `help:"Address of health checks and metrics." default:"127.0.0.1:9090"`
	NatsAddr   string `help:"Address of the broker." default:"127.0.0.1:4222"`
	SMTPAddr   string `help:"Address of the inbox for mails." default:"127.0.0.1:1025" name:"smtp-addr"`
	InboxAddr  string `help:"Address of the inbox's page." default:"127.0.0.1:8025"`
	Tenants    string `help:"Tenants file (YAML). Without it the one tenant is the built-in mongo." type:"path" placeholder:"FILE"`
	NoDemo     bool   `help:"E-mail and publish no sample invoices."`
	ReadyFile  string `help:"Written once everything answers: the addresses as JSON." type:"path" placeholder:"FILE"`
	LogFile    string `help:"Where the log goes; - for standard error. Default: billcenter.log in the data folder." placeholder:"FILE"`
}

// maxDelay bounds the pause before a retry: nobody else waits for this machine, and who tries it out should not either.
const maxDelay = 10 * time.Second

// machine is everything that `up` started, in the order in which it is stopped from the end.
type machine struct {
	*parts
	stops []func() error
}

func (m *machine) onStop(f func() error) { m.stops = append(m.stops, f) }

func (m *machine) stop() error {
	var err error
	for i := len(m.stops) - 1; i >= 0; i-- {
		err = errors.Join(err, m.stops[i]())
	}
	return err
}

func (c *upCommand) Run(in *invocation) (err error) {
	if err := os.MkdirAll(c.DataDir, 0o755); err != nil { // Postgres may run as another user
		return fmt.Errorf("--data-dir: %w", err)
	}
	m := &machine{parts: &parts{registry: newRegistry(), maxDelay: maxDelay}}
	defer func() { err = errors.Join(err, m.stop()) }()
	if err := c.openLog(in, m); err != nil {
		return err
	}
	addresses, opsListener, err := c.start(in, m)
	if in.Err() != nil { // asked to stop while starting: that is no failure
		m.log.Info("stopped while starting", "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	// What has started is told only when it works: the roles run while the samples are sent and the ready file is written.
	ctx, cancel := context.WithCancelCause(in.Context)
	defer cancel(nil)
	worked := make(chan error, 1)
	inner := *in
	inner.Context = ctx
	go func() {
		err := m.work(&inner, roleNames, opsListener)
		cancel(err) // nobody is told of samples that no role will handle
		worked <- err
	}()
	if err := c.tell(&inner, m, addresses); err != nil && in.Err() == nil {
		cancel(err)
		return errors.Join(err, <-worked)
	}
	return <-worked
}

const largestLog = 50 << 20

func (c *upCommand) openLog(in *invocation, m *machine) error {
	if c.LogFile == "-" {
		m.log = c.logger(in.stderr)
		return nil
	}
	if c.LogFile == "" {
		c.LogFile = filepath.Join(c.DataDir, "billcenter.log")
	}
	if info, err := os.Stat(c.LogFile); err == nil && info.Size() > largestLog {
		if err := os.Rename(c.LogFile, c.LogFile+".1"); err != nil {
			return fmt.Errorf("--log-file: %w", err)
		}
	}
	f, err := os.OpenFile(c.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("--log-file: %w", err)
	}
	m.onStop(f.Close)
	m.log = c.logger(f)
	return nil
}

// start brings the embedded services up and wires the parts to them.
func (c *upCommand) start(ctx context.Context, m *machine) (running, net.Listener, error) {
	var r running
	listeners := map[string]net.Listener{}
	for _, l := range []struct{ flag, addr string }{{"--portal-addr", c.PortalAddr}, {"--staff-addr", c.StaffAddr}, {"--ops-addr", c.OpsAddr}} {
		listener, err := listen(l.flag, l.addr)
		if err != nil {
			return r, nil, err
		}
		m.onStop(func() error { return ignoreClosed(listener.Close()) })
		listeners[l.flag] = listener
	}
	m.portal, m.staff = listeners["--portal-addr"], listeners["--staff-addr"]
	m.entrance = newLink()
	r = running{Portal: urlOf(m.portal), Staff: urlOf(m.staff), StaffLink: urlOf(m.staff) + "/enter/" + m.entrance.link, Ops: urlOf(listeners["--ops-addr"]), PID: os.Getpid()}

	var err error
	if m.ring, err = openKeyRing(filepath.Join(c.DataDir, "keyring.json")); err != nil {
		return r, nil, err
	}
	if c.Tenants != "" {
		m.tenants, err = tenants.Load(c.Tenants)
	} else {
		m.tenants, err = tenants.Mongotel(r.Portal)
	}
	if err != nil {
		return r, nil, &usageError{err}
	}
	if err := c.startServices(ctx, m, &r); err != nil {
		return r, nil, err
	}
	if m.db, err = store.Open(ctx, r.Database, 30); err != nil {
		return r, nil, err
	}
	m.onStop(m.db.Close)
	if _, err := schema.Migrate(ctx, m.db.DB); err != nil {
		return r, nil, err
	}
	m.store = store.New(m.db, m.ring, m.tenants.Policy)
	if _, err := compareUsernames(ctx, m.store); err != nil {
		return r, nil, err
	}
	s := services{NatsURL: r.NATS, Tenants: c.Tenants, PortalURL: r.Portal}
	if m.bus, err = s.broker(ctx, "up", false, m.ring.DeadLetters(), m.log); err != nil {
		return r, nil, err
	}
	m.onStop(m.bus.Close)
	if _, err := m.bus.Apply(ctx); err != nil {
		return r, nil, err
	}
	m.metrics = consumers.NewMetrics(m.registry)
	m.registry.MustRegister(newBacklogs(m.store, m.bus, m.log))
	return r, listeners["--ops-addr"], nil
}

func openKeyRing(path string) (*keyring.Ring, error) {
	ring, err := keyring.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return keyring.Create(path)
	}
	return ring, err
}

// startServices starts Postgres, the broker and the inbox, each on a folder of its own.
func (c *upCommand) startServices(ctx context.Context, m *machine, r *running) error {
	pg, err := local.StartPostgres(ctx, local.PostgresOptions{DataDir: filepath.Join(c.DataDir, "postgres"), Log: logLines{m.log}})
	if err != nil {
		return err
	}
	m.onStop(pg.Stop)
	r.Database = pg.URL("")

	broker, err := local.StartBroker(local.BrokerOptions{StoreDir: filepath.Join(c.DataDir, "nats"), Addr: c.NatsAddr, EncryptionKey: m.ring.BrokerKey(), Log: m.log})
	if err != nil {
		return taken("--nats-addr", c.NatsAddr, err)
	}
	m.onStop(broker.Stop)
	r.NATS = broker.URL()

	inbox, err := local.StartInbox(local.InboxOptions{Folder: filepath.Join(c.DataDir, "inbox"), SMTPAddr: c.SMTPAddr, HTTPAddr: c.InboxAddr, Log: m.log})
	if err != nil {
		flag, addr := "--smtp-addr", c.SMTPAddr
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil && op.Addr.String() == c.InboxAddr {
			flag, addr = "--inbox-addr", c.InboxAddr
		}
		return taken(flag, addr, err)
	}
	m.onStop(func() error {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return inbox.Stop(stop)
	})
	r.SMTP, r.Inbox = "smtp://"+inbox.SMTPAddr(), "http://"+inbox.HTTPAddr()
	m.smtp = mailer.RelayOptions{Address: inbox.SMTPAddr(), Security: mailer.Plaintext}
	return nil
}

// taken is one clear line for an address that is in use, naming the flag.
func taken(flag, addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return &usageError{fmt.Errorf("%s: %s is taken by another program; give another address, or port 0 for any free one", flag, addr)}
	}
	return fmt.Errorf("%s: %w", flag, err)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// urlOf is how a browser on this machine reaches a listener.
func urlOf(l net.Listener) string {
	a := l.Addr().(*net.TCPAddr)
	if a.IP.IsUnspecified() {
		return fmt.Sprintf("http://localhost:%d", a.Port)
	}
	return "http://" + a.String()
}

// tell sends the samples, leaves the addresses for programs and prints them for people.
func (c *upCommand) tell(ctx *invocation, m *machine, r running) error {
	customer, err := c.samples(ctx, m, r)
	if err != nil {
		return err
	}
	for _, file := range []string{filepath.Join(c.DataDir, runningFile), c.ReadyFile} {
		if file == "" {
			continue
		}
		if err := writeWhole(file, r); err != nil {
			return err
		}
	}
	m.onStop(func() error { return os.Remove(filepath.Join(c.DataDir, runningFile)) })
	fmt.Fprintf(ctx.stdout, "Bill Center enrollment is up. Not for production: one machine, no passwords between its parts.\n\n")
	fmt.Fprintf(ctx.stdout, "  Portal    %s\n  Inbox     %s\n  Staff     %s\n  Ops       %s/readyz\n", r.Portal, r.Inbox, r.StaffLink, r.Ops)
	fmt.Fprintf(ctx.stdout, "  Broker    nats --server %s stream report\n  Database  psql '%s'\n", r.NATS, r.Database)
	fmt.Fprintf(ctx.stdout, "  Data      %s (delete it to start over)\n", c.DataDir)
	if customer != nil {
		fmt.Fprintf(ctx.stdout, "\nTo enroll: account number %s, registration code %s — or read the mail in the inbox.\n", customer.AccountNumber, customer.RegistrationCode)
	}
	fmt.Fprintf(ctx.stdout, "Stop with Ctrl-C.\n")
	return nil
}

// writeWhole writes a file so that a reader finds all of it or none.
func writeWhole(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	next := path + ".new"
	if err := os.WriteFile(next, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// logLines hands another program's lines to the log.
type logLines struct{ log *slog.Logger }

func (l logLines) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		l.log.Info(strings.TrimSpace(line), "part", "postgres")
	}
	return len(p), nil
}
