package controlplane

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// etcdSet is a StatefulSet of three members with everything that names its peers and clients, in namespace shop.
func etcdSet(name, service string, labels string) string {
	peers := make([]string, 3)
	for i := range peers {
		peers[i] = fmt.Sprintf("%s-%d=https://%[1]s-%[2]d.%[3]s.shop.svc:2380", name, i, service)
	}
	return fmt.Sprintf(`apiVersion: apps/v1
kind: StatefulSet
metadata: {name: %[1]s, namespace: shop}
spec:
  replicas: 3
  serviceName: %[2]s
  selector: {matchLabels: {set: %[1]s}}
  template:
    metadata: {labels: {set: %[1]s, %[4]s}}
    spec:
      containers:
      - name: etcd
        image: registry.k8s.io/etcd:3.6.4-0
        command: [etcd, --name=$(POD), --data-dir=/var/lib/etcd, "--listen-client-urls=https://0.0.0.0:2379", "--listen-peer-urls=https://0.0.0.0:2380",
          "--advertise-client-urls=https://$(POD).%[2]s.shop.svc:2379", "--initial-advertise-peer-urls=https://$(POD).%[2]s.shop.svc:2380",
          "--initial-cluster=%[3]s", "--cert-file=/tls/server.crt", "--key-file=/tls/server.key", "--trusted-ca-file=/tls/ca.crt"]
        env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        volumeMounts: [{name: tls, mountPath: /tls}]
      volumes: [{name: tls, secret: {secretName: %[1]s-tls}}]`, name, service, strings.Join(peers, ","), labels)
}

func service(name, spec string) string {
	return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: shop}\nspec: {" + spec + "}"
}

