//go:build e2e

package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// share chooses n of all, which stay in their order. E2E_SHARE says how many instead, or all, and E2E_SEED which. The seed is
// the commit's where none is given, so that another commit has others. It is an attribute of the test: hack/suites prints
// those, and what of the share has passed.
func share[T any](t testing.TB, n int, all []T) []T {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if head, err := output(t.Context(), nil, "git", "-C", root, "rev-parse", "HEAD"); err == nil && len(head) > 16 {
		if seed, err = strconv.ParseUint(head[:15], 16, 64); err != nil {
			t.Fatal(err)
		}
	}
	if s := os.Getenv("E2E_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	switch s := os.Getenv("E2E_SHARE"); s {
	case "":
	case "all":
		t.Attr("share", fmt.Sprintf("all %d", len(all)))
		return all
	default:
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	n = min(n, len(all))
	t.Attr("share", fmt.Sprintf("%d of %d, seed %d", n, len(all), seed))
	chosen := rand.New(rand.NewPCG(seed, 0)).Perm(len(all))[:n]
	slices.Sort(chosen)
	out := make([]T, n)
	for i, c := range chosen {
		out[i] = all[c]
	}
	return out
}

// minutes are tests that take some each: all of them would make a run of everything twice as long.
var minutes = []string{
	"TestBadDays", "TestConnect", "TestDiscovery", "TestHostedVersions", "TestKubeadmVersions", "TestMembers", "TestRestoreMatrix", "TestRights",
	"TestShards", "TestStoresGoogle",
}

// turn skips such a test where others of them are this commit's share. Who asks for tests by name gets them.
func turn(t *testing.T) {
	t.Helper()
	if flag.Lookup("test.run").Value.String() == "" && !slices.Contains(share(t, 2, minutes), t.Name()) {
		t.Skip("other commits run it; E2E_SHARE=all runs all")
	}
}
