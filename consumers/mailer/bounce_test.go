package mailer_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/mongotel/billcenter/consumers/mailer"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// postfix is what Postfix sends back for a mail that Gmail's server refused later.
const postfix = `Return-Path: <>
From: MAILER-DAEMON@mx.example (Mail Delivery System)
To: billcenter@mongotel.com
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="4F1.1764/mx.example"

--4F1.1764/mx.example
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--4F1.1764/mx.example
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example
Arrival-Date: Thu, 26 Nov 2026 10:00:00 +0000 (UTC)

Final-Recipient: rfc822; bob@bobsbuilding.example
Original-Recipient: rfc822;bob@bobsbuilding.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; mail.bobsbuilding.example
Diagnostic-Code: smtp; 550 5.1.1 <bob@bobsbuilding.example>: Recipient address
    rejected: User unknown

--4F1.1764/mx.example
Content-Description: Undelivered Message
Content-Type: message/rfc822

Return-Path: <billcenter@mongotel.com>
From: Mongotel Bill Center <billcenter@mongotel.com>
Message-ID: <37d7f809-2017-44fb-8d56-6fae2f0e57f6.activation.2.3@mongo.localhost>
Subject: Finish signing up for your Mongotel account

The link is not here.
--4F1.1764/mx.example--
`

func TestWhatCameBackIsKnown(t *testing.T) {
	crlf := strings.ReplaceAll(postfix, "\n", "\r\n")
	for name, report := range map[string]string{
		"postfix":        postfix,
		"with CRLF":      crlf,
		"headers only":   strings.Replace(postfix, "message/rfc822", "text/rfc822-headers", 1),
		"Exchange":       strings.NewReplacer("Action: failed", "action: Failed", "Message-ID:", "Message-Id:", "Status: 5.1.1", "Status: 5.1.1 (user unknown)").Replace(postfix),
		"a part more":    strings.Replace(postfix, "--4F1.1764/mx.example\nContent-Description: Delivery report", "--4F1.1764/mx.example\nContent-Type: text/html\n\n<p>\n--4F1.1764/mx.example\nContent-Description: Delivery report", 1),
		"delayed before": strings.Replace(postfix, "Final-Recipient", "Final-Recipient: rfc822; x@y.example\nAction: delayed\nStatus: 4.4.1\n\nFinal-Recipient", 1),
		"cut off":        crlf[:strings.Index(crlf, "The link is not here.")],
	} {
		t.Run(name, func(t *testing.T) {
			b, err := mailer.ReadBounce(strings.NewReader(report))
			want := enrollment.Mail{Enrollment: uuid.MustParse("37d7f809-2017-44fb-8d56-6fae2f0e57f6"), Purpose: enrollment.ActivationMail, Generation: 2, Number: 3}
			if err != nil || b.Mail != want || b.Status != "5.1.1" {
				t.Errorf("%+v, %v", b, err)
			}
		})
	}
}

func TestWhatIsNoBounce(t *testing.T) {
	for name, given := range map[string]string{
		"nothing":           "",
		"no mail":           "\x00\x01",
		"away":              "From: bob@bobsbuilding.example\nSubject: I am away\n\nBack on Monday, 5.1.1.\n",
		"a delay":           strings.NewReplacer("Action: failed", "Action: delayed", "5.1.1", "4.4.7").Replace(postfix),
		"delivered":         strings.NewReplacer("Action: failed", "Action: delivered", "5.1.1", "2.0.0").Replace(postfix),
		"failed for now":    strings.Replace(postfix, "Status: 5.1.1", "Status: 4.2.2", 1),
		"somebody else's":   strings.Replace(postfix, "<37d7f809-2017-44fb-8d56-6fae2f0e57f6.activation.2.3@", "<abc.activation.2.3@", 1),
		"a number too long": strings.Replace(postfix, ".activation.2.3@", ".activation.2.9999999999@", 1),
		"read receipt":      strings.Replace(postfix, "report-type=delivery-status", "report-type=disposition-notification", 1),
		"no header of ours": strings.Replace(postfix, "Message-ID:", "X-Message-ID:", 1),
	} {
		t.Run(name, func(t *testing.T) {
			if b, err := mailer.ReadBounce(strings.NewReader(given)); !errors.Is(err, mailer.ErrNoBounce) {
				t.Errorf("%+v, %v", b, err)
			}
		})
	}
}

func FuzzReadBounce(f *testing.F) {
	f.Add([]byte(postfix))
	f.Fuzz(func(t *testing.T, given []byte) {
		if b, err := mailer.ReadBounce(strings.NewReader(string(given))); err == nil && (b.Mail.Purpose == "" || !strings.HasPrefix(b.Status, "5.")) {
			t.Errorf("%+v", b)
		}
	})
}
