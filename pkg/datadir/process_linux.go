package datadir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process is an etcd that holds the lock of a database. It is only ever signalled through its descriptor: a number may
// be another process's by then.
type process struct {
	pid int
	fd  int
}

const (
	// freezeFor is how long the threads of a process may take to stop: one that waits for the disk stops after that.
	freezeFor = 2 * time.Second
	// goneFor is how long a killed process may take to be gone.
	goneFor = 10 * time.Second
	// reopenFor is how long an etcd may take that opens its database anew: to unmap gigabytes and to rename a file.
	reopenFor = 2 * time.Second
	// listTries is how often the list of locks is read where it does not say who has one.
	listTries = 10
	listPause = 2 * time.Millisecond
	// etcdName is what the kernel calls an etcd.
	etcdName = "etcd"
)

// errGone: a process ended before what was meant for it. With it its locks are gone.
var errGone = errors.New("it is gone")

// holder finds the etcd that holds a database; nil when nobody does. It refuses what is not exactly one etcd. It sees
// the processes of its own PID namespace only.
func holder(path string) (*process, error) {
	pid, err := lockedBy(path)
	if err != nil || pid == 0 {
		return nil, err
	}
	p := &process{pid: pid}
	if p.fd, err = unix.PidfdOpen(pid, 0); errors.Is(err, unix.ESRCH) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	// Now that it cannot become another: is it still the one?
	again, err := lockedBy(path)
	if err == nil && again == 0 {
		p.close()
		return nil, nil
	}
	if err == nil && again != pid {
		err = fmt.Errorf("%w: it was process %d, and a moment later %d", ErrHolder, pid, again)
	}
	if err == nil {
		err = p.isEtcd()
	}
	if err == nil {
		err = p.signal(0)
	}
	if err == nil {
		return p, nil
	}
	p.close()
	if errors.Is(err, errGone) {
		return nil, nil
	}
	return nil, err
}

// runningOn is the etcd that runs on a member's data; nil when none does. One that has let go of its database is waited for:
// as a defragmentation ends, it opens the database anew. Its log it keeps open, and locked.
func runningOn(ctx context.Context, member, log string) (*process, error) {
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for deadline := time.Now().Add(reopenFor); ; {
		p, err := holder(database(member))
		if p != nil || err != nil {
			return p, err
		}
		locked, err := logLocked(log)
		if err != nil || !locked {
			return nil, err
		}
		if !time.Now().Before(deadline) {
			return nil, fmt.Errorf("%w: an etcd has locked its log in %s, and its database not for %v", ErrHolder, log, reopenFor)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait until the etcd of %s has opened its database: %w", member, context.Cause(ctx))
		case <-poll.C:
		}
	}
}

// logLocked tells whether an etcd has a log open: it locks the segments by their descriptors.
func logLocked(dir string) (bool, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil {
		return false, err
	}
	for _, path := range files {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // purged
		}
		if err != nil {
			return false, err
		}
		lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock)
		_ = f.Close()
		if err != nil {
			return false, fmt.Errorf("look for locks of %s: %w", path, err)
		}
		if lock.Type != unix.F_UNLCK {
			return true, nil
		}
	}
	return false, nil
}

func (p *process) isEtcd() error {
	name, err := nameOf(p.pid)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ESRCH):
		return fmt.Errorf("look at process %d: %w", p.pid, errGone)
	case err != nil:
		return fmt.Errorf("%w: process %d: %w", ErrHolder, p.pid, err)
	case name != etcdName:
		return fmt.Errorf("%w: process %d is called %q, not %q", ErrHolder, p.pid, name, etcdName)
	}
	return nil
}

// nameOf is what the kernel calls a process.
func nameOf(pid int) (string, error) {
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(comm)), err
}

// ended tells whether none of its threads is left; somebody may have to be told yet.
func (p *process) ended() bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, 0)
	return err == nil && n > 0
}

func (p *process) close() {
	if p != nil {
		_ = unix.Close(p.fd)
	}
}

func (p *process) signal(s unix.Signal) error {
	err := unix.PidfdSendSignal(p.fd, s, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal process %d: %w: %w", p.pid, errGone, err)
	}
	if err != nil {
		return fmt.Errorf("signal process %d: %w", p.pid, err)
	}
	return nil
}

