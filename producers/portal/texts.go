package portal

import (
	"context"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/message/catalog"

	"github.com/mongotel/billcenter/schema/locale"
	"github.com/mongotel/billcenter/schema/tenants"
)

// The English sentences stand where they are said, in templates and in Go, and are the keys of the others: texts/es.yaml
// has one line for each. A test finds those that are missing, and those that nobody says any more.
//
//go:embed texts/*.yaml
var textFiles embed.FS

// voice is the portal in one locale: its words, its way to write dates and amounts, and the pages that were parsed with them.
type voice struct {
	locale.Locale
	printer *message.Printer
	words   []string // of passphrases
	pages   pages
}

// say returns a sentence in the voice's language. The English one is both key and format; another language may take the
// arguments in another order (%[2]s). It is plain text: pages escape it.
func (v *voice) say(text string, args ...any) string { return v.printer.Sprintf(text, args...) }

// write is `say` of the templates, where a sentence may hold markup around its arguments: say "Account of <b>%s</b>" .Name.
// The markup is ours and stays; arguments are escaped, unless they are such sentences themselves.
func (v *voice) write(text string, args ...any) template.HTML {
	for i, arg := range args {
		switch arg := arg.(type) {
		case template.HTML, int, int64:
		case string:
			args[i] = template.HTMLEscapeString(arg)
		default:
			args[i] = template.HTMLEscapeString(fmt.Sprint(arg))
		}
	}
	return template.HTML(v.say(text, args...))
}

// step is an action: what stands in [brackets] leads to a page.
func (v *voice) step(link, text string, args ...any) action {
	said := v.say(text, args...)
	before, rest, _ := strings.Cut(said, "[")
	inside, after, _ := strings.Cut(rest, "]")
	if link == "" {
		return action{Before: said}
	}
	return action{Before: before, Link: link, Text: inside, After: after}
}

// wait writes how long somebody has to wait, never shorter than it is: "30 seconds", "2 minutes", "3 hours".
func (v *voice) wait(d time.Duration) string {
	up := func(unit time.Duration) int64 { return max(int64((d+unit-1)/unit), 1) }
	switch {
	case d > 2*time.Hour:
		return v.say("%d hours", up(time.Hour))
	case d > 90*time.Second:
		return v.say("%d minutes", up(time.Minute))
	case up(time.Second) == 1:
		return v.say("1 second")
	default:
		return v.say("%d seconds", up(time.Second))
	}
}

// date writes a day, moment a moment, on the clocks of the request's tenant.
func date(ctx context.Context, at time.Time) string {
	return voiceIn(ctx).Date(at.In(tenantIn(ctx).TimeZone))
}

func moment(ctx context.Context, at time.Time) string {
	return voiceIn(ctx).Moment(at.In(tenantIn(ctx).TimeZone))
}

// longMoment is when a link ends, in the words of the mail that brought it.
func longMoment(ctx context.Context, at time.Time) string {
	return voiceIn(ctx).LongMoment(at.In(tenantIn(ctx).TimeZone))
}

// voices are those of all tenants' locales, by tag.
type voices map[string]*voice

// newVoices panics on a text file that cannot be read: the files are part of the program.
func newVoices(d *tenants.Directory) voices {
	words := catalog.NewBuilder(catalog.Fallback(language.English))
	for _, name := range locale.Languages {
		for english, translated := range readTexts(name) {
			if err := words.SetString(language.MustParse(name), english, translated); err != nil {
				panic(fmt.Errorf("portal: texts/%s.yaml: %q: %w", name, english, err))
			}
		}
	}
	all := make(voices)
	for _, tenant := range d.All() {
		for _, l := range tenant.Locales {
			if all[l.String()] == nil {
				v := &voice{Locale: l, printer: message.NewPrinter(l.Tag(), message.Catalog(words)), words: wordsOf(l.Language())}
				v.pages = parsePages(v)
				all[l.String()] = v
			}
		}
	}
	return all
}

// readTexts returns the texts of a language by their English key. English has no file.
func readTexts(name string) map[string]string {
	if name == "en" {
		return nil
	}
	file, err := textFiles.ReadFile("texts/" + name + ".yaml")
	if err != nil {
		panic(fmt.Errorf("portal: texts: %w", err))
	}
	var texts map[string]string
	if err := yaml.Unmarshal(file, &texts); err != nil {
		panic(fmt.Errorf("portal: texts/%s.yaml: %w", name, err))
	}
	return texts
}

type voiceKey struct{}

// voiceIn returns the voice that answers a request.
func voiceIn(ctx context.Context) *voice { return ctx.Value(voiceKey{}).(*voice) }

// The language that somebody chose is in the address once, and in a cookie from then on.
const (
	languageChoice = "lang"
	languageCookie = "language"
	languageLife   = 365 * 24 * time.Hour
)

// listen finds the voice for a request: chosen with a link, chosen before, asked for by the browser, the tenant's first.
func (v voices) listen(r *http.Request, t *tenants.Tenant) *voice {
	before := ""
	if cookie, err := r.Cookie(cookieName(languageCookie, secure(t))); err == nil {
		before = cookie.Value
	}
	asked := strings.Join(r.Header.Values("Accept-Language"), ",")
	l, _ := locale.Closest(t.Locales, r.URL.Query().Get(languageChoice), before, asked)
	return v[l.String()]
}

// languageLink leads to the same page in another language.
type languageLink struct {
	Tag, Language, Name, Link string
	Current                   bool
}

// languageNames are what the people who read a language call it.
var languageNames = map[string]string{"en": "English", "es": "Español"}

// languageLinks is empty where there is no choice. here is the page's address where GET does not show it at the request's.
func languageLinks(r *http.Request, here string) []languageLink {
	offered := tenantIn(r.Context()).Locales
	if len(offered) < 2 {
		return nil
	}
	query := url.Values{}
	if here == "" && r.Method == http.MethodGet {
		query = r.URL.Query()
	}
	var links []languageLink
	for _, l := range offered {
		query.Set(languageChoice, l.String())
		links = append(links, languageLink{
			Tag: l.String(), Language: l.Language(), Name: languageNames[l.Language()], Link: here + "?" + query.Encode(),
			Current: l == voiceIn(r.Context()).Locale,
		})
	}
	return links
}

// speak says in the head which language the answer is in and what that depended on, and remembers a choice of the customer's.
func (p *portal) speak(w http.ResponseWriter, r *http.Request) {
	tag := voiceIn(r.Context()).String()
	w.Header().Set("Content-Language", tag)
	w.Header().Set("Vary", "Origin, Sec-Fetch-Site, Accept-Language, Cookie")
	if _, met := locale.Closest(tenantIn(r.Context()).Locales, r.URL.Query().Get(languageChoice)); met && viewIn(r.Context()) == nil {
		p.setNote(w, r, languageCookie, tag, int(languageLife.Seconds()))
	}
}
