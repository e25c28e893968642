package tenants

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// leastContrast is WCAG 2.2 AA for text of ordinary size (1.4.3).
const leastContrast = 4.5

const white = "#ffffff"

func (c *checker) brand(n tenantNode) Brand {
	b := Brand{Primary: c.color(n, "brand.primary", n.Brand.Primary), OnPrimary: white, Logo: c.logo(n)}
	if n.Brand.OnPrimary.value != "" {
		b.OnPrimary = c.color(n, "brand.onPrimary", n.Brand.OnPrimary)
	}
	if b.Primary == "" || b.OnPrimary == "" {
		return b
	}
	if ratio := contrast(b.Primary, white); ratio < leastContrast {
		c.wrong(n.Brand.Primary.line, "brand.primary", "%s has a contrast of %s with white and needs 4.5:1 (WCAG 2.2 AA); %s has it", b.Primary, asRatio(ratio), darkened(b.Primary))
	}
	if ratio := contrast(b.Primary, b.OnPrimary); ratio < leastContrast && n.Brand.OnPrimary.value != "" {
		c.wrong(n.Brand.OnPrimary.line, "brand.onPrimary", "%s has a contrast of %s with primary and needs 4.5:1 (WCAG 2.2 AA); use %s", b.OnPrimary, asRatio(ratio), white)
	}
	return b
}

var colorPattern = regexp.MustCompile(`^#([0-9a-f]{3}|[0-9a-f]{6})$`)

// color returns "#rrggbb", or "" when the value is none.
func (c *checker) color(n tenantNode, key string, t text) string {
	value := strings.ToLower(t.value)
	switch {
	case value == "":
		c.wrong(max(t.line, n.line), key, `is missing; give a color in quotes, such as "#0f4c81"`)
		return ""
	case !colorPattern.MatchString(value):
		c.wrong(t.line, key, `%q is no color; give one as in "#0f4c81"`, t.value)
		return ""
	case len(value) == len("#rgb"):
		r, g, b := value[1:2], value[2:3], value[3:4]
		return "#" + r + r + g + g + b + b
	}
	return value
}

// contrast returns the contrast ratio of two colors, 1 to 21, as WCAG 2.2 defines it.
func contrast(a, b string) float64 {
	lighter, darker := luminance(a), luminance(b)
	if lighter < darker {
		lighter, darker = darker, lighter
	}
	return (lighter + 0.05) / (darker + 0.05)
}

func luminance(color string) float64 {
	channels := rgb(color)
	var linear [3]float64
	for i, channel := range channels {
		v := channel / 255
		if v <= 0.04045 {
			linear[i] = v / 12.92
		} else {
			linear[i] = math.Pow((v+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*linear[0] + 0.7152*linear[1] + 0.0722*linear[2]
}

func rgb(color string) [3]float64 {
	n, _ := strconv.ParseUint(color[1:], 16, 24) // colorPattern matched
	return [3]float64{float64(n >> 16), float64(n >> 8 & 0xff), float64(n & 0xff)}
}

// darkened returns the same hue, dark enough for white text.
func darkened(color string) string {
	c := rgb(color)
	for contrast(color, white) < leastContrast {
		for i := range c {
			c[i] *= 0.98
		}
		color = fmt.Sprintf("#%02x%02x%02x", int(c[0]), int(c[1]), int(c[2]))
	}
	return color
}

// asRatio rounds down, so that 4.49 does not read as what is needed.
func asRatio(ratio float64) string { return fmt.Sprintf("%.2f:1", math.Floor(ratio*100)/100) }
