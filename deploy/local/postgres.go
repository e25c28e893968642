package local

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

const (
	postgresStartTimeout = time.Minute
	postgresStopTimeout  = 30 * time.Second // for each of three signals, ever harsher
	postgresPort         = "5432"           // part of the socket's name; nothing listens on TCP

	// A socket's whole path may have 103 bytes on macOS and 107 on Linux.
	maxSocketFolder = 103 - len("/.s.PGSQL."+postgresPort)
)

// PostgresOptions say where a private PostgreSQL keeps its data.
type PostgresOptions struct {
	// DataDir is kept between runs and never deleted. Beside it stand DataDir.lock,
	// while the server runs DataDir.sock, and while it is first made DataDir.initdb.
	DataDir string

	Database string // made when there is none; default "billcenter"
	User     string // the superuser, without a password; default "billcenter"

	// Throwaway trades the data's safety for speed (fsync off and more). It is for
	// tests, whose data nobody wants back after a crash.
	Throwaway bool

	Log      io.Writer         // the server's own log; default: none
	Settings map[string]string // on top of ours, as in postgresql.conf
}

// Postgres is a PostgreSQL server that runs as a child of this process, from
// binaries that are on the machine already. It listens on a Unix socket only, in a
// folder that only its user and root can enter.
//
// When this process is killed, the server shuts itself down (on Linux); one that
// is still there at the next start is stopped first.
type Postgres struct {
	opts      PostgresOptions
	binaries  installation
	identity  identity
	lock      *folderLock
	socketDir string
	process   *os.Process
	done      chan struct{}
	err       error // why the server ended; read after done
	stop      func() error
}