// freeze returns when none of its threads runs any more. On an error it runs on.
func (p *process) freeze(ctx context.Context) (err error) {
	if err := p.signal(unix.SIGSTOP); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.thaw())
		}
	}()
	deadline := time.NewTimer(freezeFor)
	defer deadline.Stop()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for {
		stopped, seen, err := p.stopped()
		if err != nil || stopped {
			return err
		}
		if p.ended() {
			return fmt.Errorf("freeze process %d: %w", p.pid, errGone)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("freeze process %d: %w", p.pid, context.Cause(ctx))
		case <-deadline.C:
			return fmt.Errorf("freeze process %d: not after %v; last seen: %s", p.pid, freezeFor, seen)
		case <-poll.C:
		}
	}
}

// stopped asks each thread: the first may have stopped while another still writes.
func (p *process) stopped() (all bool, seen string, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.pid))
	if err != nil {
		return false, "", err
	}
	if len(tasks) == 0 {
		return false, "", fmt.Errorf("look at process %d: %w", p.pid, errGone)
	}
	for _, path := range tasks {
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // that thread has ended
		}
		if err != nil {
			return false, "", err
		}
		// NUMBER (NAME) STATE ..., and the name may hold anything.
		_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
		if !strings.HasPrefix(rest, "T") && !strings.HasPrefix(rest, "t") {
			return false, fmt.Sprintf("thread %s is in state %.1s", filepath.Base(filepath.Dir(path)), rest), nil
		}
	}
	return true, "", nil
}

func (p *process) thaw() error { return p.signal(unix.SIGCONT) }

// kill returns when the process is gone, and its locks with it.
func (p *process) kill() error {
	if err := p.signal(unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	for deadline := time.Now().Add(goneFor); ; {
		left := time.Until(deadline)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, int(max(left, 0)/time.Millisecond))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for process %d: %w", p.pid, err)
		case n > 0:
			return nil
		case left <= 0:
			return fmt.Errorf("wait until process %d is gone: not after %v; it was killed", p.pid, goneFor)
		}
	}
}

// lockedBy returns the process that has locked a file for itself; 0 when none has that can be seen from here. The kernel
// hands out its list in pieces of a page, and a lock that goes in between moves others past the reader: as long as the file
// is locked, who is not on the list is looked for again.
func lockedBy(path string) (int, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	id, err := lockID(f)
	if err != nil {
		return 0, err
	}
	for range listTries {
		locks, err := os.ReadFile("/proc/locks")
		if err != nil {
			return 0, err
		}
		pids := flocksOn(string(locks), id, "WRITE")
		if slices.Contains(pids, -1) || len(pids) > 1 {
			return 0, fmt.Errorf("%w: %s is locked by processes %v", ErrHolder, path, pids)
		}
		if len(pids) == 1 {
			return pids[0], nil
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
			return 0, err // nobody has; with f this lock is closed, too
		}
		time.Sleep(listPause)
	}
	return 0, nil
}

// whose says who has locked a file, as the end of a sentence. With a READ lock somebody looks at a database that no etcd has.
func whose(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	id, err := lockID(f)
	if err != nil {
		return ""
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return ""
	}
	for _, pid := range flocksOn(string(locks), id, "WRITE", "READ") {
		if name, err := nameOf(pid); err == nil {
			return fmt.Sprintf(" by process %d, %q", pid, name)
		}
	}
	return " by a process that cannot be seen from here"
}

// flocksOn reads lines like "7: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF"; who only waits for a lock has "->" in front.
func flocksOn(locks, id string, kinds ...string) (pids []int) {
	for line := range strings.Lines(locks) {
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "FLOCK" || !slices.Contains(kinds, f[3]) || f[5] != id {
			continue
		}
		pid, err := strconv.Atoi(f[4])
		if err != nil || pid <= 0 {
			pid = -1 // a process that cannot be seen from here
		}
		if slices.Contains(pids, pid) {
			continue // a lock that comes moves others back, to be read twice
		}
		pids = append(pids, pid)
	}
	return pids
}

// lockID is how /proc/locks calls a file. Its device is the file system's, which is what the mount table says, and not
// always what stat says (btrfs).
func lockID(f *os.File) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", err
	}
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", f.Fd()))
	if err != nil {
		return "", err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	major, minor := unix.Major(st.Dev), unix.Minor(st.Dev)
	if _, rest, ok := strings.Cut(string(info), "mnt_id:"); ok {
		mount := strings.Fields(rest)[0]
		for line := range strings.Lines(string(mounts)) {
			if m := strings.Fields(line); len(m) > 2 && m[0] == mount {
				if _, err := fmt.Sscanf(m[2], "%d:%d", &major, &minor); err != nil {
					return "", fmt.Errorf("read device of %s: %w", f.Name(), err)
				}
			}
		}
	}
	return fmt.Sprintf("%02x:%02x:%d", major, minor, st.Ino), nil
}
