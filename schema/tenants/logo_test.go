package tenants_test

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mongotel/billcenter/schema/tenants"
)

const plainSVG = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 1"><defs><path id="p" d="M0 0h2v1z"/></defs><use href="#p"/></svg>`

func picture(t *testing.T, width, height int) string {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// branded loads a file whose first tenant has a logo.
func branded(t *testing.T, named, lies, content string) (*tenants.Directory, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"tenants.yaml": strings.Replace(sane, `onPrimary: "#fff"`, `onPrimary: "#fff"`+"\n      logo: "+named, 1), lies: content} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return tenants.Load(filepath.Join(dir, "tenants.yaml"))
}

func TestALogoLiesBesideTheFile(t *testing.T) {
	for content, kind := range map[string]string{plainSVG: "image/svg+xml", picture(t, 40, 20): "image/png"} {
		d, err := branded(t, "acme.pic", "acme.pic", content)
		if err != nil {
			t.Fatal(err)
		}
		l := d.All()[0].Brand.Logo
		if l == nil || l.ContentType != kind || string(l.Content) != content || l.Version == "" {
			t.Errorf("logo = %+v", l)
		}
		if d.All()[1].Brand.Logo != nil {
			t.Error("the other tenant has one too")
		}
	}
}

func TestADrawingRefersToItself(t *testing.T) {
	for _, inside := range []string{
		`<style>.a{fill:url(#p)} @media print{.a{fill:none}}</style>`, `<g fill="url(#p)" style="mask: url('#p')"/>`, `<g clip-path='url("#p")'/>`,
		`<image href="data:image/png;base64,iVBORw0KGgo="/>`, `<metadata><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></metadata>`, `<title>C:\new</title>`,
	} {
		if _, err := branded(t, "acme.svg", "acme.svg", `<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">`+
			strings.Replace(plainSVG, "<use", inside+"<use", 1)); err != nil {
			t.Errorf("%s: %v", inside, err)
		}
	}
}

// A pipe has no end, and the program would wait for one before it says anything.
func TestALogoIsAFile(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "acme.svg"), 0o600); err != nil {
		t.Skip(err)
	}
	told := make(chan error, 1)
	go func() {
		file := filepath.Join(dir, "tenants.yaml")
		if err := os.WriteFile(file, []byte(strings.Replace(sane, `onPrimary: "#fff"`, `onPrimary: "#fff"`+"\n      logo: acme.svg", 1)), 0o600); err != nil {
			told <- err
			return
		}
		_, err := tenants.Load(file)
		told <- err
	}()
	select {
	case err := <-told:
		if err == nil || !strings.Contains(err.Error(), "no plain file") {
			t.Errorf("error = %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for a pipe")
	}
}

func TestALogoThatCannotBeOneIsRefused(t *testing.T) {
	with := func(inside string) string { return strings.Replace(plainSVG, "<use", inside+"<use", 1) }
	for _, tt := range []struct{ name, named, content, want string }{
		{"none there", "other.svg", plainSVG, "no such file"},
		{"elsewhere", "../acme.svg", plainSVG, "not in the tenants file's folder"},
		{"a page", "acme.svg", "<html></html>", "begins with <html>"},
		{"a text", "acme.svg", "ACME", "neither a PNG nor an SVG"},
		{"nothing", "acme.svg", "", "neither a PNG nor an SVG"},
		{"a broken drawing", "acme.svg", plainSVG[:40], "neither a PNG nor an SVG"},
		{"half a picture", "acme.svg", picture(t, 40, 20)[:20], "no PNG that can be read"},
		{"a wall", "acme.svg", picture(t, 2001, 1), "2001 by 1 pixels"},
		{"too much", "acme.svg", plainSVG + strings.Repeat(" ", 100<<10), "too large"},
		{"a script", "acme.svg", with(`<script>alert(1)</script>`), "holds <script>"},
		{"a handler", "acme.svg", with(`<g onload="alert(1)"/>`), "attribute onload"},
		{"a picture from elsewhere", "acme.svg", with(`<image href="https://example.com/x.png"/>`), "outside of it"},
		{"a picture within that nobody looked at", "acme.svg", with(`<image href="data:image/svg+xml,&lt;svg/&gt;"/>`), "outside of it"},
		{"a color from elsewhere", "acme.svg", with(`<g fill="url(https://example.com/x.svg#y)"/>`), "outside of it"},
		{"a style from elsewhere", "acme.svg", with(`<g style="fill: URL( 'https://example.com/x.svg#y' )"/>`), "outside of it"},
		{"a style hidden by escapes", "acme.svg", with(`<g style="fill:u\72l(https://example.com/x.svg#y)"/>`), "outside of it"},
		{"a style sheet's picture", "acme.svg", with(`<style>g{fill:url(https://example.com/x)}</style>`), "outside of it"},
		{"a style sheet's other one", "acme.svg", with(`<style><![CDATA[@import "https://example.com/x.css";]]></style>`), "outside of it"},
		{"a style sheet", "acme.svg", `<?xml-stylesheet href="https://example.com/x.css"?>` + plainSVG, "style sheet"},
		{"a page within", "acme.svg", with(`<h:embed xmlns:h="http://www.w3.org/1999/xhtml" src="https://example.com"/>`), "holds <embed>"},
		{"another place for all", "acme.svg", with(`<g xml:base="https://example.com/"/>`), "attribute base"},
		{"a motion", "acme.svg", with(`<animateTransform attributeName="transform"/>`), "holds <animateTransform>"},
		{"entities", "acme.svg", `<!DOCTYPE svg [<!ENTITY a "b">]>` + plainSVG, "entities"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := branded(t, tt.named, "acme.svg", tt.content)
			if err == nil || !strings.Contains(err.Error(), "tenants.yaml:19: brand.logo: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
		})
	}
}
