// Package localtest prepares the ground for tests that start servers.
package localtest

import (
	"errors"
	"os"
	"syscall"
)

const (
	memory = "/dev/shm" // Linux' file system in memory
	room   = 3 << 30    // bytes: several servers' write-ahead logs
)

// UseMemory lets temporary folders be made in memory where that has room: hundreds of short-lived databases are faster there
// and wear out no disk. What a killed process wrote is there afterwards all the same; only a power cut would tell the difference.
// Who has set TMPDIR is obeyed. TestMain calls it.
func UseMemory() error {
	if os.Getenv("TMPDIR") != "" {
		return nil
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(memory, &fs); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if fs.Bavail*uint64(fs.Bsize) < room {
		return nil
	}
	return os.Setenv("TMPDIR", memory)
}
