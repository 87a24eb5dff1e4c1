//go:build unix

// Package apiservertest starts real API servers that may be written to, so that tests have what real ones store.
package apiservertest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/apiserver"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/await"
)

// Start starts c.Program, a path, on an etcd that has no control plane yet, and waits until the API server has made its namespaces. Who has
// its token may write. The test stops it.
func Start(t testing.TB, c apiserver.Config) *apiserver.Server {
	t.Helper()
	program := filepath.Join(t.TempDir(), "kube-apiserver")
	syscall.ForkLock.RLock() // else a process that another test starts just then inherits it open, and it cannot be run
	err := os.WriteFile(program, fmt.Appendf(nil, "#!/bin/sh\nexec '%s' \"$@\" --authorization-mode=AlwaysAllow\n", c.Program), 0o700)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	c.Program, c.Dir = program, t.TempDir()
	s, err := apiserver.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	err = await.Until(t.Context(), 2*time.Minute, "the API server has its namespaces", func(ctx context.Context) (string, bool, error) {
		for _, path := range []string{"/readyz", "/api/v1/namespaces/default", "/api/v1/namespaces/kube-system"} {
			if _, err := s.Client().Get(ctx, path); err != nil {
				return "", false, err
			}
		}
		return "", true, nil
	})
	if err != nil {
		s.Stop()
		t.Fatalf("%v; %s", err, s.LastWords())
	}
	return s
}
