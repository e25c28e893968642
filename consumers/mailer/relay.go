package mailer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// Security is how the connection to the relay is protected. There is no fallback from one to another.
type Security string

const (
	StartTLS    Security = "starttls" // required, not tried
	ImplicitTLS Security = "tls"      // from the first byte, RFC 8314
	Plaintext   Security = "none"     // to this machine only
)

// RelayOptions say which SMTP server takes our mail.
type RelayOptions struct {
	Address   string // host:port
	Security  Security
	Username  string // empty: no authentication
	Password  enrollment.Secret
	HelloName string         // how we introduce ourselves (RFC 5321 section 4.1.1.1); empty: localhost
	RootCAs   *x509.CertPool // nil: the system's

	ConnectTimeout time.Duration // 0: 5 s
	Timeout        time.Duration // of one mail, connecting included; 0: 30 s
}

// Relay hands mails to an SMTP server, one connection for each.
//
// It speaks through go-mail's smtp package rather than its Client, since everything hangs on where a mail failed, and the
// Client does not tell a connection that broke before the final dot (not sent) from one that broke after it (unknown).
type Relay struct {
	o    RelayOptions
	host string
}

// NewRelay checks the options; it does not connect.
func NewRelay(o RelayOptions) (*Relay, error) {
	host, port, err := net.SplitHostPort(o.Address)
	if err != nil {
		return nil, fmt.Errorf("SMTP address %q is not host:port: %w", o.Address, err)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return nil, fmt.Errorf("SMTP address %q has no port from 1 to 65535", o.Address)
	}
	switch o.Security {
	case StartTLS, ImplicitTLS:
	case Plaintext:
		if !loopback(host) {
			return nil, fmt.Errorf("SMTP server %s is not on this machine: mail to it needs %s or %s", host, StartTLS, ImplicitTLS)
		}
	default:
		return nil, fmt.Errorf("SMTP security is %q, not %s, %s or %s", o.Security, StartTLS, ImplicitTLS, Plaintext)
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = 5 * time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.HelloName == "" {
		o.HelloName = "localhost"
	}
	return &Relay{o: o, host: host}, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || host == "localhost"
}

// Phase is a step of handing over a mail.
type Phase string

const (
	Connecting     Phase = "connect"
	Greeting       Phase = "greeting"
	Securing       Phase = "starttls"
	Authenticating Phase = "auth"
	Sender         Phase = "mail"
	Recipient      Phase = "rcpt"
	Content        Phase = "data"
)

// NotSent says that the relay definitely did not take the mail. It never repeats the relay's words, which may hold the
// recipient's address.
type NotSent struct {
	Phase    Phase
	Code     int    // reply code, RFC 5321 section 4.2; 0: there was no reply
	Enhanced string // RFC 3463, such as 5.1.1; empty: the relay told none
	Err      error  // without a reply: what happened
}

func (e *NotSent) Error() string {
	if e.Code == 0 {
		return fmt.Sprintf("SMTP %s: %v", e.Phase, e.Err)
	}
	return strings.TrimSpace(fmt.Sprintf("SMTP %s: the relay answered %d %s", e.Phase, e.Code, e.Enhanced))
}

func (e *NotSent) Unwrap() error { return e.Err }

// Misconfigured reports whether no mail at all can be sent until a person mends something: we are not let in, or the
// connection cannot be protected as required.
func (e *NotSent) Misconfigured() bool {
	switch e.Code {
	case 530, 534, 535, 538: // RFC 4954 section 6
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](e.Err); ok {
		return true
	}
	return (e.Phase == Authenticating || e.Phase == Securing) && (e.Code >= 500 || errors.Is(e.Err, errNotOffered))
}

// Final reports whether this mail will never be taken. A 5xx before MAIL is about us and not about the mail.
func (e *NotSent) Final() bool {
	return e.Code >= 500 && !e.Misconfigured() && (e.Phase == Sender || e.Phase == Recipient || e.Phase == Content)
}

// ErrUncertain means that the relay may have taken the mail: the connection ended between the final dot and the reply.
var ErrUncertain = errors.New("SMTP: no reply to the whole mail; it may have been sent")

var errNotOffered = errors.New("the relay does not offer it")

// Send hands one mail to the relay and returns nil once the relay has taken responsibility for it, a *NotSent when it
// has not, and an error that wraps ErrUncertain when nobody knows. The addresses are bare, without brackets.
func (r *Relay) Send(ctx context.Context, from, to string, message []byte) error {
	deadline := time.Now().Add(r.o.Timeout)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()

	c, conn, err := r.open(ctx, deadline)
	if err != nil {
		return err
	}
	defer c.Close()
	// Until the whole mail is out, giving up is safe.
	stay := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stay()
	if err := c.Mail("<" + from + ">"); err != nil {
		return notSent(Sender, err)
	}
	if err := c.Rcpt("<" + to + ">"); err != nil {
		return notSent(Recipient, err)
	}
	body, err := c.Data()
	if err != nil {
		return notSent(Content, err)
	}
	if _, err := body.Write(message); err != nil {
		return notSent(Content, err)
	}

	if !stay() {
		return notSent(Content, ctx.Err())
	}
	// Close sends the final dot. From here on only a reply tells.
	if err := body.Close(); err != nil {
		if _, replied := errors.AsType[*textproto.Error](err); replied {
			return notSent(Content, err)
		}
		return fmt.Errorf("%w: %w", ErrUncertain, wordless(err))
	}
	// The mail is handed over, whatever becomes of the farewell.
	_ = c.Quit()
	return nil
}

// Check goes as far as a mail would before its sender is named, and sends nothing.
func (r *Relay) Check(ctx context.Context) error {
	c, _, err := r.open(ctx, time.Now().Add(r.o.Timeout))
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Quit()
}

// open connects, secures and authenticates; its error is a *NotSent.
func (r *Relay) open(ctx context.Context, deadline time.Time) (_ *smtp.Client, _ net.Conn, err error) {
	conn, err := r.connect(ctx)
	if err != nil {
		return nil, nil, notSent(Connecting, err)
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, nil, notSent(Connecting, err)
	}
	stay := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stay()
	c, err := smtp.NewClient(conn, r.host)
	if err != nil {
		return nil, nil, notSent(Greeting, err)
	}
	c.SkipSMTPUTF8(true) // all addresses are ASCII, and the next relay on the way may know nothing else
	if err := c.Hello(r.o.HelloName); err != nil {
		return nil, nil, notSent(Greeting, err)
	}
	if err := r.secure(c); err != nil {
		return nil, nil, notSent(Securing, err)
	}
	if err := r.authenticate(c); err != nil {
		return nil, nil, notSent(Authenticating, err)
	}
	return c, conn, nil
}

func (r *Relay) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, r.o.ConnectTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.o.Address)
	if err != nil {
		return nil, err
	}
	conn = &bounded{Conn: conn, left: maxReplyBytes}
	if r.o.Security != ImplicitTLS {
		return conn, nil
	}
	secured := tls.Client(conn, r.tls())
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

