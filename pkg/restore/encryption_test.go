package restore

import (
	"slices"
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// TestUnreadable: what no API server has the key for is told; where their configuration is not known, that.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	const config = `
kind: EncryptionConfiguration
apiVersion: apiserver.config.k8s.io/v1
resources:
- resources: [secrets]
  providers:
  - aescbc: {keys: [{name: key2, secret: c2VjcmV0}, {name: key1, secret: c2VjcmV0}]}
  - secretbox: {keys: [{name: box, secret: c2VjcmV0}]}
  - kms: {apiVersion: v2, name: vault, endpoint: "unix:///run/kms.sock"}
  - identity: {}
`
	client := secretsOf(t, map[string]map[string][]byte{"pki": {"config.yaml": []byte(config), "bad.yaml": []byte("a: b: c")}})
	const etcd, flag = "--etcd-servers=https://etcd:2379", "--encryption-provider-config=/pki/"
	with := apiServerOf("pki", etcd, flag+"config.yaml")
	without := apiServerOf("pki", etcd)
	by := func(provider, key string) verify.Encryption {
		return verify.Encryption{Prefix: "/registry", Kind: "secrets", Provider: provider, Version: "v1", KeyName: key, Objects: 12}
	}
	const lacks = "which the API servers' configuration (--encryption-provider-config) lacks"
	for name, c := range map[string]struct {
		writers []controlplane.Writer
		by      []verify.Encryption
		want    []string
	}{
		"nothing is encrypted":         {[]controlplane.Writer{without}, nil, nil},
		"by the first key":             {[]controlplane.Writer{with}, []verify.Encryption{by("aescbc", "key2")}, nil},
		"by all of them":               {[]controlplane.Writer{with}, []verify.Encryption{by("aescbc", "key1"), by("secretbox", "box"), by("kms", "vault")}, nil},
		"by a key that is gone":        {[]controlplane.Writer{with}, []verify.Encryption{by("aescbc", "key0"), by("aescbc", "key1")}, []string{"in the snapshot, 12 objects (secrets) are encrypted with key key0 of provider aescbc, " + lacks}},
		"of another provider":          {[]controlplane.Writer{with}, []verify.Encryption{by("aesgcm", "key1")}, []string{"key key1 of provider aesgcm, " + lacks}},
		"no encryption any more":       {[]controlplane.Writer{without}, []verify.Encryption{by("aescbc", "key1")}, []string{lacks}},
		"one of two servers has it":    {[]controlplane.Writer{without, with}, []verify.Encryption{by("aescbc", "key1")}, nil},
		"it cannot be read":            {[]controlplane.Writer{apiServerOf("absent", etcd, flag+"config.yaml")}, []verify.Encryption{by("aescbc", "key1")}, []string{"is not known: their configuration (/pki/config.yaml) cannot be read"}},
		"it is none":                   {[]controlplane.Writer{apiServerOf("pki", etcd, flag+"bad.yaml")}, []verify.Encryption{by("aescbc", "key1")}, []string{"is not known: their configuration (/pki/bad.yaml) cannot be read"}},
		"flags that are in a file":     {[]controlplane.Writer{apiServerOf("pki", "--config=/pki/x")}, []verify.Encryption{by("aescbc", "key1")}, nil},
		"a writer that is no server":   {[]controlplane.Writer{{Kind: "Deployment", Name: "maintenance"}}, []verify.Encryption{by("aescbc", "key1")}, nil},
		"custom resources, by KMS too": {[]controlplane.Writer{without}, []verify.Encryption{{Prefix: "/registry", Kind: "example.com/widgets", Provider: "kms", KeyName: "vault", Objects: 1}}, []string{"1 objects (example.com/widgets) are encrypted with key vault of provider kms"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := (&Scene{Writers: c.writers}).unreadable(t.Context(), client, &verify.Report{Encrypted: c.by})
			if !slices.EqualFunc(got, c.want, strings.Contains) {
				t.Errorf("%q", got)
			}
		})
	}
}

// TestUnreadableStatic: API servers of static pods have their configuration on their nodes each, where a utility pod has read it or has not.
func TestUnreadableStatic(t *testing.T) {
	t.Parallel()
	const has = "/enc/config.yaml"
	read := map[string]string{"n1:" + has: "resources: [{providers: [{aescbc: {keys: [{name: key1, secret: c2VjcmV0}]}}]}]", "n1:/enc/bad.yaml": "a: b: c"}
	read["n2:"+has] = read["n1:"+has]
	for name, c := range map[string]struct {
		n1, n2, key string
		dry         bool
		want        []string
	}{
		"both have the key":    {n1: has, n2: has, key: "key1"},
		"both lack it":         {n1: has, n2: has, key: "key0", want: []string{"encrypted with key key0 of provider aescbc, which the API servers' configuration (--encryption-provider-config) on n1, n2 lacks"}},
		"one encrypts nothing": {n1: has, key: "key1", want: []string{"(--encryption-provider-config) on n2 lacks"}},
		"one was not read":     {n1: "/enc/other.yaml", n2: has, key: "key1", want: []string{"their configuration (n1:/enc/other.yaml) cannot be read"}},
		"in a dry run":         {n1: "/enc/other.yaml", n2: has, key: "key1", dry: true, want: []string{"their configuration (n1:/enc/other.yaml) is not read by a dry run"}},
		"one is none":          {n1: "/enc/bad.yaml", key: "key1", want: []string{"their configuration (n1:/enc/bad.yaml) cannot be read", "on n2 lacks"}},
	} {
		sc := &Scene{Static: []controlplane.APIServer{{Node: "n1", Encryption: c.n1}, {Node: "n2", Encryption: c.n2}}, Encryption: read, Dry: c.dry}
		got := sc.unreadable(t.Context(), controlplane.Client{}, &verify.Report{Encrypted: []verify.Encryption{{Kind: "secrets", Provider: "aescbc", KeyName: c.key, Objects: 1}}})
		if !slices.EqualFunc(got, c.want, strings.Contains) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
