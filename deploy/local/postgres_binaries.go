package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const postgresBinVariable = "BILLCENTER_POSTGRES_BIN"

var errNoPostgres = errors.New("no PostgreSQL server is installed here. Debian/Ubuntu: apt-get install postgresql; " +
	"macOS: brew install postgresql@17; elsewhere: name the folder of initdb and postgres in " + postgresBinVariable +
	"; or give a database URL")

// An installation is a folder that holds initdb and postgres.
type installation struct {
	dir     string
	version string // "15.18", "18beta1"
}

func (i installation) path(program string) string { return filepath.Join(i.dir, program) }

// major is the part of the version that decides whether data can be read.
func (i installation) major() string {
	end := strings.IndexFunc(i.version, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		return i.version
	}
	return i.version[:end]
}

// findPostgres picks the newest installation, or for existing data the newest of
// the same major version.
func findPostgres(ctx context.Context, dataDir string) (installation, error) {
	found, err := installations(ctx)
	if err != nil {
		return installation{}, err
	}
	content, err := os.ReadFile(filepath.Join(dataDir, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return found[0], nil
	}
	if err != nil {
		return installation{}, fmt.Errorf("version of the PostgreSQL data: %w", err)
	}
	want := strings.TrimSpace(string(content))
	var have []string
	for _, i := range found {
		if i.major() == want {
			return i, nil
		}
		have = append(have, fmt.Sprintf("%s (%s)", i.version, i.dir))
	}
	return installation{}, fmt.Errorf("%s was made by PostgreSQL %s, but only %s is here: install that version or name its folder in %s, "+
		"or move the data away; it is never changed or deleted", dataDir, want, strings.Join(have, ", "), postgresBinVariable)
}

// installations lists what is there, the newest version first, and is never empty
// without an error.
func installations(ctx context.Context) ([]installation, error) {
	if dir := os.Getenv(postgresBinVariable); dir != "" {
		i, err := inspect(ctx, dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", postgresBinVariable, err)
		}
		return []installation{i}, nil
	}

	var dirs []string
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
		"/usr/pgsql-*/bin",                                   // Red Hat, packages of the PostgreSQL project
		"/usr/libexec/postgresql*",                           // Alpine
		"/opt/homebrew/opt/postgresql@*/bin",                 // macOS on arm64
		"/usr/local/opt/postgresql@*/bin",                    // macOS on amd64
		"/Applications/Postgres.app/Contents/Versions/*/bin", // macOS
	} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, matches...)
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}

	var found []installation
	for _, dir := range dirs {
		if i, err := inspect(ctx, dir); err == nil && !slices.Contains(found, i) {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		return nil, errNoPostgres
	}
	slices.SortStableFunc(found, func(a, b installation) int { return compareVersions(b.version, a.version) })
	return found, nil
}

// inspect asks postgres for its version, which it tells even to root.
func inspect(ctx context.Context, dir string) (installation, error) {
	i := installation{dir: dir}
	if _, err := exec.LookPath(i.path("initdb")); err != nil {
		return i, err
	}
	out, err := exec.CommandContext(ctx, i.path("postgres"), "--version").Output()
	if err != nil {
		return i, fmt.Errorf("%s --version: %w", i.path("postgres"), err)
	}
	words := strings.Fields(string(out)) // postgres (PostgreSQL) 15.18 (Debian …)
	if len(words) < 3 {
		return i, fmt.Errorf("%s --version says %q", i.path("postgres"), out)
	}
	i.version = words[2]
	return i, nil
}

// compareVersions orders 15.2 before 15.10, and both before 18beta1.
func compareVersions(a, b string) int {
	numbers := func(version string) (all []int) {
		for _, digits := range strings.FieldsFunc(version, func(r rune) bool { return r < '0' || r > '9' }) {
			n, _ := strconv.Atoi(digits)
			all = append(all, n)
		}
		return all
	}
	return slices.Compare(numbers(a), numbers(b))
}
