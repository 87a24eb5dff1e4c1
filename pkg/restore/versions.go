package restore

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/version"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// etcd knows what its data is of by major and minor version; a patch release changes nothing there.
var (
	checksData = version.MustParseGeneric("3.6")    // the first that looks at that, and ends where its data is newer
	bumps      = version.MustParseGeneric("3.5.10") // the first whose tool can raise the revision
)

// startable refuses a snapshot on which a member's etcd would not start, or from which nothing would lead on. That is
// known before anything is begun; otherwise it is met in the outage. The note is what etcd does not refuse, though it is not its way.
func (sc *Scene) startable(cfg Config, r *verify.Report) (note string, err error) {
	data := dataVersion(r)
	for _, m := range cfg.Plane.Members {
		v := sc.runs(m, cfg.Hot)
		switch {
		case sc.Skips(m.Name) || v == nil:
			continue
		case v.LessThan(bumps) && cfg.Bump != 0:
			return "", site.Refuse("give "+sc.Pods.name+" an image of etcd 3.5.10 or later first, or pass --bump-revision=0",
				"restore %s: the tool of member %s, etcd %s, cannot raise the revision; without that, API servers and controllers keep objects that are no longer there", cfg.Plane.ID(), m.Name, v)
		case data == nil || minor(v).AtLeast(data):
			continue
		}
		hint := fmt.Sprintf("give %s an image of etcd %s first; after the restore, etcd can be taken down to %s with: etcdctl downgrade enable %[3]s", sc.Pods.name, data, minor(v))
		switch one := v.Minor()+1 == data.Minor(); {
		case v.AtLeast(checksData):
			return "", site.Refuse(hint, "restore %s: the snapshot is of etcd %s, and member %s runs %s, which does not start on newer data", cfg.Plane.ID(), data, m.Name, v)
		case !one:
			return "", site.Refuse(hint, "restore %s: the snapshot is of etcd %s, and member %s runs %s, which would start on it, but no later version would after that", cfg.Plane.ID(), data, m.Name, v)
		}
		note = fmt.Sprintf("the snapshot is of etcd %s, and member %s runs %s, which starts on newer data without a look; etcd's own way is one of a cluster that was taken down before: etcdctl downgrade enable %s", data, m.Name, v, minor(v))
	}
	return note, nil
}

// dataVersion is which etcd a snapshot is of: what its storage is, or what its members had agreed on, whichever is newer. nil: it
// does not say.
func dataVersion(r *verify.Report) (v *version.Version) {
	for _, s := range []string{r.StorageVersion, r.ClusterVersion} {
		if p, err := version.ParseGeneric(s); err == nil && (v == nil || v.LessThan(minor(p))) {
			v = minor(p)
		}
	}
	return v
}

func minor(v *version.Version) *version.Version {
	return version.MustParseGeneric(fmt.Sprintf("%d.%d", v.Major(), v.Minor()))
}

// runs is which etcd a member will run on the restored data; nil where neither an image's tag nor etcd itself tells. Pods that
// are made anew follow the StatefulSet's template, which can be another one than theirs.
func (sc *Scene) runs(m controlplane.Member, hot bool) *version.Version {
	image := m.Image
	for _, c := range program.Containers(&sc.Pods.template.Spec) {
		if c.Name == m.Container && !hot {
			image = c.Image
		}
	}
	tag := controlplane.ImageVersion(image)
	if s := sc.Survey.Find(m.Name); s != nil && s.Status != nil && image == m.Image {
		tag = s.Status.Version // knows best what it is
	}
	v, err := version.ParseGeneric(tag)
	if err != nil {
		return nil
	}
	return v
}
