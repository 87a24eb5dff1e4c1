package restore

import (
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// runsEtcd is what a restore finds where one member's image, its StatefulSet's template and etcd itself say so.
func runsEtcd(image, template, says string) (*Scene, controlplane.ControlPlane) {
	m := controlplane.Member{Name: "m", Container: "etcd", Image: image}
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "kube-etcd"}}
	sc := &Scene{Survey: &survey.Survey{Members: []survey.Member{{Name: "m"}}}}
	always := corev1.ContainerRestartPolicyAlways // etcd is a native sidecar here, which is found, too
	set.Spec.Template.Spec.InitContainers = []corev1.Container{{Name: "etcd", Image: template, RestartPolicy: &always}}
	set.Spec.Template.Spec.Containers = []corev1.Container{{Name: "sidecar", Image: "x:1.0.0"}}
	sc.Pods = PodsOf(set)
	if says != "" {
		sc.Survey.Members[0].Status = &etcd.Status{Version: says}
	}
	return sc, controlplane.ControlPlane{Namespace: "team-a", Name: "kube-etcd", Members: []controlplane.Member{m}}
}

// TestStartable: what etcd would not start on is refused, by what the members will run.
func TestStartable(t *testing.T) {
	t.Parallel()
	const etcd36, etcd37, own = "registry.k8s.io/etcd:3.6.8-0", "quay.io/coreos/etcd:v3.7.3", "registry.example.com/etcd:stable"
	for name, c := range map[string]struct {
		image, template string // template "": the image
		says            string
		storage, agreed string
		hot, nobump     bool
		refused, note   string // parts
	}{
		"the same":                                {image: etcd36, storage: "3.6.0", agreed: "3.6.0"},
		"an older snapshot":                       {image: etcd37, agreed: "3.5.0"},
		"one that does not say":                   {image: etcd36},
		"a newer one":                             {image: etcd36, storage: "3.7.0", refused: "the snapshot is of etcd 3.7, and member m runs 3.6.8, which does not start on newer data"},
		"taken while a cluster was taken up":      {image: etcd36, storage: "3.6.0", agreed: "3.7.0", refused: "is of etcd 3.7"},
		"taken after a cluster was taken down":    {image: etcd36, storage: "3.6.0", agreed: "3.6.0"},
		"the image does not tell, etcd does":      {image: own, says: "3.6.8", storage: "3.7.0", refused: "member m runs 3.6.8"},
		"neither tells":                           {image: own, storage: "3.7.0"},
		"the template has another image":          {image: etcd36, template: etcd37, says: "3.6.8", storage: "3.7.0"},
		"an older one":                            {image: etcd37, template: etcd36, says: "3.7.3", storage: "3.7.0", refused: "member m runs 3.6.8"},
		"hot: the pods stay as they are":          {image: etcd36, template: etcd37, says: "3.6.8", storage: "3.7.0", hot: true, refused: "member m runs 3.6.8"},
		"etcd 3.5 does not look: one minor":       {image: "e:3.5.35", storage: "3.6.0", note: "starts on newer data without a look"},
		"etcd 3.5 does not look: two":             {image: "e:3.5.35", storage: "3.7.0", refused: "no later version would after that"},
		"a tool that cannot raise the revision":   {image: "registry.k8s.io/etcd:3.5.3-0", agreed: "3.5.0", refused: "the tool of member m, etcd 3.5.3, cannot raise the revision"},
		"which it need not":                       {image: "registry.k8s.io/etcd:3.5.3-0", agreed: "3.5.0", nobump: true},
		"the first tool that can":                 {image: "registry.k8s.io/etcd:3.5.10-0", agreed: "3.5.0"},
		"newer than all that is known: not ours":  {image: "e:3.9.0", storage: "3.8.0"},
		"a snapshot newer than all that is known": {image: "e:3.8.0", storage: "3.9.0", refused: "is of etcd 3.9"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.template == "" {
				c.template = c.image
			}
			sc, p := runsEtcd(c.image, c.template, c.says)
			cfg := Config{Target: site.Target{Plane: p}, Hot: c.hot, Bump: -1}
			if c.nobump {
				cfg.Bump = 0
			}
			note, err := sc.startable(cfg, &verify.Report{StorageVersion: c.storage, ClusterVersion: c.agreed})
			if !strings.Contains(note, c.note) || (note == "") != (c.note == "") {
				t.Errorf("note %q", note)
			}
			if c.refused == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var r *site.Refusal
			if !errors.As(err, &r) || !strings.Contains(r.Reason, c.refused) || !strings.Contains(r.Hint(), "give StatefulSet kube-etcd an image of etcd 3.") {
				t.Errorf("%v, %+v", err, r)
			}
		})
	}
}
