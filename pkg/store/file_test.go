package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// only checks which names a folder holds.
func only(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	if !slices.Equal(have, want) {
		t.Errorf("the folder holds %v, want %v", have, want)
	}
}

func create(t *testing.T, path string, force bool, text string) *File {
	t.Helper()
	f, err := Create(path, force)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestResolve(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	write(t, file, "")
	for _, c := range []struct{ to, want, err string }{
		{dir, filepath.Join(dir, "x.db"), ""},
		{dir + "/", filepath.Join(dir, "x.db"), ""},
		{filepath.Join(dir, "other.db"), filepath.Join(dir, "other.db"), ""},
		{"other.db", "other.db", ""},
		{".", "x.db", ""},
		{filepath.Join(dir, "absent") + "/", "", "absent"},
		{filepath.Join(dir, "absent", "x.db"), "", "absent"},
		{filepath.Join(file, "x.db"), "", "not a"},
	} {
		got, err := Resolve(c.to, "x.db")
		if c.err == "" && (err != nil || got != c.want) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("Resolve(%q) = %q, %v; want %q, %q", c.to, got, err, c.want, c.err)
		}
	}
}

func TestCommit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	f := create(t, path, false, "new")
	only(t, dir, "x.db.part")
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	only(t, dir, "x.db")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || content(t, path) != "new" {
		t.Errorf("%v, %v, %q", info, err, content(t, path))
	}
	f.Abort() // too late to change anything
	only(t, dir, "x.db")
}

func TestAbort(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	write(t, path, "old")
	create(t, path, true, "new").Abort()
	only(t, dir, "x.db")
	if content(t, path) != "old" {
		t.Error("Abort changed what was there before")
	}
}

func TestExists(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	write(t, path, "old")
	if _, err := Create(path, false); !errors.Is(err, ErrExists) {
		t.Errorf("Create over a file: %v", err)
	}
	only(t, dir, "x.db")
	if err := create(t, path, true, "new").Commit(); err != nil || content(t, path) != "new" {
		t.Errorf("forced: %v, %q", err, content(t, path))
	}
	only(t, dir, "x.db")
}

// A file that appears while this one is written is nobody's to replace.
func TestExistsMeanwhile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	f := create(t, path, false, "mine")
	write(t, path, "theirs")
	if err := f.Commit(); !errors.Is(err, ErrExists) {
		t.Errorf("Commit over a file: %v", err)
	}
	only(t, dir, "x.db")
	if content(t, path) != "theirs" {
		t.Error("Commit replaced another's file")
	}
}

// A name that cannot be given leaves no part behind, although the file is closed by then.
func TestPublishFails(t *testing.T) {
	t.Parallel()
	for _, force := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.db")
		f := create(t, path, force, "mine")
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := f.Commit(); err == nil {
			t.Error("a folder was replaced")
		}
		only(t, dir, "x.db")
		f.Abort()
	}
}

func TestAbortWhenClosed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := create(t, filepath.Join(dir, "x.db"), false, "mine")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Commit of a closed file: %v", err)
	}
	only(t, dir)
}

func TestTwoWriters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	f := create(t, path, false, "first")
	for _, force := range []bool{false, true} {
		if _, err := Create(path, force); !errors.Is(err, ErrBusy) {
			t.Errorf("the second writer: %v", err)
		}
	}
	if err := f.Commit(); err != nil || content(t, path) != "first" {
		t.Errorf("the first writer: %v, %q", err, content(t, path))
	}
	if err := create(t, path, true, "second").Commit(); err != nil || content(t, path) != "second" {
		t.Errorf("after it: %v, %q", err, content(t, path))
	}
	only(t, dir, "x.db")
}

func TestStalePart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	write(t, path+".part", "what a killed client left, which is longer")
	if err := create(t, path, false, "new").Commit(); err != nil || content(t, path) != "new" {
		t.Errorf("%v, %q", err, content(t, path))
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	only(t, dir, "x.db")
}

func TestNotAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	write(t, secret, "keep")
	for name, put := range map[string]func(string) error{
		"folder.db":       func(p string) error { return os.Mkdir(p, 0o755) },
		"parted.db.part":  func(p string) error { return os.Mkdir(p, 0o755) },
		"symlink.db.part": func(p string) error { return os.Symlink(secret, p) },
	} {
		if err := put(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		path := strings.TrimSuffix(filepath.Join(dir, name), ".part")
		if _, err := Create(path, true); err == nil || !strings.Contains(err.Error(), "not a regular file") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if content(t, secret) != "keep" {
		t.Error("a symlink was followed")
	}
	if _, err := Create(filepath.Join(dir, "absent", "x.db"), false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a folder that does not exist: %v", err)
	}
}

func TestFree(t *testing.T) {
	t.Parallel()
	if n := Free(t.TempDir()); n <= 0 {
		t.Errorf("%d bytes free", n)
	}
	if n := Free(filepath.Join(t.TempDir(), "absent")); n != -1 {
		t.Errorf("%d bytes free in a folder that does not exist", n)
	}
}
