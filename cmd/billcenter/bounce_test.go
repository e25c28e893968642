package main

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

const cameBack = `From: MAILER-DAEMON@mx.example
To: billcenter@mongotel.com
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; bob@bobsbuilding.example
Action: failed
Status: 5.1.1

--b
Content-Type: text/rfc822-headers

Message-ID: <%s>

--b--
`

// The provider takes the mail and sends it back later: the mail system pipes that in, the page says so, and the customer goes on.
func TestAMailThatComesBackLaterIsCorrected(t *testing.T) {
	t.Parallel()
	up := start(t)
	account, code := up.inbox.expect(t, "ap@bobsbuilding.example").box(t)
	bob := up.visitor(t)
	bob.fill("/signup", fields{"account_number": account, "registration_code": code, "email": "bbo@bobsbuilding.example", "username": "bobby"})
	bob.eventually("/signup/check-email", "We sent it")
	mail := up.inbox.expect(t, "bbo@bobsbuilding.example")

	pipe := func(message string) bounced {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), []string{"bounce", "--json", "--data-dir", filepath.Join(up.dir, "data")}, strings.NewReader(message), &out, &errs); code != 0 {
			t.Fatalf("bounce: %d %s", code, errs.String())
		}
		return decode[bounced](t, out.String())
	}
	if b := pipe("Subject: I am away\n\nBack on Monday.\n"); b.Recorded || b.Why == "" {
		t.Errorf("an answer is taken for a bounce: %+v", b)
	}
	report := fmt.Sprintf(cameBack, strings.Trim(mail.MessageID, "<>"))
	if b := pipe(report); !b.Recorded || b.Purpose != "activation" || b.Status != "5.1.1" {
		t.Errorf("%+v", b)
	}
	if b := pipe(report); b.Recorded {
		t.Errorf("recorded twice: %+v", b)
	}

	bob.eventually("/signup/check-email", "did not reach you")
	up.facts(t, "registered", "activation-mailed", "activation-mail-failed")
	bob.fill("/signup/email", fields{"email": "bob@bobsbuilding.example"}).is(http.StatusOK, "/signup/check-email")
	link := up.inbox.expect(t, "bob@bobsbuilding.example").link(t)
	bob.fill(link, fields{"password": passphrase, "password_confirmation": passphrase}).is(http.StatusOK, "/login")
}
