package operations

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/member"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hosted"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hosting"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/userapi"
)

// TestPlans: a plan's steps are what a user agrees to, and what a journal of another version holds: their ids, kinds, texts
// and order change only on purpose. To write the file anew: PLANS=write go test ./test/operations -run TestPlans.
func TestPlans(t *testing.T) {
	t.Parallel()
	const golden = "testdata/plans.txt"
	all := func(running bool, change func(*restore.Scene, *hosting.Found, *site.Shared, *restore.Config)) ([]plan.Step, error) {
		writer := func(kind, name string, replicas int32) controlplane.Writer {
			return controlplane.Writer{Kind: kind, Namespace: "team-a", Name: name, Replicas: replicas, Why: "--etcd-servers"}
		}
		h := &hosting.Found{
			Set: &appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{PersistentVolumeClaimRetentionPolicy: &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{
				WhenScaled: appsv1.DeletePersistentVolumeClaimRetentionPolicyType}}},
			Recreate: true,
			Budgets:  []policyv1.PodDisruptionBudget{{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "api"}}},
		}
		sc := &restore.Scene{
			Access:      &userapi.Access{},
			Writers:     []controlplane.Writer{writer("Deployment", "api", 2), writer("Deployment", "off", 0)},
			Controllers: []controlplane.Writer{writer("Deployment", "manager", 1), writer("Deployment", "idle", 0)},
		}
		sh := &site.Shared{Namespace: "team-a", Name: "etcd", Members: []site.MemberRecord{{Name: "etcd-0"}, {Name: "etcd-1"}},
			Hosting: site.Hosting{StatefulSet: "etcd", Replicas: 2, Hosted: &site.HostedCluster{Cluster: "clusters/a", ControlPlane: "team-a/a"}}}
		cfg := restore.Config{Safety: "file:safety"}
		change(sc, h, sh, &cfg)
		cfg.Hot, sc.Survey = running, &survey.Survey{}
		found := func(context.Context, *restore.Run) (*restore.Scene, *hosting.Found, error) { return sc, h, nil }
		cfg.Ways = restore.Ways{
			restore.Cold: func(r *restore.Run) restore.Way { return hosted.NewIn(r, nil, found) },
			restore.Hot:  func(r *restore.Run) restore.Way { return hot.NewIn(r, found) },
		}
		r := restore.NewRun(site.Deps{}, nil, cfg, nil, sh)
		if _, err := r.Way.Look(t.Context()); err != nil {
			return nil, err
		}
		return r.Plan(sc)
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
	const stopped, running = false, true
	show("cold")(all(stopped, func(*restore.Scene, *hosting.Found, *site.Shared, *restore.Config) {}))
	show("cold, of the least")(all(stopped, func(sc *restore.Scene, h *hosting.Found, sh *site.Shared, cfg *restore.Config) {
		*sc, *h, sh.Hosted, cfg.Safety = restore.Scene{}, hosting.Found{Set: &appsv1.StatefulSet{}}, nil, ""
	}))
	show("cold, the old data is discarded")(all(stopped, func(_ *restore.Scene, _ *hosting.Found, sh *site.Shared, _ *restore.Config) { sh.DiscardOld = true }))
	show("cold, volumes of one pod at a time")(all(stopped, func(_ *restore.Scene, _ *hosting.Found, sh *site.Shared, _ *restore.Config) { sh.StageLate = true }))
	show("cold, both")(all(stopped, func(_ *restore.Scene, _ *hosting.Found, sh *site.Shared, _ *restore.Config) {
		sh.DiscardOld, sh.StageLate = true, true
	}))
	show("hot")(all(running, func(*restore.Scene, *hosting.Found, *site.Shared, *restore.Config) {}))
	show("hot, of the least")(all(running, func(sc *restore.Scene, _ *hosting.Found, _ *site.Shared, cfg *restore.Config) {
		*sc, cfg.Safety = restore.Scene{}, ""
	}))
	replace := func(r site.Replacement) ([]plan.Step, error) {
		return (&member.Replacement{Site: &site.Site{Shared: &site.Shared{Replace: &r}}}).Steps("etcd-0")
	}
	show("replace")(replace(site.Replacement{}))
	show("replace, static")(replace(site.Replacement{Pod: &site.StaticPod{Pod: "etcd-a", Node: "a"}}))

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
