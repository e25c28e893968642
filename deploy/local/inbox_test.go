package local

import (
	"bytes"
	"context"
	"errors"
	"net"
	netsmtp "net/smtp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"
	"github.com/wneessen/go-mail"
)

func startInbox(t *testing.T, folder string) *Inbox {
	t.Helper()
	in, err := StartInbox(InboxOptions{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopInbox(t, in) })
	return in
}

func stopInbox(t *testing.T, in *Inbox) {
	t.Helper()
	if err := in.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

// newMail is a mail as our mailer writes them, to the given recipients.
func newMail(t *testing.T, subject string, to ...string) *mail.Msg {
	t.Helper()
	m := mail.NewMsg()
	if err := errors.Join(m.FromFormat("Mongotel Bill Center", "no-reply@mongo.example"), m.To(to...), m.EnvelopeFrom("bounces@mongo.example")); err != nil {
		t.Fatal(err)
	}
	m.Subject(subject)
	m.SetMessageIDWithValue("activation-1@mongo.example")
	m.SetBodyString(mail.TypeTextPlain, "Grüße,\nfollow https://mongo.example/activate/abc.\n")
	m.AddAlternativeString(mail.TypeTextHTML, `<p>Grüße, <a href="https://mongo.example/activate/abc">follow</a>`)
	return m
}

func send(t *testing.T, in *Inbox, m *mail.Msg, opts ...mail.Option) error {
	t.Helper()
	host, text, err := net.SplitHostPort(in.SMTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	opts = append([]mail.Option{mail.WithPort(port), mail.WithTLSPolicy(mail.NoTLS), mail.WithHELO("localhost")}, opts...)
	client, err := mail.NewClient(host, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return client.DialAndSendWithContext(t.Context(), m)
}

func mustSend(t *testing.T, in *Inbox, m *mail.Msg) {
	t.Helper()
	if err := send(t, in, m); err != nil {
		t.Fatal(err)
	}
}

func subjects(messages []Message) (all []string) {
	for _, m := range messages {
		all = append(all, m.Subject)
	}
	return all
}

func TestInboxReadsAMailAsItsSenderMeantIt(t *testing.T) {
	in := startInbox(t, filepath.Join(t.TempDir(), "mail"))
	m := newMail(t, "Willkommen, Bob’sBuilding – größer", "ada@example.com", "bob@example.com")
	if err := m.Bcc("secret@example.com"); err != nil {
		t.Fatal(err)
	}
	mustSend(t, in, m)

	got := in.Messages()[0]

	want := Message{
		From:       "no-reply@mongo.example",
		To:         []string{"ada@example.com", "bob@example.com", "secret@example.com"},
		Subject:    "Willkommen, Bob’sBuilding – größer",
		Text:       "Grüße,\nfollow https://mongo.example/activate/abc.\n",
		HTML:       `<p>Grüße, <a href="https://mongo.example/activate/abc">follow</a>`,
		ReturnPath: "bounces@mongo.example",
		MessageID:  "activation-1@mongo.example",
	}
	ignore := cmp.FilterPath(func(p cmp.Path) bool {
		return slices.Contains([]string{"ID", "ReceivedAt", "Headers", "Raw"}, p.Last().String()[1:])
	}, cmp.Ignore())
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	if age := time.Since(got.ReceivedAt); age < 0 || age > time.Minute {
		t.Errorf("received %s ago", age)
	}
	if from := got.Headers["From"]; len(from) != 1 || from[0] != `"Mongotel Bill Center" <no-reply@mongo.example>` {
		t.Errorf("From header %q", from)
	}
	if raw := string(got.Raw); !strings.Contains(raw, "multipart/alternative") || strings.Contains(raw, "Delivered-To") {
		t.Errorf("the source is not what was sent:\n%s", raw)
	}
	if diff := cmp.Diff([]string{"https://mongo.example/activate/abc"}, got.Links()); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
}

func TestParseMessageReadsWhatItCan(t *testing.T) {
	for _, tt := range []struct {
		name, raw           string
		subject, text, html string
	}{
		{
			"Latin-1 becomes UTF-8",
			"Subject: =?iso-8859-1?q?Gr=FC=DFe?=\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\nGr\xfc\xdfe\r\n",
			"Grüße", "Grüße\n", "",
		},
		{"no headers at all", "\r\nHello\r\n", "", "Hello\n", ""},
		{"not even a mail", "\x00\xff\xfe", "", "", ""},
		{"empty", "", "", "", ""},
		{
			"an unknown charset shows what is valid in it",
			"Content-Type: text/plain; charset=klingon\r\n\r\nHello \xff\r\n",
			"", "Hello \uFFFD\n", "",
		},
		{
			"broken base64 up to the break",
			"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nSGVsbG8g!!!!\r\n",
			"", "Hello ", "",
		},
		{
			"a multipart without its end",
			"Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\n\r\nHello\r\n--x\r\nContent-Type: text/html\r\n\r\n<p>Hel",
			"", "Hello", "<p>Hel",
		},
		{
			"an attached text is not the text",
			"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Disposition: attachment\r\n\r\nterms\r\n--x\r\n\r\nHello\r\n--x--\r\n",
			"", "Hello", "",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := parseMessage(time.Unix(1, 0), "a@example.com", []string{"b@example.com"}, []byte(tt.raw))
			if m.Subject != tt.subject || m.Text != tt.text || m.HTML != tt.html {
				t.Errorf("subject %q, text %q, html %q; want %q, %q, %q", m.Subject, m.Text, m.HTML, tt.subject, tt.text, tt.html)
			}
		})
	}
}

func TestInboxKeepsMailsBetweenRuns(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "mail")
	first := startInbox(t, folder)
	mustSend(t, first, newMail(t, "one", "ada@example.com"))
	mustSend(t, first, newMail(t, "two", "ada@example.com", "bob@example.com"))
	before := first.Messages()
	stopInbox(t, first)
	// A mail whose sender never got an answer, and files of other programs.
	half := filepath.Join(folder, messageID(time.Now())+partialSuffix)
	foreign := []string{filepath.Join(folder, "notes.eml"), filepath.Join(folder, messageID(time.Now())+mailSuffix)}
	for _, file := range append(foreign, half) {
		if err := os.WriteFile(file, []byte("Subject: three\r\n\r\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	second := startInbox(t, folder)

	if diff := cmp.Diff(before, second.Messages()); diff != "" {
		t.Errorf("messages after the restart (-before +after):\n%s", diff)
	}
	if got := subjects(second.Messages()); !slices.Equal(got, []string{"two", "one"}) {
		t.Errorf("subjects %q, want the newest first", got)
	}
	for _, file := range foreign {
		if _, err := os.Stat(file); err != nil {
			t.Errorf("a foreign file: %v, want it left alone", err)
		}
	}
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Errorf("the half-written mail: %v, want it gone", err)
	}
}

func TestInboxKeepsTheNewest(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "mail")
	in := startInbox(t, folder)
	raw := []byte("Subject: old\r\n\r\n")
	for range inboxKeeps {
		if err := in.keep("a@example.com", []string{"b@example.com"}, raw); err != nil {
			t.Fatal(err)
		}
	}
	mustSend(t, in, newMail(t, "new", "ada@example.com"))

	messages := in.Messages()
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(messages) != inboxKeeps || len(files) != inboxKeeps {
		t.Errorf("%d messages, %d files, %v; want %d of each", len(messages), len(files), err, inboxKeeps)
	}
	if messages[0].Subject != "new" {
		t.Errorf("the newest is %q", messages[0].Subject)
	}
	if !slices.IsSortedFunc(messages, func(a, b Message) int { return strings.Compare(b.ID, a.ID) }) {
		t.Error("the messages are not in order")
	}

	if err := in.DeleteAll(); err != nil {
		t.Fatal(err)
	}
	files, err = filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(in.Messages()) != 0 || len(files) != 0 {
		t.Errorf("%d messages, %d files, %v after DeleteAll", len(in.Messages()), len(files), err)
	}
}

func TestInboxWaitsForAMail(t *testing.T) {
	in := startInbox(t, filepath.Join(t.TempDir(), "mail"))
	mustSend(t, in, newMail(t, "before", "ada@example.com"))
	subject := func(want string) func(Message) bool {
		return func(m Message) bool { return m.Subject == want }
	}

	if m, err := in.Wait(t.Context(), subject("before")); err != nil || m.Subject != "before" {
		t.Errorf("a mail that is there: %q, %v", m.Subject, err)
	}

	looked := make(chan struct{}, 10)
	found := make(chan error)
	go func() {
		_, err := in.Wait(t.Context(), func(m Message) bool { looked <- struct{}{}; return m.Subject == "after" })
		found <- err
	}()
	<-looked // it has seen the inbox without the mail
	mustSend(t, in, newMail(t, "other", "ada@example.com"))
	mustSend(t, in, newMail(t, "after", "ada@example.com"))
	if err := <-found; err != nil {
		t.Error(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := in.Wait(ctx, subject("never")); !errors.Is(err, context.Canceled) {
		t.Errorf("a mail that never comes: %v, want the context's error", err)
	}
}

func TestInboxAnswersAsToldTo(t *testing.T) {
	answer := func(code int) *smtp.SMTPError {
		return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: "as told"}
	}
	login := []mail.Option{mail.WithSMTPAuth(mail.SMTPAuthPlainNoEnc), mail.WithUsername("bill"), mail.WithPassword("center")}
	for _, tt := range []struct {
		name   string
		faults Faults
		opts   []mail.Option
		want   string // in the sender's error
		temp   bool   // the sender may try again
		kept   int
	}{
		{
			name:   "451 to the message is temporary",
			faults: Faults{AnswerMessage: func(string, []string) *smtp.SMTPError { return answer(451) }},
			want:   "451", temp: true,
		},
		{
			name:   "550 to the message is final",
			faults: Faults{AnswerMessage: func(string, []string) *smtp.SMTPError { return answer(550) }},
			want:   "550",
		},
		{
			name: "550 to one recipient",
			faults: Faults{AnswerRecipient: func(from, to string) *smtp.SMTPError {
				if from == "bounces@mongo.example" && to == "ada@example.com" {
					return answer(550)
				}
				return nil
			}},
			want: "550",
		},
		{
			name:   "451 to a recipient is temporary",
			faults: Faults{AnswerRecipient: func(string, string) *smtp.SMTPError { return answer(451) }},
			want:   "451", temp: true,
		},
		{name: "535 to a log-in", faults: Faults{RefuseLogin: true}, opts: login, want: "535"},
		{name: "530 to a mail without a log-in", faults: Faults{RefuseLogin: true}, want: "530"},
		{
			name:   "no answer to a mail that is kept",
			faults: Faults{DropAnswer: func(_ string, to []string) bool { return slices.Contains(to, "ada@example.com") }},
			want:   "EOF", kept: 1, // go-mail calls it permanent, with code 0
		},
		{name: "250 without faults", kept: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := startInbox(t, filepath.Join(t.TempDir(), "mail"))
			in.SetFaults(tt.faults)

			err := send(t, in, newMail(t, "hello", "ada@example.com"), tt.opts...)

			if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the sender sees %v, want %q", err, tt.want)
			}
			if sendErr, ok := errors.AsType[*mail.SendError](err); ok && sendErr.IsTemp() != tt.temp {
				t.Errorf("temporary %v, want %v", sendErr.IsTemp(), tt.temp)
			}
			if got := len(in.Messages()); got != tt.kept {
				t.Errorf("%d messages kept, want %d", got, tt.kept)
			}
			in.SetFaults(Faults{})
			mustSend(t, in, newMail(t, "again", "ada@example.com"))
		})
	}
}

func TestInboxRefusesTooLargeAMail(t *testing.T) {
	in := startInbox(t, filepath.Join(t.TempDir(), "mail"))
	raw := append([]byte("Subject: large\r\n\r\n"), bytes.Repeat([]byte("0123456789abcd\r\n"), maxMessageBytes/16)...)

	// Unlike go-mail, net/smtp sets no deadline that a slow machine could miss.
	err := netsmtp.SendMail(in.SMTPAddr(), nil, "bounces@mongo.example", []string{"ada@example.com"}, raw)

	if err == nil || !strings.Contains(err.Error(), "552") {
		t.Errorf("the sender sees %v, want 552", err)
	}
	if got := len(in.Messages()); got != 0 {
		t.Errorf("%d messages kept", got)
	}
}

func TestInboxDoesNotPromiseWhatItCannotKeep(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "mail")
	in := startInbox(t, folder)
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}

	if err := send(t, in, newMail(t, "hello", "ada@example.com")); err == nil || !strings.Contains(err.Error(), "452") {
		t.Errorf("the sender sees %v, want 452", err)
	}
	if got := len(in.Messages()); got != 0 {
		t.Errorf("%d messages kept", got)
	}
}

