package snapshot

import (
	"strings"
	"testing"
	"time"
)

func TestFileName(t *testing.T) {
	at := time.Date(2026, 1, 2, 16, 4, 5, 0, time.FixedZone("CET", 3600))
	for _, c := range []struct {
		context, namespace, name string
		compression              Compression
		want                     string
	}{
		{"prod", "kube-system", "etcd", None, "prod_kube-system_etcd_20260102T150405Z.db"},
		{"prod", "kube-system", "etcd", Zstd, "prod_kube-system_etcd_20260102T150405Z.db.zst"},
		{"", "", "etcd", None, "etcd_20260102T150405Z.db"},
		{"", "", "", None, "20260102T150405Z.db"},
		{"CON", "..", "../../etc", None, "CON_etc_20260102T150405Z.db"},
		{"admin@b:c", `a\b<c>d|e?f*g"h`, "x y\n", None, "admin-b-c_a-b-c-d-e-f-g-h_x-y_20260102T150405Z.db"},
		{"gke_project_zone", "é", "日本", None, "gke-project-zone_20260102T150405Z.db"},
		{"arn:aws:eks:eu-central-1:123456789012:cluster/" + strings.Repeat("x", 40) + "-prod", "n", "e", None,
			"123456789012-cluster-" + strings.Repeat("x", 40) + "-prod"},
	} {
		got := FileName(c.context, c.namespace, c.name, at, c.compression.Extension())
		if strings.HasPrefix(c.context, "arn:") {
			if !strings.Contains(got, "cluster-"+strings.Repeat("x", 40)+"-prod_n_e_") || len(got) > 150 {
				t.Errorf("got %s", got)
			}
			continue
		}
		if got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
	if long := strings.Repeat("a", 500); len(FileName(long, long, long, at, Zstd.Extension())) > 230 {
		t.Error("name is too long")
	}
}
