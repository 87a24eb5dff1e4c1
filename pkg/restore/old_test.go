package restore

import (
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// TestAsBeforeStopped: to take back a restore that was done while the operator was stopped is done so, too.
func TestAsBeforeStopped(t *testing.T) {
	t.Parallel()
	cfg := Config{}
	if err := AsBefore(&plan.Operation{Data: []byte(`{"operatorStopped":true}`)}, &cfg); err != nil || !cfg.OperatorStopped {
		t.Errorf("%t, %v", cfg.OperatorStopped, err)
	}
}
