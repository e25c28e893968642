package portal

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"html/template"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template/parse"
	"time"

	"golang.org/x/net/html"

	"github.com/mongotel/billcenter/schema/locale"
	"github.com/mongotel/billcenter/schema/store/storetest"
)

// said collects what the portal says, by the English sentence, with one of the places where it is said.
type said map[string]string

func everythingSaid(t *testing.T) said {
	t.Helper()
	all := said{}
	all.inGo(t)
	for _, v := range voicesOfOne(t) {
		for page, set := range v.pages {
			for _, one := range set.Templates() {
				if one.Tree != nil {
					all.inTemplate(t, page+", "+one.Name(), one)
				}
			}
		}
	}
	return all
}

// inGo reads the package's own calls of say and step; their sentence must be a literal, or nobody could look it up here.
func (all said) inGo(t *testing.T) {
	files := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			selector, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || selector.Sel.Name != "say" && selector.Sel.Name != "step" {
				return true
			}
			arg := call.Args[0]
			if selector.Sel.Name == "step" {
				arg = call.Args[1]
			}
			literal, ok := arg.(*ast.BasicLit)
			if !ok {
				if name != "texts.go" {
					t.Errorf("%s: what is said must be written here", files.Position(call.Pos()))
				}
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			all[text] = files.Position(call.Pos()).String()
			return true
		})
	}
}

// inTemplate reads the say in a template. Words outside of it would be the same in every language.
func (all said) inTemplate(t *testing.T, place string, set *template.Template) {
	var walk func(n parse.Node)
	commands := func(p *parse.PipeNode) {
		if p == nil {
			return
		}
		for _, c := range p.Cmds {
			for i, arg := range c.Args {
				if nested, ok := arg.(*parse.PipeNode); ok {
					walk(nested)
				}
				if word, ok := arg.(*parse.IdentifierNode); !ok || word.Ident != "say" {
					continue
				}
				if i+1 == len(c.Args) {
					t.Errorf("%s: say without a sentence", place)
				} else if text, ok := c.Args[i+1].(*parse.StringNode); !ok {
					t.Errorf("%s: say %s: what is said must be written here", place, c.Args[i+1])
				} else {
					all[text.Text] = place
				}
			}
		}
	}
	branch := func(b *parse.BranchNode) {
		commands(b.Pipe)
		walk(b.List)
		if b.ElseList != nil {
			walk(b.ElseList)
		}
	}
	walk = func(n parse.Node) {
		switch n := n.(type) {
		case *parse.ListNode:
			for _, child := range n.Nodes {
				walk(child)
			}
		case *parse.ActionNode:
			commands(n.Pipe)
		case *parse.PipeNode:
			commands(n)
		case *parse.TemplateNode:
			commands(n.Pipe)
		case *parse.IfNode:
			branch(&n.BranchNode)
		case *parse.RangeNode:
			branch(&n.BranchNode)
		case *parse.WithNode:
			branch(&n.BranchNode)
		}
	}
	walk(set.Tree.Root)
}

func TestEveryTextIsTranslatedAndEveryTranslationIsSaid(t *testing.T) {
	all := everythingSaid(t)
	if len(all) < 100 {
		t.Fatalf("%d texts: the walk has missed the most of them", len(all))
	}
	for _, language := range locale.Languages[1:] {
		texts := readTexts(language)
		for _, text := range slices.Sorted(maps.Keys(all)) {
			if texts[text] == "" {
				t.Errorf("texts/%s.yaml lacks %q (%s)", language, text, all[text])
			}
		}
		for _, text := range slices.Sorted(maps.Keys(texts)) {
			if all[text] == "" {
				t.Errorf("texts/%s.yaml has %q, which nobody says", language, text)
			}
		}
	}
}

var (
	verb      = regexp.MustCompile(`%(\[(\d+)\])?[a-z]`)
	markup    = regexp.MustCompile(`</?[a-z]+[^>]*>|[\[\]]`)
	reordered = regexp.MustCompile(`%\[\d+\]`)
)

