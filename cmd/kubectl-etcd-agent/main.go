// The agent of kubectl etcd. It is started by the plugin through exec, answers one request on stdin and stdout, and ends
// when its client does.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agent"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// A client that is gone must not end this process before it has put right what it was at: etcd may be frozen.
	signal.Ignore(syscall.SIGPIPE)
	if err := agent.Serve(ctx, os.Stdin, os.Stdout, agent.Handlers()); err != nil {
		fmt.Fprintln(os.Stderr, "kubectl-etcd-agent:", err)
		os.Exit(1)
	}
}
