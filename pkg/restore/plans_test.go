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
	all := func(hot bool, change func(*scene, *Shared, *Config)) ([]plan.Step, error) {
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
		cfg.Hot = hot
		return (&run{sh: sh, cfg: cfg}).planned(sc)
	}
	var out strings.Builder
	show := func(name string) func([]plan.Step, error) {
		return func(steps []plan.Step, err error) {
			if err != nil {
				t.Fatal(err)
			}
			out.WriteString("# " + name + "\n")
			for _, s := range steps {
				b, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				out.Write(append(b, '\n'))
			}
		}
	}
	const cold, hot = false, true
	show("cold")(all(cold, func(*scene, *Shared, *Config) {}))
	show("cold, of the least")(all(cold, func(sc *scene, sh *Shared, cfg *Config) {
		*sc, sh.Hosted, cfg.Safety = scene{set: &appsv1.StatefulSet{}}, nil, ""
	}))
	show("cold, the old data is discarded")(all(cold, func(_ *scene, sh *Shared, _ *Config) { sh.DiscardOld = true }))
	show("cold, volumes of one pod at a time")(all(cold, func(_ *scene, sh *Shared, _ *Config) { sh.StageLate = true }))
	show("cold, both")(all(cold, func(_ *scene, sh *Shared, _ *Config) { sh.DiscardOld, sh.StageLate = true, true }))
	show("hot")(all(hot, func(*scene, *Shared, *Config) {}))
	show("hot, of the least")(all(hot, func(sc *scene, _ *Shared, cfg *Config) { *sc, cfg.Safety = scene{}, "" }))
	b := plan.NewBuilder((&run{}).actions())
	replaceSteps(b, "etcd-0")
	show("replace")(b.Steps())

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
