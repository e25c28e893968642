package local

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	mailSuffix    = ".eml"
	partialSuffix = ".partial"
)

// A mailFolder keeps one file for each mail, named by its id. Like any mail server
// it puts trace headers (RFC 5321 section 4.4) before the mail; they hold the
// envelope, and the file can be opened with a mail program.
type mailFolder string

func (f mailFolder) path(id, suffix string) string { return filepath.Join(string(f), id+suffix) }

// save returns once the mail would survive a power cut. Half-written mails have
// another suffix.
func (f mailFolder) save(at time.Time, from string, to []string, raw []byte) (err error) {
	id := messageID(at)
	partial := f.path(id, partialSuffix)
	file, err := os.OpenFile(partial, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(partial))
		}
	}()
	_, err = file.Write(append(traceHeaders(at, from, to), raw...))
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err = os.Rename(partial, f.path(id, mailSuffix)); err != nil {
		return err
	}
	return syncFolder(string(f))
}

func (f mailFolder) remove(id string) error {
	err := os.Remove(f.path(id, mailSuffix))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// load makes the folder or reads it, the oldest mail first. Files that save did not
// write are left alone.
func (f mailFolder) load(log *slog.Logger) ([]Message, error) {
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(string(f)) // sorted by name
	if err != nil {
		return nil, err
	}
	var messages []Message
	for _, entry := range entries {
		suffix := filepath.Ext(entry.Name())
		id := strings.TrimSuffix(entry.Name(), suffix)
		nanoseconds, err := strconv.ParseInt(id, 16, 64)
		if err != nil || len(id) != idDigits {
			continue
		}
		switch suffix {
		case partialSuffix: // its sender never got an answer
			if err := os.Remove(f.path(id, suffix)); err != nil {
				return nil, err
			}
		case mailSuffix:
			content, err := os.ReadFile(f.path(id, suffix))
			if err != nil {
				return nil, err
			}
			from, to, raw, ok := cutTraceHeaders(content)
			if !ok {
				log.Warn("inbox leaves out a file that it did not write", "file", entry.Name())
				continue
			}
			messages = append(messages, parseMessage(time.Unix(0, nanoseconds).UTC(), from, to, raw))
		}
	}
	return messages, nil
}

const (
	returnPath  = "Return-Path: <"
	deliveredTo = "Delivered-To: <"
	received    = "Received: "
)

func traceHeaders(at time.Time, from string, to []string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%s>\r\n", returnPath, from)
	for _, recipient := range to {
		fmt.Fprintf(&b, "%s%s>\r\n", deliveredTo, recipient)
	}
	fmt.Fprintf(&b, "%sby localhost (Bill Center inbox) with ESMTP; %s\r\n", received, at.Format(time.RFC1123Z))
	return b.Bytes()
}

// cutTraceHeaders takes off what traceHeaders put before the mail.
func cutTraceHeaders(content []byte) (from string, to []string, raw []byte, ok bool) {
	for {
		line, rest, found := bytes.Cut(content, []byte("\r\n"))
		if !found {
			return "", nil, nil, false
		}
		content = rest
		text := string(line)
		address := strings.TrimSuffix(text[strings.Index(text, "<")+1:], ">")
		switch {
		case strings.HasPrefix(text, returnPath):
			from = address
		case strings.HasPrefix(text, deliveredTo):
			to = append(to, address)
		case strings.HasPrefix(text, received):
			return from, to, content, len(to) > 0
		default:
			return "", nil, nil, false
		}
	}
}
