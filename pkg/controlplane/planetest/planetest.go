// Package planetest serves the objects of fixture files as an API server does.
package planetest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// API serves objects over the API server's own URLs, so that tests go through the real clients: paging, errors and decoding.
type API struct {
	// Objects are as in YAML, by resource: "pods".
	Objects map[string][]map[string]any
	// Forbid, if set, says what the user may not read.
	Forbid func(resource, namespace, name string) bool
	// Asked is what was, as "RESOURCE NAMESPACE NAME".
	Asked []string

	mu sync.Mutex
}

var resources = map[string]string{
	"Pod": "pods", "StatefulSet": "statefulsets", "ConfigMap": "configmaps", "Secret": "secrets",
	"Namespace": "namespaces", "Node": "nodes", "Service": "services", "Deployment": "deployments", "PersistentVolumeClaim": "persistentvolumeclaims",
	"EtcdMember": "etcdmembers", "EtcdCluster": "etcdclusters",
}

// Serve serves what files hold, with several documents each.
func Serve(t testing.TB, files ...string) (*API, *rest.Config) {
	t.Helper()
	a := &API{Objects: map[string][]map[string]any{}}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		a.Add(t, string(data))
	}
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	return a, &rest.Config{Host: srv.URL, QPS: -1}
}

// Add adds what documents say.
func (a *API) Add(t testing.TB, docs string) {
	t.Helper()
	for _, doc := range strings.Split(docs, "\n---\n") {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatalf("fixture: %v\n%s", err, doc)
		}
		resource := resources[o["kind"].(string)]
		if resource == "" {
			t.Fatalf("fixture of unknown kind %v", o["kind"])
		}
		a.Objects[resource] = append(a.Objects[resource], o)
	}
}

// Meta is a field of an object's metadata.
func Meta(o map[string]any, field string) string {
	s, _ := o["metadata"].(map[string]any)[field].(string)
	return s
}

func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	version := "v1"
	if parts[0] == "apis" {
		version = parts[1] + "/" + parts[2]
		parts = parts[1:]
	}
	if parts = parts[2:]; len(parts) == 0 { // what kinds there are
		list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"}, GroupVersion: version}
		for kind, name := range resources {
			list.APIResources = append(list.APIResources, metav1.APIResource{Name: name + "/status", Kind: kind, Namespaced: true}, metav1.APIResource{Name: name, Kind: kind, Namespaced: true})
		}
		reply(w, http.StatusOK, list)
		return
	}
	namespace, name := "", ""
	if parts[0] == "namespaces" && len(parts) > 2 {
		namespace, parts = parts[1], parts[2:]
	}
	resource := parts[0]
	if len(parts) > 1 {
		name = parts[1]
	}
	a.mu.Lock()
	a.Asked = append(a.Asked, strings.TrimSpace(resource+" "+namespace+" "+name))
	a.mu.Unlock()
	if a.Forbid != nil && a.Forbid(resource, namespace, name) {
		fail(w, http.StatusForbidden, metav1.StatusReasonForbidden, resource+" is forbidden")
		return
	}
	items := []map[string]any{}
	for _, o := range a.Objects[resource] {
		if namespace != "" && Meta(o, "namespace") != namespace {
			continue
		}
		if name != "" && Meta(o, "name") == name {
			reply(w, http.StatusOK, o)
			return
		}
		items = append(items, o)
	}
	if name != "" {
		fail(w, http.StatusNotFound, metav1.StatusReasonNotFound, resource+" "+name+" not found")
		return
	}
	// Two to a page, whatever is asked for: a client must follow continue.
	list := map[string]any{}
	if r.URL.Query().Get("limit") != "" {
		from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		to := min(from+2, len(items))
		if to < len(items) {
			list["continue"] = strconv.Itoa(to)
		}
		items = items[from:to]
	}
	kind := map[string]string{"pods": "PodList", "statefulsets": "StatefulSetList", "deployments": "DeploymentList", "services": "ServiceList", "persistentvolumeclaims": "PersistentVolumeClaimList"}[resource]
	reply(w, http.StatusOK, map[string]any{"apiVersion": version, "kind": kind, "metadata": list, "items": items})
}

func fail(w http.ResponseWriter, code int32, reason metav1.StatusReason, message string) {
	reply(w, int(code), metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: code, Reason: reason, Message: message,
	})
}

func reply(w http.ResponseWriter, code int, o any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(o) // the client reports what it cannot read
}
