package mailer

import (
	"bytes"
	"io"
	netmail "net/mail"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message/mail"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/mongotel/billcenter/schema/enrollment"
	"github.com/mongotel/billcenter/schema/locale"
)

// read is a mail as a mail program sees it.
type read struct {
	header     mail.Header
	text, html string
}

func parse(t *testing.T, raw []byte) read {
	t.Helper()
	for line := range bytes.SplitSeq(raw, []byte("\r\n")) {
		if len(line) > 998 || bytes.ContainsAny(line, "\r\n\x00") { // RFC 5322 section 2.1.1
			t.Errorf("a line is too long or broken: %.80q", line)
		}
	}
	r, err := mail.CreateReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	got := read{header: r.Header}
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p.Body)
		if err != nil {
			t.Fatal(err)
		}
		switch kind, params, _ := p.Header.(*mail.InlineHeader).ContentType(); {
		case kind == "text/plain" && params["charset"] == "UTF-8":
			got.text = strings.ReplaceAll(string(body), "\r\n", "\n")
		case kind == "text/html" && params["charset"] == "UTF-8":
			got.html = strings.ReplaceAll(string(body), "\r\n", "\n")
		default:
			t.Errorf("a part of type %s %v", kind, params)
		}
	}
}

func sample(t *testing.T) (stationery, letter) {
	t.Helper()
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	return stationery{
			From:      netmail.Address{Name: "Mongotel Bill Center", Address: "no-reply@mongotel.example"},
			ReplyTo:   netmail.Address{Name: "Mongotel Helpdesk", Address: "helpdesk@mongotel.example"},
			To:        "ada@bobsbuilding.example",
			MessageID: "0191f3a0-0000-7000-8000-000000000001.activation.1.1@mongo.billcenter.net",
			Date:      time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC),
		}, letter{
			Locale: speaking(t, "en-US"), Brand: "Mongotel", Color: "#0b57b0",
			Support:  contacts{Phone: "(718) 942-9990", ShortCode: "611", Email: "helpdesk@mongotel.example", Hours: "Monday to Friday, 9 AM to 5 PM"},
			Username: "Bob’sBuilding", Company: "Bob's Building", Account: "100482-7", AccountTail: "82-7",
			Link: "https://mongo.billcenter.net/activate/AbC-_09", Lifetime: inWords(72 * time.Hour),
			Until: time.Date(2026, 11, 23, 13, 5, 0, 0, time.UTC).In(zone),
			At:    time.Date(2026, 11, 20, 13, 5, 0, 0, time.UTC).In(zone),
			NotMe: "https://mongo.billcenter.net/activate/AbC-_09/not-me", Browser: "Firefox", System: "Windows",
			LogIn: "https://mongo.billcenter.net/login",
		}
}

func speaking(t *testing.T, tag string) locale.Locale {
	t.Helper()
	l, err := locale.Parse(tag)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func compose(t *testing.T, purpose enrollment.Purpose, s stationery, l letter) read {
	t.Helper()
	c, err := newComposer()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.compose(purpose, s, l)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, raw)
}

