package operations

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// kubelet runs a member as its pod's container: what ends is started again, later each time, and at once in a new pod.
type kubelet struct {
	t       *testing.T
	m       *etcdtest.Member
	args    []string
	log     *os.File
	metrics string

	mu   sync.Mutex
	uid  int
	anew chan time.Duration // the pod was deleted, with this grace
	hold chan bool          // false: nothing runs until true
	may  func() bool        // nil, or whether etcd comes up on what is there; where it does not, it ends at once
	pid  int                // of the process that runs now; 0: none
}

func startKubelet(t *testing.T, m *etcdtest.Member, args []string) *kubelet {
	t.Helper()
	k := newKubelet(t, m)
	k.start(args)
	return k
}

func newKubelet(t *testing.T, m *etcdtest.Member) *kubelet {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	// A loopback address of its own: on 127.0.0.1 a connection of some other test could take the port between two containers.
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)))
	if err != nil {
		t.Fatal(err)
	}
	k := &kubelet{t: t, m: m, log: log, metrics: "http://" + l.Addr().String(), anew: make(chan time.Duration, 1), hold: make(chan bool)}
	l.Close()
	return k
}

func (k *kubelet) start(args []string) {
	t, log := k.t, k.log
	k.args = append([]string{"--listen-metrics-urls", k.metrics}, args...)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); k.run(ctx) }()
	go k.probe(ctx)
	t.Cleanup(func() {
		stop()
		<-done
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("the replaced member's last words:\n%s", b[max(0, len(b)-6000):])
		}
		log.Close()
	})
}

// probe asks as a kubelet does, all the time: an etcd must bear that at any moment.
func (k *kubelet) probe(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		<-tick.C
		for _, path := range []string{"/readyz", "/livez", "/health"} {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.metrics+path, nil)
			if err != nil {
				continue
			}
			if r, err := http.DefaultClient.Do(req); err == nil {
				r.Body.Close()
			}
		}
	}
}

// newPod is how long a deleted pod's successor takes at least to start its containers. On a real cluster it is a second.
const newPod = 300 * time.Millisecond

func (k *kubelet) run(ctx context.Context) {
	const first, most = 100 * time.Millisecond, 2 * time.Second
	for backoff := first; ctx.Err() == nil; backoff = min(2*backoff, most) {
		cmd := k.m.Command()
		cmd.Args = append(cmd.Args, k.args...)
		cmd.Stdout, cmd.Stderr = k.log, k.log
		if k.may != nil && !k.may() {
			cmd = exec.CommandContext(ctx, "false")
		}
		if err := cmd.Start(); err != nil {
			k.t.Errorf("start etcd: %v", err)
			return
		}
		ended := make(chan struct{})
		k.runs(cmd.Process.Pid)
		go func() { _ = cmd.Wait(); k.runs(0); close(ended) }()
		held := false
		select {
		case <-ctx.Done():
			end(cmd, ended, 0)
		case grace := <-k.anew:
			end(cmd, ended, grace)
			backoff = first / 2
			select {
			case <-ctx.Done():
			case <-time.After(newPod):
			}
			continue
		case run := <-k.hold:
			held = !run
			end(cmd, ended, 0)
		case <-ended:
		}
		for held {
			held = !<-k.hold
		}
		select {
		case <-ctx.Done():
		case <-k.anew:
			backoff = first / 2
		case run := <-k.hold:
			for !run {
				run = <-k.hold
			}
		case <-time.After(backoff):
		}
	}
}

func (k *kubelet) runs(pid int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pid = pid
}

// process is the one that runs now; 0: none.
func (k *kubelet) process() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pid
}

// end asks a process to end, and kills it when its grace is over: an etcd that has no quorum does not hear SIGTERM.
func end(cmd *exec.Cmd, ended chan struct{}, grace time.Duration) {
	if grace > 0 {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
			return
		case <-time.After(grace):
		}
	}
	_ = cmd.Process.Kill()
	<-ended
}

// while does something to the volume while nothing runs there.
func (k *kubelet) while(do func()) {
	k.hold <- false
	do()
	k.hold <- true
}

func (k *kubelet) pod() types.UID {
	k.mu.Lock()
	defer k.mu.Unlock()
	return types.UID(strconv.Itoa(k.uid))
}

// delete deletes that pod, with so many seconds of grace, or with a pod's usual ones.
func (k *kubelet) delete(uid types.UID, grace *int64) {
	if grace == nil {
		grace = new(int64(30))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if uid == types.UID(strconv.Itoa(k.uid)) {
		k.uid++
		select {
		case k.anew <- time.Duration(*grace) * time.Second:
		default:
		}
	}
}
