package look

import (
	"fmt"
	"strings"
	"testing"
)

// TestFew: thousands of failures are not thousands of lines.
func TestFew(t *testing.T) {
	failures := func(n int) (all []error) {
		for i := range n {
			all = append(all, nil, fmt.Errorf("create configmaps/%d: refused", i))
		}
		return all
	}
	if err := few(failures(0)); err != nil {
		t.Errorf("nothing failed, and it says %v", err)
	}
	if got := few(failures(toldOf)).Error(); strings.Count(got, "\n") != toldOf-1 || !strings.HasSuffix(got, "configmaps/19: refused") {
		t.Errorf("of %d failures it tells %q", toldOf, got)
	}
	lines := strings.Split(few(failures(5000)).Error(), "\n")
	if len(lines) != toldOf+1 || lines[0] != "create configmaps/0: refused" || lines[toldOf] != "4980 more failed" {
		t.Errorf("of 5000 failures it tells %q", lines)
	}
}
