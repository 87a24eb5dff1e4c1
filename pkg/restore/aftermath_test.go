package restore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	restclient "k8s.io/client-go/rest"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// asStored is an object as API servers store it.
func asStored(t *testing.T, apiVersion, kind string, o interface{ Marshal() ([]byte, error) }) []byte {
	t.Helper()
	raw, err := o.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b, err := (&runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: apiVersion, Kind: kind}, Raw: raw}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte("k8s\x00"), b...)
}

func kept(values map[string][]byte) *verify.Report {
	r := &verify.Report{Kept: map[string]verify.Kept{}}
	for k, v := range values {
		if telling([]byte(k), v) {
			r.Kept[k] = verify.Kept{Value: v}
		}
	}
	return r
}

func validating(policy *admissionv1.FailurePolicyType, services ...string) *admissionv1.ValidatingWebhookConfiguration {
	c := &admissionv1.ValidatingWebhookConfiguration{}
	for _, s := range services {
		h := admissionv1.ValidatingWebhook{Name: "h", FailurePolicy: policy}
		if ns, name, ok := strings.Cut(s, "/"); ok {
			h.ClientConfig.Service = &admissionv1.ServiceReference{Namespace: ns, Name: name}
		}
		c.Webhooks = append(c.Webhooks, h)
	}
	return c
}

// TestWebhooks: those that fail closed and are served from within are named, with what opens all of their webhooks.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	fail, ignore := admissionv1.Fail, admissionv1.Ignore
	const v = "ValidatingWebhookConfiguration"
	inJSON, err := json.Marshal(validating(nil, "policy/checker"))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]byte{
		"/registry/validatingwebhookconfigurations/a-policy":    asStored(t, "admissionregistration.k8s.io/v1", v, validating(&fail, "policy/checker", "outside", "policy/checker")),
		"/registry/validatingwebhookconfigurations/b-open":      asStored(t, "admissionregistration.k8s.io/v1", v, validating(&ignore, "policy/checker")),
		"/registry/validatingwebhookconfigurations/c-outside":   asStored(t, "admissionregistration.k8s.io/v1", v, validating(&fail, "outside")),
		"/registry/validatingwebhookconfigurations/d-json":      inJSON,
		"/registry/validatingwebhookconfigurations/e-encrypted": []byte("k8s:enc:aescbc:v1:key1:xxxx"),
		"/registry/mutatingwebhookconfigurations/f-mutates": asStored(t, "admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", &admissionv1.MutatingWebhookConfiguration{
			Webhooks: []admissionv1.MutatingWebhook{{FailurePolicy: &fail, ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "mesh", Name: "injector"}}}}}),
	}
	got := webhooks(kept(values))
	want := []string{
		`MutatingWebhookConfiguration f-mutates refuses what it cannot check (failurePolicy: Fail), and the restored cluster serves it itself (Service mesh/injector)`,
		`(Service policy/checker): if its pods do not come back, let all pass meanwhile, there: kubectl patch validatingwebhookconfiguration a-policy --type=json -p '[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Ignore"},{"op":"replace","path":"/webhooks/2/failurePolicy","value":"Ignore"}]'`,
		`ValidatingWebhookConfiguration d-json refuses`,
	}
	if !slices.EqualFunc(got, want, strings.Contains) {
		t.Errorf("%q", got)
	}
	for i := range 8 {
		values[fmt.Sprintf("/registry/validatingwebhookconfigurations/many-%d", i)] = inJSON
	}
	if got = webhooks(kept(values)); len(got) != most+1 || !strings.Contains(got[most], "the same is so of ValidatingWebhookConfiguration many-2, ") {
		t.Errorf("%q", got)
	}
}

// accountKey makes one, as an API server gets it, and a token that it signed.
func accountKey(t *testing.T) (public []byte, token string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	head := fmt.Sprintf(`{"alg":"ES256","kid":%q}`, base64.RawURLEncoding.EncodeToString(sum[:]))
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), base64.RawURLEncoding.EncodeToString([]byte(head)) + ".e30.c2ln"
}

// secretsOf serves Secrets of one namespace.
func secretsOf(t *testing.T, data map[string]map[string][]byte) controlplane.Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		if data[name] == nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data[name]})
	}))
	t.Cleanup(s.Close)
	core, err := corev1client.NewForConfig(&restclient.Config{Host: s.URL, ContentConfig: restclient.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	return controlplane.Client{Core: core}
}

// server is a workload of API servers whose /pki is a Secret.
func apiServerOf(secret string, flags ...string) controlplane.Writer {
	w := controlplane.Writer{Kind: "Deployment", Namespace: "team-a", Name: "kube-apiserver", Replicas: 1}
	w.Template.Spec.Containers = []corev1.Container{{Name: "kube-apiserver", Command: append([]string{"kube-apiserver"}, flags...), VolumeMounts: []corev1.VolumeMount{{Name: "pki", MountPath: "/pki"}}}}
	w.Template.Spec.Volumes = []corev1.Volume{{Name: "pki", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}}}
	return w
}

