// Package natstest starts a real broker with the very files of deploy/nats, on a
// free port, with passwords and a certificate of its own. It applies no topology:
// a test does that as the operator, as in production.
package natstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/crypto/bcrypt"

	"github.com/mongotel/billcenter/deploy/nats"
)

// A Broker is a running broker.
type Broker struct {
	CAFile  string          // PEM; vouches for the broker
	Options *server.Options // as read from the files, before the addresses were replaced

	dir       string
	server    *server.Server
	addr      string
	adjust    []func(*server.Options)
	passwords map[string]string // by user
}

// Start runs a broker until the test ends. The adjustments change what the files
// say; a test that makes any proves less about them.
func Start(t testing.TB, adjust ...func(*server.Options)) *Broker {
	t.Helper()
	b := &Broker{dir: t.TempDir(), adjust: adjust, passwords: map[string]string{}}
	b.write(t)
	t.Setenv("JS_KEY", rand.Text())
	t.Setenv("NATS_TLS_CERT", filepath.Join(b.dir, "cert.pem"))
	t.Setenv("NATS_TLS_KEY", filepath.Join(b.dir, "key.pem"))
	b.CAFile = certify(t, b.dir)

	s, err := server.NewServer(b.options(t, server.RANDOM_PORT))
	if err != nil {
		t.Fatalf("the broker: %v", err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the broker is not ready after 20 s")
	}
	b.server, b.addr = s, s.Addr().String()
	return b
}

// options reads the files.
func (b *Broker) options(t testing.TB, port int) *server.Options {
	t.Helper()
	o, err := server.ProcessConfigFile(filepath.Join(b.dir, "nats.conf"))
	if err != nil {
		t.Fatalf("the broker's configuration: %v", err)
	}
	b.Options = o.Clone()
	o.Host, o.Port = "127.0.0.1", port
	o.HTTPHost, o.HTTPPort = "", 0
	o.StoreDir = filepath.Join(b.dir, "store")
	o.NoLog, o.NoSigs = true, true
	for _, change := range b.adjust {
		change(o)
	}
	return o
}

// Edit changes one of the files; Reload lets the broker know.
func (b *Broker) Edit(t testing.TB, file string, edit func(text string) string) {
	t.Helper()
	path := filepath.Join(b.dir, file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(edit(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Reload lets the running broker read the files again, as a signal does.
func (b *Broker) Reload(t testing.TB) {
	t.Helper()
	if err := b.server.ReloadOptions(b.options(t, b.server.Addr().(*net.TCPAddr).Port)); err != nil {
		t.Fatalf("reload the broker's configuration: %v", err)
	}
}

// NewPassword makes a password for a user, existing or to be added, and returns the
// line of secrets.conf for it.
func (b *Broker) NewPassword(t testing.TB, user string) string {
	t.Helper()
	password := rand.Text()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	b.passwords[user] = password
	return strings.ReplaceAll(strings.ToUpper(user), "-", "_") + `_PASSWORD: "` + string(hash) + "\"\n"
}

// URL is the broker's address with the user's name and password.
func (b *Broker) URL(user string) string {
	u := url.URL{Scheme: "tls", Host: b.addr}
	if user != "" {
		u.User = url.UserPassword(user, b.passwords[user])
	}
	return u.String()
}

// Users are the names of all users.
func (b *Broker) Users() []string {
	var names []string
	for _, u := range b.Options.Users {
		names = append(names, u.Username)
	}
	return names
}

var secret = regexp.MustCompile(`(?m)^(\w+)_PASSWORD:`)

// write lays the files out as they are deployed, beside a secrets.conf that
// defines what the example does.
func (b *Broker) write(t testing.TB) {
	t.Helper()
	err := fs.WalkDir(nats.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := nats.Files.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(b.dir, name), text, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	example, err := nats.Files.ReadFile("secrets.example.conf")
	if err != nil {
		t.Fatal(err)
	}
	var secrets strings.Builder
	for _, found := range secret.FindAllStringSubmatch(string(example), -1) {
		secrets.WriteString(b.NewPassword(t, strings.ReplaceAll(strings.ToLower(found[1]), "_", "-")))
	}
	if err := os.WriteFile(filepath.Join(b.dir, "secrets.conf"), []byte(secrets.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// certify writes a self-signed certificate for this machine and returns its file.
func certify(t testing.TB, dir string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "broker of a test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: certificate},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "cert.pem")
}
