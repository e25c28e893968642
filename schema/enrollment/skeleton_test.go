package enrollment_test

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/text/secure/precis"
	"pgregory.net/rapid"

	"github.com/mongotel/billcenter/schema/enrollment"
)

func TestUsernamesThatLookAlikeHaveOneSkeleton(t *testing.T) {
	for _, alike := range [][]string{
		{"bob1", "bobl", "BobI", "BOBL", "bob|"},
		{"b0b", "bob", "BOB", "bоb", "ВОВ"}, // the last two with Cyrillic letters
		{"paypal", "раура1", "РАУРАӀ", "ｐａｙｐａｌ"},
		{"tom", "torn"},
		{"Bob’sBuilding", "bob'sbuilding", "Bob`sBuilding", "Ｂｏｂ＇ｓＢｕｉｌｄｉｎｇ"},
		{"josé", "jose\u0301", "JOSÉ"},
		{"scope", "ѕсоре"},
		{"οօ0o", "oooo"},
	} {
		want := enrollment.Skeleton(alike[0])
		for _, name := range alike[1:] {
			if got := enrollment.Skeleton(name); got != want {
				t.Errorf("%s looks like %q, %s like %q", alike[0], want, name, got)
			}
		}
	}
	for _, different := range [][2]string{
		{"bob", "bobby"}, {"jose", "josé"}, {"ada", "ida"}, {"bob-2", "bob-3"}, {"東京", "京東"}, {"ольга", "olga"}, {"bill", "bull"}, {"", "a"},
	} {
		if enrollment.Skeleton(different[0]) == enrollment.Skeleton(different[1]) {
			t.Errorf("%s and %s are told to look alike", different[0], different[1])
		}
	}
}

// Who logs in as one name must not be shown as another: spellings with one key may differ in nothing but what capitals look like.
func TestASkeletonDependsOnTheDisplayFormAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOfN(rapid.RuneFrom([]rune("abilmnorO01I'’éñжЖαΑß٣")), 3, 12, -1).Draw(t, "name")
		u, err := enrollment.ParseUsername(name)
		if err != nil {
			t.Skip()
		}
		s := enrollment.Skeleton(u.Display)
		if s == "" || s != enrollment.Skeleton(name) {
			t.Fatalf("%q: %q, typed %q", u.Display, s, enrollment.Skeleton(name))
		}
	})
}

var update = flag.Bool("update", false, "write confusables.txt from Unicode's table in testdata")

// TestConfusablesAreUnicodes makes the embedded table from Unicode's own: what a username can be made of, in the form in which
// it is looked up. -update writes it, after another version of Unicode's was put into testdata.
func TestConfusablesAreUnicodes(t *testing.T) {
	file, err := os.ReadFile("confusables.txt")
	if err != nil {
		t.Fatal(err)
	}
	head := bytes.LastIndex(file, []byte("\n#")) // the notices, which stay
	head += 2 + bytes.IndexByte(file[head+1:], '\n')
	want := append(bytes.Clone(file[:head]), reduced(t, unicodes(t))...)
	if *update {
		if err := os.WriteFile("confusables.txt", want, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(file, want) {
		t.Errorf("confusables.txt is not what Unicode's table gives: go test ./schema/enrollment -run Confusables -update")
	}
	if !bytes.Contains(want[:head], []byte("version "+enrollment.SkeletonVersion)) {
		t.Error("confusables.txt names another version")
	}
	if n := bytes.Count(want[head:], []byte("\n")); n < 1500 {
		t.Errorf("%d lines: most of the table is missing", n)
	}
}

func unicodes(t *testing.T) string {
	t.Helper()
	packed, err := os.Open("testdata/confusables-" + enrollment.SkeletonVersion + ".txt.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	file, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "# Version: "+enrollment.SkeletonVersion+"\n") {
		t.Error("testdata has another version than it says")
	}
	return strings.TrimPrefix(string(text), "\ufeff")
}

// reduced keeps the lines whose character a username may have; what a reader cannot see or type here needs no look-alike.
func reduced(t *testing.T, text string) []byte {
	t.Helper()
	allowed := precis.UsernameCaseMapped.Allowed()
	var out bytes.Buffer
	for line := range strings.Lines(text) {
		data, _, _ := strings.Cut(line, "#")
		columns := strings.Split(data, ";")
		if len(columns) < 3 {
			continue
		}
		source, prototype := strings.TrimSpace(columns[0]), strings.TrimSpace(columns[1])
		var r rune
		if _, err := fmt.Sscanf(source, "%X", &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if allowed.Contains(r) {
			fmt.Fprintf(&out, "%s %s\n", source, prototype)
		}
	}
	return out.Bytes()
}
