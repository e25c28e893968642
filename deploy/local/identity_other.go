//go:build unix && !linux

package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// clusterLocale is the one locale that every system has.
const clusterLocale = "C"

// An identity is who PostgreSQL runs as: here always whoever runs this process.
type identity struct{ name string }

func (id identity) String() string { return id.name }

func chooseIdentity(string) (identity, error) {
	uid := os.Geteuid()
	if uid == 0 {
		return identity{}, errors.New("PostgreSQL does not run as root: start this as an ordinary user, or give a database URL")
	}
	return identity{name: fmt.Sprintf("uid %d", uid)}, nil
}

func (identity) own(string) error { return nil }

// start starts cmd and sends the result of its Wait. Ctrl-C on a terminal does not
// reach cmd, so that it ends when it is told to. Nor does anything tell it that this
// process was killed: only Linux can do that, here the next start stops it.
func (identity) start(cmd *exec.Cmd, _ syscall.Signal) (ended <-chan error, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"} // no PGDATA and the like
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	result := make(chan error, 1)
	go func() { result <- cmd.Wait() }()
	return result, nil
}

// commandLine is empty when there is no such process.
func commandLine(pid int) (string, error) {
	out, err := exec.Command("ps", "-ww", "-o", "args=", "-p", strconv.Itoa(pid)).Output()
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		return "", nil
	}
	return strings.TrimSpace(string(out)), err
}
