package local

import (
	"bytes"
	"fmt"
	"io"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // mails from elsewhere come in other charsets
	"github.com/emersion/go-message/mail"
)

// A Message is a mail as the inbox received it. Receivers share its parts and must
// not change them.
type Message struct {
	ID         string              `json:"id"`         // rises with every message
	From       string              `json:"from"`       // bare address in the From header, else the envelope's
	To         []string            `json:"to"`         // the envelope's recipients, blind copies included
	Subject    string              `json:"subject"`    // decoded
	Text       string              `json:"text"`       // the first text/plain part in UTF-8, lines ending in \n
	HTML       string              `json:"html"`       // the first text/html part, likewise
	ReceivedAt time.Time           `json:"receivedAt"` // UTC
	ReturnPath string              `json:"returnPath"` // the envelope's sender; empty for a bounce
	MessageID  string              `json:"messageId"`  // without angle brackets
	Headers    map[string][]string `json:"headers"`    // decoded, by canonical name
	Raw        []byte              `json:"-"`          // as it came over the wire
}

// parseMessage never fails: of a mail that is damaged it tells what can be read.
func parseMessage(at time.Time, from string, to []string, raw []byte) Message {
	m := Message{
		ID:         messageID(at),
		From:       from,
		To:         slices.Clone(to),
		ReceivedAt: at,
		ReturnPath: from,
		Headers:    map[string][]string{},
		Raw:        raw,
	}
	r, err := mail.CreateReader(bytes.NewReader(raw))
	if err != nil && !message.IsUnknownCharset(err) {
		return m
	}
	for fields := r.Header.Fields(); fields.Next(); {
		value, err := fields.Text()
		if err != nil {
			value = fields.Value()
		}
		name := textproto.CanonicalMIMEHeaderKey(fields.Key())
		m.Headers[name] = append(m.Headers[name], value)
	}
	if authors, err := r.Header.AddressList("From"); err == nil && len(authors) > 0 {
		m.From = authors[0].Address
	}
	if subjects := m.Headers["Subject"]; len(subjects) > 0 {
		m.Subject = subjects[0]
	}
	m.MessageID = strings.Trim(r.Header.Get("Message-Id"), " <>")
	m.Text, m.HTML = bodies(r)
	return m
}

// bodies returns the first plain and the first HTML part that are not attachments.
func bodies(r *mail.Reader) (text, html string) {
	for {
		part, err := r.NextPart()
		if err != nil && !message.IsUnknownCharset(err) {
			return text, html // the end, or damaged from here on
		}
		header, inline := part.Header.(*mail.InlineHeader)
		if !inline {
			continue
		}
		var target *string
		switch mediaType, _, _ := header.ContentType(); mediaType {
		case "text/plain":
			target = &text
		case "text/html":
			target = &html
		}
		if target == nil || *target != "" {
			continue
		}
		content, _ := io.ReadAll(part.Body) // of damaged content, what comes before the damage
		*target = strings.ToValidUTF8(strings.ReplaceAll(string(content), "\r\n", "\n"), "\uFFFD")
	}
}

const idDigits = 16

// messageID is the time of arrival in nanoseconds, in hexadecimal, so that file
// names sort.
func messageID(at time.Time) string { return fmt.Sprintf("%0*x", idDigits, at.UnixNano()) }

// linkPattern finds an http(s) address in a text and leaves the punctuation after
// it alone.
var linkPattern = regexp.MustCompile(`https?://[^\s<>"]*[^\s<>"'.,;:!?)\]}]`)

// Links returns the http and https addresses in the text part, in order.
func (m Message) Links() []string { return linkPattern.FindAllString(m.Text, -1) }
