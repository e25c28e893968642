package enrollment

import (
	_ "embed"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

// SkeletonVersion names the tables and the way by which Skeleton works. Skeletons of two versions must not be compared, so
// it changes with either.
const SkeletonVersion = "15.0.0"

// Skeleton returns what a username looks like: the same for two that a reader would take for one another, as Unicode TR 39
// (confusable detection) says. It is made of the display form, since that is what people see: bob1, bobl and bobI have one
// skeleton. Case goes after the look-alikes, since names are compared without it: b0b looks like BOB, and that is bob.
// A skeleton is for comparing and never for showing.
func Skeleton(display string) string {
	var b strings.Builder
	prototypes := confusables()
	for _, r := range norm.NFD.String(width.Fold.String(strings.Map(foldApostrophe, display))) {
		if p, ok := prototypes[r]; ok {
			b.WriteString(p)
		} else {
			b.WriteRune(r)
		}
	}
	return norm.NFD.String(strings.ToLower(b.String()))
}

//go:embed confusables.txt
var confusablesText string

// confusables are the characters that look like others, and what they look like.
var confusables = sync.OnceValue(func() map[rune]string {
	table := make(map[rune]string)
	for line := range strings.Lines(confusablesText) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		points := strings.Fields(line)
		var prototype strings.Builder
		for _, p := range points[1:] {
			prototype.WriteRune(codePoint(p))
		}
		table[codePoint(points[0])] = prototype.String()
	}
	return table
})

func codePoint(hex string) rune {
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		panic(err) // the table is a part of the program, and a test reads all of it
	}
	return rune(n)
}
