package helpdesk

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/mongotel/billcenter/schema/enrollment"
)

// field is one labelled input of a form. Its ID is the only one on the page, so that a message can lead to it.
type field struct {
	ID, Label, Hint string
	Name            enrollment.Field
	Type            string // of the input; "select", "radios"
	Value           string
	Options         []option
	Limit           int    // of the characters; 0: none
	Message         string // what is wrong with the value
}

type option struct{ Value, Text string }

// DescribedBy lists the ids of the texts that belong to the input.
func (f field) DescribedBy() string {
	var ids []string
	if f.Hint != "" {
		ids = append(ids, f.ID+"-hint")
	}
	if f.Message != "" {
		ids = append(ids, f.ID+"-error")
	}
	return strings.Join(ids, " ")
}

// problem is a line of the summary above a page whose form came back.
type problem struct{ Field, Text string } // Field is an input's ID; empty: it is about the whole form

// attempt is a form that was refused: what comes back, filled in.
type attempt struct {
	Deed   enrollment.Deed
	Values url.Values
	No     *enrollment.Refusal
}

// refused reports whether a form was refused by a rule, and how it comes back.
func refused(err error, what enrollment.Deed, values url.Values) (attempt, bool) {
	no, ok := errors.AsType[*enrollment.Refusal](err)
	return attempt{what, values, no}, ok
}

// fill puts back what was typed into the fields of a deed's form, and says beside a field what is wrong with it. Whatever
// is not about one of the fields is about the whole.
func (a attempt) fill(what enrollment.Deed, fields []field) []problem {
	if a.No == nil || a.Deed != what {
		return nil
	}
	for i := range fields {
		fields[i].Value = a.Values.Get(string(fields[i].Name))
	}
	at := slices.IndexFunc(fields, func(f field) bool { return f.Name == a.No.Field })
	if at < 0 {
		return []problem{{Text: words(a.No)}}
	}
	fields[at].Message = words(a.No)
	return []problem{{Field: fields[at].ID, Text: fields[at].Message}}
}

// reasonField asks why. form tells it from the other forms' on the page.
func reasonField(form string) field {
	return field{ID: form + "-reason", Name: enrollment.FieldReason, Label: "Reason, for the audit trail", Type: "text", Limit: enrollment.MaxReason}
}

func checkField() field {
	f := field{ID: "how", Name: enrollment.FieldHow, Label: "How was the caller verified?", Type: "radios"}
	for _, c := range enrollment.CallerChecks {
		f.Options = append(f.Options, option{string(c), "The caller " + c.Words()})
	}
	return f
}

func userField(form string, users []string) field {
	f := field{ID: form + "-username", Name: enrollment.FieldUsername, Label: "User", Type: "select"}
	for _, u := range users {
		f.Options = append(f.Options, option{u, u})
	}
	return f
}
