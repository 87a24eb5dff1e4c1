package verify_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

var (
	smallOnce sync.Once
	smallData []byte
)

// small returns a copy of a real snapshot of little more than a hundred kilobytes, taken once.
func small(t testing.TB) string {
	t.Helper()
	smallOnce.Do(func() {
		s := etcdtest.Start(t, etcdtest.Find(t, "3.6"))
		s.Fill(t, 60)
		data, err := os.ReadFile(s.Save(t))
		if err != nil {
			t.Fatal(err)
		}
		smallData = data
		s.Stop()
	})
	if smallData == nil {
		t.Fatal("no sample")
	}
	path := filepath.Join(t.TempDir(), "small.db")
	if err := os.WriteFile(path, smallData, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
