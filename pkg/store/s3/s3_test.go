package s3

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/storetest"
)

// TestMain gives the SDK what it takes from the environment, and nothing of this machine's.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": storetest.AccessKey, "AWS_SECRET_ACCESS_KEY": storetest.SecretKey, "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true"} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// bucket makes an empty one, and opens it through o's endpoint.
func bucket(t *testing.T, root string, o Options) *Store {
	t.Helper()
	dir, err := os.MkdirTemp(root, "bucket-")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), filepath.Base(dir), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	endpoint := storetest.S3(t, root)
	storetest.Run(t, func(t *testing.T) store.Store { return bucket(t, root, Options{Endpoint: endpoint}) })
}

// TestPartSize: 10,000 parts have to do, and 1,000 for what etcd's size really is, and a little more may come than was expected.
func TestPartSize(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{0, 1, 64 << 20, 1 << 30, 8 << 30, 72 << 30, 100 << 30, 1 << 40} {
		part := PartSize(size)
		if n := (size + size/20 + part - 1) / part; n > 10_000 || part < least || part%(1<<20) != 0 {
			t.Errorf("%d bytes: %d parts of %d", size, n, part)
		} else if size <= 24<<30 && n > 1_000 {
			t.Errorf("%d bytes: %d parts, and some services take 1,000", size, n)
		}
	}
	if PartSize(100<<30) > 16<<20 {
		t.Error("a part of 100 GiB takes more memory than it has to")
	}
}