func (r *Relay) tls() *tls.Config {
	return &tls.Config{ServerName: r.host, RootCAs: r.o.RootCAs, MinVersion: tls.VersionTLS12}
}

func (r *Relay) secure(c *smtp.Client) error {
	if r.o.Security != StartTLS {
		return nil
	}
	if offered, _ := c.Extension("STARTTLS"); !offered {
		return errNotOffered
	}
	plain := c.Text
	if err := c.StartTLS(r.tls()); err != nil {
		return err
	}
	if plain.R.Buffered() > 0 { // CVE-2011-0411: somebody on the way put in commands of their own
		return errors.New("there was more in clear text after STARTTLS")
	}
	return nil
}

func (r *Relay) authenticate(c *smtp.Client) error {
	if r.o.Username == "" {
		return nil
	}
	offered, mechanisms := c.Extension("AUTH")
	if !offered {
		return errNotOffered
	}
	if strings.Contains(mechanisms, "PLAIN") {
		return c.Auth(smtp.PlainAuth("", r.o.Username, r.o.Password.Reveal(), r.host, false))
	}
	return c.Auth(smtp.LoginAuth(r.o.Username, r.o.Password.Reveal(), r.host, false))
}

func notSent(phase Phase, err error) error {
	reply, ok := errors.AsType[*textproto.Error](err)
	if !ok {
		return &NotSent{Phase: phase, Err: wordless(err)}
	}
	return &NotSent{Phase: phase, Code: reply.Code, Enhanced: enhancedStatus.FindString(reply.Msg)}
}

var enhancedStatus = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}\b`)

// wordless drops errors that quote what the relay wrote.
func wordless(err error) error {
	if _, ok := errors.AsType[textproto.ProtocolError](err); ok {
		return errors.New("the relay's answer is not SMTP")
	}
	return err
}

// maxReplyBytes is all that a relay may say in one session, certificates included.
const maxReplyBytes = 256 << 10

// bounded is a connection whose other end cannot fill our memory with a reply that never ends.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the relay's answers are too long")
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
