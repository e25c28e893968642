package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// makeCluster runs initdb where there is no data yet. It works in a folder beside
// the final place and renames the result, so that an initdb that was killed leaves
// no half-made cluster in DataDir, which nothing could tell from a damaged one.
func (p *Postgres) makeCluster(ctx context.Context) error {
	dataDir := p.opts.DataDir
	shop := workshop(dataDir + ".initdb")
	if err := shop.remove(ctx); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dataDir, "PG_VERSION")); err == nil {
		return nil
	}
	// Only an empty folder goes away; anything else is somebody's data.
	if err := os.Remove(dataDir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s holds something other than PostgreSQL data, which is never deleted: move it away, or give another folder: %w", dataDir, err)
	}
	if err := shop.make(p.identity); err != nil {
		return fmt.Errorf("folder for initdb: %w", err)
	}
	if err := p.initdb(ctx, shop.product()); err != nil {
		return err
	}
	if err := os.Rename(shop.product(), dataDir); err != nil {
		return err
	}
	if err := syncFolder(filepath.Dir(dataDir)); err != nil {
		return err
	}
	return shop.remove(ctx)
}

func (p *Postgres) initdb(ctx context.Context, dir string) error {
	args := []string{"-D", dir, "-U", p.opts.User, "--encoding=UTF8", "--locale=" + clusterLocale, "--auth=trust", "--no-instructions"}
	if p.opts.Throwaway {
		args = append(args, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, p.binaries.path("initdb"), args...)
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out

	ended, err := p.identity.start(cmd, syscall.SIGKILL)
	if err == nil {
		err = <-ended
	}
	if err != nil {
		return fmt.Errorf("initdb as %s: %w\n%s", p.identity, err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// A workshop is the folder in which initdb works. The marker in it proves that it
// is ours to remove.
type workshop string

func (w workshop) marker() string  { return filepath.Join(string(w), "made-by-billcenter") }
func (w workshop) product() string { return filepath.Join(string(w), "data") }

func (w workshop) make(id identity) error {
	if err := os.Mkdir(string(w), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(w.marker(), nil, 0o600); err != nil {
		return err
	}
	return id.own(string(w))
}

// remove takes away what an earlier run left. A child of a killed initdb may live
// a moment longer and still write; hence the retries.
func (w workshop) remove(ctx context.Context) error {
	// Killed before it had its marker, the folder is empty.
	if err := os.Remove(string(w)); err == nil || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(w.marker()); err != nil {
		return fmt.Errorf("%s is in the way of initdb and was not made by it, so it is not deleted: move it away: %w", string(w), err)
	}
	for {
		// The marker goes last, so that a kill in here leaves a folder known as ours.
		err := os.RemoveAll(w.product())
		if err == nil {
			return os.RemoveAll(string(w))
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stopLeftover ends a server that outlived the process that started it.
func stopLeftover(ctx context.Context, dataDir string) error {
	pidFile := filepath.Join(dataDir, "postmaster.pid")
	content, err := os.ReadFile(pidFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for a PostgreSQL server left behind: %w", err)
	}
	line, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 1 {
		return nil // damaged: PostgreSQL says so itself
	}

	command, err := commandLine(pid)
	switch {
	case err != nil:
		return fmt.Errorf("look for a PostgreSQL server left behind: %w", err)
	case command == "" && syscall.Kill(pid, 0) != nil:
		return nil // ended: PostgreSQL clears the file itself
	case !isPostgres(command):
		// It ended, but nobody waited for it; or its number belongs to another program
		// now, as after the restart of a container. PostgreSQL would see only that the
		// number is taken, and not start.
		return os.Remove(pidFile)
	case !strings.Contains(command, " -D "+dataDir+" "):
		return fmt.Errorf("%s names process %d, a PostgreSQL server that was not started here: stop it, or remove the file if it serves other data", pidFile, pid)
	}

	if err := syscall.Kill(pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop the PostgreSQL server left behind (pid %d): %w", pid, err)
	}
	for {
		command, err := commandLine(pid)
		if err != nil || !isPostgres(command) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the PostgreSQL server left behind (pid %d) does not end: %w", pid, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// isPostgres also knows the server's own children, which call themselves
// "postgres: checkpointer" and the like.
func isPostgres(command string) bool {
	program, _, _ := strings.Cut(command, " ")
	switch strings.TrimSuffix(filepath.Base(program), ":") {
	case "postgres", "postmaster":
		return true
	}
	return false
}
