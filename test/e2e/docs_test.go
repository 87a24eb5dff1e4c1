//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestDocs runs what the documentation shows. In README.md and docs/*.md every block of the kind "console" is a session:
// lines that begin with "$ " are run, one after the other in one folder per document, and the lines below must come out.
//
// In those lines a word with a digit in it, and a unit, stand for any such word; … stands for any text, and alone on a line
// for any lines. A command must succeed, unless "$ echo $?" below it shows another exit code.
// A bucket backups, its credentials, key.txt and recipients.txt are there. demo-control-plane and kind-demo are the node and the context of the cluster at hand; team-a has a hosted etcd.
func TestDocs(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	files = append([]string{filepath.Join(root, "README.md")}, files...)
	c := clusters.get(t, mainKind)
	host(t, c, hosted{Namespace: "team-a"}).put(t, "/registry/namespaces/default", "not a real one")
	env := newBucket(t).environment(t)
	ran := 0
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		commands := sessions(string(text), filepath.Base(path))
		if len(commands) == 0 {
			continue
		}
		ran += len(commands)
		t.Run(filepath.Base(path), func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range env.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, cmd := range commands {
				c.document(t, dir, cmd, env.variables...)
			}
		})
	}
	if ran == 0 {
		t.Error("no document has a session")
	}
}

// documented is a command of a document and what is said about it.
type documented struct {
	where string
	line  string
	want  []string
	code  int
}

func sessions(text, name string) (out []documented) {
	inside := false
	var last *documented
	for i, line := range strings.Split(text, "\n") {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
			last = nil
		case !inside:
		case isCommand && command == "echo $?" && last != nil:
			last.code = -1 // the next line says it
		case isCommand:
			out = append(out, documented{where: fmt.Sprintf("%s:%d", name, i+1), line: command})
			last = &out[len(out)-1]
		case last != nil && last.code == -1:
			last.code, _ = strconv.Atoi(line)
		case last != nil && strings.TrimSpace(line) != "":
			last.want = append(last.want, line)
		}
	}
	return out
}

// document runs a command in a shell, since documents show pipes, and compares.
func (c *cluster) document(t *testing.T, dir string, d documented, env ...string) {
	t.Helper()
	local := strings.NewReplacer("demo-control-plane", c.node(), "kind-demo", c.context)
	start := time.Now()
	cmd := exec.CommandContext(t.Context(), "bash", "-o", "pipefail", "-c", local.Replace(d.line))
	cmd.Dir, cmd.WaitDelay = dir, 10*time.Second
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig)
	cmd.Env = append(cmd.Env, env...)
	got, err := cmd.CombinedOutput()
	t.Logf("%s: %s (%.1f s)", d.where, d.line, time.Since(start).Seconds())
	code := 0
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if code != d.code {
		t.Errorf("%s: %s: exit code %d, documented %d\n%s", d.where, d.line, code, d.code, got)
		return
	}
	if err := follows(strings.Split(local.Replace(strings.Join(d.want, "\n")), "\n"), string(got)); err != nil {
		t.Errorf("%s: %s: %v; it prints:\n%s", d.where, d.line, err, got)
	}
}

// follows: the lines wanted are the lines there, in this order and without gaps, but for those that … stands for.
func follows(want []string, got string) error {
	var lines []string
	for _, l := range strings.Split(got, "\n") {
		if strings.TrimSpace(l) != "" {
			lines = append(lines, l)
		}
	}
	gap := false
	for _, w := range want {
		if strings.TrimSpace(w) == "" {
			continue
		}
		if strings.TrimSpace(w) == "…" {
			gap = true
			continue
		}
		p := pattern(w)
		for gap && len(lines) > 0 && !p.MatchString(lines[0]) {
			lines = lines[1:]
		}
		if len(lines) == 0 || !p.MatchString(lines[0]) {
			return fmt.Errorf("no line %q", w)
		}
		lines, gap = lines[1:], false
	}
	if len(lines) > 0 && !gap {
		return fmt.Errorf("a line that is not documented: %q", lines[0])
	}
	return nil
}

var (
	unit  = regexp.MustCompile(`^[(]?(B|[KMG]iB|[kMG]B|ns|µs|ms|s)[,)]*$`)
	digit = regexp.MustCompile(`[0-9]`)
)

func pattern(line string) *regexp.Regexp {
	var words []string
	for _, w := range strings.Fields(line) {
		switch {
		case unit.MatchString(w):
			w = `\S+`
		case digit.MatchString(w) && !strings.Contains(w, "…"):
			w = `\S+`
		default:
			w = strings.ReplaceAll(regexp.QuoteMeta(w), "…", `.*`)
		}
		words = append(words, w)
	}
	return regexp.MustCompile(`^\s*` + strings.Join(words, `\s+`) + `\s*$`)
}
