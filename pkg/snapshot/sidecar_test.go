package snapshot

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func example() Sidecar {
	sum := strings.Repeat("ab", 32)
	return Sidecar{
		APIVersion: APIVersion, Kind: Kind, File: "a.db.zst", Size: 10, SHA256: sum, Compression: Zstd, Proof: ProofFull,
		Plain: Plain{Size: 20, SHA256: sum}, Created: time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC), Tool: "kubectl-etcd v0",
		Source:         Source{Context: "prod", Namespace: "kube-system", Name: "etcd", Member: "m1", Via: "agent"},
		Cluster:        Cluster{ClusterID: "cdf818194e3a8c32", EtcdVersion: "3.6.8"},
		RevisionBefore: 7, RevisionAfter: 9,
		Content: &Content{Revision: 8, CompactRevision: 0, TotalKeys: 0, Hash: 4294967295, DBSize: 20480},
	}
}

func TestSidecar(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db.zst")
	want := example()
	for range 2 { // the second time replaces the first
		if err := WriteSidecar(path, want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadSidecar(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(SidecarPath(path))
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("mode %s", info.Mode())
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

// TestSidecarFields holds the names that others rely on.
func TestSidecarFields(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s := example()
	if err := WriteSidecar(path, s); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(SidecarPath(path))
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(`apiVersion kind file size sha256 compression raw proof plain created tool source cluster
		revisionBefore revisionAfter revision compactRevision totalKeys liveKeys hash dbSize`) {
		if _, ok := fields[name]; !ok {
			t.Errorf("%s is missing in %s", name, data)
		}
		delete(fields, name)
	}
	if len(fields) != 0 {
		t.Errorf("unexpected fields %v", fields)
	}
	if s.Proof, s.Content = ProofStream, nil; WriteSidecar(path, s) != nil {
		t.Error("a sidecar without content cannot be written")
	}
	if got, err := ReadSidecar(path); err != nil || got.Content != nil {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestReadSidecarErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	if _, err := ReadSidecar(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	valid, err := json.Marshal(example())
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) string {
		changed := strings.Replace(string(valid), old, new, 1)
		if changed == string(valid) {
			t.Fatalf("%s is not in %s", old, valid)
		}
		return changed
	}
	for name, data := range map[string]string{
		"empty": "", "not JSON": "text", "list": "[]", "nothing": "{}",
		"another kind":     replace(`"Snapshot"`, `"Pod"`),
		"another version":  replace(APIVersion, "v9"),
		"no size":          replace(`"size":10`, `"size":0`),
		"negative size":    replace(`"size":20`, `"size":-1`),
		"short sha256":     replace(strings.Repeat("ab", 32), "ab"),
		"compression":      replace(`"zstd"`, `"gzip"`),
		"proof":            replace(`"full"`, `"maybe"`),
		"huge":             replace(`"agent"`, `"`+strings.Repeat("x", 2<<20)+`"`),
		"number as string": replace(`"revision":8`, `"revision":"8"`),
	} {
		if err := os.WriteFile(SidecarPath(path), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSidecar(path); !errors.Is(err, ErrInvalidSidecar) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := os.WriteFile(SidecarPath(path), []byte(replace(`"file"`, `"added later":{"x":1},"file"`)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSidecar(path); err != nil {
		t.Errorf("field of a later version: %v", err)
	}
}

func TestWriteSidecarErrors(t *testing.T) {
	dir := t.TempDir()
	if err := WriteSidecar(filepath.Join(dir, "a"), Sidecar{}); !errors.Is(err, ErrInvalidSidecar) {
		t.Errorf("got %v", err)
	}
	if err := WriteSidecar(filepath.Join(dir, "absent", "a"), example()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	// The target cannot be replaced: nothing is left behind.
	if err := os.MkdirAll(filepath.Join(dir, "a.json", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteSidecar(filepath.Join(dir, "a"), example()); err == nil {
		t.Error("a folder was replaced")
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}
