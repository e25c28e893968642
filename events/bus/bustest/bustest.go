// Package bustest starts a real broker for a test: JetStream on a temporary
// folder, with every write fsynced and encryption at rest, as deployed. It knows
// nothing of the events that travel through it.
package bustest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/mongotel/billcenter/deploy/local/localtest"
	"github.com/mongotel/billcenter/events/bus"
)

const (
	envDir  = "BILLCENTER_BUSTEST_DIR" // set in the child process only
	envPort = "BILLCENTER_BUSTEST_PORT"
	envLazy = "BILLCENTER_BUSTEST_LAZY" // not empty for LazySync

	startTimeout = 15 * time.Second
)

// A Config says how to run a broker.
type Config struct {
	// Process runs it as a child process that can be killed. The package's
	// TestMain must call Main.
	Process bool

	// LazySync leaves fsync to the system, for tests that publish thousands of
	// single messages and are not about power cuts.
	LazySync bool

	// Topology to apply; nil for bus.DefaultTopology, empty for none.
	Topology bus.Topology
}

// A Broker is a running broker with a connection to it.
type Broker struct {
	Bus      *bus.Bus
	URL      string // the same after a restart
	StoreDir string

	t      testing.TB
	config Config
	port   int

	embedded *server.Server
	process  *exec.Cmd
}

// Start runs an embedded broker with the default topology until the test ends.
func Start(t testing.TB) *Broker {
	t.Helper()
	return StartConfig(t, Config{})
}

// StartConfig runs a broker until the test ends.
func StartConfig(t testing.TB, c Config) *Broker {
	t.Helper()
	if c.Topology == nil {
		c.Topology = bus.DefaultTopology()
	}
	b := &Broker{StoreDir: t.TempDir(), t: t, config: c, port: localtest.FreePort(t)}
	b.URL = "nats://127.0.0.1:" + strconv.Itoa(b.port)
	t.Cleanup(b.Kill)
	b.Restart()
	b.Bus = b.Dial(bus.Options{})
	if _, err := b.Bus.Apply(t.Context()); err != nil {
		t.Fatalf("apply the topology: %v", err)
	}
	return b
}

// Dial opens another connection, closed with the test. URL, topology and sealer
// are filled in where empty.
func (b *Broker) Dial(o bus.Options) *bus.Bus {
	b.t.Helper()
	if o.URL == "" {
		o.URL = b.URL
	}
	if o.Name == "" {
		o.Name = b.t.Name()
	}
	if o.Topology == nil {
		o.Topology = b.config.Topology
	}
	if o.Sealer == nil {
		o.Sealer = Sealer{}
	}
	conn, err := bus.Dial(context.Background(), o)
	if err != nil {
		b.t.Fatalf("dial %s: %v", o.URL, err)
	}
	b.t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			b.t.Errorf("close the bus: %v", err)
		}
	})
	return conn
}

// Kill ends the broker: as kill -9 does where it is a process, else in order. It
// is a no-op when the broker is not running.
func (b *Broker) Kill() {
	if b.embedded != nil {
		b.embedded.Shutdown()
		b.embedded.WaitForShutdown()
		b.embedded = nil
	}
	if b.process != nil {
		_ = b.process.Process.Kill()
		_ = b.process.Wait() // reports the kill
		b.process = nil
	}
}

// Restart kills the broker if it runs and starts it on what it has stored.
func (b *Broker) Restart() {
	b.t.Helper()
	b.Kill()
	if b.config.Process {
		b.startProcess()
	} else {
		b.startEmbedded()
	}
}

func (b *Broker) startEmbedded() {
	b.t.Helper()
	s, err := server.NewServer(options(b.StoreDir, b.port, b.config.LazySync))
	if err != nil {
		b.t.Fatalf("embedded broker: %v", err)
	}
	go s.Start()
	if !s.ReadyForConnections(startTimeout) {
		b.t.Fatalf("embedded broker not ready after %s", startTimeout)
	}
	b.embedded = s
}

func (b *Broker) startProcess() {
	b.t.Helper()
	// No test may run in the child, even if the package's TestMain forgets to
	// call Main.
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), envDir+"="+b.StoreDir, envPort+"="+strconv.Itoa(b.port))
	if b.config.LazySync {
		cmd.Env = append(cmd.Env, envLazy+"=1")
	}
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // open as long as we live
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatalf("broker process: %v", err)
	}
	b.process = cmd
	for deadline := time.Now().Add(startTimeout); ; {
		conn, err := bus.Dial(context.Background(), bus.Options{URL: b.URL})
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("broker process not ready after %s (does TestMain call bustest.Main?): %v", startTimeout, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Main runs the tests, or a broker if this process was started to be one.
func Main(m *testing.M) {
	ServeIfChild()
	if err := localtest.UseMemory(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// ServeIfChild is for a TestMain that has more to do than Main: in a process that
// was started to be a broker it runs that and does not return, elsewhere it does
// nothing.
func ServeIfChild() {
	dir := os.Getenv(envDir)
	if dir == "" {
		return
	}
	fmt.Fprintln(os.Stderr, "bustest:", serve(dir, os.Getenv(envPort)))
	os.Exit(1)
}

// serve runs until it is killed or its parent is gone, and then says which.
func serve(dir, port string) error {
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	s, err := server.NewServer(options(dir, n, os.Getenv(envLazy) != ""))
	if err != nil {
		return err
	}
	s.Start()
	_, err = os.Stdin.Read(make([]byte, 1))
	s.Shutdown()
	if err == nil {
		err = errors.New("unexpected input")
	}
	return err
}

func options(dir string, port int, lazy bool) *server.Options {
	return &server.Options{
		Host:               "127.0.0.1",
		Port:               port,
		JetStream:          true,
		StoreDir:           dir,
		SyncAlways:         !lazy,
		JetStreamKey:       "a key for tests",
		JetStreamCipher:    server.AES,
		JetStreamMaxMemory: 64 << 20,
		JetStreamMaxStore:  4 << 30,
		NoLog:              true,
		NoSigs:             true,
	}
}

// Sealer is a bus.Sealer with a key that everyone knows.
type Sealer struct{}

// Seal encrypts with AES-GCM.
func (Sealer) Seal(plain, context []byte) ([]byte, error) {
	aead, err := testAEAD()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return aead.Seal(nonce, nonce, plain, context), nil
}

// Open fails unless the context is the one of Seal.
func (Sealer) Open(sealed, context []byte) ([]byte, error) {
	aead, err := testAEAD()
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, errors.New("sealed text too short")
	}
	return aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], context)
}

func testAEAD() (cipher.AEAD, error) {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
