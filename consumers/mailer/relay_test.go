package mailer_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mongotel/billcenter/consumers/mailer"
)

func relay(t *testing.T, o mailer.RelayOptions) *mailer.Relay {
	t.Helper()
	r, err := mailer.NewRelay(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var message = []byte("Subject: hello\r\n\r\n.lone\r\nbody\r\n")

func send(t *testing.T, r *mailer.Relay) error {
	t.Helper()
	return r.Send(t.Context(), "helpdesk@mongotel.example", "ada@bobsbuilding.example", message)
}

func TestAMailIsHandedOver(t *testing.T) {
	s := serve(t, &server{script: usual(script{"EHLO": "250-relay.example\n250-SMTPUTF8\n250 8BITMIME"})})
	if err := send(t, relay(t, mailer.RelayOptions{Address: s.addr, Security: mailer.Plaintext, HelloName: "mail.mongotel.example"})); err != nil {
		t.Fatal(err)
	}
	want := []string{"EHLO mail.mongotel.example", "MAIL FROM:<helpdesk@mongotel.example> BODY=8BITMIME", "RCPT TO:<ada@bobsbuilding.example>", "DATA",
		"Subject: hello\r\n\r\n..lone\r\nbody\r\n", "QUIT"}
	var got []string
	for range want {
		got = append(got, <-s.heard)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("conversation (-want +got):\n%s", diff)
	}
}

func TestAGoodbyeThatFailsChangesNothing(t *testing.T) {
	s := serve(t, &server{script: usual(script{"QUIT": hangUp})})
	if err := send(t, relay(t, mailer.RelayOptions{Address: s.addr, Security: mailer.Plaintext})); err != nil {
		t.Error(err)
	}
}

func TestHowAMailFails(t *testing.T) {
	const (
		temporary = "temporary"
		final     = "final"
		config    = "misconfigured"
		uncertain = "uncertain"
	)
	for _, tt := range []struct {
		name    string
		changes script
		want    string
		phase   mailer.Phase
		code    int
		status  string // enhanced
	}{
		{"the service is not available", script{"": "421 4.3.2 ada@bobsbuilding.example"}, temporary, mailer.Greeting, 421, "4.3.2"},
		{"there is no service for us", script{"": "554 5.7.1 go away"}, temporary, mailer.Greeting, 554, "5.7.1"},
		{"it hangs up at once", script{"": hangUp}, temporary, mailer.Greeting, 0, ""},
		{"it never greets", script{"": stall}, temporary, mailer.Greeting, 0, ""},
		{"it is no SMTP server", script{"": "ada@bobsbuilding.example"}, temporary, mailer.Greeting, 0, ""},
		{"it does not like our name", script{"EHLO": "550 no", "HELO": "550 no"}, temporary, mailer.Greeting, 550, ""},
		{"it wants a log-in", script{"MAIL": "530 5.7.0 Authentication required"}, config, mailer.Sender, 530, "5.7.0"},
		{"the sender is refused for good", script{"MAIL": "550 5.7.1 not you"}, final, mailer.Sender, 550, "5.7.1"},
		{"the sender is refused for now", script{"MAIL": "451 4.7.1 not yet"}, temporary, mailer.Sender, 451, "4.7.1"},
		{"the mailbox does not exist", script{"RCPT": "550 5.1.1 <ada@bobsbuilding.example>: no such user"}, final, mailer.Recipient, 550, "5.1.1"},
		{"the recipient is greylisted", script{"RCPT": "450 4.2.0 <ada@bobsbuilding.example>: greylisted"}, temporary, mailer.Recipient, 450, "4.2.0"},
		{"the mailbox is full", script{"RCPT": "452 mailbox of ada@bobsbuilding.example is full"}, temporary, mailer.Recipient, 452, ""},
		{"it hangs up at the recipient", script{"RCPT": hangUp}, temporary, mailer.Recipient, 0, ""},
		{"it babbles at the recipient", script{"RCPT": "ada@bobsbuilding.example?"}, temporary, mailer.Recipient, 0, ""},
		{"it takes no message", script{"DATA": "554 5.5.1 no valid recipients"}, final, mailer.Content, 554, "5.5.1"},
		{"the message is refused for good", script{".": "554-5.7.1 spam for ada@bobsbuilding.example\n554 5.7.1 see there"}, final, mailer.Content, 554, "5.7.1"},
		{"the message is refused for now", script{".": "451 4.3.0 try again"}, temporary, mailer.Content, 451, "4.3.0"},
		{"it hangs up after the message", script{".": hangUp}, uncertain, "", 0, ""},
		{"it says nothing after the message", script{".": stall}, uncertain, "", 0, ""},
		{"it babbles after the message", script{".": "ada@bobsbuilding.example?"}, uncertain, "", 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, &server{script: usual(tt.changes)})
			err := send(t, relay(t, mailer.RelayOptions{Address: s.addr, Security: mailer.Plaintext, Timeout: time.Second}))
			if err == nil {
				t.Fatal("it was sent")
			}
			if strings.Contains(err.Error(), "ada@") {
				t.Errorf("the error tells the address: %v", err)
			}
			no, definite := errors.AsType[*mailer.NotSent](err)
			got := uncertain
			switch {
			case definite && no.Misconfigured():
				got = config
			case definite && no.Final():
				got = final
			case definite:
				got = temporary
			case !errors.Is(err, mailer.ErrUncertain):
				t.Errorf("err = %v, neither definite nor uncertain", err)
			}
			if got != tt.want {
				t.Fatalf("it is %s, want %s: %v", got, tt.want, err)
			}
			if definite && (no.Phase != tt.phase || no.Code != tt.code || no.Enhanced != tt.status) {
				t.Errorf("got %s %d %q, want %s %d %q", no.Phase, no.Code, no.Enhanced, tt.phase, tt.code, tt.status)
			}
		})
	}
}

