package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc's processor times: USER_HZ, which is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// processorTime is what a process has used.
func processorTime(pid int) (time.Duration, error) {
	fields, err := processStat(pid)
	if err != nil {
		return 0, err
	}
	return ticks(fields, utime, stime)
}

// processorTimeWithChildren adds what its children have used, those that ended included. PostgreSQL's have none of their own.
func processorTimeWithChildren(pid int) (time.Duration, error) {
	fields, err := processStat(pid)
	if err != nil {
		return 0, err
	}
	sum, err := ticks(fields, utime, stime, cutime, cstime)
	if err != nil {
		return 0, err
	}
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, folder := range folders {
		child, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			continue
		}
		fields, err := processStat(child)
		if err != nil || fields[ppid] != strconv.Itoa(pid) {
			continue // an error: it has just ended, and its time is in its parent's from now on
		}
		used, err := ticks(fields, utime, stime)
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// Positions in /proc/PID/stat after the name, see proc_pid_stat(5).
const (
	ppid   = 1
	utime  = 11
	stime  = 12
	cutime = 13
	cstime = 14
)

func processStat(pid int) ([]string, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:])) // the name may hold blanks
	if len(fields) <= cstime {
		return nil, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return fields, nil
}

func ticks(fields []string, positions ...int) (time.Duration, error) {
	var sum int64
	for _, p := range positions {
		n, err := strconv.ParseInt(fields[p], 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * tick, nil
}

// machineTime is the processor time of everything on the machine since it started, and what of it was idle.
func machineTime() (busy, idle time.Duration, err error) {
	content, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	first, _, _ := strings.Cut(string(content), "\n")
	for i, field := range strings.Fields(first)[1:] { // user nice system idle iowait irq softirq steal guest guest_nice
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		switch d := time.Duration(n) * tick; {
		case i == 3 || i == 4:
			idle += d
		case i < 8: // guests are part of user
			busy += d
		}
	}
	return busy, idle, nil
}

// residentBytes is the memory of a process that is not swapped out.
func residentBytes(pid int) (uint64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(content))
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/%d/statm has %d fields", pid, len(fields))
	}
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize()), err
}

// loadAverage is the kernel's, over one minute.
func loadAverage() string {
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(content), " ")
	return first
}

// awaitIdle returns once the machine was 85 % idle for half a second, or after the longest wait.
func awaitIdle(ctx context.Context, longest time.Duration) error {
	for deadline := time.Now().Add(longest); time.Now().Before(deadline); {
		busy, idle, err := machineTime()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
		busyNow, idleNow, err := machineTime()
		if err != nil {
			return err
		}
		busy, idle = busyNow-busy, idleNow-idle
		if float64(idle) >= 0.85*float64(busy+idle) {
			return nil
		}
	}
	return nil
}
