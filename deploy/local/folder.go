package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const anyLoopbackPort = "127.0.0.1:0"

// A folderLock keeps a second process off a folder. The kernel drops it when its
// holder ends, however it ends, so a lock is never left behind.
type folderLock struct{ file *os.File }

// lockFolder locks folder by the file folder.lock beside it. The file stays: to
// remove it would let two processes lock two files of the same name.
func lockFolder(folder string) (*folderLock, error) {
	file, err := os.OpenFile(folder+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", folder, err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := io.ReadAll(io.LimitReader(file, 20)) // only for the text
		file.Close()
		return nil, fmt.Errorf("%s is in use by another process (pid %s): stop that one, or give another folder",
			folder, strings.TrimSpace(string(holder)))
	}
	if err == nil {
		err = file.Truncate(0)
	}
	if err == nil {
		_, err = file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", folder, err)
	}
	return &folderLock{file}, nil
}

func (l *folderLock) release() error { return l.file.Close() }

// resolveFolder makes path absolute and free of symbolic links, and makes the
// folders above it, so that it can be compared with what the kernel reports.
func resolveFolder(path string) (string, error) {
	if path == "" {
		return "", errors.New("no folder given")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	parent, name := filepath.Split(path)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	if parent, err = filepath.EvalSymlinks(parent); err != nil {
		return "", err
	}
	return filepath.Join(parent, name), nil
}

// syncFolder makes the names in folder durable: after a power cut, a file or a
// folder renamed into it is there.
func syncFolder(folder string) error {
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
