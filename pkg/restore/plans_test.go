package restore

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
)

// TestPlans: a plan's steps are what a user agrees to, and what a journal of another version holds: their ids, kinds, texts
// and order change only on purpose. To write the file anew: PLANS=write go test ./pkg/restore -run TestPlans.
func TestPlans(t *testing.T) {
	t.Parallel()
	const golden = "testdata/plans.txt"
	all := func(change func(*scene, *Shared, *Config)) (*scene, *Shared, Config) {
		writer := func(kind, name string, replicas int32) controlplane.Writer {
			return controlplane.Writer{Kind: kind, Namespace: "team-a", Name: name, Replicas: replicas, Why: "--etcd-servers"}
		}
		sc := &scene{
			set: &appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{PersistentVolumeClaimRetentionPolicy: &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{
				WhenScaled: appsv1.DeletePersistentVolumeClaimRetentionPolicyType}}},
			recreate: true, access: &userapi.Access{},
			budgets:     []policyv1.PodDisruptionBudget{{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "api"}}},
			writers:     []controlplane.Writer{writer("Deployment", "api", 2), writer("Deployment", "off", 0)},
			controllers: []controlplane.Writer{writer("Deployment", "manager", 1), writer("Deployment", "idle", 0)},
		}
		sh := &Shared{Namespace: "team-a", Name: "etcd", StatefulSet: "etcd", Replicas: 2, Members: []MemberRecord{{Name: "etcd-0"}, {Name: "etcd-1"}},
			Hosted: &hostedCluster{Cluster: "clusters/a", ControlPlane: "team-a/a"}}
		cfg := Config{Safety: "file:safety"}
		change(sc, sh, &cfg)
		return sc, sh, cfg
	}
	var out strings.Builder
	show := func(name string, steps []plan.Step) {
		out.WriteString("# " + name + "\n")
		for _, s := range steps {
			b, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			out.Write(append(b, '\n'))
		}
	}
	show("cold", steps(all(func(*scene, *Shared, *Config) {})))
	show("cold, of the least", steps(all(func(sc *scene, sh *Shared, cfg *Config) {
		*sc, sh.Hosted, cfg.Safety = scene{set: &appsv1.StatefulSet{}}, nil, ""
	})))
	show("cold, the old data is discarded", steps(all(func(_ *scene, sh *Shared, _ *Config) { sh.DiscardOld = true })))
	show("cold, volumes of one pod at a time", steps(all(func(_ *scene, sh *Shared, _ *Config) { sh.StageLate = true })))
	show("cold, both", steps(all(func(_ *scene, sh *Shared, _ *Config) { sh.DiscardOld, sh.StageLate = true, true })))
	show("hot", hotSteps(all(func(*scene, *Shared, *Config) {})))
	show("hot, of the least", hotSteps(all(func(sc *scene, _ *Shared, cfg *Config) { *sc, cfg.Safety = scene{}, "" })))
	show("replace", replaceSteps("etcd-0"))

	if os.Getenv("PLANS") == "write" {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != string(want) {
		t.Errorf("the plans are not those of %s:\n%s", golden, got)
	}
}