func TestARelayCannotFillOurMemory(t *testing.T) {
	s := serve(t, &server{script: usual(script{"": strings.Repeat("220-"+strings.Repeat("x", 1000)+"\n", 1000)})})
	err := send(t, relay(t, mailer.RelayOptions{Address: s.addr, Security: mailer.Plaintext}))
	if err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("err = %v", err)
	}
}

func TestARelayThatIsNotThereIsTemporary(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	no, ok := errors.AsType[*mailer.NotSent](send(t, relay(t, mailer.RelayOptions{Address: l.Addr().String(), Security: mailer.Plaintext})))
	if !ok || no.Phase != mailer.Connecting || no.Final() || no.Misconfigured() {
		t.Errorf("err = %+v", no)
	}
}

func TestGivingUpBeforeTheMessageIsDefinite(t *testing.T) {
	s := serve(t, &server{script: usual(script{"RCPT": stall})})
	r := relay(t, mailer.RelayOptions{Address: s.addr, Security: mailer.Plaintext})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for line := range s.heard {
			if strings.HasPrefix(line, "RCPT") {
				cancel()
				return
			}
		}
	}()
	err := r.Send(ctx, "a@b.example", "c@d.example", message)
	if no, ok := errors.AsType[*mailer.NotSent](err); !ok || no.Phase != mailer.Recipient {
		t.Errorf("err = %v", err)
	}
}

func TestConnectionsAreProtected(t *testing.T) {
	good, pool := certificate(t, "127.0.0.1")
	other, otherPool := certificate(t, "192.0.2.1")
	offers := script{"EHLO": "250-relay.example\n250-AUTH PLAIN LOGIN\n250 STARTTLS", "STARTTLS": "220 go ahead"}

	for _, tt := range []struct {
		name          string
		server        server
		roots         *x509.CertPool
		sent          bool
		misconfigured bool
	}{
		{"STARTTLS with a good certificate", server{script: usual(offers), cert: good}, pool, true, false},
		{"no STARTTLS means no mail", server{script: usual(nil)}, pool, false, true},
		{"a STARTTLS that is refused means no mail", server{script: usual(script{"EHLO": offers["EHLO"], "STARTTLS": "502 5.5.1 no"})}, pool, false, true},
		{"a STARTTLS that does not work now is temporary", server{script: usual(script{"EHLO": offers["EHLO"], "STARTTLS": "454 4.7.0 later"})}, pool, false, false},
		{"an unknown certificate means no mail", server{script: usual(offers), cert: good}, otherPool, false, true},
		{"a certificate of another host means no mail", server{script: usual(offers), cert: other}, otherPool, false, true},
		{"a connection that is cut off in the handshake is temporary", server{script: usual(script{"EHLO": offers["EHLO"], "STARTTLS": hangUp})}, pool, false, false},
		{"commands slipped in behind STARTTLS mean no mail", server{script: usual(script{"EHLO": offers["EHLO"], "STARTTLS": "220 go ahead\n250 injected"}), cert: good}, pool, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, &tt.server)
			err := send(t, relay(t, mailer.RelayOptions{Address: s.addr, Security: mailer.StartTLS, RootCAs: tt.roots, Timeout: 5 * time.Second}))
			if (err == nil) != tt.sent {
				t.Fatalf("err = %v, want sent: %t", err, tt.sent)
			}
			if tt.sent {
				return
			}
			no, ok := errors.AsType[*mailer.NotSent](err)
			if !ok || no.Misconfigured() != tt.misconfigured || no.Final() {
				t.Errorf("err = %v, want misconfigured: %t", err, tt.misconfigured)
			}
			for len(s.heard) > 0 {
				if line := <-s.heard; strings.HasPrefix(line, "MAIL") {
					t.Errorf("it went on: %s", line)
				}
			}
		})
	}
}

