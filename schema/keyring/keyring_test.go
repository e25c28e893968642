package keyring_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mongotel/billcenter/schema/keyring"
)

// Secrets of 32 bytes that a search finds in any output.
var (
	oldSecret = base64.StdEncoding.EncodeToString([]byte("the-old-secret-of-thirty-two-b-1"))
	newSecret = base64.StdEncoding.EncodeToString([]byte("the-new-secret-of-thirty-two-b-2"))

	oldKey = fmt.Sprintf(`{"id":"2026-11-a","createdAt":"2026-11-20T08:00:00Z","secret":%q}`, oldSecret)
	newKey = fmt.Sprintf(`{"id":"2027-05-a","createdAt":"2027-05-02T08:00:00+02:00","secret":%q}`, newSecret)
)

// ring parses a key ring of the keys.
func ring(t testing.TB, keys ...string) *keyring.Ring {
	t.Helper()
	r, err := keyring.Parse([]byte(`{"keys":[` + strings.Join(keys, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheNewestKeyIsFirstWhereverItStands(t *testing.T) {
	for _, r := range []*keyring.Ring{ring(t, oldKey, newKey), ring(t, newKey, oldKey)} {
		if got := r.KeyIDs(); !slices.Equal(got, []string{"2027-05-a", "2026-11-a"}) {
			t.Errorf("KeyIDs = %v", got)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, content, want string
	}{
		{"nothing", " \n", "restore it from a backup"},
		{"what is no JSON", "keys: []", "not JSON at byte 1"},
		{"half a file", `{"keys":[{"id":"a"`, "ends before its closing brace"},
		{"null", "null", "no keys"},
		{"a list", `[]`, "is no"},
		{"no keys", `{"keys":[]}`, "no keys"},
		{"two objects", `{"keys":[` + oldKey + `]}{}`, "follows the closing brace"},
		{"an unknown field", `{"keys":[` + oldKey + `],"pepper":"x"}`, `unknown field "pepper"`},
		{"a field in another case", `{"Keys":[` + oldKey + `]}`, `unknown field "Keys"`},
		{"a known field in the wrong place", `{"keys":[` + oldKey + `],"secret":"x"}`, `unknown field "secret"`},
		{"a field twice", `{"keys":[` + oldKey + `],"keys":[` + newKey + `]}`, `"keys" is there twice`},
		{"a field twice in a key", `{"keys":[{"id":"a","id":"b"}]}`, `"id" is there twice`},
		{"a key without an id", `{"keys":[{"createdAt":"2026-11-20T08:00:00Z"}]}`, `key 1: "id" must be`},
		{"an id with a space", `{"keys":[{"id":"a b"}]}`, `key 1: "id" must be`},
		{"an id of 33", `{"keys":[{"id":"` + strings.Repeat("a", 33) + `"}]}`, `key 1: "id" must be`},
		{"a key without a time", `{"keys":[{"id":"a","secret":"` + oldSecret + `"}]}`, `"a" has no "createdAt"`},
		{"a date for a time", `{"keys":[{"id":"a","createdAt":"2026-11-20"}]}`, "no RFC 3339 time"},
		{"a short secret", `{"keys":[` + oldKey + `,{"id":"b","createdAt":"2027-01-01T00:00:00Z","secret":"c2hvcnQ="}]}`,
			`key 2: "b" has a "secret" of 5 bytes; it needs 32: openssl rand -base64 32`},
		{"a secret that is no base64", `{"keys":[{"id":"a","createdAt":"2026-11-20T08:00:00Z","secret":"hunter2!"}]}`, "no base64 from its character 8 on"},
		{"a secret that is a number", `{"keys":[{"id":"a","createdAt":"2026-11-20T08:00:00Z","secret":7}]}`, "secret"},
		{"an id twice", `{"keys":[` + oldKey + `,` + oldKey + `]}`, `the id "2026-11-a" is there already`},
		{"two keys of one time", `{"keys":[` + oldKey + `,` + strings.NewReplacer("2026-11-a", "b", "08:00:00Z", "10:00:00+02:00").Replace(oldKey) + `]}`,
			`"b" is as old as "2026-11-a"`},
		{"one secret twice", `{"keys":[` + oldKey + `,` + strings.Replace(newKey, newSecret, oldSecret, 1) + `]}`,
			`"2027-05-a" has the secret of "2026-11-a"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := keyring.Parse([]byte(tt.content))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error = %v, want one with %q", err, tt.want)
			}
			for _, secret := range []string{oldSecret, newSecret, "hunter2", "c2hvcnQ"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows a secret: %v", err)
				}
			}
		})
	}
}

func TestCreateMakesAFileThatLoads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	made, err := keyring.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := keyring.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if made.BrokerKey() != loaded.BrokerKey() || len(loaded.KeyIDs()) != 1 {
		t.Errorf("made %v, loaded %v", made, loaded)
	}
	stat, err := os.Stat(path)
	if err != nil || stat.Mode() != 0o600 {
		t.Errorf("mode = %v, %v", stat.Mode(), err)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	other, err := keyring.Create(filepath.Join(t.TempDir(), "keyring.json"))
	if err != nil || other.BrokerKey() == made.BrokerKey() {
		t.Errorf("another key ring has the same key: %v", err)
	}
}

func TestCreateOverwritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	first, err := keyring.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keyring.Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second Create: %v", err)
	}
	again, err := keyring.Load(path)
	if err != nil || again.BrokerKey() != first.BrokerKey() {
		t.Errorf("the first one is gone: %v", err)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode fs.FileMode, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := `{"keys":[` + oldKey + `]}`
	for _, tt := range []struct {
		name, path, want string
	}{
		{"a missing file", filepath.Join(dir, "none.json"), "no such file"},
		{"a folder", dir, "not a regular file"},
		{"a file that everybody reads", write("open.json", 0o644, good), "mode 0644 lets others at the keys; run: chmod 600 "},
		{"a file that its group writes", write("group.json", 0o620, good), "mode 0620 lets others at the keys"},
		{"an empty file", write("empty.json", 0o600, ""), "restore it from a backup"},
		{"a file of something else", write("large.json", 0o600, strings.Repeat(" ", 2<<20)), "is this the right file?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := keyring.Load(tt.path)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.path) {
				t.Errorf("error = %v, want one with %q and the path", err, tt.want)
			}
		})
	}
	if _, err := keyring.Load(filepath.Join(dir, "none.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file is %v", err)
	}
}

// A secret that an orchestrator mounts belongs to root and is read by the process's group. That holds only where the
// test may give its file to root.
func TestAGroupMayReadTheFileOnlyWhenRootOwnsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	if _, err := keyring.Create(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o440); err != nil {
		t.Fatal(err)
	}
	_, err := keyring.Load(path)
	if root := os.Getuid() == 0; root != (err == nil) {
		t.Errorf("as root %t: %v", root, err)
	}
	if os.Getuid() != 0 {
		return
	}
	if err := os.Chown(path, 1, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring.Load(path); err == nil {
		t.Error("a group reads the file of another owner")
	}
}

// What was made under a key is on disk in other places: these values must never change.
func TestDerivedValuesArePinned(t *testing.T) {
	r := ring(t, oldKey)
	for _, tt := range []struct {
		name, got, want string
	}{
		{"code hash", hex.EncodeToString(r.CodeHash("mongo", "1004827", "7F3K9QWDM2XA").Sum), pinned["code hash"]},
		{"account ref", r.AccountRef("mongo", "1004827"), pinned["account ref"]},
		{"link key", hex.EncodeToString(r.LinkKeys()[0]), pinned["link key"]},
		{"broker key", r.BrokerKey(), pinned["broker key"]},
		{"signature", hex.EncodeToString(r.Sign("__Host-session", []byte("hello"))), pinned["signature"]},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %s, want %s", tt.name, tt.got, tt.want)
		}
	}
	sealed, err := hex.DecodeString(pinned["sealed"])
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := r.DeadLetters().Open(sealed, []byte("letter 1")); err != nil || string(plain) != "7F3K-9QWD-M2XA" {
		t.Errorf("Open = %q, %v", plain, err)
	}
}

func TestNoVerbPrintsAKey(t *testing.T) {
	r := ring(t, oldKey, newKey)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("started", "ring", r, "ring by value", *r, "letters", r.DeadLetters())
	marshalled, err := json.Marshal(map[string]any{"ring": r, "value": *r, "letters": r.DeadLetters()})
	if err != nil {
		t.Fatal(err)
	}
	printed := []string{log.String(), string(marshalled), r.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		printed = append(printed, fmt.Sprintf(verb, r), fmt.Sprintf(verb, *r), fmt.Sprintf(verb, r.DeadLetters()), fmt.Sprintf(verb, struct{ R *keyring.Ring }{r}))
	}
	link := r.LinkKeys()[0]
	for _, text := range printed {
		for _, secret := range []string{
			oldSecret, newSecret, "the-new-secret", r.BrokerKey(), r.BrokerKey()[:16], string(link), hex.EncodeToString(link),
			base64.StdEncoding.EncodeToString(link), fmt.Sprint(link)[1:20],
		} {
			if strings.Contains(text, secret) {
				t.Errorf("printed a key: %s", text)
			}
		}
	}
}
