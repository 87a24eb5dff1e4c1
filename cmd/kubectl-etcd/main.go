// kubectl-etcd is the kubectl plugin.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin"
)

// A client's memory must not grow with the data: what it holds is bounded by
// buffers, so garbage is what the peak is made of.
const (
	gcPercent   = 50
	memoryLimit = 64 << 20
)

func main() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(gcPercent)
		debug.SetMemoryLimit(memoryLimit)
	}
	// A reader of standard output that dies, or a terminal that goes away, must
	// not end this process before it has cleaned up: the write then fails instead.
	signal.Ignore(syscall.SIGPIPE)
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // under nohup a terminal that goes away must not end a backup
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	// A second signal ends the process at once, in the middle of cleaning up.
	context.AfterFunc(ctx, stop)
	code := plugin.Execute(ctx, genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}, os.Args[1:])
	os.Exit(code)
}
