package main

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestFindings(t *testing.T) {
	nothing := func(string) ([]string, error) { return nil, nil }
	for name, c := range map[string]struct {
		path, text string
		want       string // part of the only finding; empty: none
	}{
		"down is allowed":             {"pkg/backup/a.go", `import "github.com/kubectl-etcd/kubectl-etcd/pkg/reach"`, ""},
		"up is not":                   {"pkg/reach/a.go", `import "github.com/kubectl-etcd/kubectl-etcd/pkg/backup"`, "pkg/reach must not import pkg/backup"},
		"also on other systems":       {"pkg/store/a_windows.go", `import "github.com/kubectl-etcd/kubectl-etcd/pkg/verify"`, "pkg/store must not import pkg/verify"},
		"tests may":                   {"pkg/reach/a_test.go", `import "github.com/kubectl-etcd/kubectl-etcd/pkg/backup"`, ""},
		"a new package has no place":  {"pkg/novel/a.go", ``, "pkg/novel has no place"},
		"a new program in hack has":   {"hack/novel/a.go", `import "github.com/kubectl-etcd/kubectl-etcd/pkg/verify"`, ""},
		"utils":                       {"pkg/utils/a.go", ``, "says nothing"},
		"cobra":                       {"pkg/backup/a.go", `import "github.com/spf13/cobra"`, "must not import github.com/spf13/cobra"},
		"cobra in plugin":             {"pkg/plugin/a.go", `import "github.com/spf13/cobra"`, ""},
		"clientset":                   {"pkg/plugin/a.go", `import "k8s.io/client-go/kubernetes"`, "typed clients"},
		"typed client":                {"pkg/plugin/a.go", `import "k8s.io/client-go/kubernetes/typed/core/v1"`, ""},
		"agent without Kubernetes":    {"pkg/agent/a.go", `import "k8s.io/client-go/rest"`, "pkg/agent must not import k8s.io/client-go/rest"},
		"server in the product":       {"pkg/rehearse/a.go", `import "go.etcd.io/etcd/server/v3/embed"`, "run, never linked"},
		"too long":                    {"pkg/store/a.go", strings.Repeat("//\n", maxLines), "at most 500"},
		"a machine's path":            {"docs/a.md", "see /ro" + "ot/.cache", "belongs to a machine"},
		"a path in a sentence":        {"docs/a.md", "the /wo" + "rk/load", "belongs to a machine"},
		"root's home in a node":       {"test/a.md", "mv etcd.yaml /root/etcd.yaml", ""},
		"a folder of that name below": {"docs/a.md", "var/lib/work/x and $HOME/root/x", ""},
		"a host of packages":          {"docs/a.md", "GOPROXY=https://proxy.golang" + ".org", "belongs to a machine"},
		"Kubernetes in go.mod":        {"go.mod", "require k8s.io/kubernetes v1.36.3\n", "plugin's module"},
	} {
		t.Run(name, func(t *testing.T) {
			text := c.text
			if strings.HasSuffix(c.path, ".go") {
				text = "package " + pkg(c.path) + "\n\n" + text + "\n"
			}
			got, _, err := lint(fstest.MapFS{c.path: {Data: []byte(text)}}, nothing)
			if err != nil {
				t.Fatal(err)
			}
			if c.want == "" && len(got) > 0 || c.want != "" && (len(got) == 0 || !strings.Contains(strings.Join(got, "\n"), c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func pkg(path string) string {
	parts := strings.Split(path, "/")
	return parts[len(parts)-2]
}

func TestOtherModulesAreTheirOwn(t *testing.T) {
	tree := fstest.MapFS{
		"pkg/odd/go.mod": {Data: []byte("module odd\n")},
		"pkg/odd/a.go":   {Data: []byte("package odd\n\nimport _ \"k8s.io/client-go/kubernetes\"\n")},
	}
	got, _, err := lint(tree, func(string) ([]string, error) { return nil, nil })
	if err != nil || len(got) > 0 {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestLinked(t *testing.T) {
	got, _, err := lint(fstest.MapFS{}, func(program string) ([]string, error) {
		if program == "cmd/kubectl-etcd-agent" {
			return []string{"fmt", "k8s.io/klog/v2"}, nil
		}
		return []string{"k8s.io/klog/v2", "k8s.io/client-go/kubernetes", "testing"}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cmd/kubectl-etcd-agent: links k8s.io/klog/v2", "cmd/kubectl-etcd: links k8s.io/client-go/kubernetes", "cmd/kubectl-etcd: links testing"} {
		if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("no finding %q in %q", want, got)
		}
	}
	if len(got) != 3 {
		t.Errorf("got %d findings, want 3: %q", len(got), got)
	}
}

// The picture has no cycles and names no package that is not in it.
func TestPicture(t *testing.T) {
	var walk func(p string, path []string)
	walk = func(p string, path []string) {
		if slices.Contains(path, p) {
			t.Fatalf("cycle: %v", append(path, p))
		}
		to, ok := mayImport[p]
		if !ok {
			t.Fatalf("%s is imported and not in the table", p)
		}
		for _, q := range to {
			walk(q, append(slices.Clone(path), p))
		}
	}
	for p := range mayImport {
		walk(p, nil)
	}
}
