package local

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const (
	// The test binary runs itself again as the process that is killed, or that is
	// another user. This variable makes it hold a PostgreSQL on the folder it names.
	holdVariable = "BILLCENTER_TEST_HOLD_POSTGRES"

	folderVariable = "BILLCENTER_TEST_FOLDER" // of keptData
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if dataDir := os.Getenv(holdVariable); dataDir != "" {
		if err := holdPostgres(dataDir); err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	}
	folder, err := os.MkdirTemp("", "billcenter-test-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(folder)
	os.Setenv(folderVariable, folder)
	return m.Run()
}

// holdPostgres prints the server's URL and stops it when stdin ends.
func holdPostgres(dataDir string) error {
	p, err := StartPostgres(context.Background(), PostgresOptions{DataDir: dataDir})
	if err != nil {
		return err
	}
	fmt.Println(p.URL(""))
	io.Copy(io.Discard, os.Stdin)
	return p.Stop()
}

// A holder is another process that runs a PostgreSQL.
type holder struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

// startHolder starts program, a copy of this test binary, and does not wait for
// its server. Its stdout is the test's to read.
func startHolder(t *testing.T, program, dataDir string, change func(*exec.Cmd)) *holder {
	t.Helper()
	h := &holder{cmd: exec.Command(program)}
	h.cmd.Env = append(os.Environ(), holdVariable+"="+dataDir)
	h.cmd.Stderr = os.Stderr
	var err error
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	h.out = bufio.NewReader(out)
	if change != nil {
		change(h.cmd)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.cmd.Process.Kill(); h.cmd.Wait() })
	return h
}

func (h *holder) url(t *testing.T) string {
	t.Helper()
	line, err := h.out.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "postgres://") {
		t.Fatalf("the other process said %q, %v; want the server's URL", line, err)
	}
	return strings.TrimSpace(line)
}

func (h *holder) kill(t *testing.T) {
	t.Helper()
	if err := h.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	h.cmd.Wait() // says "killed"
}

func (h *holder) stop(t *testing.T) {
	t.Helper()
	h.stdin.Close()
	rest, _ := io.ReadAll(h.out)
	if err := h.cmd.Wait(); err != nil {
		t.Fatalf("the other process: %v\n%s", err, rest)
	}
}

// until polls ok, which has no event to wait for, for at most 20 seconds.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after 20 s: %s", what)
		}
	}
}
