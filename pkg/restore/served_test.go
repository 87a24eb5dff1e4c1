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
	alone := survey.Member{Status: &etcd.Status{ClusterID: restored}}
	old := survey.Member{Healthy: true, Status: &etcd.Status{ClusterID: 1}}
	full := survey.Member{Healthy: true, Status: &etcd.Status{ClusterID: restored, Errors: []string{"memberID:7 alarm:NOSPACE"}}}
	for name, c := range map[string]struct {
		members []survey.Member
		want    bool
	}{
		"one of one":                      {[]survey.Member{up}, true},
		"one of one, on the old data":     {[]survey.Member{old}, false},
		"two of three":                    {[]survey.Member{up, up, silent}, true},
		"two of three, the third is old":  {[]survey.Member{up, old, up}, true},
		"one of three":                    {[]survey.Member{up, silent, silent}, false},
		"two of three, one has no leader": {[]survey.Member{up, up, alone}, true},
		"one of three, one has no leader": {[]survey.Member{up, alone, silent}, false},
		"two of three, on the old data":   {[]survey.Member{old, old, up}, false},
		"all of three, under an alarm":    {[]survey.Member{up, up, full}, false},
		"two of four":                     {[]survey.Member{up, up, silent, silent}, false},
	} {
		sh := &site.Shared{ClusterID: etcd.ID(restored).String(), Members: make([]site.MemberRecord, len(c.members))}
		r := &restore.Run{Site: &site.Site{Shared: sh}}
		if got := r.Serves(&survey.Survey{Members: c.members}); got != c.want {
			t.Errorf("%s: serves: %t", name, got)
		}
	}
}