func TestTLSFromTheFirstByte(t *testing.T) {
	cert, pool := certificate(t, "127.0.0.1")
	s := serve(t, &server{script: usual(nil), cert: cert, tls: true})
	if err := send(t, relay(t, mailer.RelayOptions{Address: s.addr, Security: mailer.ImplicitTLS, RootCAs: pool})); err != nil {
		t.Error(err)
	}
	err := send(t, relay(t, mailer.RelayOptions{Address: s.addr, Security: mailer.ImplicitTLS}))
	if no, ok := errors.AsType[*mailer.NotSent](err); !ok || !no.Misconfigured() {
		t.Errorf("with an unknown certificate: err = %v, want misconfigured", err)
	}
}

func TestLoggingIn(t *testing.T) {
	plain := base64.StdEncoding.EncodeToString([]byte("\x00billcenter\x00open sesame"))
	for _, tt := range []struct {
		name    string
		changes script
		heard   string
		sent    bool
	}{
		{"with PLAIN", script{"EHLO": "250-relay.example\n250 AUTH PLAIN LOGIN", "AUTH": "235 2.7.0 in"}, "AUTH PLAIN " + plain, true},
		{"with LOGIN where there is nothing else", script{"EHLO": "250-relay.example\n250 AUTH LOGIN", "AUTH": "235 2.7.0 in"}, "AUTH LOGIN", true},
		{"a wrong password is a fault of ours", script{"EHLO": "250-relay.example\n250 AUTH PLAIN", "AUTH": "535 5.7.8 no"}, "AUTH PLAIN " + plain, false},
		{"so is a mechanism that is too weak", script{"EHLO": "250-relay.example\n250 AUTH PLAIN", "AUTH": "534 5.7.9 no"}, "AUTH PLAIN " + plain, false},
		{"so is a server without log-in", script{}, "EHLO localhost", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, &server{script: usual(tt.changes)})
			err := send(t, relay(t, mailer.RelayOptions{Address: s.addr, Security: mailer.Plaintext, Username: "billcenter", Password: "open sesame"}))
			if (err == nil) != tt.sent {
				t.Fatalf("err = %v, want sent: %t", err, tt.sent)
			}
			if no, ok := errors.AsType[*mailer.NotSent](err); !tt.sent && (!ok || !no.Misconfigured()) {
				t.Errorf("err = %v, want misconfigured", err)
			}
			if err != nil && strings.Contains(err.Error(), "sesame") {
				t.Errorf("the error tells the password: %v", err)
			}
			for line := range s.heard {
				if line == tt.heard {
					return
				}
				if len(s.heard) == 0 {
					t.Fatalf("the server was not told %q, the last was %q", tt.heard, line)
				}
			}
		})
	}
}

func TestACheckGoesAsFarAsTheLogIn(t *testing.T) {
	login := script{"EHLO": "250-relay.example\n250 AUTH PLAIN", "AUTH": "235 2.7.0 in"}
	s := serve(t, &server{script: usual(login)})
	o := mailer.RelayOptions{Address: s.addr, Security: mailer.Plaintext, Username: "billcenter", Password: "open sesame"}
	if err := relay(t, o).Check(t.Context()); err != nil {
		t.Error(err)
	}
	for len(s.heard) > 0 {
		if line := <-s.heard; strings.HasPrefix(line, "MAIL") {
			t.Errorf("it went on: %s", line)
		}
	}

	login["AUTH"] = "535 5.7.8 no"
	o.Address = serve(t, &server{script: usual(login)}).addr
	if no, ok := errors.AsType[*mailer.NotSent](relay(t, o).Check(t.Context())); !ok || !no.Misconfigured() {
		t.Errorf("with a wrong password: err = %v, want misconfigured", no)
	}
}

func TestARelayIsCheckedBeforeItIsUsed(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    mailer.RelayOptions
		ok   bool
	}{
		{"plaintext to this machine", mailer.RelayOptions{Address: "127.0.0.1:1025", Security: mailer.Plaintext}, true},
		{"plaintext to this machine, IPv6", mailer.RelayOptions{Address: "[::1]:1025", Security: mailer.Plaintext}, true},
		{"plaintext to localhost", mailer.RelayOptions{Address: "localhost:1025", Security: mailer.Plaintext}, true},
		{"plaintext to another machine", mailer.RelayOptions{Address: "smtp.example:25", Security: mailer.Plaintext}, false},
		{"plaintext to what only looks like this machine", mailer.RelayOptions{Address: "localhost.example:25", Security: mailer.Plaintext}, false},
		{"STARTTLS to another machine", mailer.RelayOptions{Address: "smtp.example:587", Security: mailer.StartTLS}, true},
		{"no security named", mailer.RelayOptions{Address: "smtp.example:587"}, false},
		{"no port", mailer.RelayOptions{Address: "smtp.example", Security: mailer.StartTLS}, false},
		{"a port that is none", mailer.RelayOptions{Address: "smtp.example:smtp", Security: mailer.StartTLS}, false},
	} {
		if _, err := mailer.NewRelay(tt.o); (err == nil) != tt.ok {
			t.Errorf("%s: err = %v, want ok: %t", tt.name, err, tt.ok)
		}
	}
}
