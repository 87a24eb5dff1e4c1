package manifests

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// static checks that a program runs on any image of that architecture.
func static(t *testing.T, b []byte, arch string) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%s: %v", arch, err)
	}
	libs, _ := f.ImportedLibraries()
	if f.Machine != machines[arch] || f.Type != elf.ET_EXEC || len(libs) > 0 {
		t.Errorf("%s: %v, %v, libraries %v", arch, f.Machine, f.Type, libs)
	}
}

func TestLoaders(t *testing.T) {
	t.Parallel()
	for arch := range machines {
		b, err := Loader(arch)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 4096 {
			t.Errorf("%s: %d bytes, too many for what it is", arch, len(b))
		}
		static(t, b, arch)
	}
	if _, err := Loader("s390x"); err == nil || !strings.Contains(err.Error(), `"s390x"`) {
		t.Errorf("%v", err)
	}
}

// TestAgents takes builds without agents, which `go test` alone makes, for what they are.
func TestAgents(t *testing.T) {
	t.Parallel()
	for arch := range machines {
		b, sum, err := Agent(arch)
		if _, serr := fs.Stat(agents, "agents/agent-linux-"+arch+".zst"); serr != nil {
			if err == nil || !strings.Contains(err.Error(), "make build") {
				t.Errorf("%s: %v", arch, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		want := sha256.Sum256(b)
		if sum != hex.EncodeToString(want[:]) {
			t.Errorf("%s: sha256 %s", arch, sum)
		}
		static(t, b, arch)
	}
	if _, _, err := Agent("s390x"); err == nil || !strings.Contains(err.Error(), `"s390x"`) {
		t.Errorf("%v", err)
	}
}

// TestRBAC: the least rights, and never all of anything.
func TestRBAC(t *testing.T) {
	t.Parallel()
	kinds := map[string]int{}
	for doc := range strings.SplitSeq(RBAC, "\n---\n") {
		var role struct {
			Kind     string `json:"kind"`
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
			Rules []struct {
				APIGroups     []string `json:"apiGroups"`
				Resources     []string `json:"resources"`
				ResourceNames []string `json:"resourceNames"`
				Verbs         []string `json:"verbs"`
			} `json:"rules"`
		}
		if err := yaml.UnmarshalStrict([]byte(doc), &role); err != nil && !strings.Contains(err.Error(), "unknown field") {
			t.Fatal(err)
		}
		kinds[role.Kind]++
		for _, r := range role.Rules {
			all := slices.Concat(r.APIGroups, r.Resources, r.Verbs)
			if slices.Contains(all, "*") || len(r.Verbs) == 0 {
				t.Errorf("%+v", r)
			}
			if role.Kind == "ClusterRole" && (slices.Contains(r.Verbs, "create") || slices.Contains(r.Verbs, "delete") || slices.Contains(r.Resources, "secrets")) {
				t.Errorf("for the whole cluster: %+v", r)
			}
			name := role.Metadata.Name
			if name != "kubectl-etcd-forward" && (slices.Contains(r.Resources, "pods/portforward") || name != "kubectl-etcd-keys" && slices.Contains(r.Resources, "secrets")) {
				t.Errorf("only for --via=forward, and Secrets for --with-keys: %+v", r)
			}
		}
	}
	if kinds["Role"] != 3 || kinds["ClusterRole"] != 2 || strings.Count(RBAC, "namespace: kube-system") != 3 {
		t.Errorf("%v", kinds)
	}
}
