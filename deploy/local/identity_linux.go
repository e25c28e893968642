package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// clusterLocale sorts by code point and knows upper and lower case beyond ASCII.
const clusterLocale = "C.UTF-8"

// An identity is who PostgreSQL runs as. It refuses to run as root, so root either
// switches to another user or drops its powers in a user namespace, in which it is
// user 1; the files are root's then.
type identity struct {
	credential *syscall.Credential
	namespace  bool
	name       string // for error texts
}

func (id identity) String() string { return id.name }

// chooseIdentity finds a user that can reach dataDir, which need not exist yet.
func chooseIdentity(dataDir string) (identity, error) {
	if uid := os.Geteuid(); uid != 0 {
		return identity{name: fmt.Sprintf("uid %d", uid)}, nil
	}
	// The owner of existing data wins: nobody else may read it.
	if info, err := os.Stat(filepath.Join(dataDir, "PG_VERSION")); err == nil {
		owner := info.Sys().(*syscall.Stat_t)
		if owner.Uid == 0 {
			return rootInNamespace(), nil
		}
		return switchTo(owner.Uid, owner.Gid), nil
	}
	if maySwitchUser() {
		for _, id := range candidates(dataDir) {
			if passable(dataDir, id.credential.Uid, id.credential.Gid) {
				return id, nil
			}
		}
	}
	if passable(dataDir, 0, 0) {
		return rootInNamespace(), nil
	}
	return identity{}, fmt.Errorf("PostgreSQL does not run as root, and no other user may enter the folders above %s: "+
		"start this as an ordinary user, give another folder, or give a database URL", dataDir)
}

func switchTo(uid, gid uint32) identity {
	return identity{credential: &syscall.Credential{Uid: uid, Gid: gid}, name: fmt.Sprintf("uid %d", uid)}
}

func rootInNamespace() identity {
	return identity{namespace: true, name: "root in a user namespace"}
}

// candidates are the users made for the purpose, then whoever owns a folder above
// dataDir that is closed to others, as a home folder often is.
func candidates(dataDir string) []identity {
	var all []identity
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil && isMapped("/proc/self/uid_map", uid) && isMapped("/proc/self/gid_map", gid) {
			all = append(all, switchTo(uint32(uid), uint32(gid)))
		}
	}
	for _, folder := range foldersAbove(dataDir) {
		if folder.Mode&0o001 == 0 && folder.Uid != 0 {
			all = append(all, switchTo(folder.Uid, folder.Gid))
		}
	}
	return all
}

// isMapped says whether an id means anything in the user namespace that we are in
// ourselves, which in a sandbox may know root alone.
func isMapped(table string, id uint64) bool {
	content, err := os.ReadFile(table)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(content)) {
		var first, outside, count uint64
		if _, err := fmt.Sscan(line, &first, &outside, &count); err == nil && first <= id && id-first < count {
			return true
		}
	}
	return false
}

// passable says whether a process of uid and gid without other powers may go
// through all folders above path.
func passable(path string, uid, gid uint32) bool {
	for _, folder := range foldersAbove(path) {
		pass := uint32(0o001)
		switch {
		case folder.Uid == uid:
			pass = 0o100
		case folder.Gid == gid:
			pass = 0o010
		}
		if folder.Mode&pass == 0 {
			return false
		}
	}
	return true
}

// foldersAbove leaves out folders that are yet to be made: those will be ours.
func foldersAbove(path string) []*syscall.Stat_t {
	var all []*syscall.Stat_t
	for path != "/" {
		path = filepath.Dir(path)
		if info, err := os.Stat(path); err == nil {
			all = append(all, info.Sys().(*syscall.Stat_t))
		}
	}
	return all
}

// maySwitchUser says whether this root has the powers that a switch of users, and
// life with the other user's files and process, take. Containers drop some of them.
func maySwitchUser() bool {
	const (
		chown, overrideModes, kill, setGID, setUID = 0, 1, 5, 6, 7 // capabilities(7)

		needed = 1<<chown | 1<<overrideModes | 1<<kill | 1<<setGID | 1<<setUID
	)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "CapEff:"); ok {
			effective, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return err == nil && effective&needed == needed
		}
	}
	return false
}

// own gives path to the identity.
func (id identity) own(path string) error {
	if id.credential == nil {
		return nil
	}
	return os.Chown(path, int(id.credential.Uid), int(id.credential.Gid))
}

// start starts cmd as the identity and sends the result of its Wait. cmd receives
// onParentDeath when this process is killed; Ctrl-C on a terminal does not reach it,
// so that it ends when it is told to.
func (id identity) start(cmd *exec.Cmd, onParentDeath syscall.Signal) (ended <-chan error, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: id.credential, Setpgid: true, Pdeathsig: onParentDeath}
	if id.namespace {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 1, HostID: 0, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 1, HostID: 0, Size: 1}}
	}
	cmd.Dir = "/"                                                               // ours may be closed to the other user
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC"} // no PGDATA and the like

	// onParentDeath comes when the thread that forked ends, and Go ends threads that
	// it does not need: this one is kept until cmd has ended.
	started, result := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			result <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil && id.namespace {
		return nil, fmt.Errorf("%w (PostgreSQL does not run as root, and there are no user namespaces here: start this as an ordinary user, "+
			"let others enter the folders above the data, or give a database URL)", err)
	} else if err != nil {
		return nil, err
	}
	return result, nil
}

// commandLine is empty when there is no such process, or it ended and its parent
// has yet to wait for it.
func commandLine(pid int) (string, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return "", nil
	}
	return strings.ReplaceAll(string(raw), "\x00", " "), err
}
