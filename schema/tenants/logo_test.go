package tenants_test

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