// TestATranslationTakesWhatItsSentenceTakes compares arguments, markup, links and the brackets around what leads on.
func TestATranslationTakesWhatItsSentenceTakes(t *testing.T) {
	parts := func(text string) (all []string) {
		for i, v := range verb.FindAllStringSubmatch(text, -1) {
			position := strconv.Itoa(i + 1)
			if v[2] != "" {
				position = v[2]
			}
			all = append(all, position+v[0][len(v[0])-1:])
		}
		all = append(all, markup.FindAllString(reordered.ReplaceAllString(text, "%"), -1)...)
		slices.Sort(all)
		return all
	}
	for _, language := range locale.Languages[1:] {
		for english, translated := range readTexts(language) {
			if want, got := parts(english), parts(translated); !slices.Equal(want, got) {
				t.Errorf("%q takes %v, in %s %v", english, want, language, got)
			}
		}
	}
}

// wordsOutside are the texts of a template that are the same in every language: names, and the numbers in the drawing.
var wordsOutside = regexp.MustCompile(`^(Bill Center|ABCD-EFGH-2345|CSV)$`)

func TestTemplatesHaveNoWordsOfTheirOwn(t *testing.T) {
	files, err := fs.Glob(pageFiles, "pages/*.html")
	if err != nil {
		t.Fatal(err)
	}
	action := regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	for _, name := range files {
		source, err := fs.ReadFile(pageFiles, name)
		if err != nil {
			t.Fatal(err)
		}
		z := html.NewTokenizer(strings.NewReader(action.ReplaceAllString(string(source), "")))
		for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
			token := z.Token()
			if words := strings.Trim(token.Data, " \n–.,()"); kind == html.TextToken && strings.ContainsAny(strings.ToLower(words), "abcdefghijklmnopqrstuvwxyz") && !wordsOutside.MatchString(words) {
				t.Errorf("%s: %q is said in English only", name, words)
			}
			for _, a := range token.Attr {
				if slices.Contains([]string{"aria-label", "alt", "title", "placeholder"}, a.Key) && strings.TrimSpace(a.Val) != "" {
					t.Errorf("%s: %s=%q is said in English only", name, a.Key, a.Val)
				}
			}
		}
	}
}

// TestNoEnglishIsLeftOnASpanishPage looks for the sentences themselves, wherever they may have been said.
func TestNoEnglishIsLeftOnASpanishPage(t *testing.T) {
	texts := readTexts("es")
	var english []string
	for sentence, spanish := range texts {
		for _, piece := range regexp.MustCompile(verb.String()+"|"+markup.String()).Split(sentence, -1) {
			piece = strings.TrimSpace(piece)
			if len(strings.Fields(piece)) > 1 && !strings.Contains(spanish, piece) {
				english = append(english, piece)
			}
		}
	}
	for name, scene := range everyPage(t) {
		t.Run(name, func(t *testing.T) {
			page := render(t, "es-US", scene)
			checkStructure(t, page.body.Bytes())
			doc, err := html.Parse(strings.NewReader(page.body.String()))
			if err != nil {
				t.Fatal(err)
			}
			visible := readable(doc)
			for _, piece := range english {
				if strings.Contains(visible, piece) {
					t.Errorf("still says %q", piece)
				}
			}
			for _, wrong := range []string{"%!", "[", "]", "ZgotmplZ"} {
				if strings.Contains(visible, wrong) {
					t.Errorf("says %s: %s", wrong, visible)
				}
			}
			if got := page.header.Get("Content-Language"); got != "es-US" {
				t.Errorf("Content-Language %q", got)
			}
			if !strings.Contains(visible, "de lunes a viernes") || strings.Contains(visible, "Monday") {
				t.Error("support's hours are not in Spanish")
			}
		})
	}
}

// readable is all that is shown or read out: texts, and the attributes that are.
func readable(doc *html.Node) string {
	var all []string
	for n := range doc.Descendants() {
		if n.Type == html.TextNode {
			all = append(all, n.Data)
		}
		for _, a := range n.Attr {
			if a.Key == "aria-label" || a.Key == "alt" || a.Key == "title" {
				all = append(all, a.Val)
			}
		}
	}
	return strings.Join(strings.Fields(strings.Join(all, " ")), " ")
}

