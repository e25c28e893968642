package tenants

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Logo is the telecom's picture, checked when the tenants file is read.
type Logo struct {
	ContentType string // image/svg+xml or image/png
	Content     []byte
	Version     string // changes with the content
}

const (
	maxLogo   = 100 << 10 // bytes: it is on every page
	maxPixels = 2000      // of each side
)

// logo reads the file beside the tenants file that brand.logo names.
func (c *checker) logo(n tenantNode) *Logo {
	given := n.Brand.Logo
	if given.value == "" {
		return nil
	}
	if c.folder == "" {
		c.wrong(given.line, "brand.logo", "can be given only in a file for --tenants, beside which the picture lies")
		return nil
	}
	if !filepath.IsLocal(given.value) {
		c.wrong(given.line, "brand.logo", "%q is not in the tenants file's folder; put the picture there and name it, such as acme.svg", given.value)
		return nil
	}
	l, err := readLogo(filepath.Join(c.folder, given.value))
	if err != nil {
		c.wrong(given.line, "brand.logo", "%s: %v; give a plain SVG or PNG picture of at most %d kB", given.value, err, maxLogo>>10)
		return nil
	}
	return l
}

func readLogo(path string) (*Logo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, errors.Unwrap(err) // the path is told by the key
	}
	if !info.Mode().IsRegular() { // a pipe would be waited for
		return nil, errors.New("is no plain file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxLogo+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxLogo {
		return nil, errors.New("is too large")
	}
	l := &Logo{Content: content, ContentType: "image/png"}
	if bytes.HasPrefix(content, []byte("\x89PNG")) {
		err = checkPNG(content)
	} else {
		l.ContentType = "image/svg+xml"
		err = checkSVG(content)
	}
	sum := sha256.Sum256(content)
	l.Version = hex.EncodeToString(sum[:6])
	return l, err
}

func checkPNG(content []byte) error {
	size, err := png.DecodeConfig(bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("is no PNG that can be read: %w", err)
	}
	if size.Width > maxPixels || size.Height > maxPixels {
		return fmt.Errorf("has %d by %d pixels, more than %d by %d", size.Width, size.Height, maxPixels, maxPixels)
	}
	return nil
}

// checkSVG refuses what a picture has no need of: scripts, and whatever is fetched from elsewhere. The portal's policy forbids
// browsers both as well; what does not work should be known before a customer looks.
func checkSVG(content []byte) error {
	d := xml.NewDecoder(bytes.NewReader(content))
	depth := 0
	var styles strings.Builder // of all <style>, as browsers read them: without the comments between
	inStyle := false
	for {
		token, err := d.Token()
		if err == io.EOF && depth > 0 {
			return checkStyle(styles.String(), true)
		}
		if err != nil {
			return errors.New("is neither a PNG nor an SVG that can be read")
		}
		switch e := token.(type) {
		case xml.Directive:
			if bytes.Contains(bytes.ToUpper(e), []byte("ENTITY")) {
				return errors.New("declares entities")
			}
		case xml.ProcInst:
			if e.Target != "xml" {
				return fmt.Errorf("names a style sheet or another helper (<?%s?>)", e.Target)
			}
		case xml.StartElement:
			if depth++; depth == 1 && (e.Name.Local != "svg" || e.Name.Space != svgSpace) {
				return fmt.Errorf("begins with <%s>, not with <svg> of %s", e.Name.Local, svgSpace)
			}
			if err := checkSVGElement(e); err != nil {
				return err
			}
			inStyle = e.Name.Local == "style"
		case xml.EndElement:
			inStyle = false
		case xml.CharData:
			if inStyle {
				styles.Write(e)
			}
		}
	}
}

const svgSpace = "http://www.w3.org/2000/svg"

var errOutside = errors.New("refers to something outside of it")

func checkSVGElement(e xml.StartElement) error {
	name := strings.ToLower(e.Name.Local)
	switch {
	case e.Name.Space == "http://www.w3.org/1999/xhtml",
		strings.HasPrefix(name, "animate"),
		slices.Contains([]string{"script", "handler", "foreignobject", "iframe", "audio", "video", "set"}, name):
		return fmt.Errorf("holds <%s>", e.Name.Local)
	}
	for _, a := range e.Attr {
		name, value := strings.ToLower(a.Name.Local), strings.TrimSpace(a.Value)
		switch {
		case strings.HasPrefix(name, "on"):
			return fmt.Errorf("has the attribute %s, which is a script", a.Name.Local)
		case name == "base":
			return fmt.Errorf("has the attribute %s, by which references lead elsewhere", a.Name.Local)
		case name == "href" && !isWithin(value):
			return errOutside
		case a.Name.Space == "": // those of drawing programs say where the author's files lie, and no browser reads them
			if err := checkStyle(value, name == "style"); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkStyle looks for what CSS would fetch, in a style or in an attribute that may be one. An escape can hide it, and
// pictures need none.
func checkStyle(css string, all bool) error {
	css = strings.ToLower(css)
	if strings.Contains(css, `\`) && (all || strings.Contains(css, "(")) || all && strings.Contains(css, "@import") || strings.Contains(css, "image-set(") {
		return errOutside
	}
	for _, after := range strings.Split(css, "url(")[1:] {
		if to := strings.TrimLeft(after, " \t\r\n\f'\""); !isWithin(to) && !strings.HasPrefix(to, "data:font/") && !strings.HasPrefix(to, "data:application/") {
			return errOutside
		}
	}
	return nil
}

// isWithin reports whether a reference leads to a part of the drawing, or holds a picture that cannot refer to anything.
func isWithin(to string) bool {
	return strings.HasPrefix(to, "#") || strings.HasPrefix(to, "data:image/") && !strings.HasPrefix(to, "data:image/svg")
}
