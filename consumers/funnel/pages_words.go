package funnel

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/mongotel/billcenter/schema/journey"
)

// term is a word of the report and what it means.
type term struct{ ID, Word, Says string }

// stepSays is what has happened when a step is reached.
var stepSays = [journey.Steps + 1]string{
	journey.Invited:          "Billing e-mailed an invoice with a registration code to the account.",
	journey.Registered:       "Account number and code were accepted; code and username are reserved.",
	journey.ActivationMailed: "A mail provider accepted the activation mail.",
	journey.Activated:        "The customer followed the link and chose a password; the enrollment is complete.",
	journey.SignedIn:         "The customer logged in with username and password.",
	journey.InvoiceViewed:    "The customer saw invoices in the portal.",
}

var reasonsSay = map[DropReason]string{
	Bounced:              "A mail provider refused the activation mail for good.",
	MailNeverAccepted:    "No mail provider is known to have accepted the activation mail, or nothing was heard of it at all.",
	CodeExpired:          "The code that was typed had expired.",
	CodeSuperseded:       "The code that was typed had been replaced by a newer one, beyond the time of grace.",
	WrongCode:            fmt.Sprintf("Account number and code did not match, %d times or more.", wrongCodes),
	Locked:               "After too many wrong tries the customer had to wait, or the codes were retired.",
	UsernameClash:        "The username that was wanted was taken, and no other was chosen.",
	NotRequested:         "The owner of the mailbox followed the mail’s other link: it was somebody else who signed up.",
	Cancelled:            "The enrollment was ended: by staff, since billing closed the account, or since the customer added the account to a log-in of before.",
	OpenedByAutomation:   "Only what looks like a mail scanner followed the activation link, no person.",
	DeliveredNeverOpened: "The activation mail was accepted, and nobody followed its link.",
	OpenedNoPassword:     "Somebody opened the activation page and chose no password.",
	AddressCorrectedLate: "The e-mail address was corrected, too late for the customer to go on.",
	NeverCame:            "Nothing more was heard of the customer; only another invoice, or the end of the enrollment’s time.",
	NoSignal:             "Something happened after the last step that no rule explains; look at the facts.",
}

// glossary are the words of the report that are neither steps nor reasons.
var glossary = []term{
	{"attempt", "Attempt", "One account’s way from its entry, by its first step in the range, until it has converted or its window is over. Every number here is a number of attempts."},
	{"in-progress", "In progress", "Has not gone on yet, and its window is still open at the time of the report: still on its way, neither converted nor lost."},
	{"dropped", "Dropped", "Did not go on, and its window is over. Each has exactly one reason: the first rule that matches, in the order below."},
	{"rate", "Rate so far", "Converted of all that entered. Those in progress count as not converted, so it rises as their windows end."},
	{"mature", "Mature rate", "Converted of those whose window is over: final, but says nothing of the latest entries."},
	{"live", "Live rate (Kaplan–Meier estimate)", "The share that will have converted once all windows are over, if those in progress go on as others did before them. An estimate, no count."},
	{"watermark", "Watermark", "Every fact that was published before this moment is counted."},
	{"final", "Final", "The watermark is past the period’s end and its window: no fact that is published in order can change it. A late one can, and raises the revision."},
	{"median", "Median and 90 %", "Half, and nine tenths, of those who went on took no longer than this."},
	{"significant", "Significant", "A difference that chance alone would show in fewer than 5 of 100 comparisons (Fisher’s exact test, two-sided), with 30 mature attempts or more on each side."},
}

func labelOfProperty(property string) string {
	switch property {
	case "invoiceMonth":
		return "invoice month"
	case "codeAgeDays":
		return "age of the code in days"
	case "mailDomainClass":
		return "class of mail domain"
	default:
		return property
	}
}

// thousands writes a count in groups of three.
func thousands(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// percent writes a rate; what does not exist is a dash.
func percent(rate *float64) string {
	if rate == nil {
		return "–"
	}
	return strconv.FormatFloat(*rate*100, 'f', 1, 64) + " %"
}

// span writes seconds in the two largest units that fit.
func span(seconds *float64) string {
	if seconds == nil {
		return "–"
	}
	if *seconds < 59.95 {
		return strings.TrimSuffix(strconv.FormatFloat(*seconds, 'f', 1, 64), ".0") + " s"
	}
	units := []struct {
		name string
		size int
	}{{"d", 86400}, {"h", 3600}, {"min", 60}, {"s", 1}}
	left := int(math.Round(*seconds))
	for i, u := range units {
		if left < u.size {
			continue
		}
		text := fmt.Sprintf("%s %s", thousands(left/u.size), u.name)
		if rest := left % u.size; i+1 < len(units) && rest/units[i+1].size > 0 {
			text += fmt.Sprintf(" %d %s", rest/units[i+1].size, units[i+1].name)
		}
		return text
	}
	return "0 s"
}

// instant writes a time as finely as it is known.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.999999999 UTC") }
