package restore_test

import (
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/etcd"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/survey"
)

// TestServes: an outage ends with the quorum of the restored cluster, and not before it takes writes.
func TestServes(t *testing.T) {
	const restored = 2
	up := survey.Member{Healthy: true, Status: &etcd.Status{ClusterID: restored}}
	silent := survey.Member{Error: "it does not answer"}
	alone := survey.Member{Status: &etcd.Status{ClusterID: restored, Errors: []string{"etcdserver: no leader"}}}
	old := survey.Member{Healthy: true, Status: &etcd.Status{ClusterID: 1}}
	full := survey.Member{Healthy: true, Status: &etcd.Status{ClusterID: restored, Errors: []string{"memberID:7 alarm:NOSPACE"}}}
	learner := survey.Member{Healthy: true, Learner: true, Status: &etcd.Status{ClusterID: restored}}
	for name, c := range map[string]struct {
		members []survey.Member
		want    bool
	}{
		"one of one":                      {[]survey.Member{up}, true},
		"one of one, on the old data":     {[]survey.Member{old}, false},
		"one of three has read":           {[]survey.Member{silent, up, silent}, true},
		"one has read, another is old":    {[]survey.Member{old, up, silent}, true},
		"one has read, one has no leader": {[]survey.Member{up, alone, silent}, true},
		"all answer, without a leader":    {[]survey.Member{alone, alone, alone}, false},
		"the old cluster has a leader":    {[]survey.Member{old, old, alone}, false},
		"all have read, under an alarm":   {[]survey.Member{full, full, full}, false},
		"a learner reads for itself only": {[]survey.Member{learner, silent}, false},
		"nobody answers":                  {[]survey.Member{silent, silent, silent}, false},
	} {
		r := &restore.Run{Site: &site.Site{Shared: &site.Shared{ClusterID: etcd.ID(restored).String()}}}
		if got := r.Serves(&survey.Survey{Members: c.members}); got != c.want {
			t.Errorf("%s: serves: %t", name, got)
		}
	}
}
