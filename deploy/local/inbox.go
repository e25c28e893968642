package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

const (
	inboxKeeps      = 500
	maxMessageBytes = 10 << 20
)

// InboxOptions say where the inbox listens and keeps its mails.
type InboxOptions struct {
	Folder string // kept between runs; Folder.lock stands beside it

	// SMTPAddr takes mails and HTTPAddr shows them. Port 0, or an empty address, is
	// any free port of 127.0.0.1. There are no passwords, so they should be loopback
	// addresses.
	SMTPAddr, HTTPAddr string

	Log *slog.Logger // default: none
}

// Inbox is an SMTP server that delivers to nobody: it keeps every mail, whoever it
// is for, and shows it on a page and as JSON. It answers 250 OK once the mail is on
// disk. The newest 500 stay; a mail may have 10 MiB.
type Inbox struct {
	folder mailFolder
	lock   *folderLock
	log    *slog.Logger
	smtp   *smtp.Server
	http   *http.Server

	smtpAddr, httpAddr string

	mu         sync.Mutex
	messages   []Message     // oldest first
	lastID     int64         // also of messages that are gone
	arrived    chan struct{} // closed and replaced with every message
	faults     Faults
	preset     string // the faults' name on the page
	stopped    bool
	deliveries sync.WaitGroup
	stopOnce   sync.Once
	stopErr    error
}

// StartInbox reads the mails of earlier runs and returns once it listens. For a
// taken address the error wraps syscall.EADDRINUSE and a *net.OpError that holds
// the address.
func StartInbox(opts InboxOptions) (_ *Inbox, err error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	path, err := resolveFolder(opts.Folder)
	if err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	in := &Inbox{folder: mailFolder(path), log: opts.Log, arrived: make(chan struct{}), preset: presets()[0].Name}
	if in.lock, err = lockFolder(path); err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.lock.release())
		}
	}()
	if in.messages, err = in.folder.load(in.log); err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	if n := len(in.messages); n > 0 {
		in.lastID = in.messages[n-1].ReceivedAt.UnixNano()
	}
	in.prune()

	mail, err := net.Listen("tcp", orAnyPort(opts.SMTPAddr))
	if err != nil {
		return nil, fmt.Errorf("inbox: listen for SMTP: %w", err)
	}
	page, err := net.Listen("tcp", orAnyPort(opts.HTTPAddr))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("inbox: listen for HTTP: %w", err), mail.Close())
	}
	in.smtpAddr, in.httpAddr = mail.Addr().String(), page.Addr().String()
	in.smtp = newMailServer(in)
	in.http = &http.Server{
		Handler:           newInboxHandler(in),
		ErrorLog:          slog.NewLogLogger(in.log.Handler(), slog.LevelWarn),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       time.Minute,
	}
	go func() {
		if err := in.smtp.Serve(mail); err != nil {
			in.log.Error("inbox takes no more mails", "error", err)
		}
	}()
	go func() {
		if err := in.http.Serve(page); !errors.Is(err, http.ErrServerClosed) {
			in.log.Error("inbox shows no more mails", "error", err)
		}
	}()
	return in, nil
}

func orAnyPort(addr string) string {
	if addr == "" {
		return anyLoopbackPort
	}
	return addr
}

// SMTPAddr is where mails go, with the port that the inbox got.
func (in *Inbox) SMTPAddr() string { return in.smtpAddr }

// HTTPAddr is where the page and the JSON API are.
func (in *Inbox) HTTPAddr() string { return in.httpAddr }

// Messages returns what is there, the newest first. It is never nil.
func (in *Inbox) Messages() []Message {
	in.mu.Lock()
	defer in.mu.Unlock()
	newestFirst := append([]Message{}, in.messages...)
	slices.Reverse(newestFirst)
	return newestFirst
}

// Wait returns the newest message that matches, as soon as there is one. Its error
// wraps ctx's.
func (in *Inbox) Wait(ctx context.Context, matches func(Message) bool) (Message, error) {
	for {
		in.mu.Lock()
		arrived := in.arrived
		in.mu.Unlock()
		messages := in.Messages()
		if i := slices.IndexFunc(messages, matches); i >= 0 {
			return messages[i], nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return Message{}, fmt.Errorf("inbox: none of %d messages matches: %w", len(messages), ctx.Err())
		}
	}
}

// message returns the one message with id.
func (in *Inbox) message(id string) (Message, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	i := slices.IndexFunc(in.messages, func(m Message) bool { return m.ID == id })
	if i < 0 {
		return Message{}, false
	}
	return in.messages[i], true
}

// errStopped answers a mail that comes while the inbox stops.
var errStopped = &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 3, 2}, Message: "Inbox is stopping"}

// keep stores a mail and makes it known. After it returned nil the mail is on disk.
func (in *Inbox) keep(from string, to []string, raw []byte) error {
	in.mu.Lock()
	if in.stopped {
		in.mu.Unlock()
		return errStopped
	}
	in.deliveries.Add(1)
	defer in.deliveries.Done()
	// Ids rise even when the clock does not.
	in.lastID = max(time.Now().UnixNano(), in.lastID+1)
	at := time.Unix(0, in.lastID).UTC()
	in.mu.Unlock()

	if err := in.folder.save(at, from, to, raw); err != nil {
		in.log.Error("inbox keeps no mail", "error", err)
		return &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 3, 1}, Message: "Mail cannot be stored"}
	}
	m := parseMessage(at, from, to, raw)

	in.mu.Lock()
	defer in.mu.Unlock()
	place, _ := slices.BinarySearchFunc(in.messages, m, func(a, b Message) int { return a.ReceivedAt.Compare(b.ReceivedAt) })
	in.messages = slices.Insert(in.messages, place, m)
	in.prune()
	close(in.arrived)
	in.arrived = make(chan struct{})
	return nil
}

// prune drops the oldest messages above the limit. Nobody else may use in.messages.
func (in *Inbox) prune() {
	for len(in.messages) > inboxKeeps {
		if err := in.folder.remove(in.messages[0].ID); err != nil {
			in.log.Error("inbox cannot remove an old mail", "error", err)
		}
		in.messages = slices.Delete(in.messages, 0, 1)
	}
}

// DeleteAll removes every message that has arrived.
func (in *Inbox) DeleteAll() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	var errs []error
	in.messages = slices.DeleteFunc(in.messages, func(m Message) bool {
		err := in.folder.remove(m.ID)
		errs = append(errs, err)
		return err == nil
	})
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	return nil
}

// Stop closes the page, then the SMTP connections, and waits until the mails that
// are coming in are on disk. A sender cut off before its answer does not know the
// outcome and should send again. ctx limits the wait for readers of the page. Stop
// may be called again.
func (in *Inbox) Stop(ctx context.Context) error {
	in.stopOnce.Do(func() { in.stopErr = in.shutDown(ctx) })
	return in.stopErr
}

func (in *Inbox) shutDown(ctx context.Context) error {
	err := in.http.Shutdown(ctx)
	in.mu.Lock()
	in.stopped = true
	in.mu.Unlock()
	err = errors.Join(err, in.smtp.Close())
	in.deliveries.Wait()
	return errors.Join(err, in.lock.release())
}
