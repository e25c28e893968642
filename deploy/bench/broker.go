package main

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/mongotel/billcenter/deploy/local"
)

// This program runs itself again as the broker, so that the broker's processor time and memory are not counted as the
// worker's. The first variable makes it one, on the folder it names; the second is the key of the encryption at rest.
const (
	brokerVariable    = "BILLCENTER_BENCH_BROKER"
	brokerKeyVariable = "BILLCENTER_BENCH_BROKER_KEY"
)

// holdBroker is the child process: it prints the broker's URL and stops it when stdin ends.
func holdBroker(dir string, stdin io.Reader, stdout, stderr io.Writer) int {
	signal.Ignore(os.Interrupt, syscall.SIGTERM) // a Ctrl-C reaches the parent too, which still needs the broker then
	log := slog.New(slog.NewTextHandler(stderr, nil))
	b, err := local.StartBroker(local.BrokerOptions{StoreDir: dir, EncryptionKey: os.Getenv(brokerKeyVariable), Log: log})
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	fmt.Fprintln(stdout, b.URL())
	io.Copy(io.Discard, stdin) // until the parent closes it or is gone
	if err := b.Stop(); err != nil {
		fmt.Fprintln(stderr, "bench: stop the broker:", err)
		return 1
	}
	return 0
}

// broker is a child process that holds one.
type broker struct {
	url   string
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

func startBroker(dir, key string) (*broker, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	b := &broker{cmd: exec.Command(program)}
	b.cmd.Env = append(os.Environ(), brokerVariable+"="+dir, brokerKeyVariable+"="+key)
	b.cmd.Stderr = os.Stderr
	if b.stdin, err = b.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("start the broker: it said %q: %w, %v", line, err, b.stop())
	}
	b.url = strings.TrimSpace(line)
	return b, nil
}

func (b *broker) pid() int { return b.cmd.Process.Pid }

func (b *broker) stop() error {
	b.stdin.Close()
	if err := b.cmd.Wait(); err != nil {
		return fmt.Errorf("stop the broker: %w", err)
	}
	return nil
}
