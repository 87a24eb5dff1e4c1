package objects

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func object(t *testing.T, resource, text string) Object {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	gr := schema.ParseGroupResource(resource)
	return Object{Kind{gr.WithVersion("v1"), "", true}, u}
}

// TestClean: what a cluster puts there by itself is left out, and all else stays.
func TestClean(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ resource, from, to string }{
		"what every object has": {"configmaps",
			`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"7","creationTimestamp":"2026-01-02T15:04:05Z","generation":3,"managedFields":[{"manager":"m"}],"labels":{"app":"x"},"annotations":{"note":"y"},"finalizers":["example.com/f"]},"data":{"k":"v"}}`,
			`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"n","labels":{"app":"x"},"annotations":{"note":"y"},"finalizers":["example.com/f"]},"data":{"k":"v"}}`},
		"being deleted": {"configmaps",
			`{"metadata":{"name":"a","deletionTimestamp":"2026-01-02T15:04:05Z","deletionGracePeriodSeconds":0,"finalizers":["foregroundDeletion","example.com/f"]}}`,
			`{"metadata":{"name":"a","finalizers":["example.com/f"]}}`},
		"only such finalizers": {"configmaps", `{"metadata":{"name":"a","finalizers":["orphan"]}}`, `{"metadata":{"name":"a"}}`},
		"owners":               {"configmaps", `{"metadata":{"name":"a","ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p","uid":"u"}]}}`, `{"metadata":{"name":"a"}}`},
		"a namespace": {"namespaces", `{"metadata":{"name":"a","labels":{"kubernetes.io/metadata.name":"a"}},"spec":{"finalizers":["kubernetes"]},"status":{"phase":"Active"}}`,
			`{"metadata":{"name":"a"}}`},
		"a service": {"services", `{"metadata":{"name":"a"},"spec":{"clusterIP":"10.0.0.7","clusterIPs":["10.0.0.7"],"healthCheckNodePort":31000,"ports":[{"port":80,"nodePort":30080}]},"status":{}}`,
			`{"metadata":{"name":"a"},"spec":{"ports":[{"port":80,"nodePort":30080}]}}`},
		"a headless service": {"services", `{"metadata":{"name":"a"},"spec":{"clusterIP":"None","clusterIPs":["None"]}}`, `{"metadata":{"name":"a"},"spec":{"clusterIP":"None","clusterIPs":["None"]}}`},
		"a claim": {"persistentvolumeclaims", `{"metadata":{"name":"a","annotations":{"pv.kubernetes.io/bind-completed":"yes","volume.kubernetes.io/selected-node":"n"}},"spec":{"volumeName":"pv-1","storageClassName":"s"}}`,
			`{"metadata":{"name":"a"},"spec":{"storageClassName":"s"}}`},
		"a pod": {"pods", `{"metadata":{"name":"a"},"spec":{"nodeName":"n","volumes":[{"name":"kube-api-access-x"},{"name":"data"}],"containers":[{"name":"c","volumeMounts":[{"name":"kube-api-access-x"},{"name":"data"}]}]}}`,
			`{"metadata":{"name":"a"},"spec":{"volumes":[{"name":"data"}],"containers":[{"name":"c","volumeMounts":[{"name":"data"}]}]}}`},
		"a job": {"jobs.batch", `{"metadata":{"name":"a","labels":{"controller-uid":"u","app":"x"}},"spec":{"selector":{"matchLabels":{"controller-uid":"u"}},"template":{"metadata":{"labels":{"controller-uid":"u","batch.kubernetes.io/controller-uid":"u","job-name":"a"}}}}}`,
			`{"metadata":{"name":"a","labels":{"app":"x"}},"spec":{"template":{"metadata":{"labels":{"job-name":"a"}}}}}`},
		"a job whose selector is its owner's": {"jobs.batch", `{"metadata":{"name":"a"},"spec":{"manualSelector":true,"selector":{"matchLabels":{"x":"y"}}}}`, `{"metadata":{"name":"a"},"spec":{"manualSelector":true,"selector":{"matchLabels":{"x":"y"}}}}`},
		"an account":                          {"serviceaccounts", `{"metadata":{"name":"a"},"secrets":[{"name":"a-token"}],"imagePullSecrets":[{"name":"r"}]}`, `{"metadata":{"name":"a"},"imagePullSecrets":[{"name":"r"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := object(t, c.resource, c.from)
			Clean(o)
			if d := cmp.Diff(object(t, c.resource, c.to).Object, o.Object); d != "" {
				t.Errorf("want -, have +:\n%s", d)
			}
		})
	}
}

// TestMadeByCluster: what the cluster makes again is not brought back.
func TestMadeByCluster(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		resource, text string
		made           bool
	}{
		{"replicasets.apps", `{"metadata":{"name":"a","ownerReferences":[{"controller":true}]}}`, true},
		{"configmaps", `{"metadata":{"name":"a","ownerReferences":[{"controller":false}]}}`, false},
		{"configmaps", `{"metadata":{"name":"kube-root-ca.crt"}}`, true},
		{"pods", `{"metadata":{"name":"a","labels":{"app.kubernetes.io/managed-by":"kubectl-etcd"}}}`, true},
		{"secrets", `{"metadata":{"name":"a"},"type":"kubernetes.io/service-account-token"}`, true},
		{"secrets", `{"metadata":{"name":"a"},"type":"Opaque"}`, false},
		{"pods", `{"metadata":{"name":"a","annotations":{"kubernetes.io/config.mirror":"x"}}}`, true},
		{"pods", `{"metadata":{"name":"a"}}`, false},
		{"pods", `{"metadata":{"name":"a"},"status":{"phase":"Succeeded"}}`, true},
		{"jobs.batch", `{"metadata":{"name":"a"},"status":{"conditions":[{"type":"Complete","status":"True"}]}}`, true},
		{"jobs.batch", `{"metadata":{"name":"a"},"status":{"conditions":[{"type":"Suspended","status":"True"}]}}`, false},
		{"endpoints", `{"metadata":{"name":"a"},"subsets":[{"addresses":[{"ip":"192.0.2.1"}]}]}`, false},
		{"endpoints", `{"metadata":{"name":"a"},"subsets":[{"addresses":[{"ip":"192.0.2.1","targetRef":{"kind":"Pod"}}]}]}`, true},
		{"endpointslices.discovery.k8s.io", `{"metadata":{"name":"a","labels":{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io"}}}`, true},
		{"endpointslices.discovery.k8s.io", `{"metadata":{"name":"a"}}`, false},
		{"apiservices.apiregistration.k8s.io", `{"metadata":{"name":"a","labels":{"kube-aggregator.kubernetes.io/automanaged":"true"}}}`, true},
	} {
		o := object(t, c.resource, c.text)
		if got := madeByCluster(o.Kind, o.Unstructured); (got != "") != c.made {
			t.Errorf("%s: %q", c.text, got)
		}
	}
}

// TestRank: what others refer to comes first.
func TestRank(t *testing.T) {
	t.Parallel()
	order := []string{"customresourcedefinitions.apiextensions.k8s.io", "namespaces", "serviceaccounts", "configmaps", "persistentvolumeclaims", "parcels.example.com", "deployments.apps", "validatingwebhookconfigurations.admissionregistration.k8s.io"}
	for i := range order[1:] {
		if a, b := object(t, order[i], `{}`), object(t, order[i+1], `{}`); Rank(a.Kind) >= Rank(b.Kind) {
			t.Errorf("%s is not before %s", order[i], order[i+1])
		}
	}
}

// TestUnifiedHidesSecrets: which values differ is shown, and none of them.
func TestUnifiedHidesSecrets(t *testing.T) {
	t.Parallel()
	got := unified("secrets", "n/a", "the cluster", `{"data":{"a":"c2FtZQ==","b":"b2xk","c":"Z29uZQ=="},"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"b2xk"}}}`, `{"data":{"a":"c2FtZQ==","b":"bmV3","d":"Y2FtZQ=="}}`)
	const want = `--- snapshot secrets n/a
+++ the cluster
@@ -1,6 +1,4 @@
 data:
   a: '*** (the same)'
-  b: '*** (in the snapshot)'
-  c: '*** (in the snapshot)'
-metadata:
-  annotations: {}
+  b: '*** (in the other)'
+  d: '*** (in the other)'
`
	if got != want {
		t.Errorf("%s", got)
	}
}

// TestJournal: what a killed client leaves can be read.
func TestJournal(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/j.json"
	j, err := NewJournal(path, "v1", "a-cluster")
	if err != nil {
		t.Fatal(err)
	}
	first := Done{Version: "v1", Resource: "configmaps", Namespace: "n", Name: "a", UID: "u", Hash: "7"}
	named := func(n string) Action {
		o := object(t, "configmaps", `{"metadata":{"namespace":"n","name":"`+n+`"}}`)
		return Action{Object: o, live: o.Kind}
	}
	for _, err := range []error{j.Intend(named("a")), j.Intend(named("b")), j.Intend(named("c")), j.Refused(named("c")), j.Intend(named("d")), j.Made(&first), j.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := &Brought{Cluster: "a-cluster", Made: []Done{first}, Unsure: []string{"configmaps/b -n n", "configmaps/d -n n"}}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, more := range map[string]string{"whole": "", "cut": `{"made":{"ver`} {
		if err := os.WriteFile(path, append(slices.Clone(text), more...), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadJournal(path)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v\n%s", name, err, d)
		}
	}
	if err := os.WriteFile(path+".bad", bytes.Replace(text, []byte(`{"refused"`), []byte(`{refused`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadJournal(path + ".bad"); err == nil {
		t.Error("a damaged line is passed over")
	}
	if _, err := NewJournal(path, "v1", ""); err == nil {
		t.Error("a journal is written over")
	}
	if _, err := ReadJournal("clean_test.go"); err == nil {
		t.Error("something else is read")
	}
}
