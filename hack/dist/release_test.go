//go:build dist

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A release for this machine: made twice, the second time from a copy of the sources in another folder, it is the same; it
// unpacks, it runs and says its version, and the manifest fits.
// Making all six takes long where nothing is cached, so that is `make dist`.
func TestRelease(t *testing.T) {
	const version = "v0.0.0-test.1"
	ldflags := "-s -w -X github.com/kubectl-etcd/kubectl-etcd/pkg/plugin.Version=" + version
	ctx, cancel := context.WithTimeout(t.Context(), 14*time.Minute)
	defer cancel()
	p := platform{"linux", "amd64"}
	var archives [2][]byte
	var dirs [2]string
	for i, root := range []string{"../..", sources(t)} {
		dirs[i] = filepath.Join(t.TempDir(), "dist")
		var log bytes.Buffer
		r := release{version: version, ldflags: ldflags, root: root, out: dirs[i], log: &log}
		if err := r.make(ctx, []platform{p}); err != nil {
			t.Fatal(err)
		}
		t.Log(strings.TrimSpace(log.String()))
		var err error
		if archives[i], err = os.ReadFile(filepath.Join(dirs[i], p.Archive())); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("the same twice", func(t *testing.T) {
		if !bytes.Equal(archives[0], archives[1]) {
			t.Error("two builds gave two archives")
		}
	})
	t.Run("fits its manifest", func(t *testing.T) {
		if err := check(dirs[0], false); err != nil {
			t.Error(err)
		}
	})
	t.Run("fits its sums", func(t *testing.T) {
		cmd := exec.CommandContext(ctx, "sha256sum", "-c", "checksums.txt")
		cmd.Dir = dirs[0]
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("unpacks and runs", func(t *testing.T) {
		dir := t.TempDir()
		// With the tar that users have, not with our own reader.
		if out, err := exec.CommandContext(ctx, "tar", "-xzf", filepath.Join(dirs[0], p.Archive()), "-C", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if info, err := os.Stat(filepath.Join(dir, p.Program())); err != nil || info.Size() > 95_000_000 {
			t.Errorf("the plugin has grown: %v, %v", info, err)
		}
		out, err := exec.CommandContext(ctx, filepath.Join(dir, p.Program()), "version", "-o", "jsonpath={.version} {.platform}").CombinedOutput()
		if want := version + " linux/amd64"; err != nil || string(out) != want {
			t.Errorf("got %q, %v; want %q", out, err, want)
		}
	})
}

// sources copies what a release is made from.
func sources(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"cmd", "pkg", "manifests", "krew"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join("../..", name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum", "LICENSE"} {
		b, err := os.ReadFile(filepath.Join("../..", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
