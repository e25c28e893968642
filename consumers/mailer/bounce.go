package mailer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"

	"github.com/emersion/go-message"
	"github.com/google/uuid"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// A Bounce is one of our mails that came back after a provider had taken it.
type Bounce struct {
	Mail   enrollment.Mail // its identity only
	Status string          // enhanced status code (RFC 3463), such as 5.1.1
}

// ErrNoBounce says that a message tells of no mail of ours that failed for good: an answer of somebody who is away, a delay, or
// the return of somebody else's mail.
var ErrNoBounce = errors.New("tells of no mail of ours that failed for good")

const maxBounce = 1 << 20 // bytes that are read; a report that returns a larger mail has its status before it

var (
	finalStatus = regexp.MustCompile(`^5\.\d{1,3}\.\d{1,3}`)
	ourMail     = regexp.MustCompile(`^<?([0-9a-fA-F-]{36})\.([a-z-]+)\.(\d{1,9})\.(\d{1,9})@`)
)

// ReadBounce reads a delivery status notification (RFC 3464) as mail systems send it to the sender of a mail. Which mail it is
// about is read from the Message-ID of the returned header: no address is needed, and none is kept.
func ReadBounce(r io.Reader) (Bounce, error) {
	report, err := message.Read(io.LimitReader(r, maxBounce))
	if err != nil && !message.IsUnknownCharset(err) {
		return Bounce{}, fmt.Errorf("%w: it is no mail that can be read: %s", ErrNoBounce, strings.TrimSpace(err.Error()))
	}
	kind, params, _ := report.Header.ContentType()
	if kind != "multipart/report" || !strings.EqualFold(params["report-type"], "delivery-status") {
		return Bounce{}, fmt.Errorf("%w: it is no delivery status notification (RFC 3464)", ErrNoBounce)
	}
	var b Bounce
	parts := report.MultipartReader()
	for parts != nil {
		part, err := parts.NextPart()
		if err != nil && !message.IsUnknownCharset(err) {
			break // its end, or as much of it as was read
		}
		content, err := io.ReadAll(part.Body)
		if err != nil && len(content) == 0 {
			break
		}
		switch kind, _, _ := part.Header.ContentType(); kind {
		case "message/delivery-status", "message/global-delivery-status":
			b.Status = failedFor(content)
		case "message/rfc822", "message/global", "text/rfc822-headers", "message/rfc822-headers", "message/global-headers":
			header, _ := textproto.NewReader(bufio.NewReader(bytes.NewReader(content))).ReadMIMEHeader() // as far as it goes
			b.Mail = mailOf(header.Get("Message-Id"))
		}
	}
	switch {
	case b.Status == "":
		return Bounce{}, fmt.Errorf("%w: no recipient has the action failed and a status that begins with 5", ErrNoBounce)
	case b.Mail.Purpose == "":
		return Bounce{}, fmt.Errorf("%w: the returned header has no Message-ID of ours", ErrNoBounce)
	}
	return b, nil
}

// failedFor is the status of the recipient for whom the mail failed; empty: there is none. Ours have one recipient each.
func failedFor(content []byte) string {
	fields := textproto.NewReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		group, err := fields.ReadMIMEHeader() // of the message first, then of each recipient
		if status := strings.TrimSpace(group.Get("Status")); strings.EqualFold(strings.TrimSpace(group.Get("Action")), "failed") && finalStatus.MatchString(status) {
			return finalStatus.FindString(status)
		}
		if err != nil {
			return ""
		}
	}
}

// mailOf reads back what messageID made.
func mailOf(id string) enrollment.Mail {
	found := ourMail.FindStringSubmatch(strings.TrimSpace(id))
	if found == nil {
		return enrollment.Mail{}
	}
	of, err := uuid.Parse(found[1])
	generation, errGeneration := strconv.ParseUint(found[3], 10, 32)
	number, errNumber := strconv.ParseUint(found[4], 10, 32)
	if errors.Join(err, errGeneration, errNumber) != nil {
		return enrollment.Mail{}
	}
	return enrollment.Mail{Enrollment: of, Purpose: enrollment.Purpose(found[2]), Generation: uint32(generation), Number: uint32(number)}
}
