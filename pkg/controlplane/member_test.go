package controlplane

import "testing"

func TestImageVersion(t *testing.T) {
	for image, want := range map[string]string{
		"registry.k8s.io/etcd:3.6.8-0": "3.6.8", "quay.io/coreos/etcd:v3.5.21": "3.5.21", "reg:5000/etcd": "", "reg:5000/etcd:v3.4.33@sha256:00": "3.4.33",
		"q/ocp@sha256:aa": "", "g/etcd-wrapper:v3.4.1": "", "etcd:latest": "", "rancher/hardened-etcd:v3.5.26-k3s1-build20260126": "3.5.26", "etcd:12.1.0": "",
	} {
		if got := ImageVersion(image); got != want {
			t.Errorf("%s: got %q, want %q", image, got, want)
		}
	}
}
