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
	f, err := os.Open(path)
	if err != nil {
		return nil, errors.Unwrap(err) // the path is told by the key
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
	for {
		token, err := d.Token()
		if err == io.EOF && depth > 0 {
			return nil
		}
		if err != nil {
			return errors.New("is neither a PNG nor an SVG that can be read")
		}
		switch e := token.(type) {
		case xml.Directive:
			if bytes.Contains(bytes.ToUpper(e), []byte("ENTITY")) {
				return errors.New("declares entities")
			}
		case xml.StartElement:
			if depth++; depth == 1 && (e.Name.Local != "svg" || e.Name.Space != "http://www.w3.org/2000/svg") {
				return fmt.Errorf("begins with <%s>, not with <svg> of http://www.w3.org/2000/svg", e.Name.Local)
			}
			if err := checkSVGElement(e); err != nil {
				return err
			}
		}
	}
}

func checkSVGElement(e xml.StartElement) error {
	switch strings.ToLower(e.Name.Local) {
	case "script", "foreignobject", "iframe", "audio", "video", "set", "animate":
		return fmt.Errorf("holds <%s>", e.Name.Local)
	}
	for _, a := range e.Attr {
		name, value := strings.ToLower(a.Name.Local), strings.TrimSpace(a.Value)
		switch {
		case strings.HasPrefix(name, "on"):
			return fmt.Errorf("has the attribute %s, which is a script", a.Name.Local)
		case name == "href" && !strings.HasPrefix(value, "#") && !strings.HasPrefix(value, "data:image/"):
			return errors.New("refers to something outside of it")
		}
	}
	return nil
}