func TestTheHeaderOfAMail(t *testing.T) {
	s, l := sample(t)
	got := compose(t, enrollment.ActivationMail, s, l)
	want := map[string]string{
		"From":                     `"Mongotel Bill Center" <no-reply@mongotel.example>`,
		"Reply-To":                 `"Mongotel Helpdesk" <helpdesk@mongotel.example>`,
		"To":                       "<ada@bobsbuilding.example>",
		"Subject":                  "Finish signing up for your Mongotel account",
		"Message-Id":               "<0191f3a0-0000-7000-8000-000000000001.activation.1.1@mongo.billcenter.net>",
		"Date":                     "Fri, 20 Nov 2026 08:00:00 +0000",
		"Auto-Submitted":           "auto-generated",
		"X-Auto-Response-Suppress": "All",
		"Content-Language":         "en",
		"Mime-Version":             "1.0",
	}
	have := map[string]string{}
	for f := got.header.Fields(); f.Next(); {
		if f.Key() != "Content-Type" {
			have[f.Key()] = strings.TrimSpace(f.Value())
		}
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheTextOfAnActivationMail(t *testing.T) {
	s, l := sample(t)
	want := `Hello Bob’sBuilding,

you signed up for online access to the account of Bob's Building
with Mongotel (account number ending in 82-7).

To finish:

1. Open this link:

   https://mongo.billcenter.net/activate/AbC-_09

2. Choose a password on the page that opens.
3. Log in with your username, Bob’sBuilding, and that password.

The link works for 3 days:
until Monday, November 23, 2026 at 8:05 AM (EST).

This address has a log-in already. The account can be added to it instead:
log in and choose “Add another account”.

   https://mongo.billcenter.net/login

This was not you? Somebody gave your address on
Friday, November 20, 2026 at 8:05 AM (EST), with Firefox on Windows.
Cancel the sign-up here:

   https://mongo.billcenter.net/activate/AbC-_09/not-me

Or do nothing: without a password chosen it ends by itself, and nobody gets
access.

Questions? Call (718) 942-9990, or 611 from one of our lines, or write to helpdesk@mongotel.example. We are there Monday to Friday, 9 AM to 5 PM.
`
	if diff := cmp.Diff(want, compose(t, enrollment.ActivationMail, s, l).text); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheTextOfANotice(t *testing.T) {
	s, l := sample(t)
	got := compose(t, enrollment.NoticeMail, s, l)
	want := `Online access to account 100482-7 (Bob's Building) with Mongotel
was set up on Friday, November 20, 2026 at 8:05 AM (EST).

Whoever has it can see the account's invoices and payment information. You get
this message because yours is the billing address of the account.

If you or a colleague did this, nothing is left to do.

If nobody at your company did this, tell us right away: we end the access and
send you a new registration code.

Call (718) 942-9990, or 611 from one of our lines, or write to helpdesk@mongotel.example. We are there Monday to Friday, 9 AM to 5 PM.
`
	if diff := cmp.Diff(want, got.text); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, private := range []string{"Bob’sBuilding", "ada@", "/activate/"} {
		if strings.Contains(got.text+got.html, private) {
			t.Errorf("the notice tells %q", private)
		}
	}
}

// A security notice says what happened, and names no more than its reader may know. It has no link: a forged copy of one
// that has none is told from it.
func TestWhatASecurityNoticeSays(t *testing.T) {
	s, l := sample(t)
	link := "https://mongo.billcenter.net/activate/AbC-_09"
	for purpose, tt := range map[enrollment.Purpose]struct{ says, hides []string }{
		enrollment.CodeTriedMail:        {[]string{"account 100482-7 (Bob's Building)", "What to do now:"}, []string{"Bob’sBuilding"}},
		enrollment.LockedMail:           {[]string{"account 100482-7 (Bob's Building)", "What to do now:"}, []string{"Bob’sBuilding"}},
		enrollment.EnrollmentClosedMail: {[]string{"the account of Bob's Building", "account number ending in 82-7", "What to do now:"}, []string{"100482-7", "Bob’sBuilding"}},
		enrollment.PasswordChangedMail:  {[]string{"the username Bob’sBuilding", "What to do now:"}, []string{"82-7"}},
	} {
		got := compose(t, purpose, s, l)
		for _, want := range append(tt.says, "Friday, November 20, 2026 at 8:05 AM (EST)", "Call (718) 942-9990") {
			if !strings.Contains(strings.ReplaceAll(got.text, "\n", " "), want) {
				t.Errorf("%s does not say %q:\n%s", purpose, want, got.text)
			}
		}
		for _, private := range append(tt.hides, link, "http", "href", "ada@") {
			if strings.Contains(got.text+got.html, private) {
				t.Errorf("%s tells %q", purpose, private)
			}
		}
	}
	l.Company = ""
	for _, purpose := range []enrollment.Purpose{enrollment.CodeTriedMail, enrollment.LockedMail} {
		if text := compose(t, purpose, s, l).text; strings.Contains(text, "()") || !strings.Contains(text, "account 100482-7\n") {
			t.Errorf("%s without a company:\n%s", purpose, text)
		}
	}
	l.Account, l.AccountTail, l.Username = "", "", ""
	for purpose, want := range map[enrollment.Purpose]string{
		enrollment.CodeTriedMail: "online access to your account", enrollment.LockedMail: "codes for your account",
		enrollment.EnrollmentClosedMail: "online access to an account with Mongotel.", enrollment.PasswordChangedMail: "The password of your log-in",
	} {
		if text := strings.ReplaceAll(compose(t, purpose, s, l).text, "\n", " "); !strings.Contains(text, want) || strings.Contains(text, "()") {
			t.Errorf("%s, of which little is known:\n%s", purpose, text)
		}
	}
}

func TestTheHTMLSaysWhatTheTextSays(t *testing.T) {
	s, l := sample(t)
	for purpose, facts := range map[enrollment.Purpose][]string{
		enrollment.ActivationMail: {"Bob’sBuilding", "Bob&#39;s Building", "82-7", `href="https://mongo.billcenter.net/activate/AbC-_09"`, "3 days", "This was not you?",
			"Friday, November 20, 2026 at 8:05 AM (EST), with Firefox on Windows", `href="https://mongo.billcenter.net/activate/AbC-_09/not-me"`, `href="https://mongo.billcenter.net/login"`, "(718) 942-9990", "611"},
		enrollment.ResetMail:  {"Bob’sBuilding", `href="https://mongo.billcenter.net/activate/AbC-_09"`, "You did not ask for this?", "(718) 942-9990", "611"},
		enrollment.NoticeMail: {"100482-7", "Bob&#39;s Building", "Friday, November 20, 2026 at 8:05 AM (EST)", "(718) 942-9990", "611"},

		enrollment.CodeTriedMail:        {"100482-7", "Bob&#39;s Building", "Friday, November 20, 2026 at 8:05 AM (EST)", "nobody got in", "tell us", "(718) 942-9990", "611"},
		enrollment.LockedMail:           {"100482-7", "Bob&#39;s Building", "Friday, November 20, 2026 at 8:05 AM (EST)", "Nobody got in", "tell us", "(718) 942-9990", "611"},
		enrollment.EnrollmentClosedMail: {"82-7", "Bob&#39;s Building", "Friday, November 20, 2026 at 8:05 AM (EST)", "Billing closed this account", "call us", "(718) 942-9990", "611"},
		enrollment.PasswordChangedMail:  {"Bob’sBuilding", "Friday, November 20, 2026 at 8:05 AM (EST)", "set a new password at once", "tell us", "(718) 942-9990", "611"},
	} {
		html := compose(t, purpose, s, l).html
		for _, fact := range append(facts, `<html lang="en"`, `name="color-scheme" content="light dark"`, "prefers-color-scheme: dark") {
			if !strings.Contains(html, fact) {
				t.Errorf("%s: the HTML lacks %s", purpose, fact)
			}
		}
		for _, foreign := range []string{"<img", "<script", "<link", "url(", "ZgotmplZ"} {
			if strings.Contains(html, foreign) {
				t.Errorf("%s: the HTML has %s", purpose, foreign)
			}
		}
	}
}

func TestNobodyElsesTextBecomesMarkupOrHeader(t *testing.T) {
	s, l := sample(t)
	evil := "Evil</strong><a href=\"https://evil.example\">Co</a>\r\n.\r\nBcc: all@evil.example\r\n\u2028MAIL FROM:<x@evil.example>"
	l.Username, l.Company, l.Account, l.AccountTail, l.Browser, l.System = oneLine(evil), oneLine(evil), oneLine(evil), oneLine(evil), oneLine(evil), oneLine(evil)
	l.Brand = evil // the tenant's own, and still no way into the header
	for _, purpose := range enrollment.Purposes {
		got := compose(t, purpose, s, l)
		if got.header.Has("Bcc") {
			t.Errorf("%s: a header was added", purpose)
		}
		if subject, err := got.header.Subject(); err != nil || strings.ContainsAny(subject, "\r\n") {
			t.Errorf("%s: the subject is %q, %v", purpose, subject, err)
		}
		to, err := got.header.AddressList("To")
		if err != nil || len(to) != 1 {
			t.Errorf("%s: To is %v, %v", purpose, to, err)
		}
		if strings.Contains(got.html, `href="https://evil.example"`) || strings.Contains(got.html, "</strong><a") {
			t.Errorf("%s: markup came through", purpose)
		}
	}
	l.Brand = "Mongotel"
	for line := range strings.Lines(compose(t, enrollment.ActivationMail, s, l).text) {
		if strings.HasPrefix(line, "Bcc:") || strings.HasPrefix(line, ".") || strings.HasPrefix(line, "MAIL") {
			t.Errorf("somebody else's text begins the line %q", line)
		}
	}
}

func TestWhatIsNotKnownIsLeftOut(t *testing.T) {
	s, l := sample(t)
	l.Company, l.AccountTail, l.Support.ShortCode, l.Browser, l.LogIn = "", "", "", "", ""
	if text := compose(t, enrollment.ActivationMail, s, l).text; !strings.Contains(text, "online access to an account\nwith Mongotel.\n") || strings.Contains(text, "611") {
		t.Errorf("text:\n%s", text)
	}
	if text := compose(t, enrollment.ActivationMail, s, l).text; !strings.Contains(text, "8:05 AM (EST).\nCancel the sign-up here:\n") || strings.Contains(text, "has a log-in") {
		t.Errorf("text:\n%s", text)
	}
	if text := compose(t, enrollment.NoticeMail, s, l).text; strings.Contains(text, "()") {
		t.Errorf("text:\n%s", text)
	}
}

// An event of a version that did not say when and how somebody signed up.
func TestAnOlderEventsMailSaysNothingOfWhen(t *testing.T) {
	s, l := sample(t)
	l.At, l.Browser = time.Time{}, ""
	for tag, want := range map[string]string{"en-US": "This was not you? Cancel the sign-up here:\n", "es-US": "¿No fue usted? Cancele el registro aquí:\n"} {
		l.Locale = speaking(t, tag)
		got := compose(t, enrollment.ActivationMail, s, l)
		if !strings.Contains(got.text, want) || strings.Contains(got.text+got.html, "0001") {
			t.Errorf("text:\n%s", got.text)
		}
	}
}

func TestHowLongALinkWorksInWords(t *testing.T) {
	c, err := newComposer()
	if err != nil {
		t.Fatal(err)
	}
	for d, want := range map[time.Duration][2]string{
		time.Minute: {"1 minute", "1 minuto"}, 90 * time.Minute: {"90 minutes", "90 minutos"}, time.Hour: {"1 hour", "1 hora"},
		24 * time.Hour: {"24 hours", "24 horas"}, 36 * time.Hour: {"36 hours", "36 horas"}, 48 * time.Hour: {"2 days", "2 días"},
		72 * time.Hour: {"3 days", "3 días"}, 30 * 24 * time.Hour: {"30 days", "30 días"}, 61 * time.Second: {"1 minute", "1 minuto"},
	} {
		for i, language := range locale.Languages {
			var got strings.Builder
			if err := c.text[language+"/activation"].ExecuteTemplate(&got, "lifetime", inWords(d)); err != nil {
				t.Fatal(err)
			}
			if got.String() != want[i] {
				t.Errorf("%s is %q, want %q", d, got.String(), want[i])
			}
		}
	}
}

func TestALetterIsInTheClosestLocaleThatTheTenantOffers(t *testing.T) {
	english, spanish := speaking(t, "en-US"), speaking(t, "es-US")
	both, latin, one := []locale.Locale{english, spanish}, []locale.Locale{spanish, english}, []locale.Locale{english}
	for _, c := range []struct {
		offered []locale.Locale
		asked   string
		want    locale.Locale
	}{
		{both, "en-US", english}, {both, "EN", english}, {both, "de-CH", english}, {both, "", english}, {both, "../en", english},
		{both, "es-US", spanish}, {both, "es", spanish}, {both, "es-MX", spanish}, {latin, "de-CH", spanish}, {latin, "", spanish}, {one, "es-US", english},
	} {
		h := Letterhead{Locales: c.offered, Support: Support{Hours: func(l locale.Locale) string { return "hours in " + l.Language() }}}
		l := h.letter(c.asked)
		if l.Locale != c.want || l.Support.Hours != "hours in "+c.want.Language() {
			t.Errorf("%q of %v is %s, with %s", c.asked, c.offered, l.Locale, l.Support.Hours)
		}
	}
}

func TestTheTextOfAnActivationMailInSpanish(t *testing.T) {
	s, l := sample(t)
	l.Locale, l.Support.Hours = speaking(t, "es-US"), "de lunes a viernes"
	got := compose(t, enrollment.ActivationMail, s, l)
	want := `Hola, Bob’sBuilding:

Usted se registró para consultar en línea la cuenta de Bob's Building
con Mongotel (número de cuenta terminado en 82-7).

Para terminar:

1. Abra este enlace:

   https://mongo.billcenter.net/activate/AbC-_09

2. Elija una contraseña en la página que se abre.
3. Inicie sesión con su nombre de usuario, Bob’sBuilding, y esa contraseña.

El enlace funciona durante 3 días:
hasta el lunes, 23 de noviembre de 2026, 8:05 a. m. (EST).

Esta dirección ya tiene un usuario. Puede agregarle la cuenta: inicie sesión
y elija «Agregar otra cuenta».

   https://mongo.billcenter.net/login

¿No fue usted? Alguien indicó su dirección el
viernes, 20 de noviembre de 2026, 8:05 a. m. (EST), con Firefox en Windows.
Cancele el registro aquí:

   https://mongo.billcenter.net/activate/AbC-_09/not-me

O no haga nada: si nadie elige una contraseña, termina solo y nadie obtiene
acceso.

¿Tiene preguntas? Llame al (718) 942-9990, o al 611 desde una de nuestras líneas, o escriba a helpdesk@mongotel.example. Atendemos de lunes a viernes.
`
	if diff := cmp.Diff(want, strings.ReplaceAll(got.text, "\u00a0", " ")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if subject, err := got.header.Subject(); err != nil || subject != "Termine de registrar su cuenta de Mongotel" {
		t.Errorf("subject %q, %v", subject, err)
	}
	if got.header.Get("Content-Language") != "es" || !strings.Contains(got.html, `<html lang="es"`) {
		t.Error("the mail does not say that it is Spanish")
	}
}

func TestEveryMailIsWholeInEveryLanguage(t *testing.T) {
	s, l := sample(t)
	for _, purpose := range enrollment.Purposes {
		lines := map[string]int{}
		for _, tag := range []string{"en-US", "es-US"} {
			l.Locale = speaking(t, tag)
			got := compose(t, purpose, s, l)
			lines[tag] = strings.Count(got.text, "\n\n")
			for _, hole := range []string{"<no value>", "%!", "ZgotmplZ"} {
				if strings.Contains(got.text+got.html, hole) {
					t.Errorf("%s in %s has %s", purpose, tag, hole)
				}
			}
			if tag == "es-US" {
				for _, english := range []string{" the ", "password", " link ", "Questions", " account ", " was "} {
					if strings.Contains(got.text+got.html, english) {
						t.Errorf("%s in Spanish says %q", purpose, english)
					}
				}
			}
		}
		if lines["en-US"] != lines["es-US"] {
			t.Errorf("%s: %d paragraphs in English, %d in Spanish", purpose, lines["en-US"], lines["es-US"])
		}
	}
}

func TestTheTailOfAnAccountNumber(t *testing.T) {
	for account, want := range map[string]string{"100482-7": "82-7", "12": "2", "1": "", "12345": "45", "Ä́ÖÜ-12345678": "5678"} {
		if got := tail(account); got != want {
			t.Errorf("%q ends in %q, want %q", account, got, want)
		}
	}
}

func TestAMessageIDIsTheSameForTheSameMail(t *testing.T) {
	base, err := url.Parse("https://mongo.billcenter.net:8443/x")
	if err != nil {
		t.Fatal(err)
	}
	m := enrollment.Mail{Enrollment: uuid.MustParse("0191f3a0-0000-7000-8000-000000000001"), Purpose: enrollment.ActivationMail, Generation: 2, Number: 3}
	if got, want := messageID(m, base), "0191f3a0-0000-7000-8000-000000000001.activation.2.3@mongo.billcenter.net"; got != want {
		t.Errorf("Message-ID = %s, want %s", got, want)
	}
}
