package local

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const brokerKey = "a key for tests"

func startBroker(t *testing.T, opts BrokerOptions) *Broker {
	t.Helper()
	if opts.EncryptionKey == "" {
		opts.EncryptionKey = brokerKey
	}
	b, err := StartBroker(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// stream connects to b and makes the stream TEST where there is none.
func stream(t *testing.T, b *Broker) (jetstream.JetStream, jetstream.Stream) {
	t.Helper()
	return streamAt(t, b.URL())
}

func streamAt(t *testing.T, url string) (jetstream.JetStream, jetstream.Stream) {
	t.Helper()
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "TEST", Subjects: []string{"test.>"}})
	if err != nil {
		t.Fatal(err)
	}
	return js, s
}

func publish(t *testing.T, js jetstream.JetStream, text string) {
	t.Helper()
	if _, err := js.Publish(t.Context(), "test.message", []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func lastMessage(t *testing.T, s jetstream.Stream) string {
	t.Helper()
	msg, err := s.GetLastMsgForSubject(t.Context(), "test.message")
	if err != nil {
		t.Fatal(err)
	}
	return string(msg.Data)
}

func TestBrokerKeepsMessagesBetweenRuns(t *testing.T) {
	storeDir := filepath.Join(t.TempDir(), "nats")
	first := startBroker(t, BrokerOptions{StoreDir: storeDir})
	js, _ := stream(t, first)
	publish(t, js, "kept")
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	<-first.Done()

	second := startBroker(t, BrokerOptions{StoreDir: storeDir, Addr: first.Addr()})
	if second.Addr() != first.Addr() {
		t.Errorf("listens on %s, want %s again", second.Addr(), first.Addr())
	}
	_, s := stream(t, second)
	if got := lastMessage(t, s); got != "kept" {
		t.Errorf("last message %q, want the one from the first run", got)
	}
}

func TestBrokerEncryptsAtRest(t *testing.T) {
	storeDir := filepath.Join(t.TempDir(), "nats")
	b := startBroker(t, BrokerOptions{StoreDir: storeDir})
	js, _ := stream(t, b)
	const secret = "7F3K-9QWD-M2XA"
	publish(t, js, secret)
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}

	blocks := 0
	err := filepath.WalkDir(storeDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(secret)) {
			t.Errorf("%s contains the message", path)
		}
		if filepath.Ext(path) == ".blk" && len(content) > 0 {
			blocks++
		}
		return err
	})
	if err != nil || blocks == 0 {
		t.Errorf("%d block files looked at, %v; want one at least", blocks, err)
	}
}

func TestBrokerReadsAFolderOfAnEarlierVersion(t *testing.T) {
	storeDir := filepath.Join(t.TempDir(), "nats")
	earlier, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: storeDir, JetStreamKey: brokerKey, JetStreamCipher: server.ChaCha,
	})
	if err != nil {
		t.Fatal(err)
	}
	earlier.Start()
	js, _ := streamAt(t, earlier.ClientURL())
	publish(t, js, "kept")
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EMPTY", Subjects: []string{"empty"}}); err != nil {
		t.Fatal(err)
	}
	earlier.Shutdown()
	earlier.WaitForShutdown()

	for range 2 {
		b := startBroker(t, BrokerOptions{StoreDir: storeDir})
		_, s := stream(t, b)
		if got := lastMessage(t, s); got != "kept" {
			t.Errorf("last message %q, want the one of the earlier version", got)
		}
		if err := b.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBrokerRefusesStreamsItCannotRead(t *testing.T) {
	for _, tt := range []struct {
		name  string
		key   string
		spoil func(t *testing.T, stream string)
		want  string // nats-server's own reason
	}{
		{
			"made with another key", "another key",
			func(*testing.T, string) {},
			"unable to recover keys",
		},
		{
			"damaged on disk", brokerKey,
			func(t *testing.T, stream string) {
				if err := os.Rename(filepath.Join(stream, "meta.inf"), filepath.Join(stream, "elsewhere")); err != nil {
					t.Fatal(err)
				}
			},
			"Missing stream metafile",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			storeDir := filepath.Join(t.TempDir(), "nats")
			b := startBroker(t, BrokerOptions{StoreDir: storeDir})
			js, _ := stream(t, b)
			publish(t, js, "precious")
			if err := b.Stop(); err != nil {
				t.Fatal(err)
			}
			folder := filepath.Join(storeDir, "jetstream", "$G", "streams", "TEST")
			tt.spoil(t, folder)

			_, err := StartBroker(BrokerOptions{StoreDir: storeDir, EncryptionKey: tt.key})

			for _, want := range []string{storeDir, "cannot read TEST", tt.want} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v\ndoes not say %q", err, want)
				}
			}
			if tt.key != brokerKey {
				_, s := stream(t, startBroker(t, BrokerOptions{StoreDir: storeDir}))
				if got := lastMessage(t, s); got != "precious" {
					t.Errorf("last message %q under the first key, want it unharmed", got)
				}
			}
		})
	}
}

func TestBrokerDoesNotStart(t *testing.T) {
	taken, err := net.Listen("tcp", anyLoopbackPort)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	running := filepath.Join(t.TempDir(), "nats")
	startBroker(t, BrokerOptions{StoreDir: running})
	file := filepath.Join(t.TempDir(), "nats")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	for _, tt := range []struct {
		name string
		opts BrokerOptions
		want string
		is   error
	}{
		{"without a key", BrokerOptions{}, "no encryption key", nil},
		{"on a taken address", BrokerOptions{Addr: taken.Addr().String(), EncryptionKey: brokerKey}, taken.Addr().String(), syscall.EADDRINUSE},
		{"on an address without a port", BrokerOptions{Addr: "127.0.0.1", EncryptionKey: brokerKey}, "missing port", nil},
		{"on the folder of a running broker", BrokerOptions{StoreDir: running, EncryptionKey: brokerKey}, "in use by another process", nil},
		{"on a file", BrokerOptions{StoreDir: file, EncryptionKey: brokerKey}, "not a directory", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.opts.StoreDir == "" {
				tt.opts.StoreDir = filepath.Join(t.TempDir(), "nats")
			}

			_, err := StartBroker(tt.opts)

			if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v, want %q (%v)", err, tt.want, tt.is)
			}
		})
	}
}

// TestBrokerLimits pins what a change of nats-server's defaults could take away.
func TestBrokerLimits(t *testing.T) {
	b := startBroker(t, BrokerOptions{StoreDir: filepath.Join(t.TempDir(), "nats"), Addr: "127.0.0.1:0"})

	if config := b.server.JetStreamConfig(); !config.SyncAlways || !config.Strict {
		t.Errorf("SyncAlways %v, Strict %v; want both", config.SyncAlways, config.Strict)
	}
	if addr := b.server.MonitorAddr(); addr != nil {
		t.Errorf("monitoring listens on %s", addr)
	}
	conn, err := nats.Connect(b.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.MaxPayload(); got != 1<<20 {
		t.Errorf("largest payload %d bytes, want 1 MiB", got)
	}
	if got := conn.ConnectedServerVersion(); got != server.VERSION {
		t.Errorf("server %s, want %s", got, server.VERSION)
	}
}

func TestBrokerStopsWithClientsConnected(t *testing.T) {
	b := startBroker(t, BrokerOptions{StoreDir: filepath.Join(t.TempDir(), "nats")})
	stream(t, b)
	stopped := make(chan error)
	go func() { stopped <- errors.Join(b.Stop(), b.Stop()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Fatal("Stop does not return")
	}
}
