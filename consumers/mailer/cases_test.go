package mailer_test

import (
	"fmt"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/google/uuid"

	"github.com/mongotel/billcenter/deploy/local"
)

// A recipient that is put off again and again keeps nobody else waiting.
func TestOneRecipientHoldsUpNobodyElse(t *testing.T) {
	o := open(t)
	o.inbox.SetFaults(local.Faults{AnswerRecipient: func(_, to string) *smtp.SMTPError {
		if to == "full@bobsbuilding.example" {
			return &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 2, 2}, Message: "mailbox full"}
		}
		return nil
	}})
	stuck := activation()
	stuck.To = "full@bobsbuilding.example"
	o.ask("stuck", stuck)
	const others = 30
	for i := range others {
		r := activation()
		r.EnrollmentID = uuid.NewString()
		r.To = fmt.Sprintf("customer%d@bobsbuilding.example", i)
		o.ask(r.EnrollmentID, r)
	}
	o.work()
	eventually(t, "everybody else has their mail", func() bool { return len(o.inbox.Messages()) == others })
	eventually(t, "the one is tried again", func() bool { return len(o.ledger.released()) > 1 })
}
