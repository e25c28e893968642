package local

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// BrokerOptions say where the embedded broker listens and keeps its streams.
type BrokerOptions struct {
	StoreDir string // kept between runs; StoreDir.lock stands beside it

	// Addr is host:port; port 0, or an empty Addr, is any free port of 127.0.0.1.
	// Clients need no password, so the address should be a loopback one.
	Addr string

	// EncryptionKey encrypts the streams at rest (AES, which processors have in hardware), since removed
	// messages stay readable in their files for a while. The streams can be read with
	// this key only.
	EncryptionKey string

	Log *slog.Logger // takes warnings and errors; default: none
}

// Broker is a NATS server with JetStream inside this process. What it acknowledged
// has been written through to the disk.
type Broker struct {
	server *server.Server
	addr   *net.TCPAddr
	lock   *folderLock
	done   chan struct{}
	stop   func() error
}

// StartBroker returns once clients can connect.
//
// The error for a taken address names it and wraps syscall.EADDRINUSE. A stream in
// StoreDir that cannot be read, because it was made with another key or is damaged,
// is an error too: nats-server by itself would warn and go on without it.
func StartBroker(opts BrokerOptions) (_ *Broker, err error) {
	if opts.EncryptionKey == "" {
		return nil, errors.New("broker: no encryption key")
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	host, port, err := listenAddr(opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	storeDir, err := resolveFolder(opts.StoreDir)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	b := &Broker{done: make(chan struct{})}
	if b.lock, err = lockFolder(storeDir); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	b.stop = sync.OnceValue(b.shutDown)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("broker: %w", err), b.stop())
		}
	}()

	cipher, err := cipherOf(storeDir)
	if err != nil {
		return nil, err
	}
	b.server, err = server.NewServer(&server.Options{
		ServerName: "billcenter-local",
		Host:       host,
		Port:       port,
		DontListen: true, // until the streams are known to be all there
		NoSigs:     true,
		NoLog:      true, // no logger but ours
		MaxPayload: 1 << 20,

		JetStream:              true,
		StoreDir:               storeDir,
		SyncAlways:             true, // the default, every 2 minutes, loses acknowledged messages in a power cut
		JetStreamKey:           opts.EncryptionKey,
		JetStreamCipher:        cipher,
		DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, err
	}
	log := &brokerLog{to: opts.Log}
	b.server.SetLoggerV2(log, false, false, false)
	go func() {
		b.server.WaitForShutdown()
		close(b.done)
	}()

	b.server.Start()
	if err := log.fatal(); err != nil {
		return nil, err
	}
	if err := b.checkStreams(storeDir, log); err != nil {
		return nil, err
	}
	b.server.AcceptLoop(make(chan struct{})) // returns once it listens
	if err := log.fatal(); err != nil {
		return nil, err
	}
	b.addr = b.server.Addr().(*net.TCPAddr)
	return b, nil
}

// cipherOf returns what a folder's streams are encrypted with. New ones are with AES, which processors have in hardware; a
// tenth of the broker's time on a bill run is saved by it. nats-server does not convert, so a folder from before keeps
// ChaCha20, and one with AES says so.
func cipherOf(storeDir string) (server.StoreCipher, error) {
	const aes = "aes"
	note := filepath.Join(storeDir, "cipher")
	said, err := os.ReadFile(note)
	switch {
	case err == nil && string(said) == aes:
		return server.AES, nil
	case err == nil:
		return 0, fmt.Errorf("%s names a cipher that this version does not know", note)
	case !errors.Is(err, fs.ErrNotExist):
		return 0, err
	}
	if _, err := os.Stat(filepath.Join(storeDir, server.JetStreamStoreDir)); err == nil {
		return server.ChaCha, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	return server.AES, keepNote(note, aes)
}

// keepNote writes a small file so that it is there whole, or not at all, after a power cut.
func keepNote(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.Create(name + ".new")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(name))
}

// listenAddr splits addr the way nats-server wants it: -1 is any free port.
func listenAddr(addr string) (host string, port int, err error) {
	if addr == "" {
		addr = anyLoopbackPort
	}
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	if port, err = strconv.Atoi(text); err != nil {
		return "", 0, fmt.Errorf("address %s: port is not a number", addr)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// checkStreams compares the streams on disk with those that the server recovered.
func (b *Broker) checkStreams(storeDir string, log *brokerLog) error {
	onDisk, err := fs.Glob(os.DirFS(filepath.Join(storeDir, server.JetStreamStoreDir)), "*/streams/*") // by account
	if err != nil {
		return err
	}
	state, err := b.server.Jsz(&server.JSzOptions{Streams: true})
	if err != nil {
		return fmt.Errorf("list the recovered streams: %w", err)
	}
	var recovered []string
	for _, account := range state.AccountDetails {
		for _, stream := range account.Streams {
			recovered = append(recovered, stream.Name)
		}
	}
	var missing []string
	for _, folder := range onDisk {
		name := path.Base(folder)
		// A leading dot marks a stream whose deletion was cut short.
		if !strings.HasPrefix(name, ".") && !slices.Contains(recovered, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%s: cannot read %s: made with another encryption key, or damaged (nats-server says: %s). "+
		"Nothing was changed: give the key it was made with, or another folder",
		storeDir, strings.Join(missing, ", "), strings.Join(log.warnings(), "; "))
}

// Addr is the address that the broker listens on, with the port that it got.
func (b *Broker) Addr() string { return b.addr.String() }

// URL is what a client on this machine connects to.
func (b *Broker) URL() string {
	if b.addr.IP.IsUnspecified() {
		return "nats://127.0.0.1:" + strconv.Itoa(b.addr.Port)
	}
	return "nats://" + b.Addr()
}

// Done is closed when the broker has stopped.
func (b *Broker) Done() <-chan struct{} { return b.done }

// Stop disconnects the clients and returns when everything is on disk. It may be
// called again.
func (b *Broker) Stop() error { return b.stop() }

func (b *Broker) shutDown() error {
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
	return b.lock.release()
}

// A brokerLog is the server's logger. It keeps the server from ending this process
// and remembers what went wrong, since Start reports nothing.
type brokerLog struct {
	to *slog.Logger

	mu     sync.Mutex
	end    error
	warned []string
}

func (l *brokerLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

func (l *brokerLog) warnings() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.warned)
}

// Fatalf is called once, when the server gives up; the error among args is the
// cause, such as a taken address.
func (l *brokerLog) Fatalf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	err := errors.New(text)
	for _, arg := range args {
		if cause, ok := arg.(error); ok {
			err = cause
		}
	}
	l.to.Error("broker gave up", "reason", text)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = err
}

func (l *brokerLog) Errorf(format string, args ...any) {
	l.to.Error("broker", "reason", fmt.Sprintf(format, args...))
}

func (l *brokerLog) Warnf(format string, args ...any) {
	text := strings.TrimSpace(fmt.Sprintf(format, args...))
	l.to.Warn("broker", "reason", text)
	l.mu.Lock()
	defer l.mu.Unlock()
	const keep = 10 // enough to explain a start
	if len(l.warned) < keep {
		l.warned = append(l.warned, text)
	}
}

func (*brokerLog) Noticef(string, ...any) {}
func (*brokerLog) Debugf(string, ...any)  {}
func (*brokerLog) Tracef(string, ...any)  {}
