package enrollment

import (
	"regexp"
	"strings"
)

// The labels of the box at the bottom of a billing e-mail, as people copy them, in the languages that the portal speaks.
var (
	accountLabel = regexp.MustCompile(`(?i)(?:account\s*(?:number|no\.?)|n[uú]mero\s+de\s+cuenta)\s*[:#]?`)
	codeLabel    = regexp.MustCompile(`(?i)(?:registration\s*code|c[oó]digo\s+de\s+registro)\s*:?`)
)

// TakeApart reads what was pasted into one field but holds the label of another, such as the box's whole text
// "Account Number: 100482-7 Registration Code: 7F3K-9QWD-M2XA", in either order. What has no label of ours is returned as
// the two empty texts.
func TakeApart(pasted string) (accountNumber, code string) {
	a, c := accountLabel.FindStringIndex(pasted), codeLabel.FindStringIndex(pasted)
	value := func(label, other []int) string {
		if label == nil {
			return ""
		}
		end := len(pasted)
		if other != nil && other[0] >= label[1] {
			end = other[0]
		}
		return strings.TrimSpace(pasted[label[1]:end])
	}
	return value(a, c), value(c, a)
}
