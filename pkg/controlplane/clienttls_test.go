package controlplane

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestServerCAs: the CA of etcd's server certificate is looked for where it can be.
func TestServerCAs(t *testing.T) {
	secret := func(keys ...string) *corev1.Pod {
		s := &corev1.SecretVolumeSource{SecretName: "tls"}
		for _, k := range keys {
			s.Items = append(s.Items, corev1.KeyToPath{Key: k, Path: k})
		}
		return &corev1.Pod{Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: s}}}}}
	}
	c := &corev1.Container{VolumeMounts: []corev1.VolumeMount{{Name: "tls", MountPath: "/tls"}}}
	pair := TLSFiles{Cert: "/tls/tls.crt", Key: "/tls/tls.key"}
	with := func(ca string) TLSFiles { return TLSFiles{ca, pair.Cert, pair.Key} }
	for _, x := range []struct {
		name string
		s    Settings
		pod  *corev1.Pod
		want []TLSFiles
	}{
		{"server TLS only", Settings{ServerTLS: pair}, secret(), []TLSFiles{with("/tls/ca.crt")}},
		{"not among the keys", Settings{ServerTLS: pair}, secret("tls.crt", "tls.key"), []TLSFiles{pair}},
		{"clients of another CA", Settings{ServerTLS: with("/tls/clients.crt")}, secret(), []TLSFiles{with("/tls/clients.crt"), with("/tls/ca.crt")}},
		{"peers of another CA", Settings{ServerTLS: with("/tls/ca.crt"), PeerTLS: TLSFiles{"/peers/ca.crt", "/peers/tls.crt", "/peers/tls.key"}}, secret(),
			[]TLSFiles{with("/tls/ca.crt"), with("/peers/ca.crt")}},
		{"an operator's names", Settings{ServerTLS: TLSFiles{"", "/tls/server.crt", "/tls/server.key"}}, secret("server.crt", "server.key", "server-ca.crt"),
			[]TLSFiles{{"/tls/server-ca.crt", "/tls/server.crt", "/tls/server.key"}}},
	} {
		x.s.ListenClientURLs = []string{"https://0.0.0.0:2379"}
		got := clientTLS(Generic, x.s, x.pod, c, func(string) (string, bool) { return "", false })
		if !slices.Equal(got, x.want) {
			t.Errorf("%s: %v, want %v", x.name, got, x.want)
		}
	}
}

// TestSocket: an etcd that listens on a unix socket only is reached through the volume that the socket is in.
func TestSocket(t *testing.T) {
	data := VolumeRef{Kind: "pvc", Name: "data", MountPath: "/data"}
	for _, c := range []struct {
		listen   []string
		endpoint string
		socket   string
		volume   bool
	}{
		{[]string{"unix:///data/client.sock:0"}, "unix:///data/client.sock:0", "/data/client.sock:0", true},
		{[]string{"unixs:///run/client.sock"}, "unixs:///run/client.sock", "/run/client.sock", false},
		{[]string{"unix://client.sock:0"}, "unix://client.sock:0", "client.sock:0", false},
		{[]string{"unix:///data/client.sock:0", "http://127.0.0.1:2379"}, "http://127.0.0.1:2379", "", false},
		{nil, "", "", false},
	} {
		m := Member{PodIP: "10.0.0.1", Settings: Settings{ListenClientURLs: c.listen}, Mounts: []VolumeRef{data}}
		m.setEndpoints()
		if m.Endpoint != c.endpoint || m.Socket() != c.socket || (m.SocketVolume() != nil) != c.volume || c.socket != "" && (m.LoopbackPort != 0 || m.PodEndpoint != "") {
			t.Errorf("%v: endpoint %q, socket %q, volume %v", c.listen, m.Endpoint, m.Socket(), m.SocketVolume())
		}
	}
}