// StartPostgres makes the data folder when there is none and returns once the
// server answers queries. ctx limits the start, not the server's life; so does
// one minute.
//
// It refuses, and leaves alone, a folder made by another major version than is
// installed. Where binaries are missing, the error says how to install them; the
// environment variable BILLCENTER_POSTGRES_BIN names their folder where it is an
// unusual one.
func StartPostgres(ctx context.Context, opts PostgresOptions) (_ *Postgres, err error) {
	ctx, cancel := context.WithTimeout(ctx, postgresStartTimeout)
	defer cancel()

	opts, err = opts.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Postgres{opts: opts, done: make(chan struct{})}
	if p.lock, err = lockFolder(opts.DataDir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.cleanUp())
		}
	}()
	if p.binaries, err = findPostgres(ctx, opts.DataDir); err != nil {
		return nil, err
	}
	if p.identity, err = chooseIdentity(opts.DataDir); err != nil {
		return nil, err
	}

	// With the lock held, whoever still runs on this folder has lost its parent.
	if err := stopLeftover(ctx, opts.DataDir); err != nil {
		return nil, err
	}
	if err := p.makeCluster(ctx); err != nil {
		return nil, err
	}
	if p.socketDir, err = p.makeSocketFolder(); err != nil {
		return nil, fmt.Errorf("folder for the PostgreSQL socket: %w", err)
	}
	if err := p.launch(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

func (o PostgresOptions) withDefaults() (PostgresOptions, error) {
	if o.Database == "" {
		o.Database = "billcenter"
	}
	if o.User == "" {
		o.User = "billcenter"
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	var err error
	if o.DataDir, err = resolveFolder(o.DataDir); err != nil {
		return o, fmt.Errorf("PostgreSQL data: %w", err)
	}
	return o, nil
}

// makeSocketFolder prefers a place beside the data, where a killed run leaves
// nothing in the temporary folder.
func (p *Postgres) makeSocketFolder() (string, error) {
	dir := p.opts.DataDir + ".sock"
	if len(dir) > maxSocketFolder {
		dir, err := os.MkdirTemp("", "billcenter-")
		if err == nil && len(dir) > maxSocketFolder {
			err = errors.Join(os.Remove(dir), fmt.Errorf("%s is too long a path for a socket: set TMPDIR to a shorter one", dir))
		}
		if err != nil {
			return "", err
		}
		return dir, p.identity.own(dir)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	// A killed server leaves these; by their process id they could block the new one.
	for _, name := range []string{".s.PGSQL." + postgresPort, ".s.PGSQL." + postgresPort + ".lock"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	return dir, p.identity.own(dir)
}

func (p *Postgres) launch(ctx context.Context) error {
	args := []string{"-D", p.opts.DataDir}
	for name, value := range p.settings() {
		args = append(args, "-c", name+"="+value)
	}
	cmd := exec.Command(p.binaries.path("postgres"), args...)
	cmd.WaitDelay = 5 * time.Second
	log := &tail{to: p.opts.Log}
	cmd.Stdout, cmd.Stderr = log, log

	ended, err := p.identity.start(cmd, syscall.SIGINT)
	if err != nil {
		return fmt.Errorf("start PostgreSQL as %s: %w", p.identity, err)
	}
	p.process = cmd.Process
	p.stop = sync.OnceValue(p.shutDown)
	go func() {
		p.err = <-ended
		close(p.done)
	}()

	if err := p.awaitReady(ctx); err != nil {
		return fmt.Errorf("start PostgreSQL as %s: %w\n%s", p.identity, errors.Join(err, p.interrupt()), log)
	}
	return nil
}

func (p *Postgres) settings() map[string]string {
	set := map[string]string{
		"listen_addresses":        "",
		"port":                    postgresPort,
		"unix_socket_directories": pq.QuoteIdentifier(p.socketDir), // a list of quotable names
		"unix_socket_permissions": "0700",
		"max_connections":         "100",
		"shared_buffers":          "128MB",
		"fsync":                   "on",
		"jit":                     "off", // costs more than it saves on small tables
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		"log_min_messages":        "warning",
		"logging_collector":       "off",
	}
	if p.opts.Throwaway {
		for name, value := range map[string]string{
			"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
			"wal_level": "minimal", "max_wal_senders": "0", "checkpoint_timeout": "1h",
		} {
			set[name] = value
		}
	}
	for name, value := range p.opts.Settings {
		set[name] = value
	}
	return set
}

// awaitReady returns once the server answers and the database is there.
func (p *Postgres) awaitReady(ctx context.Context) error {
	db, err := sql.Open("postgres", p.URL("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()

	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		err := p.makeDatabase(ctx, db)
		// Until the server is up there is no socket, or it says "starting up".
		if refusal, ok := errors.AsType[*pq.Error](err); err == nil || ok && refusal.Code != pqerror.CannotConnectNow {
			return err
		}
		select {
		case <-p.done:
			return errors.New("the server ended")
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-retry.C:
		}
	}
}

func (p *Postgres) makeDatabase(ctx context.Context, db *sql.DB) error {
	var exists bool
	err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, p.opts.Database).Scan(&exists)
	if err != nil || exists {
		return err
	}
	_, err = db.ExecContext(ctx, `CREATE DATABASE `+pq.QuoteIdentifier(p.opts.Database))
	return err
}

// URL is the address of database, or of the one in the options when database is
// empty. lib/pq and psql both take it.
func (p *Postgres) URL(database string) string {
	if database == "" {
		database = p.opts.Database
	}
	return (&url.URL{
		Scheme:   "postgres",
		User:     url.User(p.opts.User),
		Path:     "/" + database,
		RawQuery: url.Values{"host": {p.socketDir}, "port": {postgresPort}, "sslmode": {"disable"}}.Encode(),
	}).String()
}

// Done is closed when the server has ended, wanted or not.
func (p *Postgres) Done() <-chan struct{} { return p.done }

// Err says why the server ended. It is nil while the server runs and after Stop.
func (p *Postgres) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Stop ends the server's connections, lets it write everything to disk and waits
// for its end. It may be called again, and after the server ended by itself.
func (p *Postgres) Stop() error { return p.stop() }

func (p *Postgres) shutDown() error {
	return errors.Join(p.interrupt(), p.cleanUp())
}

// interrupt asks for a "fast" shutdown, since the "smart" one of SIGTERM waits for
// every client to leave.
func (p *Postgres) interrupt() error {
	for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		if err := p.process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stop PostgreSQL: %w", err)
		}
		select {
		case <-p.done:
			return p.err
		case <-time.After(postgresStopTimeout):
		}
	}
	return fmt.Errorf("PostgreSQL (pid %d) does not end", p.process.Pid)
}

func (p *Postgres) cleanUp() error {
	var err error
	if p.socketDir != "" {
		err = os.RemoveAll(p.socketDir)
	}
	return errors.Join(err, p.lock.release())
}

// A tail passes a log on and remembers its end, to explain a start that did not
// succeed. It accepts everything: a log that takes no more must not end the server.
type tail struct {
	to io.Writer

	mu  sync.Mutex
	end []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const keep = 8 << 10
	t.end = append(t.end, b...)
	t.end = bytes.Clone(t.end[max(0, len(t.end)-keep):])
	t.to.Write(b)
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.end))
}
