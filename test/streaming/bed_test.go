// Package streaming tests the transfers of kubectl etcd through the real streaming code of Kubernetes in one process:
// our client → TLS → the API server's exec handler → the container runtime's streaming server → a local process. Each
// of the two links is a TCP proxy that a test can cut or stall.
package streaming

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/proxy"
	translator "k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream/wsstream"
	utilexec "k8s.io/utils/exec"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
)

// agentPath and loaderPath are the real programs.
var agentPath, loaderPath string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	// Most tests wait for most of their time, on timeouts that are real.
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	klog.SetLogger(klog.Logger{}) // the servers complain about every cut
	dir, err := os.MkdirTemp("", "streaming")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	agentPath = filepath.Join(dir, "agent")
	build := exec.Command("go", "build", "-o", agentPath, "./cmd/kubectl-etcd-agent")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the agent: %v\n%s", err, out)
		return 1
	}
	loaderPath, err = filepath.Abs("../../manifests/loader/loader-" + runtime.GOARCH)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

var target = podexec.Target{Namespace: "kube-system", Pod: "etcd-0", Container: "etcd"}

// bed is a cluster of one pod.
type bed struct {
	t      testing.TB
	front  *link // client ↔ API server
	back   *link // API server ↔ node
	client *podexec.Client
	opts   bedOptions

	mu        sync.Mutex
	processes []*process
}

type bedOptions struct {
	// noTranslator is an API server that hands WebSocket requests to the node, whose runtime does not know version 5 of the
	// protocol: clients have to fall back to SPDY.
	noTranslator bool
	// forbid refuses every exec.
	forbid bool
	// mangle stands for a runtime that loses or changes bytes of the nth exec, counted from 0.
	mangle func(n int, in io.Reader, out io.Writer) (io.Reader, io.Writer)
	timing *podexec.Timing
}

// quick is patient enough for two busy cores and yet ends a stalled test soon.
var quick = podexec.Timing{
	Heartbeat:  500 * time.Millisecond,
	Silence:    6 * time.Second,
	Linger:     3 * time.Second,
	Backoff:    20 * time.Millisecond,
	MaxBackoff: 200 * time.Millisecond,
	Attempts:   6,
}

