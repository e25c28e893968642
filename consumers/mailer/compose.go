package mailer

import (
	"bytes"
	"embed"
	"fmt"
	htmltemplate "html/template"
	netmail "net/mail"
	"net/url"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"

	"github.com/wneessen/go-mail"

	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/locale"
)

// letters holds every word that a mail says. Each of locale.Languages has a folder with the same files.
//
//go:embed letters
var letters embed.FS

// letter is what the templates see. Its texts are of one line each.
type letter struct {
	Locale      locale.Locale
	Brand       string // the tenant's name
	Color       string // of the button, dark enough for white text
	Support     contacts
	Username    string
	Company     string // empty: billing told none
	Account     string // in full: for the address of record only
	AccountTail string // empty: too short to have one
	Link        string
	Lifetime    lifetime
	Until       time.Time // in the tenant's zone: Lifetime from now, so that it is never too late, however long the mail takes
	At          time.Time // in the tenant's zone; of a sign-up: zero where the event does not say
	Browser     string    // that somebody signed up with; empty: unknown
	System      string    // that it ran on
	NotMe       string    // link for whoever did not
	LogIn       string    // link for whoever has a log-in already; empty: nobody of that address has
}

// Language is the one that the letter is written in.
func (l letter) Language() string { return l.Locale.Language() }

// When writes a moment as the letter's readers do.
func (l letter) When(at time.Time) string { return l.Locale.LongMoment(at) }

// lifetime is a duration in the largest unit that says it exactly.
type lifetime struct{ Days, Hours, Minutes int }

func inWords(d time.Duration) lifetime {
	switch {
	case d >= 48*time.Hour && d%(24*time.Hour) == 0:
		return lifetime{Days: int(d / (24 * time.Hour))}
	case d >= time.Hour && d%time.Hour == 0:
		return lifetime{Hours: int(d / time.Hour)}
	default:
		return lifetime{Minutes: int(d / time.Minute)}
	}
}

// composer writes mails. It holds the parsed templates, by language and purpose.
type composer struct {
	text map[string]*texttemplate.Template
	html map[string]*htmltemplate.Template
}

func newComposer() (*composer, error) {
	c := &composer{text: map[string]*texttemplate.Template{}, html: map[string]*htmltemplate.Template{}}
	for _, language := range locale.Languages {
		for _, purpose := range enrollment.Purposes {
			if err := c.parse(language, purpose); err != nil {
				return nil, fmt.Errorf("mail templates: %w", err)
			}
		}
	}
	return c, nil
}

func (c *composer) parse(language string, purpose enrollment.Purpose) error {
	folder := "letters/" + language + "/"
	shared, words := folder+"shared.tmpl", folder+string(purpose)
	text, err := texttemplate.New(string(purpose)+".txt").Option("missingkey=error").ParseFS(letters, shared, words+".txt")
	if err != nil {
		return err
	}
	// The text file comes along for its subject, which is also the page's title.
	html, err := htmltemplate.New("layout.html").Option("missingkey=error").ParseFS(letters, "letters/layout.html", shared, words+".txt", words+".html")
	if err != nil {
		return err
	}
	c.text[language+"/"+string(purpose)], c.html[language+"/"+string(purpose)] = text, html
	return nil
}

// stationery is the part of a mail's header that is not its subject.
type stationery struct {
	From      netmail.Address
	ReplyTo   netmail.Address
	To        enrollment.Address
	MessageID string // without brackets
	Date      time.Time
}

// compose returns a whole mail, ready for DATA.
func (c *composer) compose(purpose enrollment.Purpose, s stationery, l letter) ([]byte, error) {
	key := l.Language() + "/" + string(purpose)
	var subject, text, html bytes.Buffer
	if err := c.text[key].ExecuteTemplate(&subject, "subject", l); err != nil {
		return nil, fmt.Errorf("compose %s: %w", purpose, err)
	}
	if err := c.text[key].Execute(&text, l); err != nil {
		return nil, fmt.Errorf("compose %s: %w", purpose, err)
	}
	if err := c.html[key].Execute(&html, l); err != nil {
		return nil, fmt.Errorf("compose %s: %w", purpose, err)
	}

	m := mail.NewMsg(mail.WithNoDefaultUserAgent())
	m.FromMailAddress(&s.From)
	m.ReplyToMailAddress(&s.ReplyTo)
	m.ToMailAddress(&netmail.Address{Address: string(s.To)})
	m.Subject(oneLine(subject.String()))
	m.SetMessageIDWithValue(s.MessageID)
	m.SetDateWithValue(s.Date)
	m.SetGenHeader("Content-Language", l.Language())
	m.SetGenHeader("Auto-Submitted", "auto-generated")      // RFC 3834: no vacation notes, please
	m.SetGenHeader(mail.HeaderXAutoResponseSuppress, "All") // the same for Exchange
	// Quoted-printable, go-mail's default, also keeps long lines and lone dots away from SMTP.
	m.SetBodyString(mail.TypeTextPlain, text.String())
	m.AddAlternativeString(mail.TypeTextHTML, html.String())
	var whole bytes.Buffer
	if _, err := m.WriteTo(&whole); err != nil {
		return nil, fmt.Errorf("compose %s: %w", purpose, err)
	}
	return whole.Bytes(), nil
}

// oneLine keeps a text of somebody else's from starting a line of its own in a mail: events refuse control characters, and
// here is where they would do harm.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, s))
}

// tail is the end of an account number: enough to recognise one's own, too little for a stranger to whom a mistyped
// address leads the mail.
func tail(account string) string {
	r := []rune(account)
	return string(r[len(r)-min(4, len(r)/2):])
}

// messageID names a mail for good: a copy that is sent again can be recognised as one. RFC 5322 section 3.6.4.
func messageID(m enrollment.Mail, base *url.URL) string {
	return fmt.Sprintf("%s.%s.%d.%d@%s", m.Enrollment, m.Purpose, m.Generation, m.Number, base.Hostname())
}
