package controlplane

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
)

// summary prints what the tests compare, in a form that a reader can check
// against the fixture.
func summary(planes []ControlPlane) string {
	var b strings.Builder
	line := func(format string, args ...any) {
		fmt.Fprintln(&b, strings.TrimRight(fmt.Sprintf(format, args...), " "))
	}
	for _, c := range planes {
		line("%s %s owner=%s/%s ready=%d/%d", c.ID(), c.Layout, c.Owner.Kind, c.Owner.Name, c.Ready(), len(c.Members))
		if c.Manager != nil {
			line("  manager %s/%s", c.Manager.Kind, c.Manager.Name)
		}
		for _, m := range c.Members {
			summarize(line, m)
		}
		if c.External() {
			line("  endpoints %s", strings.Join(c.Endpoints, " "))
			line("  client %s", tlsString(*c.ClientTLS))
			if p := c.Place; p != nil {
				line("  on nodes %v in pods %v: %s of %v, %s", p.Nodes, p.Pods, p.Program, p.By, p.Store)
			}
		}
		for _, a := range c.APIServers {
			line("  api %s/%s prefix=%s for=%v", a.Namespace, a.Pod, a.EtcdPrefix, a.For)
		}
		for _, n := range c.Notes {
			line("  note %s", n)
		}
	}
	return b.String()
}

func summarize(line func(string, ...any), m Member) {
	reason := ""
	if m.Reason != "" {
		reason = fmt.Sprintf(" (%s, %d restarts)", m.Reason, m.Restarts)
	}
	line("  member %s pod=%q %s%s node=%s version=%s", m.Name, m.Pod, m.Phase, reason, m.Node, m.Version)
	volume := func(what string, v *VolumeRef) {
		if v != nil {
			line("    %s in %s %s at %s %s", what, v.Kind, strings.Join(v.Source, ","), v.MountPath, v.SubPath)
		}
	}
	line("    data %s wal %s", m.DataDir, m.WALDir)
	volume("data", m.DataVolume)
	volume("wal", m.WALVolume)
	line("    endpoint %s outside %s forward %d name %q", m.Endpoint, m.PodEndpoint, m.LoopbackPort, m.ServerName)
	line("    peers %s of %s %s", strings.Join(m.AdvertisePeerURLs, ","), m.InitialCluster, m.InitialClusterState)
	if m.QuotaBytes != 0 {
		line("    quota %d", m.QuotaBytes)
	}
	line("    server %s", tlsString(m.ServerTLS))
	line("    client %s", tlsString(m.ClientTLS))
	for _, t := range m.ClientTLSAlternatives {
		line("    or     %s", tlsString(t))
	}
	for i := range m.TLSVolumes {
		volume("tls", &m.TLSVolumes[i])
	}
	refs := m.TLSSecretRefs()
	for _, p := range slices.Sorted(maps.Keys(refs)) {
		line("    %s = %s %s[%s]", p, refs[p].Kind, refs[p].Name, refs[p].Key)
	}
	for _, s := range m.APIServerTLS {
		line("    servers %s", strings.Join(refStrings(s.CA, s.Cert, s.Key), " "))
	}
	for _, n := range m.Notes {
		line("    note %s", n)
	}
}

func refStrings(refs ...program.FileRef) (out []string) {
	for _, r := range refs {
		out = append(out, fmt.Sprintf("%s/%s[%s]", r.Kind, r.Name, r.Key))
	}
	return out
}

func tlsString(t TLSFiles) string { return t.CA + " " + t.Cert + " " + t.Key }

var update = flag.Bool("update", false, "rewrite the expected results; read the difference line by line before keeping it")

// TestFind reads every layout's fixture and compares with the text beside it.
func TestFind(t *testing.T) {
	fixtures, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(fixtures) < 15 {
		t.Fatalf("fixtures: %v, %v", fixtures, err)
	}
	for _, f := range fixtures {
		name := strings.TrimSuffix(filepath.Base(f), ".yaml")
		t.Run(name, func(t *testing.T) {
			_, client := serve(t, name)
			planes, err := Find(t.Context(), client, Query{})
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(filepath.Join("testdata", name+".txt"), []byte(summary(planes)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), summary(planes)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
