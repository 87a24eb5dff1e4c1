// Package operations has the tests of whole operations: real etcd processes on real data directories, a Kubernetes that is
// here, and clients that are killed.
package operations

import (
	"context"
	"fmt"
	"os"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agent"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// asAgent in the environment makes an agent of this program, so that one can be killed.
const asAgent = "KUBECTL_ETCD_TEST_AGENT"

// An undo that fails in these tests fails for good; its patience has a test of its own.
func init() {
	site.UndoPatience = 0
	if os.Getenv(asAgent) == "" {
		return
	}
	if err := agent.Serve(context.Background(), os.Stdin, os.Stdout, agent.Handlers()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
