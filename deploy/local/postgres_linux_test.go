package local

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestPostgresShutsDownWhenItsProcessIsKilled(t *testing.T) {
	dataDir := keptData(t)
	killed := startHolder(t, os.Args[0], dataDir, nil)
	killed.url(t)
	content, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}

	killed.kill(t)

	until(t, "the server has ended", func() bool {
		command, err := commandLine(pid)
		return err == nil && command == ""
	})
	// A server that was not killed takes its file away.
	if _, err := os.Stat(filepath.Join(dataDir, "postmaster.pid")); !os.IsNotExist(err) {
		t.Errorf("postmaster.pid is still there: %v", err)
	}
}

// nobody is a user that root may become, unless it is the root of a sandbox.
const nobody = 65534

func mayBecomeNobody() bool {
	return os.Geteuid() == 0 && maySwitchUser() && isMapped("/proc/self/uid_map", nobody) && isMapped("/proc/self/gid_map", nobody)
}

// TestPostgresRunsAsWhoeverReachesItsData is about root; an ordinary user checks
// that it runs the server itself.
func TestPostgresRunsAsWhoeverReachesItsData(t *testing.T) {
	for _, tt := range []struct {
		name      string
		mode      os.FileMode // of the folder around the data
		namespace bool        // if root
	}{
		{"another user, where it may pass", 0o755, false},
		{"root without its powers, where nobody else may", 0o700, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder := openFolder(t)
			if err := os.Chmod(folder, tt.mode); err != nil {
				t.Fatal(err)
			}
			p := startPostgres(t, PostgresOptions{DataDir: filepath.Join(folder, "postgres"), Throwaway: true})
			addRow(t, p.URL(""))

			switched := mayBecomeNobody() && !tt.namespace
			if namespace := os.Geteuid() == 0 && !switched; p.identity.namespace != namespace || (p.identity.credential != nil) != switched {
				t.Errorf("runs as %s", p.identity)
			}
			// The data decides who reads it, even when the way has become free.
			stopPostgres(t, p)
			if err := os.Chmod(folder, 0o755); err != nil {
				t.Fatal(err)
			}
			again := startPostgres(t, PostgresOptions{DataDir: filepath.Join(folder, "postgres"), Throwaway: true})
			if again.identity.name != p.identity.name {
				t.Errorf("ran as %s, then as %s", p.identity, again.identity)
			}
		})
	}
}

func TestPostgresRunsAsAnOrdinaryUser(t *testing.T) {
	folder := openFolder(t)
	program := filepath.Join(folder, "program") // the original's folder is closed to others
	copyFile(t, os.Args[0], program)
	home := filepath.Join(folder, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	become := func(*exec.Cmd) {}
	if mayBecomeNobody() {
		if err := os.Chown(home, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		become = func(cmd *exec.Cmd) {
			cmd.Dir = "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
	}

	for _, run := range []string{"1", "2"} {
		other := startHolder(t, program, filepath.Join(home, "postgres"), become)
		if rows := addRow(t, other.url(t)); rows != run {
			t.Errorf("run %s finds %s rows", run, rows)
		}
		other.stop(t)
	}
}

// TestPassable walks the ways a folder can be open or closed to a user.
func TestPassable(t *testing.T) {
	folder := openFolder(t)
	inside := filepath.Join(folder, "yet", "to", "be", "made")
	self, group := uint32(os.Geteuid()), uint32(os.Getegid())
	const stranger = 4242
	for _, tt := range []struct {
		name     string
		mode     os.FileMode
		uid, gid uint32
		want     bool
	}{
		{"the owner passes by the owner's bit", 0o700, self, group, true},
		{"the owner does not pass by the others' bit", 0o077, self, group, false},
		{"the group passes by the group's bit", 0o710, stranger, group, true},
		{"the group does not pass by the others' bit", 0o701, stranger, group, false},
		{"others pass by theirs", 0o701, stranger, stranger, true},
		{"others do not pass without", 0o770, stranger, stranger, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.Chmod(folder, tt.mode); err != nil {
				t.Fatal(err)
			}
			if got := passable(inside, tt.uid, tt.gid); got != tt.want {
				t.Errorf("passable = %v, want %v", got, tt.want)
			}
		})
	}
	if err := os.Chmod(folder, 0o700); err != nil {
		t.Fatal(err)
	}
}

// openFolder is a temporary folder that other users may enter, which t.TempDir is
// not.
func openFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "billcenter-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	source, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(target, source); err != nil {
		t.Fatal(err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
}
