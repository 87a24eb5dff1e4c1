package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin"
)

func TestWrittenPagesAreUpToDate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "reference")
	if err := run(dir, false); err != nil {
		t.Fatal(err)
	}
	if err := run(dir, true); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func() error{
		"backup.md": func() error {
			return os.WriteFile(filepath.Join(dir, "backup.md"), []byte("another"), 0o600)
		},
		"verify.md": func() error { return os.Remove(filepath.Join(dir, "verify.md")) },
		"gone.md":   func() error { return os.WriteFile(filepath.Join(dir, "gone.md"), nil, 0o600) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if err := run(dir, true); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, want one that names %s", err, what)
		}
	}
	if err := run(dir, false); err != nil {
		t.Fatal(err)
	}
	if err := run(dir, true); err != nil {
		t.Errorf("written again: %v", err)
	}
}

// What every page owes its reader.
func TestPages(t *testing.T) {
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	got := pages(plugin.Command())
	for _, c := range plugin.Command().Commands() {
		if c.Name() == "help" {
			continue
		}
		p := string(got[fileName(c)])
		if !strings.Contains(p, "# kubectl etcd "+c.Name()) || !strings.Contains(p, "## Examples") {
			t.Errorf("%s: no title or no examples:\n%s", c.Name(), p)
		}
		if strings.Contains(p, "kubectl-etcd ") {
			t.Errorf("%s: says kubectl-etcd:\n%s", c.Name(), p)
		}
	}
	for name, p := range got {
		if strings.Contains(string(p), home+"/") {
			t.Errorf("%s: says where home is", name)
		}
	}
	for _, want := range []string{"| 130 | interrupted", "`-n, --namespace`", "[`backup`](backup.md)"} {
		if !strings.Contains(string(got["README.md"]), want) {
			t.Errorf("README.md lacks %q", want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	got := text("Long.\n\nExit codes:\n  0    done\n  1    failed;\n       look\n  130  interrupted")
	want := "Long.\n\n| exit code | |\n|---|---|\n| 0 | done |\n| 1 | failed; look |\n| 130 | interrupted |"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
