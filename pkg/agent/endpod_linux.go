package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
)

// podHash is what a kubelet calls a static pod.
var podHash = regexp.MustCompile(`^[0-9a-f]{32}$`)

// goneWithin is how long a killed process may take to be gone.
const goneWithin = 10 * time.Second

// endPod ends the processes of a static pod, all but the one that holds its namespaces: a kubelet that finds that gone makes the whole pod
// anew. A process is signalled through its descriptor: a number may be another's by then.
func endPod(ctx context.Context, s *Session) error {
	var r agentapi.EndPodRequest
	if err := s.Decode(&r); err != nil {
		return err
	}
	if !podHash.MatchString(r.Hash) {
		return frame.Errorf(frame.CodeBadRequest, "end pod: %q is no hash of a static pod's manifest", r.Hash)
	}
	found, err := processesOf(r.Hash)
	defer func() {
		for _, fd := range found {
			_ = unix.Close(fd)
		}
	}()
	if err != nil {
		return err
	}
	reply := agentapi.EndPodReply{}
	for pid, fd := range found {
		if err := signalTo(fd, unix.SIGTERM); err != nil {
			return fmt.Errorf("end process %d: %w", pid, err)
		}
		reply.PIDs = append(reply.PIDs, pid)
	}
	grace := time.Now().Add(time.Duration(r.GraceMillis) * time.Millisecond)
	for pid, fd := range found {
		if gone(ctx, fd, grace) {
			continue
		}
		if err := signalTo(fd, unix.SIGKILL); err != nil {
			return fmt.Errorf("kill process %d: %w", pid, err)
		}
		if !gone(ctx, fd, time.Now().Add(goneWithin)) {
			return fmt.Errorf("wait until process %d is gone: not after %v; it was killed", pid, goneWithin)
		}
	}
	return s.End(reply)
}

// processesOf are the descriptors of a pod's processes by their numbers; those that were opened come with an error, too.
func processesOf(hash string) (map[int]int, error) {
	found := map[int]int{}
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return found, err
	}
	for _, path := range groups {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || !inPod(path, hash) {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return found, fmt.Errorf("open process %d: %w", pid, err)
		}
		if !inPod(path, hash) { // it has become another since
			_ = unix.Close(fd)
			continue
		}
		found[pid] = fd
	}
	return found, nil
}

// inPod tells whether a process is of a pod, and not what holds that together.
func inPod(cgroup, hash string) bool {
	b, err := os.ReadFile(cgroup)
	if err != nil || !strings.Contains(string(b), "pod"+hash) {
		return false
	}
	name, err := os.ReadFile(filepath.Join(filepath.Dir(cgroup), "comm"))
	return err == nil && strings.TrimSpace(string(name)) != "pause"
}

func signalTo(fd int, s unix.Signal) error {
	if err := unix.PidfdSendSignal(fd, s, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// gone waits until a process has ended.
func gone(ctx context.Context, fd int, deadline time.Time) bool {
	for ctx.Err() == nil {
		left := max(time.Until(deadline), 0)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(min(left, time.Second)/time.Millisecond))
		if err == nil && n > 0 {
			return true
		}
		if left == 0 {
			return false
		}
	}
	return false
}