// deployment is one of one replica whose container has this.
func deployment(namespace, name, container string, more ...string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %s, namespace: %s}
spec: {replicas: 1, selector: {matchLabels: {app: x}}, template: {metadata: {labels: {app: x}}, spec: {containers: [{%s}]%s}}}`, name, namespace, container, strings.Join(more, ""))
}

func talksTo(name string, urls ...string) string {
	return deployment("shop", name, "name: c, image: x, args: [\"--endpoints="+strings.Join(urls, ",")+"\"]")
}

func configMap(name, text string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: shop}\ndata: {file: '%s'}", name, text)
}

// shards are two etcds in one namespace, with the Services that a hosted control plane has for each.
var shards = []string{
	etcdSet("etcd", "etcd-discovery", "app: main, tier: store"), etcdSet("etcd-events", "etcd-events-discovery", "app: events, tier: store"),
	service("etcd-client", "clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], selector: {app: main}, ports: [{name: client, port: 2379}, {name: metrics, port: 9979, targetPort: 2381}]"),
	service("etcd-discovery", "clusterIP: None, selector: {app: main}, ports: [{name: client, port: 2379}, {name: peer, port: 2380}]"),
	service("etcd-events-client", "clusterIP: 10.96.0.8, clusterIPs: [10.96.0.8], selector: {app: events}, ports: [{port: 443, targetPort: 2379}, {port: 2379}]"),
	service("etcd-events-discovery", "clusterIP: None, selector: {app: events}"),
}

// TestWritersOfTwo: of two etcds in one namespace, each has the writers that use it, and only those: whom a name belongs
// to is asked of everything that is there.
func TestWritersOfTwo(t *testing.T) {
	api := func(main, events string) string {
		return deployment("shop", "kube-apiserver", fmt.Sprintf(`name: kube-apiserver, image: x, command: [kube-apiserver, "--etcd-servers=%s", "--etcd-servers-overrides=/events#%s", --etcd-prefix=/shop]`, main, events))
	}
	type want struct{ main, events, unsureMain, unsureEvents []string }
	only := func(names ...string) []string {
		var out []string
		for _, n := range names {
			out = append(out, "shop/Deployment/"+n)
		}
		return out
	}
	for name, c := range map[string]struct {
		docs []string
		want want
		hide bool // Services may not be listed
	}{
		"peers are nobody's clients":         {shards, want{}, false},
		"nor are they where no Service says": {shards[:2], want{}, true},
		"an API server of both": {append(slices.Clone(shards), api("https://etcd-client:2379", "https://etcd-events-client:2379")),
			want{main: only("kube-apiserver"), events: only("kube-apiserver")}, false},
		"one of the first only": {append(slices.Clone(shards), talksTo("a", "https://etcd-0.etcd-discovery.shop.svc:2379", "https://etcd-1.etcd-discovery:2379")), want{main: only("a")}, false},
		"by a Service's other port": {append(slices.Clone(shards), talksTo("a", "https://etcd-events-client:443"), talksTo("b", "https://etcd-client:443")),
			want{events: only("a")}, false},
		"by a Service's address": {append(slices.Clone(shards), talksTo("a", "https://10.96.0.8:2379")), want{events: only("a")}, false},
		"peers and metrics": {append(slices.Clone(shards), talksTo("a", "https://etcd-0.etcd-discovery.shop.svc:2380", "https://etcd-client:9979/metrics", "https://etcd-discovery:2380"),
			talksTo("b", "http://etcd-0.etcd-discovery.shop.svc:2381")), want{}, false},
		"a Service of another name": {append(slices.Clone(shards), service("store", "type: ExternalName, externalName: etcd-events-client.shop.svc.cluster.local"), talksTo("a", "https://store:2379")),
			want{events: only("a")}, false},
		"a Service of both": {append(slices.Clone(shards), service("any-etcd", "clusterIP: None, selector: {}"), service("all", "clusterIP: 10.96.0.9, selector: {tier: store}"),
			talksTo("a", "https://all:2379"), talksTo("b", "https://any-etcd:2379")), want{unsureMain: only("a", "b"), unsureEvents: only("a", "b")}, false},
		"a Service of neither": {append(slices.Clone(shards), service("etcd-elsewhere", "clusterIP: 10.96.0.9, selector: {app: cache}"), talksTo("a", "https://etcd-elsewhere:2379")), want{}, false},
		"names alone": {append(slices.Clone(shards[:2]), talksTo("a", "https://etcd-client:2379"), talksTo("b", "https://etcd-events:2379"), talksTo("c", "https://my-etcd:2379")),
			want{events: only("b"), unsureMain: only("a", "c"), unsureEvents: only("c")}, true},
		"one sure name of several": {append(slices.Clone(shards), talksTo("a", "https://my-etcd:2379", "https://etcd-client:2379")),
			want{main: only("a"), unsureEvents: only("a")}, false},
		"a file of an API server's": {append(slices.Clone(shards), configMap("kas", `{"apiServerArguments": {"etcd-servers": ["https://etcd-client:2379"]}}`),
			deployment("shop", "kas", "name: kube-apiserver, image: x, args: [--config=/c/file]", ", volumes: [{name: c, configMap: {name: kas}}]")), want{main: only("kas")}, false},
		"an API server beside a member": {append([]string{strings.Replace(shards[1], "containers:", "containers:\n      - {name: api, image: x, command: [kube-apiserver, \"--etcd-servers=https://etcd-client:2379\"]}", 1), shards[0]}, shards[2:]...),
			want{unsureMain: []string{"shop/StatefulSet/etcd-events"}}, false},
		"a variable from a ConfigMap": {append(slices.Clone(shards), configMap("urls", "https://etcd-events-client:2379"),
			deployment("shop", "a", "name: c, image: x, env: [{name: U, valueFrom: {configMapKeyRef: {name: urls, key: file}}}]"),
			deployment("shop", "b", "name: c, image: x, envFrom: [{configMapRef: {name: urls}}]")), want{events: only("a", "b")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			a, client := serve(t)
			for _, doc := range c.docs {
				a.Add(t, doc)
			}
			a.Forbid = func(resource, _, _ string) bool { return c.hide && resource == "services" }
			planes := find(t, client, "shop")
			if len(planes) != 2 {
				t.Fatalf("%d control planes", len(planes))
			}
			for i, want := range [][2][]string{{c.want.main, c.want.unsureMain}, {c.want.events, c.want.unsureEvents}} {
				uses, err := Writers(t.Context(), client, planes[i])
				if err != nil {
					t.Fatal(err)
				}
				if got := paths(uses.Writers); !slices.Equal(got, want[0]) && len(got)+len(want[0]) > 0 {
					t.Errorf("%s: writers %q, want %q", planes[i].ID(), got, want[0])
				}
				if got := paths(uses.Unsure); !slices.Equal(got, want[1]) && len(got)+len(want[1]) > 0 {
					t.Errorf("%s: unsure of %q, want %q", planes[i].ID(), got, want[1])
				}
			}
		})
	}
}

// TestWritersBesideAnother: two etcds of which neither name begins with the other's, and clients that name one.
func TestWritersBesideAnother(t *testing.T) {
	a, client := serve(t)
	for _, doc := range []string{
		etcdSet("kube-etcd", "kube-etcd", "app: kube-etcd"), etcdSet("events-etcd", "events-etcd", "app: events-etcd"),
		service("kube-etcd", "clusterIP: None, selector: {app: kube-etcd}"), service("events-etcd", "clusterIP: None, selector: {app: events-etcd}"),
		talksTo("main", "https://kube-etcd:2379"),
	} {
		a.Add(t, doc)
	}
	for id, want := range map[string][]string{"shop/kube-etcd": {"shop/Deployment/main"}, "shop/events-etcd": {}} {
		p, err := Resolve(find(t, client, "shop"), id, "")
		if err != nil {
			t.Fatal(err)
		}
		if uses, err := Writers(t.Context(), client, p); err != nil || !slices.Equal(paths(uses.Writers), want) || len(uses.Unsure) > 0 {
			t.Errorf("%s: %v, unsure of %v, %v", id, paths(uses.Writers), uses.Unsure, err)
		}
	}
}

// TestHiddenWriters: an API server that another program starts shows no etcd in its template. The Secret or the file that
// it mounts does; what mounts one and may be anything is asked about.
func TestHiddenWriters(t *testing.T) {
	mounts := func(name, image, secret string) string {
		return deployment("shop", name, "name: c, image: "+image, ", volumes: [{name: pki, secret: {secretName: "+secret+"}}]")
	}
	const k0s = "spec: {storage: {etcd: {externalCluster: {endpoints: [\"https://main-etcd:2379\"], etcdPrefix: a}}}}"
	for name, c := range map[string]struct {
		docs         []string
		sure, unsure []string
	}{
		"a vcluster's, by its Secret": {[]string{mounts("vc", "ghcr.io/loft-sh/vcluster-pro:0.30.1", "main-etcd-tls")}, []string{"vc"}, nil},
		"another vcluster's":          {[]string{mounts("vc", "ghcr.io/loft-sh/vcluster-pro:0.30.1", "other-tls")}, nil, nil},
		"k0smotron's, by its file": {[]string{configMap("k0s", k0s),
			deployment("shop", "kmc", "name: controller, image: \"quay.io/k0sproject/k0s:v1.34.1-k0s.0\", command: [/bin/sh, -c, /entrypoint.sh]", ", volumes: [{name: c, configMap: {name: k0s}}]")}, []string{"kmc"}, nil},
		"any program's with that Secret": {[]string{mounts("thing", "thing", "main-etcd-tls")}, nil, []string{"thing"}},
		"any program's with that file": {[]string{configMap("watched", k0s), deployment("shop", "thing", "name: c, image: x", ", volumes: [{name: c, projected: {sources: [{configMap: {name: watched}}]}}]")},
			nil, []string{"thing"}},
		"beside an API server that tells": {[]string{mounts("syncer", "vcluster", "main-etcd-tls"), mounts("thing", "thing", "main-etcd-tls"),
			deployment("shop", "api", `name: c, image: x, command: [kube-apiserver, "--etcd-servers=https://main-etcd:2379"]`)}, []string{"api"}, nil},
		"one that uses an etcd elsewhere": {[]string{deployment("shop", "api", `name: c, image: x, command: [kube-apiserver, "--etcd-servers=https://10.0.0.1:2379"]`, ", volumes: [{name: c, secret: {secretName: main-etcd-tls}}]")},
			nil, []string{"api"}},
		"a controller manager": {[]string{deployment("shop", "kcm", `name: c, image: x, command: [kube-controller-manager]`, ", volumes: [{name: c, secret: {secretName: main-etcd-tls}}]")}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			a, client := serve(t)
			for _, doc := range append(c.docs, etcdSet("main-etcd", "main-etcd", "app: main"), service("main-etcd", "clusterIP: None, selector: {app: main}")) {
				a.Add(t, doc)
			}
			uses, err := Writers(t.Context(), client, one(t, find(t, client, "shop")))
			if err != nil {
				t.Fatal(err)
			}
			for what, lists := range map[string][2][]string{"writers": {paths(uses.Writers), c.sure}, "unsure of": {paths(uses.Unsure), c.unsure}} {
				for i := range lists[1] {
					lists[1][i] = "shop/Deployment/" + lists[1][i]
				}
				if !slices.Equal(lists[0], lists[1]) && len(lists[0])+len(lists[1]) > 0 {
					t.Errorf("%s %q, want %q", what, lists[0], lists[1])
				}
			}
		})
	}
}

// TestWritersOfShared: the API servers of several clusters say which part of a shared etcd is theirs.
func TestWritersOfShared(t *testing.T) {
	a, client := serve(t, "kamaji")
	for _, tenant := range []string{"tenant-a", "tenant-b"} {
		a.Add(t, deployment(tenant, "api", `name: c, image: x, command: [kube-apiserver, "--etcd-servers=https://kamaji-etcd-0.kamaji-etcd.kamaji-system.svc.cluster.local:2379", --etcd-prefix=/`+tenant+`]`))
	}
	uses, err := Writers(t.Context(), client, one(t, find(t, client, "kamaji-system")))
	if err != nil || len(uses.Writers) != 2 || len(uses.Unsure) > 0 {
		t.Fatal(uses, err)
	}
	for i, want := range []string{"/tenant-a", "/tenant-b"} {
		if w := uses.Writers[i]; w.Prefix != want || w.Path() != want[1:]+"/Deployment/api" {
			t.Errorf("%s has prefix %s", w.Path(), w.Prefix)
		}
	}
}
