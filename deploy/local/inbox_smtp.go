package local

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Faults make the inbox answer as real mail servers sometimes do. The zero value
// accepts everything. The functions are called from several connections at once.
type Faults struct {
	// RefuseLogin asks for a log-in (530) and refuses every one (535).
	RefuseLogin bool

	// AnswerRecipient answers RCPT TO; nil accepts.
	AnswerRecipient func(from, to string) *smtp.SMTPError

	// AnswerMessage answers the message itself, after DATA; nil accepts. A message
	// that is not accepted is not kept.
	AnswerMessage func(from string, to []string) *smtp.SMTPError

	// DropAnswer keeps the message but closes the connection instead of answering
	// 250, so that the sender cannot know the outcome.
	DropAnswer func(from string, to []string) bool
}

// SetFaults replaces the faults, also for the connections that are open.
func (in *Inbox) SetFaults(f Faults) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.faults, in.preset = f, ""
}

func (in *Inbox) currentFaults() Faults {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.faults
}

// A preset is a choice on the inbox page.
type preset struct {
	Name, Label string
	faults      Faults
}

// presets lists the choices; the first, without faults, is where an inbox begins.
func presets() []preset {
	answer := func(code int, enhanced smtp.EnhancedCode, text string) Faults {
		return Faults{AnswerMessage: func(string, []string) *smtp.SMTPError {
			return &smtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: text}
		}}
	}
	return []preset{
		{"accept", "250 accepted", Faults{}},
		{"later", "451 try again later", answer(451, smtp.EnhancedCode{4, 3, 0}, "Try again later")},
		{"never", "550 no such mailbox", answer(550, smtp.EnhancedCode{5, 1, 1}, "No such mailbox")},
		{"login", "535 log-in refused", Faults{RefuseLogin: true}},
		{"silence", "accepted, but no answer", Faults{DropAnswer: func(string, []string) bool { return true }}},
	}
}

// usePreset reports whether there is one of that name.
func (in *Inbox) usePreset(name string) bool {
	for _, p := range presets() {
		if p.Name == name {
			in.mu.Lock()
			defer in.mu.Unlock()
			in.faults, in.preset = p.faults, name
			return true
		}
	}
	return false
}

// currentPreset is empty after SetFaults.
func (in *Inbox) currentPreset() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.preset
}

func newMailServer(in *Inbox) *smtp.Server {
	s := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &mailSession{inbox: in, conn: c}, nil
	}))
	s.Domain = "localhost"
	s.MaxMessageBytes = maxMessageBytes
	s.MaxRecipients = 100 // RFC 5321 section 4.5.3.1.8
	s.EnableSMTPUTF8 = true
	s.AllowInsecureAuth = true // only to refuse it
	s.ReadTimeout = 5 * time.Minute
	s.WriteTimeout = time.Minute
	s.ErrorLog = smtpLog{in.log}
	return s
}

// A mailSession is one connection.
type mailSession struct {
	inbox *Inbox
	conn  *smtp.Conn
	from  string
	to    []string
}

func (s *mailSession) AuthMechanisms() []string {
	if s.inbox.currentFaults().RefuseLogin {
		return []string{sasl.Plain, sasl.Login}
	}
	return nil
}

func (s *mailSession) Auth(string) (sasl.Server, error) { return nil, smtp.ErrAuthFailed }

func (s *mailSession) Mail(from string, _ *smtp.MailOptions) error {
	if s.inbox.currentFaults().RefuseLogin {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Authentication required"}
	}
	s.from = from
	return nil
}

// Rcpt refuses .invalid, which no mail server reaches (RFC 2606): a way to see what becomes of an undeliverable mail.
func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if answer := s.inbox.currentFaults().AnswerRecipient; answer != nil {
		if refusal := answer(s.from, to); refusal != nil {
			return refusal
		}
	}
	if strings.HasSuffix(strings.ToLower(to), ".invalid") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 2}, Message: "no such domain"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *mailSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	faults := s.inbox.currentFaults()
	if faults.AnswerMessage != nil {
		if refusal := faults.AnswerMessage(s.from, s.to); refusal != nil {
			return refusal
		}
	}
	if err := s.inbox.keep(s.from, s.to, raw); err != nil {
		return err
	}
	if faults.DropAnswer != nil && faults.DropAnswer(s.from, s.to) {
		return s.conn.Conn().Close() // the 250 finds a closed connection
	}
	return nil
}

func (s *mailSession) Reset() { s.from, s.to = "", nil }

func (s *mailSession) Logout() error { return nil }

// An smtpLog takes what go-smtp reports: broken connections, mostly.
type smtpLog struct{ to *slog.Logger }

func (l smtpLog) Printf(format string, args ...any) {
	l.to.Warn("inbox", "reason", fmt.Sprintf(format, args...))
}

func (l smtpLog) Println(args ...any) {
	l.to.Warn("inbox", "reason", strings.TrimSpace(fmt.Sprintln(args...)))
}
