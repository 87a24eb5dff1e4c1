package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Each case is a package that the real `go test` runs.
func TestCounts(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		want   counts
		ran    bool
		says   string
	}{
		"leaves are counted, parents are not": {`func TestA(t *testing.T) { t.Run("x", func(*testing.T) {}); t.Run("y", func(t *testing.T) { t.Skip("why") }) }
			func TestB(*testing.T) {}`, counts{2, 0, 1}, true, "skip  TestA/y"},
		"what passed of a share is said": {`func TestA(t *testing.T) { t.Attr("share", "1 of 2"); t.Run("x", func(*testing.T) {}) }`, counts{1, 0, 0}, true, "pass  TestA/x"},
		"which share it is, too":         {`func TestA(t *testing.T) { t.Attr("share", "1 of 2") }`, counts{1, 0, 0}, true, "TestA: share 1 of 2"},
		"a failed leaf fails once": {`func TestA(t *testing.T) { t.Run("x", func(t *testing.T) { t.Error("because") }); t.Run("y", func(*testing.T) {}) }`,
			counts{1, 1, 0}, false, "because"},
		"a parent's own failure counts": {`func TestA(t *testing.T) { t.Run("x", func(*testing.T) {}); t.Error("mine") }`, counts{1, 1, 0}, false, "mine"},
		"a panic":                       {`func TestA(*testing.T) {}; func TestB(*testing.T) { panic("boom") }`, counts{1, 1, 0}, false, "boom"},
		"an exit":                       {`func TestMain(*testing.M) { os.Exit(3) }`, counts{0, 1, 0}, false, ""},
		"what does not build":           {`func TestA(*testing.T) { nowhere() }`, counts{0, 1, 0}, false, "undefined: nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			head := "package x\nimport (\"testing\"; \"os\")\nvar _ = os.Args\n"
			write(t, filepath.Join(dir, "go.mod"), "module x\n\ngo 1.26\n")
			write(t, filepath.Join(dir, "x_test.go"), head+c.source)
			var out bytes.Buffer
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			s := suite{name: "x", dir: dir, args: []string{"-vet=off", "./..."}}
			got, ran := s.run(ctx, "", &printer{w: &out, started: time.Now()})
			if got != c.want || ran != c.ran {
				t.Errorf("got %v (%t), want %v (%t)\n%s", got, ran, c.want, c.ran, &out)
			}
			if !strings.Contains(out.String(), c.says) {
				t.Errorf("output lacks %q:\n%s", c.says, &out)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