// TestVoidTokens: a token in the snapshot is void where no API server has the key any more that has signed it.
func TestVoidTokens(t *testing.T) {
	t.Parallel()
	oldKey, oldToken := accountKey(t)
	newKey, newToken := accountKey(t)
	secret := func(name, token string, kind corev1.SecretType) []byte {
		return asStored(t, "v1", "Secret", &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: name}, Type: kind, Data: map[string][]byte{"token": []byte(token)}})
	}
	r := kept(map[string][]byte{
		"/registry/secrets/apps/old":       secret("old", oldToken, tokenType),
		"/registry/secrets/apps/older":     secret("older", oldToken, tokenType),
		"/registry/secrets/apps/new":       secret("new", newToken, tokenType),
		"/registry/secrets/apps/not-yet":   secret("not-yet", "", tokenType),
		"/registry/secrets/apps/opaque":    secret("opaque", oldToken, corev1.SecretTypeOpaque),
		"/registry/secrets/apps/encrypted": []byte("k8s:enc:aescbc:v1:key1:kubernetes.io/service-account-token"),
	})
	client := secretsOf(t, map[string]map[string][]byte{"new": {"sa.pub": newKey}, "both": {"sa.pub": newKey, "old.pub": oldKey}, "bad": {"sa.pub": []byte("no key")}})
	const flag = "--service-account-key-file=/pki/"
	for name, c := range map[string]struct {
		writers []controlplane.Writer
		void    bool
	}{
		"rotated":                     {[]controlplane.Writer{apiServerOf("new", flag+"sa.pub")}, true},
		"both are known":              {[]controlplane.Writer{apiServerOf("both", flag+"sa.pub", flag+"old.pub")}, false},
		"another server knows it":     {[]controlplane.Writer{apiServerOf("new", flag+"sa.pub"), apiServerOf("both", flag+"old.pub")}, false},
		"a key that may not be read":  {[]controlplane.Writer{apiServerOf("absent", flag+"sa.pub")}, false},
		"one of two may not be read":  {[]controlplane.Writer{apiServerOf("new", flag+"sa.pub", flag+"not-there")}, false},
		"no key":                      {[]controlplane.Writer{apiServerOf("bad", flag+"sa.pub")}, false},
		"no flag: it has some key":    {[]controlplane.Writer{apiServerOf("new")}, false},
		"no API server that is known": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			notes := (&Scene{Writers: c.writers}).voidTokens(t.Context(), client, r)
			if !c.void && len(notes) > 0 || c.void && (len(notes) != 1 || !strings.Contains(notes[0], "2 tokens of service accounts in the snapshot are signed by a key that no API server has any more") ||
				!strings.Contains(notes[0], "Secrets apps/old, apps/older; ") || !strings.Contains(notes[0], `kubectl patch -n apps secret old --type=json -p '[{"op":"remove","path":"/data/token"}]'`)) {
				t.Errorf("%q", notes)
			}
		})
	}
}

// TestDeadAddresses: an address with a lease goes by itself.
func TestDeadAddresses(t *testing.T) {
	t.Parallel()
	m := controlplane.Member{Name: "a", PodName: "etcd-0", Container: "etcd", Endpoint: "https://127.0.0.1:2379", ClientTLS: controlplane.TLSFiles{CA: "/pki/ca.crt", Cert: "/pki/c.crt", Key: "/pki/c.key"}}
	p := controlplane.ControlPlane{Namespace: "team-a", Name: "etcd", Members: []controlplane.Member{m}}
	r := &verify.Report{Kept: map[string]verify.Kept{"/registry/masterleases/10.0.0.7": {Leased: true}}}
	if got := deadAddresses(p, r); got != nil {
		t.Errorf("%q", got)
	}
	r.Kept["/registry/masterleases/10.0.0.9"] = verify.Kept{}
	got := deadAddresses(p, r)
	if len(got) != 1 || !strings.Contains(got[0], "for ever, also where none is: 10.0.0.9; ") ||
		!strings.HasSuffix(got[0], "kubectl exec -n team-a etcd-0 -c etcd -- etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/pki/ca.crt --cert=/pki/c.crt --key=/pki/c.key del /registry/masterleases/10.0.0.9") {
		t.Errorf("%q", got)
	}
}
