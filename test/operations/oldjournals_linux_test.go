package operations

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/member"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/operation/operationtest"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hosted"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/restore/hot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/site"
)

// TestOldJournals: journals that were written before they had a format are read, and each of their steps still has its action.
// What a journal of a newer version says beyond that is refused, and not lost at the next save.
func TestOldJournals(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/journals/*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("journals: %v, %v", files, err)
	}
	read := func(t *testing.T, text string) (*plan.Operation, error) {
		t.Helper()
		api, core := operationtest.ServeMaps(t)
		api.Put(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: operation.JournalName("op1"), Namespace: testNamespace}, Data: map[string]string{operation.JournalKey: text}})
		return site.Find(t.Context(), operation.Cluster{Core: core}, testNamespace, "op1")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			o, err := read(t, string(text))
			if err != nil {
				t.Fatal(err)
			}
			sh, err := site.ReadShared(o)
			if err != nil || len(sh.Members) == 0 || o.Phase != plan.Succeeded {
				t.Fatalf("%+v, %v", sh, err)
			}
			var k site.Kind = restore.NewRun(site.Deps{}, nil, restore.Config{Ways: restore.Ways{restore.Cold: hosted.New, restore.Hot: hot.New}}, o, sh)
			if sh.Replace != nil {
				k = &member.Replacement{}
			}
			if err := (&plan.Runner{Actions: k.Actions()}).Check(o); err != nil {
				t.Error(err)
			}
			for what, c := range map[string]struct{ old, new, says string }{
				"a newer format":           {`{`, `{"format": 2,`, "it has format 2, and this version reads up to 1"},
				"an unknown word":          {`{`, `{"wanted": true,`, `unknown field "wanted"`},
				"one that the steps share": {`"statefulSet":`, `"wanted": true, "statefulSet":`, `unknown field "wanted"`},
			} {
				if _, err := read(t, strings.Replace(string(text), c.old, c.new, 1)); err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}