func TestALanguageIsFound(t *testing.T) {
	for _, c := range []struct {
		name, query, cookie, browser, want string
	}{
		{"nothing known", "", "", "", "en-US"},
		{"the browser's", "", "", "es-MX,es;q=0.9,en;q=0.8", "es-US"},
		{"chosen before, whatever the browser says", "", "en-US", "es-MX", "en-US"},
		{"chosen now, whatever was chosen before", "?lang=es-US", "en-US", "en", "es-US"},
		{"chosen by the language alone", "?lang=es", "", "en", "es-US"},
		{"a choice that there is not", "?lang=fr", "", "es", "es-US"},
		{"a choice that is nonsense", "?lang=%00%22%3E", "<script>", "es", "es-US"},
		{"a browser whose language we have not", "", "", "fr-FR", "en-US"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newFront(t)
			header := map[string]string{"Accept-Language": c.browser}
			if c.cookie != "" {
				header["Cookie"] = "language=" + c.cookie
			}
			p := s.customer().ask("GET", "/signup"+c.query, "", header)
			if got := p.Header.Get("Content-Language"); got != c.want {
				t.Errorf("Content-Language %q, want %q", got, c.want)
			}
			if !strings.Contains(string(p.body), `<html lang="`+c.want+`">`) {
				t.Errorf("the page does not say that it is %s", c.want)
			}
			if vary := p.Header.Get("Vary"); !strings.Contains(vary, "Accept-Language") || !strings.Contains(vary, "Cookie") {
				t.Errorf("Vary %q", vary)
			}
			checkStructure(t, p.body)
		})
	}
}

func TestAChosenLanguageIsKept(t *testing.T) {
	s := newFront(t)
	c := s.customer()
	for _, link := range []string{"?lang=en-US", "?lang=es-US"} {
		if c.get("/login").find(s, "href", link) == nil {
			t.Fatalf("no link to %s", link)
		}
	}
	c.get("/login?lang=es-US").is(s, 200, "Iniciar sesión")
	c.get("/signup").is(s, 200, "Regístrese")
	c.post("/login", nil).is(s, 422, "Escriba el nombre de usuario.", "Escriba la contraseña.")
	c.get("/nowhere").is(s, 404, "Esta página no existe")
	c.get("/signup?lang=en").is(s, 200, "Sign up for an Account")
	c.get("/login").is(s, 200, "Log in")
}

// TestTheLanguageLinksLeadSomewhere asks for them on pages that answer a POST.
func TestTheLanguageLinksLeadSomewhere(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	c.signUp()
	for path, here := range map[string]string{"/signup/resend": "/signup/check-email?lang=es-US", "/signup": "?lang=es-US", "/account": "/?lang=es-US"} {
		if p := c.post(path, nil); p.find(s, "href", here) == nil {
			t.Errorf("%s, answered with %d, has no link to %s", path, p.StatusCode, here)
		}
	}
	if p := c.get("/signup?x=1"); p.find(s, "href", "?lang=es-US&x=1") == nil {
		t.Error("the link forgets the rest of the address")
	}
}

func TestOneLanguageIsNoChoice(t *testing.T) {
	r := asked(t, "en-US")
	tenantIn(r.Context()).Locales = tenantIn(r.Context()).Locales[:1]
	if links := languageLinks(r, ""); links != nil {
		t.Errorf("links: %v", links)
	}
}

// TestNobodyLearnsInSpanishEither is TestNobodyLearnsWhichAccountsExist for the other language.
func TestNobodyLearnsInSpanishEither(t *testing.T) {
	s := newScene(t)
	answer := func(number, code string) string {
		c := s.customer()
		c.get("/signup?lang=es").is(s, 200, "Regístrese")
		p := c.signUp("account_number", number, "registration_code", code, "request_id", "request-0001")
		p.is(s, http.StatusUnprocessableEntity, "no se corresponden")
		return strings.NewReplacer(number, "NUMBER", code, "CODE").Replace(string(p.body))
	}
	if unknown, wrong := answer("999999-9", code), answer(accountNumber, "7F3K-9QWD-M2XB"); unknown != wrong {
		t.Error("unknown account and wrong code differ in Spanish")
	}
}

