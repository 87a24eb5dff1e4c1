// Package operationtest has API servers as far as journals and locks ask them, for tests.
package operationtest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	restclient "k8s.io/client-go/rest"
)

// Maps is an API server that has ConfigMaps.
type Maps struct {
	mu     sync.Mutex
	Items  map[string]*corev1.ConfigMap
	served int
	Closed bool // it lets nobody write
}

func (s *Maps) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	status := func(code int, reason metav1.StatusReason) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: reason, Code: int32(code)})
	}
	var sent corev1.ConfigMap
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			status(http.StatusBadRequest, metav1.StatusReasonBadRequest)
			return
		}
	}
	name := path.Base(r.URL.Path)
	found := s.Items[name]
	switch {
	case r.Method == http.MethodGet && name == "pods": // there are none
		_ = json.NewEncoder(w).Encode(corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}})
	case r.Method != http.MethodGet && s.Closed:
		status(http.StatusForbidden, metav1.StatusReasonForbidden)
	case r.Method == http.MethodGet && name == "configmaps":
		list := corev1.ConfigMapList{TypeMeta: metav1.TypeMeta{Kind: "ConfigMapList", APIVersion: "v1"}}
		for _, cm := range s.Items {
			list.Items = append(list.Items, *cm)
		}
		_ = json.NewEncoder(w).Encode(list)
	case r.Method == http.MethodPost && s.Items[sent.Name] != nil:
		status(http.StatusConflict, metav1.StatusReasonAlreadyExists)
	case r.Method != http.MethodPost && found == nil:
		status(http.StatusNotFound, metav1.StatusReasonNotFound)
	case r.Method == http.MethodGet:
		_ = json.NewEncoder(w).Encode(found)
	case r.Method == http.MethodPut && sent.ResourceVersion != "" && sent.ResourceVersion != found.ResourceVersion:
		status(http.StatusConflict, metav1.StatusReasonConflict)
	default:
		_ = json.NewEncoder(w).Encode(s.Put(&sent))
	}
}

// Put stores one as it is, under a new resource version.
func (s *Maps) Put(cm *corev1.ConfigMap) *corev1.ConfigMap {
	s.served++
	cm.ResourceVersion = strconv.Itoa(s.served)
	cm.TypeMeta = metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}
	s.Items[cm.Name] = cm
	return cm
}

// Change does something to the ConfigMaps behind everybody's back.
func (s *Maps) Change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// ServeMaps starts one for the time of a test.
func ServeMaps(t testing.TB) (*Maps, corev1client.CoreV1Interface) {
	t.Helper()
	api := &Maps{Items: map[string]*corev1.ConfigMap{}}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	core, err := corev1client.NewForConfig(&restclient.Config{Host: server.URL, ContentConfig: restclient.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	return api, core
}
