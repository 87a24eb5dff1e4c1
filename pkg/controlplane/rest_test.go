package controlplane

import (
	"path/filepath"
	"testing"

	appsv1client "k8s.io/client-go/kubernetes/typed/apps/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane/planetest"
)

func serve(t *testing.T, fixtures ...string) (*planetest.API, Client) {
	t.Helper()
	var files []string
	for _, f := range fixtures {
		files = append(files, filepath.Join("testdata", f+".yaml"))
	}
	a, config := planetest.Serve(t, files...)
	core, err := corev1client.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	apps, err := appsv1client.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return a, Client{Core: core, Apps: apps}
}