func TestTheLocaleOfASignUpIsThatOfItsPage(t *testing.T) {
	s := newScene(t)
	c := s.customer()
	c.get("/signup?lang=es")
	c.signUp().leadsTo(s, "/signup/check-email")
	if got := storetest.One[string](t, s.db, `SELECT locale FROM enrollments`); got != "es-US" {
		t.Errorf("the enrollment is in %q", got)
	}
	if mail := storetest.One[string](t, s.db, `SELECT body FROM outbox WHERE subject = 'mail.mongo.activation.requested'`); !strings.Contains(mail, `"locale":"es-US"`) {
		t.Errorf("the mail is asked for as %s", mail)
	}
}

// A page in one language asks for no mail in another, whichever language the sign-up was in.
func TestAMailAskedForAgainIsInTheLanguageOfItsPage(t *testing.T) {
	for signedUp, asked := range map[string]string{"en-US": "es-US", "es-US": "en-US"} {
		t.Run(asked, func(t *testing.T) {
			s := newScene(t)
			c := s.customer()
			c.get("/signup?lang=" + signedUp)
			c.signUp().leadsTo(s, "/signup/check-email")
			asks := func(how string, ask func() page) {
				t.Helper()
				s.db.DB.MustExec(`DELETE FROM outbox`)
				ask().leadsTo(s, "/signup/check-email")
				mail := storetest.One[string](t, s.db, `SELECT string_agg(body, '') FROM outbox WHERE subject = 'mail.mongo.activation.requested'`)
				if !strings.Contains(mail, `"locale":"`+asked+`"`) {
					t.Errorf("%s: asked for %s", how, mail)
				}
			}
			c.get("/signup/check-email?lang=" + asked)
			s.db.Pass(t, 2*time.Minute)
			asks("again", func() page { return c.post("/signup/resend", nil) })
			s.db.DB.MustExec(`UPDATE enrollments SET locale = $1`, signedUp)
			asks("another address", func() page { return c.post("/signup/email", url.Values{"email": {"b@bobsbuilding.example"}}) })
			s.db.DB.MustExec(`UPDATE enrollments SET locale = $1`, signedUp)
			link := s.link("b@bobsbuilding.example")
			s.db.Pass(t, 8*24*time.Hour)
			asks("a new one for an expired link", func() page { return c.post(link, url.Values{"renew": {"1"}}) })
		})
	}
}

func TestWhatIsTypedIsNoMarkup(t *testing.T) {
	v := voiceIn(asked(t, "es-US").Context())
	if got, want := v.write("One more step to the account of <b>%s</b>.", "<i>x</i>"), "<b>&lt;i&gt;x&lt;/i&gt;</b>"; !strings.Contains(string(got), want) {
		t.Errorf("%s has no %s", got, want)
	}
	if got := fmt.Sprint(v.step("/login", "If it is yours, [log in].")); !strings.Contains(got, "/login") {
		t.Errorf("step: %s", got)
	}
}

func TestWait(t *testing.T) {
	waits := []time.Duration{time.Millisecond, 30 * time.Second, 59*time.Second + 1, 91 * time.Second, 15 * time.Minute, 2*time.Hour + time.Nanosecond}
	for _, c := range []struct{ in, want string }{
		{"en-US", "1 second, 30 seconds, 60 seconds, 2 minutes, 15 minutes, 3 hours"},
		{"es-US", "1 segundo, 30 segundos, 60 segundos, 2 minutos, 15 minutos, 3 horas"},
	} {
		v := voiceIn(asked(t, c.in).Context())
		var got []string
		for _, d := range waits {
			got = append(got, v.wait(d))
		}
		if all := strings.Join(got, ", "); all != c.want {
			t.Errorf("%s: %s, want %s", c.in, all, c.want)
		}
	}
}
