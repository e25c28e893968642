package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/mongotel/billcenter/consumers/mailer"
	"github.com/mongotel/billcenter/schema/enrollment"
)

// exitLater is EX_TEMPFAIL of sysexits.h: a mail system keeps the message and tries again.
const exitLater = 75

type bounceCommand struct {
	services
	File string `arg:"" optional:"" type:"existingfile" help:"The notification as it came (RFC 3464); standard input if left out."`
	JSON bool   `help:"Print for programs." name:"json"`
}

// bounced is what the command says.
type bounced struct {
	Recorded   bool   `json:"recorded"`
	Why        string `json:"why,omitempty"` // nothing was recorded
	Enrollment string `json:"enrollment,omitempty"`
	Purpose    string `json:"purpose,omitempty"`
	Status     string `json:"status,omitempty"`
}

// Run never fails for what a message says: a mail system would send that back, too. It does where the database is away.
func (c *bounceCommand) Run(in *invocation) error {
	source := in.stdin
	if c.File != "" {
		f, err := os.Open(c.File)
		if err != nil {
			return &usageError{err}
		}
		defer f.Close()
		source = f
	}
	b, err := mailer.ReadBounce(source)
	if err != nil {
		// What is left of a pipe is read, or the mail system would take the broken pipe for a failure.
		if _, err := io.Copy(io.Discard, source); err != nil {
			return err
		}
		return c.say(in, bounced{Why: err.Error()})
	}
	if err := c.complete(); err != nil {
		return err
	}
	s, done, err := c.store(in)
	if errors.As(err, new(*usageError)) {
		return err
	}
	if err != nil {
		fmt.Fprintln(in.stderr, "billcenter:", err)
		return &exit{exitLater}
	}
	defer done()
	said := bounced{Enrollment: b.Mail.Enrollment.String(), Purpose: string(b.Mail.Purpose), Status: b.Status}
	said.Recorded, err = s.MailCameBack(in, b.Mail, enrollment.MailFailure{Reason: "mail-rejected", Reply: b.Status})
	switch {
	case errors.Is(err, enrollment.ErrUnknown):
		said.Why = "no such mail was sent from here"
	case err != nil:
		fmt.Fprintln(in.stderr, "billcenter:", err)
		return &exit{exitLater}
	case !said.Recorded:
		said.Why = "the mail is not known as accepted, or it is known that it came back"
	}
	return c.say(in, said)
}

func (c *bounceCommand) say(in *invocation, b bounced) error {
	if c.JSON {
		return printJSON(in.stdout, b)
	}
	if b.Recorded {
		_, err := fmt.Fprintf(in.stdout, "The %s mail of %s came back with %s.\n", b.Purpose, b.Enrollment, b.Status)
		return err
	}
	_, err := fmt.Fprintf(in.stdout, "Nothing recorded: %s.\n", b.Why)
	return err
}