func TestInboxDoesNotStart(t *testing.T) {
	taken, err := net.Listen("tcp", anyLoopbackPort)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	running := filepath.Join(t.TempDir(), "mail")
	startInbox(t, running)

	for _, tt := range []struct {
		name string
		opts InboxOptions
		want string
		is   error
	}{
		{"on a taken SMTP address", InboxOptions{SMTPAddr: taken.Addr().String()}, "SMTP: listen tcp " + taken.Addr().String(), syscall.EADDRINUSE},
		{"on a taken HTTP address", InboxOptions{HTTPAddr: taken.Addr().String()}, "HTTP: listen tcp " + taken.Addr().String(), syscall.EADDRINUSE},
		{"on the folder of a running inbox", InboxOptions{Folder: running}, "in use by another process", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.opts.Folder == "" {
				tt.opts.Folder = filepath.Join(t.TempDir(), "mail")
			}
			_, err := StartInbox(tt.opts)
			if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Fatalf("error %v, want %q (%v)", err, tt.want, tt.is)
			}
			if opErr, ok := errors.AsType[*net.OpError](err); ok != (tt.is != nil) || ok && opErr.Addr.String() != taken.Addr().String() {
				t.Errorf("the error does not hold the address: %v", opErr)
			}
		})
	}
}