func newBed(t testing.TB, opts bedOptions) *bed {
	t.Helper()
	b := &bed{t: t, opts: opts}
	node := httptest.NewServer(http.HandlerFunc(b.serveNode))
	b.back = newLink(t, node.Listener.Addr().String())
	server := httptest.NewUnstartedServer(http.HandlerFunc(b.serveAPI))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	b.front = newLink(t, server.Listener.Addr().String())
	t.Cleanup(func() {
		b.front.close()
		b.back.close()
		b.killAll()
		server.CloseClientConnections()
		node.CloseClientConnections()
		server.Close()
		node.Close()
	})
	client, err := podexec.New(&rest.Config{
		Host:            "https://" + b.front.addr(),
		TLSClientConfig: rest.TLSClientConfig{Insecure: true},
		Proxy:           func(*http.Request) (*url.URL, error) { return nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	client.Timing = quick
	if opts.timing != nil {
		client.Timing = *opts.timing
	}
	b.client = client
	return b
}

// serveAPI does what the API server's exec subresource does.
func (b *bed) serveAPI(w http.ResponseWriter, r *http.Request) {
	if want := "/api/v1/namespaces/kube-system/pods/etcd-0/exec"; r.URL.Path != want {
		http.Error(w, "no such path: "+r.URL.Path, http.StatusNotFound)
		return
	}
	if b.opts.forbid {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"Forbidden","code":403,`+
			`"message":"pods \"etcd-0\" is forbidden: User \"u\" cannot %s resource \"pods/exec\""}`, strings.ToLower(r.Method))
		return
	}
	query := r.URL.Query()
	node := url.Values{"command": query["command"]}
	for ours, theirs := range map[string]string{
		"stdin":  remotecommand.ExecStdinParam,
		"stdout": remotecommand.ExecStdoutParam,
		"stderr": remotecommand.ExecStderrParam,
	} {
		if query.Get(ours) == "true" {
			node.Set(theirs, "1")
		}
	}
	location := &url.URL{Scheme: "http", Host: b.back.addr(), Path: "/exec/kube-system/etcd-0/" + query.Get("container"), RawQuery: node.Encode()}
	roundTripper, err := transport.New(&transport.Config{})
	if err != nil {
		b.t.Error(err)
		return
	}
	var handler http.Handler = proxy.NewUpgradeAwareHandler(location, roundTripper, false, true, proxy.NewErrorResponder(responder{w}))
	if !b.opts.noTranslator {
		streams := translator.Options{Stdin: node.Has("input"), Stdout: node.Has("output"), Stderr: node.Has("error")}
		translating := translator.NewStreamTranslatorHandler(location, roundTripper, 0, streams)
		handler = translator.NewTranslatingHandler(handler, translating, wsstream.IsWebSocketRequestWithStreamCloseProtocol)
	}
	handler.ServeHTTP(w, r)
}

type responder struct{ w http.ResponseWriter }

func (r responder) Error(err error) { http.Error(r.w, err.Error(), http.StatusInternalServerError) }

// serveNode does what the kubelet and the runtime behind it do.
func (b *bed) serveNode(w http.ResponseWriter, r *http.Request) {
	opts, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, b, "etcd-0", "", "etcd", r.URL.Query()["command"], opts,
		4*time.Hour, remotecommand.DefaultStreamCreationTimeout, remotecommand.SupportedStreamingProtocols)
}

// process is one exec.
type process struct {
	pid  int
	gone chan struct{}
}

// ExecInContainer runs a local process as containerd does: one that outlives its connection is not killed, and its
// stdout stays open, unread.
func (b *bed) ExecInContainer(_ context.Context, _, _, _ string, argv []string, in io.Reader, out, errOut io.WriteCloser,
	_ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	var stdin io.WriteCloser
	var err error
	if in != nil {
		if stdin, err = cmd.StdinPipe(); err != nil {
			return err
		}
	}
	stdoutReader, stdoutWriter, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdoutReader.Close()
	cmd.Stdout = stdoutWriter
	if errOut != nil {
		cmd.Stderr = errOut
	}
	if err := cmd.Start(); err != nil {
		stdoutWriter.Close()
		return err
	}
	stdoutWriter.Close()
	p := &process{pid: cmd.Process.Pid, gone: make(chan struct{})}
	b.mu.Lock()
	n := len(b.processes)
	b.processes = append(b.processes, p)
	b.mu.Unlock()
	from, to := in, io.Writer(out)
	if b.opts.mangle != nil {
		from, to = b.opts.mangle(n, in, out)
	}
	if in != nil {
		go func() {
			_, _ = io.Copy(stdin, from)
			stdin.Close()
		}()
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		if out != nil {
			_, _ = io.Copy(to, stdoutReader)
		}
	}()
	err = waitFor(cmd, copied)
	close(p.gone)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code := exit.ExitCode()
		if code < 0 {
			code = 137 // what the runtime makes of a kill
		}
		return utilexec.CodeExitError{Err: err, Code: code}
	}
	return err
}

// waitFor waits for the process and then for its output, which may have nowhere to go.
func waitFor(cmd *exec.Cmd, copied <-chan struct{}) error {
	err := cmd.Wait()
	select {
	case <-copied:
	case <-time.After(10 * time.Second):
	}
	return err
}

func (b *bed) killAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.processes {
		select {
		case <-p.gone:
		default:
			if process, err := os.FindProcess(p.pid); err == nil {
				_ = process.Kill()
			}
		}
	}
}

// process waits for the nth exec to have started.
func (b *bed) process(n int) *process {
	b.t.Helper()
	var p *process
	eventually(b.t, 20*time.Second, "a process to start", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.processes) > n {
			p = b.processes[n]
		}
		return p != nil
	})
	return p
}

// execs counts the processes that have been started.
func (b *bed) execs() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.processes)
}

func (p *process) mustEnd(t testing.TB, within time.Duration) {
	t.Helper()
	select {
	case <-p.gone:
	case <-time.After(within):
		t.Errorf("process %d still runs after %v", p.pid, within)
	}
}

func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		select {
		case <-poll.C:
		case <-deadline.C:
			t.Fatalf("waited %v for %s", within, what)
		}
	}
}
