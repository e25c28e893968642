package mailer_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// Answers of a scripted server that are no replies.
const (
	hangUp = "hang up"
	stall  = "stall"
)

// script is an SMTP server that says what it is told: reply lines by command ("" is the greeting, "." the end of DATA).
type script map[string]string

// usual is what a server says that takes everything.
func usual(changes script) script {
	s := script{"": "220 relay.example ESMTP", "EHLO": "250 relay.example", "HELO": "250 relay.example", "MAIL": "250 2.1.0 OK",
		"RCPT": "250 2.1.5 OK", "DATA": "354 go ahead", ".": "250 2.0.0 queued", "QUIT": "221 bye", "*": "501 5.0.0 cancelled"}
	for command, answer := range changes {
		s[command] = answer
	}
	return s
}

// server runs a script and records what it was told.
type server struct {
	script script
	cert   *tls.Certificate
	tls    bool // from the first byte
	addr   string
	heard  chan string // commands, and the whole message as one line
}

func serve(t *testing.T, s *server) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s.addr, s.heard = l.Addr().String(), make(chan string, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if s.tls {
				conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*s.cert}})
			}
			go s.talk(conn)
		}
	}()
	return s
}

func (s *server) talk(conn net.Conn) {
	defer func() { conn.Close() }()
	in := bufio.NewReader(conn)
	if !s.answer(conn, "") {
		return
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		s.heard <- line
		command, _, _ := strings.Cut(line, " ")
		if !s.answer(conn, strings.ToUpper(command)) {
			return
		}
		switch strings.ToUpper(command) {
		case "STARTTLS":
			if s.cert != nil {
				conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*s.cert}})
				in = bufio.NewReader(conn)
			}
		case "DATA":
			if !strings.HasPrefix(s.script["DATA"], "354") {
				continue
			}
			var message strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				message.WriteString(line)
			}
			s.heard <- message.String()
			if !s.answer(conn, ".") {
				return
			}
		}
	}
}

func (s *server) answer(conn net.Conn, command string) bool {
	switch a := s.script[command]; a {
	case hangUp:
		return false
	case stall:
		conn.Read(make([]byte, 1)) // until the client gives up
		return false
	case "":
		conn.Write([]byte("502 5.5.1 what?\r\n"))
		return true
	default:
		_, err := conn.Write([]byte(strings.ReplaceAll(a, "\n", "\r\n") + "\r\n"))
		return err == nil
	}
}

func certificate(t *testing.T, ip string) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "relay"}, IPAddresses: []net.IP{net.ParseIP(ip)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
