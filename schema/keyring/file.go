package keyring

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"
)

const (
	secretSize  = 32      // bytes at least; what `openssl rand -base64 32` prints
	largestFile = 1 << 20 // bytes
)

type file struct {
	Keys []entry `json:"keys"`
}

type entry struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"createdAt"`
	Secret    []byte    `json:"secret"`
}

// Load reads a key ring file. It refuses a file that others may read: the mode must be 0600 or less, or 0640 or less
// when root owns it, which is how an orchestrator mounts a secret for a group. An error names the file and the remedy
// and never a secret; a missing file is fs.ErrNotExist.
func Load(path string) (*Ring, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("key ring: %w", err)
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("key ring: %w", err)
	}
	if !stat.Mode().IsRegular() {
		return nil, fmt.Errorf("key ring %s: not a regular file; name the JSON file itself", path)
	}
	if mode := stat.Mode().Perm(); mode&^permitted(stat) != 0 {
		return nil, fmt.Errorf("key ring %s: mode %04o lets others at the keys; run: chmod 600 %s", path, mode, path)
	}
	if stat.Size() > largestFile {
		return nil, fmt.Errorf("key ring %s: %d bytes; a key ring has less than %d: is this the right file?", path, stat.Size(), largestFile)
	}
	content, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("key ring: %w", err)
	}
	ring, err := Parse(content)
	if err != nil {
		return nil, fmt.Errorf("key ring %s: %w", path, err)
	}
	return ring, nil
}

func permitted(stat fs.FileInfo) fs.FileMode {
	if owner, ok := stat.Sys().(*syscall.Stat_t); ok && owner.Uid == 0 {
		return 0o640
	}
	return 0o600
}

// Create makes a key ring file with one new key and loads it. It never overwrites: an existing file is fs.ErrExist. When
// it returns, the file is on disk whole; a crash before leaves none under that name.
func Create(path string) (*Ring, error) {
	now := time.Now().UTC().Truncate(time.Second)
	secret := make([]byte, secretSize)
	rand.Read(secret)
	content, err := json.MarshalIndent(file{Keys: []entry{{ID: now.Format("2006-01") + "-a", CreatedAt: now, Secret: secret}}}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("key ring %s: %w", path, err)
	}
	if err := place(path, append(content, '\n')); err != nil {
		return nil, fmt.Errorf("key ring: %w", err)
	}
	return Load(path)
}

// place writes under another name first and links the finished file: unlike a rename, a link overwrites nothing.
func place(path string, content []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".keyring-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the name of a new file survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// keyID keeps ids fit for a database column, a log line and a sealed dead letter.
var keyID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$`)

// Parse reads the content of a key ring file. Anything unknown, twice or half is an error, since a key that is skipped
// is missed only when the first customer's code fails.
func Parse(content []byte) (*Ring, error) {
	if len(bytes.TrimSpace(content)) == 0 {
		return nil, errors.New("empty; restore it from a backup, as codes and links made under its keys depend on it")
	}
	if err := namesOnce(json.NewDecoder(bytes.NewReader(content))); err != nil {
		return nil, err
	}
	var f file
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("%w; it should read as in the documentation of package keyring", withoutContent(err))
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the closing brace; remove it")
	}
	if len(f.Keys) == 0 {
		return nil, errors.New(`no keys; "keys" needs at least one`)
	}

	keys := make([]key, 0, len(f.Keys))
	for i, e := range f.Keys {
		if err := e.check(f.Keys[:i]); err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		k, err := derive(e.ID, e.CreatedAt, e.Secret)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return arrange(keys), nil
}

func (e entry) check(before []entry) error {
	switch {
	case !keyID.MatchString(e.ID):
		return errors.New(`"id" must be 1 to 32 letters, digits, dots, dashes and underscores, such as "2026-11-a"`)
	case e.CreatedAt.IsZero():
		return fmt.Errorf(`%q has no "createdAt"; give the time it was made, such as "2026-11-20T08:00:00Z"`, e.ID)
	case len(e.Secret) < secretSize:
		return fmt.Errorf(`%q has a "secret" of %d bytes; it needs %d: openssl rand -base64 32`, e.ID, len(e.Secret), secretSize)
	}
	for _, b := range before {
		switch {
		case b.ID == e.ID:
			return fmt.Errorf(`the id %q is there already; give each key its own`, e.ID)
		case b.CreatedAt.Equal(e.CreatedAt):
			return fmt.Errorf(`%q is as old as %q, so neither is the newest; correct "createdAt"`, e.ID, b.ID)
		case bytes.Equal(b.Secret, e.Secret):
			return fmt.Errorf(`%q has the secret of %q; make a new one: openssl rand -base64 32`, e.ID, b.ID)
		}
	}
	return nil
}

// withoutContent keeps where an error of encoding/json is and drops what stands there.
func withoutContent(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	var base64Error base64.CorruptInputError
	var timeError *time.ParseError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("ends before its closing brace")
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf("%q is no %s", kind.Field, kind.Type)
	case errors.As(err, &base64Error):
		return fmt.Errorf(`a "secret" is no base64 from its character %d on`, int64(base64Error)+1)
	case errors.As(err, &timeError):
		return errors.New(`a "createdAt" is no RFC 3339 time`)
	default:
		return err // a known field in the wrong place
	}
}

// namesOnce refuses an object that has a name twice or in another case: encoding/json would take the last in silence.
func namesOnce(d *json.Decoder) error {
	token, err := d.Token()
	if err != nil {
		return withoutContent(err)
	}
	opening, _ := token.(json.Delim)
	var names []string
	for (opening == '{' || opening == '[') && d.More() {
		if opening == '{' {
			name, err := d.Token()
			if err != nil {
				return withoutContent(err)
			}
			names = append(names, fmt.Sprint(name))
		}
		if err := namesOnce(d); err != nil {
			return err
		}
	}
	slices.Sort(names)
	for i, name := range names {
		if i > 0 && name == names[i-1] {
			return fmt.Errorf("%q is there twice; keep one", name)
		}
		if !slices.Contains([]string{"keys", "id", "createdAt", "secret"}, name) {
			return fmt.Errorf("unknown field %q; known are keys, id, createdAt and secret", name)
		}
	}
	if opening == '{' || opening == '[' {
		if _, err := d.Token(); err != nil {
			return withoutContent(err)
		}
	}
	return nil
}
