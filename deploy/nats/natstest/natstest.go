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

	addr      string
	passwords map[string]string // by user
}

// Start runs a broker until the test ends. The adjustments change what the files
// say; a test that makes any proves less about them.
func Start(t testing.TB, adjust ...func(*server.Options)) *Broker {
	t.Helper()
	b := &Broker{passwords: map[string]string{}}
	dir := t.TempDir()
	b.write(t, dir)
	t.Setenv("JS_KEY", rand.Text())
	t.Setenv("NATS_TLS_CERT", filepath.Join(dir, "cert.pem"))
	t.Setenv("NATS_TLS_KEY", filepath.Join(dir, "key.pem"))
	b.CAFile = certify(t, dir)

	options, err := server.ProcessConfigFile(filepath.Join(dir, "nats.conf"))
	if err != nil {
		t.Fatalf("the broker's configuration: %v", err)
	}
	b.Options = options.Clone()
	options.Host, options.Port = "127.0.0.1", server.RANDOM_PORT
	options.HTTPPort = server.RANDOM_PORT
	options.StoreDir = filepath.Join(dir, "store")
	options.NoLog, options.NoSigs = true, true
	for _, change := range adjust {
		change(options)
	}
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatalf("the broker: %v", err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the broker is not ready after 20 s")
	}
	b.addr = s.Addr().String()
	return b
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
func (b *Broker) write(t testing.TB, dir string) {
	t.Helper()
	err := fs.WalkDir(nats.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := nats.Files.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name), text, 0o600)
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
		password := rand.Text()
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		b.passwords[strings.ReplaceAll(strings.ToLower(found[1]), "_", "-")] = password
		secrets.WriteString(found[1] + `_PASSWORD: "` + string(hash) + "\"\n")
	}
	if err := os.WriteFile(filepath.Join(dir, "secrets.conf"), []byte(secrets.String()), 0o600); err != nil {
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
