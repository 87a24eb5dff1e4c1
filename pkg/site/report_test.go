package site

import (
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// told has a test's log say what a user is told.
type told struct{ t *testing.T }

func (told) Begin(plan.Step, bool)         {}
func (told) End(plan.Step, bool, error)    {}
func (told) Step(string, ...any)           {}
func (r told) Warn(f string, a ...any)     { r.t.Logf("warning: "+f, a...) }
func (told) Progress(string, int64, int64) {}
