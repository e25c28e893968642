//go:build ci

package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReadmeCommandsWork types every command of the README, in its order, in one shell's folder, while the README's `up`
// runs. Only its addresses are moved, by the variables that every flag has, and `go test` is left to whoever runs this.
func TestReadmeCommandsWork(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "billcenter-readme-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	env := append(os.Environ(), actAsBillcenter+"=1", "BILLCENTER_READY_FILE="+filepath.Join(dir, "ready.json"))
	for _, f := range []string{"PORTAL", "STAFF", "OPS", "NATS", "SMTP", "INBOX"} {
		env = append(env, "BILLCENTER_"+f+"_ADDR="+freeAddr(t))
	}
	shell := func(ctx context.Context, line string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "sh", "-ec", strings.ReplaceAll(line, "go run ./cmd/billcenter", "exec "+os.Args[0]))
		cmd.Dir, cmd.Env = dir, env
		return cmd
	}
	typed := 0
	for _, line := range commandsOf(string(b)) {
		switch {
		case strings.HasPrefix(line, "go test "):
			continue
		case strings.HasPrefix(line, "go run ./cmd/billcenter up"):
			up := shell(context.Background(), line)
			up.Stderr = os.Stderr
			if err := up.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = up.Process.Signal(os.Interrupt) // as Ctrl-C does
				if err := up.Wait(); err != nil {
					t.Errorf("%s, after Ctrl-C: %v", line, err)
				}
			})
			eventually(t, "up", func() error {
				b, err := os.ReadFile(filepath.Join(dir, "ready.json"))
				if err != nil {
					return err
				}
				return json.Unmarshal(b, new(running))
			})
		default:
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			out, err := shell(ctx, line).CombinedOutput()
			cancel()
			if err != nil {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
		}
		typed++
	}
	if typed < 6 {
		t.Fatalf("typed %d commands of the README only", typed)
	}
}

// commandsOf returns the lines of a page's shell blocks, without comments.
func commandsOf(markdown string) []string {
	var lines []string
	in := false
	for line := range strings.Lines(markdown) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			in = line == "```sh"
			continue
		}
		if before, _, _ := strings.Cut(line, " # "); in && strings.TrimSpace(before) != "" {
			lines = append(lines, strings.TrimSpace(before))
		}
	}
	return lines
}
