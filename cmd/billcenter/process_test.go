package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mongotel/billcenter/deploy/local"
	"github.com/mongotel/billcenter/deploy/local/localtest"
	"github.com/mongotel/billcenter/events/bus"
	"github.com/mongotel/billcenter/events/bus/bustest"
)

const actAsBillcenter = "BILLCENTER_TEST_ACTS_AS_MAIN" // set in child processes only

// TestMain lets the test binary be the program itself, so that a test can kill it.
func TestMain(m *testing.M) {
	if os.Getenv(actAsBillcenter) != "" {
		main()
	}
	bustest.ServeIfChild()
	if err := localtest.UseMemory(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(madeBefore.dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// process is the program as a process of its own.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan error
}

// spawn starts the program; the test's end kills it.
func spawn(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0], args...), done: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), actAsBillcenter+"=1")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(p.kill)
	return p
}

// kill ends the process as a power cut does to a process.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	err := <-p.done
	p.done <- err
}

// stop asks the process to end and expects it to do so well within the 20 seconds that it has.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.done:
		p.done <- err
		if err != nil {
			p.t.Errorf("%v after SIGTERM: %v\n%s", p.cmd.Args[1:3], err, tail(p.out.String(), 20))
		}
	case <-time.After(25 * time.Second):
		p.t.Fatalf("%v has not ended 25 s after SIGTERM", p.cmd.Args[1:3])
	}
}

func (p *process) over() (bool, string) {
	select {
	case err := <-p.done:
		p.done <- err
		return true, fmt.Sprintf("%v: %s", err, p.out.String())
	default:
		return false, ""
	}
}

// machineOf runs `up` as a process on a folder and fixed ports, so that it can be killed and started again.
type machineOf struct {
	*system
	t    *testing.T
	args []string
	proc *process
	n    int
}

func processUp(t *testing.T, flags ...string) *machineOf {
	t.Helper()
	dir, err := os.MkdirTemp("", "billcenter-up-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &machineOf{system: &system{dir: dir}, t: t}
	m.args = append([]string{"up", "--data-dir", filepath.Join(dir, "data")}, flags...)
	for _, f := range []string{"portal", "staff", "ops", "nats", "smtp", "inbox"} {
		m.args = append(m.args, "--"+f+"-addr", freeAddr(t))
	}
	m.start()
	return m
}

func (m *machineOf) start() {
	m.t.Helper()
	m.n++
	ready := filepath.Join(m.dir, fmt.Sprintf("ready-%d.json", m.n))
	m.proc = spawn(m.t, append(m.args, "--ready-file", ready)...)
	m.wait(m.t, ready, m.proc.over)
}

func (m *machineOf) killAndStart() {
	m.t.Helper()
	m.proc.kill()
	m.start()
}

func freeAddr(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", localtest.FreePort(t))
}

// command runs a command of the program against the system and returns what it printed.
func (s *system) command(t *testing.T, want int, args ...string) string {
	t.Helper()
	if args[0] != "events" && !slices.Contains(args, "--data-dir") { // which need nothing that runs
		args = append(args, "--data-dir", filepath.Join(s.dir, "data"))
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), args, strings.NewReader(""), &out, &errs); code != want {
		t.Fatalf("billcenter %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, out.String(), errs.String())
	}
	return out.String()
}

// decode reads what a command printed with --json.
func decode[T any](t *testing.T, printed string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(printed), &v); err != nil {
		t.Fatalf("%v in:\n%s", err, printed)
	}
	return v
}

// roles are the system as separate processes, on a broker, a database and an inbox that outlive them.
type roles struct {
	*system
	t      *testing.T
	broker *bustest.Broker
	mails  inbox
	roles  map[string]*process
	nats   func(who string) []string // more flags to reach the broker, for a role, "migrate" or "publish"
	flags  []string
	portal string
	staff  string // base URL of the back office
}

func startRoles(t *testing.T) *roles {
	t.Helper()
	broker := bustest.StartConfig(t, bustest.Config{Process: true, Topology: bus.Topology{}})
	w := startRolesOn(t, broker.URL, func(string) []string { return nil })
	w.broker = broker
	return w
}

func startRolesOn(t *testing.T, broker string, nats func(who string) []string) *roles {
	t.Helper()
	w := prepareRoles(t, broker, nats)
	for _, name := range roleNames {
		w.role(name)
	}
	return w
}

// prepareRoles is all that roles need, and none of them started.
func prepareRoles(t *testing.T, broker string, nats func(who string) []string) *roles {
	t.Helper()
	dir, err := os.MkdirTemp("", "billcenter-run-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &roles{t: t, roles: map[string]*process{}, nats: nats, portal: freeAddr(t)}
	pg, err := local.StartPostgres(t.Context(), local.PostgresOptions{DataDir: filepath.Join(dir, "postgres")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pg.Stop() })
	sink, err := local.StartInbox(local.InboxOptions{Folder: filepath.Join(dir, "inbox")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Stop(context.Background()) })
	w.mails = inbox{"http://" + sink.HTTPAddr()}
	w.system = &system{dir: dir, running: running{Portal: "http://" + w.portal, NATS: broker, Database: pg.URL("")}, inbox: w.mails}
	ring := filepath.Join(dir, "keyring.json")
	w.flags = []string{"--database-url", pg.URL(""), "--nats-url", broker, "--key-ring", ring, "--data-dir", dir, "--portal-url", w.Portal}

	// Nobody works before the setting-up was done.
	var errs bytes.Buffer
	if code := run(t.Context(), append([]string{"run", "codes", "--ops-addr", "127.0.0.1:0"}, w.flags...), nil, &errs, &errs); code == 0 || !strings.Contains(errs.String(), "key") {
		t.Fatalf("run without a key ring: exit %d\n%s", code, errs.String())
	}
	w.command(t, 0, append(append([]string{"migrate", "--new-key-ring", ring}, w.flags[:4]...), nats("migrate")...)...)
	staff := freeAddr(t)
	w.staff = "http://" + staff
	w.flags = append(w.flags, "--smtp-addr", sink.SMTPAddr(), "--smtp-security", "none", "--portal-addr", w.portal,
		"--staff-addr", staff, "--staff-url", w.staff, "--oidc-issuer", "http://"+freeAddr(t), "--oidc-client-id", "office") // the provider is away
	return w
}

// role starts a role and waits until it is ready.
func (w *roles) role(name string) {
	w.t.Helper()
	ops := freeAddr(w.t)
	p := spawn(w.t, append(append([]string{"run", name, "--ops-addr", ops}, w.flags...), w.nats(name)...)...)
	w.roles[name] = p
	eventually(w.t, "role "+name, func() error {
		if over, why := p.over(); over {
			w.t.Fatalf("role %s: %s", name, why)
		}
		r, err := http.Get("http://" + ops + "/readyz")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		if r.StatusCode != http.StatusOK {
			return fmt.Errorf("readyz: %s", r.Status)
		}
		return nil
	})
}

// publishOne publishes one invoice mail and waits until its code is stored.
func (w *roles) publishOne(t *testing.T) (account, code string) {
	t.Helper()
	file := filepath.Join(w.dir, "one.ndjson")
	if err := os.WriteFile(file, fmt.Appendf(nil, foreignData+"\n", 1, 1, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	w.command(t, 0, append([]string{"publish", file, "--nats-url", w.NATS}, w.nats("publish")...)...)
	db := w.db(t)
	eventually(t, "the stored code", func() error { return exactly(db, 1, `SELECT count(*) FROM invoice_emails`) })
	return "77-1", "QWER-TYUP-0001"
}
