package look

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestFew: thousands of failures are not thousands of lines, and an interrupt is seen among them.
func TestFew(t *testing.T) {
	if err := few([]error{nil, nil}); err != nil {
		t.Errorf("nothing failed, and it says %v", err)
	}
	var all []error
	for i := range 5000 {
		all = append(all, nil, fmt.Errorf("create configmaps/%d: refused", i))
	}
	if got := few(all[:2*toldOf]).Error(); strings.Count(got, "\n") != toldOf-1 || !strings.HasSuffix(got, "configmaps/19: refused") {
		t.Errorf("of %d failures it tells %q", toldOf, got)
	}
	err := few(append(all, context.Canceled))
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != toldOf+2 || lines[0] != "create configmaps/0: refused" || lines[toldOf] != "4981 more failed" || !errors.Is(err, context.Canceled) {
		t.Errorf("of 5000 failures and an interrupt it tells %q", lines)
	}
}
