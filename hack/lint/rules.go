package main

import "regexp"

const module = "github.com/kubectl-etcd/kubectl-etcd"

// maxLines is where a file is too long; from warnLines on it is worth a thought.
const (
	maxLines  = 500
	warnLines = 400
)

// mayImport is the picture of docs/architecture.md: for each package of ours the packages of ours that it may import.
// Arrows go down only. A package that is not here is refused, so that each new one gets its place.
var mayImport = map[string][]string{
	// What knows nothing else of ours.
	"manifests":        {},
	"pkg/snapshot":     {},
	"pkg/boltfile":     {},
	"pkg/mvcc":         {},
	"pkg/frame":        {},
	"pkg/etcd":         {},
	"pkg/controlplane": {"pkg/shell"},
	"pkg/shell":        {},
	"pkg/store":        {},
	"pkg/plan":         {},
	"pkg/await":        {},
	// Proof.
	"pkg/verify":            {"pkg/boltfile", "pkg/mvcc", "pkg/snapshot"},
	"pkg/verify/etcdtest":   {},
	"pkg/boltfile/bolttest": {},
	"pkg/store/disktest":    {},
	"pkg/rehearse":          {"pkg/snapshot", "pkg/verify"},
	// The node side.
	"pkg/datadir":  {"pkg/verify", "pkg/rehearse"},
	"pkg/agentapi": {"pkg/datadir", "pkg/etcd", "pkg/snapshot"},
	"pkg/agent":    {"pkg/agentapi", "pkg/datadir", "pkg/frame", "pkg/snapshot", "pkg/etcd", "pkg/verify", "pkg/rehearse"},
	// The client side.
	"pkg/podexec": {"pkg/frame"},
	"pkg/reach":   {"manifests", "pkg/agent", "pkg/agentapi", "pkg/controlplane", "pkg/datadir", "pkg/etcd", "pkg/frame", "pkg/podexec", "pkg/rehearse", "pkg/snapshot", "pkg/verify"},
	"pkg/survey":  {"pkg/controlplane", "pkg/etcd", "pkg/reach"},
	"pkg/backup": {"pkg/agentapi", "pkg/controlplane", "pkg/etcd", "pkg/frame", "pkg/podexec", "pkg/reach", "pkg/snapshot", "pkg/store",
		"pkg/survey", "pkg/verify"},
	"pkg/userapi":                 {"pkg/controlplane", "pkg/reach"},
	"pkg/operation":               {"pkg/await", "pkg/plan"},
	"pkg/operation/operationtest": {},
	"pkg/operation/placetest":     {"pkg/operation", "pkg/plan"},
	"pkg/restore":                 {"pkg/agent", "pkg/agentapi", "pkg/await", "pkg/backup", "pkg/controlplane", "pkg/datadir", "pkg/etcd", "pkg/operation", "pkg/plan", "pkg/reach", "pkg/snapshot", "pkg/survey", "pkg/userapi", "pkg/verify"},
	"pkg/plugin": {"manifests", "pkg/backup", "pkg/controlplane", "pkg/etcd", "pkg/frame", "pkg/operation", "pkg/plan", "pkg/podexec", "pkg/reach", "pkg/rehearse", "pkg/restore",
		"pkg/snapshot", "pkg/store", "pkg/survey", "pkg/verify"},
	// Programs.
	"cmd/kubectl-etcd":       {"pkg/plugin"},
	"cmd/kubectl-etcd-agent": {"pkg/agent"},
	"hack/docs":              {"pkg/plugin"},
}

// free are trees whose packages may import any package of ours: nothing of the product imports them.
var free = []string{"hack/", "test/"}

// external says which packages of others may be imported by whom only.
var external = []struct {
	imports *regexp.Regexp
	by      *regexp.Regexp
	why     string
}{
	{regexp.MustCompile(`^github\.com/spf13/(cobra|pflag)(/|$)`), regexp.MustCompile(`^(pkg/plugin|hack/docs)$`),
		"flags become typed configurations there; no other package knows them"},
	{regexp.MustCompile(`^k8s\.io/client-go/kubernetes$`), nil, "the clientset links every API group; use typed clients"},
	{regexp.MustCompile(`^k8s\.io/kubernetes(/|$)`), nil, "Kubernetes itself is not a library"},
	{regexp.MustCompile(`^(k8s\.io|sigs\.k8s\.io)/`), regexp.MustCompile(`^(pkg/(podexec|controlplane|reach|survey|backup|userapi|operation(/operationtest)?|restore|plugin)|cmd/kubectl-etcd|hack/.*|test/.*)$`),
		"this package serves the agent or a workstation without a cluster"},
	{regexp.MustCompile(`^go\.etcd\.io/etcd/server(/|$)`), regexp.MustCompile(`^(hack|test)/`), "etcd's server is run, never linked"},
}

// neverIn says what a program must not contain, however it got there.
var neverIn = []struct {
	program string
	imports *regexp.Regexp
	why     string
}{
	{"cmd/kubectl-etcd-agent", regexp.MustCompile(`^(k8s\.io|sigs\.k8s\.io|github\.com/spf13/cobra)(/|$)`), "the agent is sent over the wire for each backup"},
	{"cmd/kubectl-etcd-agent", regexp.MustCompile(`^(testing|` + regexp.QuoteMeta(module) + `/pkg/(verify/etcdtest|boltfile/bolttest|store/disktest|operation/(operationtest|placetest)))$`), "tests stay out of programs"},
	{"cmd/kubectl-etcd", regexp.MustCompile(`^(testing|` + regexp.QuoteMeta(module) + `/pkg/(verify/etcdtest|boltfile/bolttest|store/disktest|operation/(operationtest|placetest)))$`), "tests stay out of programs"},
	{"cmd/kubectl-etcd", regexp.MustCompile(`^(k8s\.io/client-go/kubernetes|k8s\.io/kubernetes/.*|go\.etcd\.io/etcd/server/.*)$`), "the plugin stays below its size"},
}

// vague are names of packages that say nothing of what is in them.
var vague = regexp.MustCompile(`^(utils?|common|helpers?|misc|shared)$`)

// words are what no file may say: paths of somebody's machine, and hosts from which packages come (a build takes those
// from its environment).
var words = regexp.MustCompile(`(^|[^A-Za-z0-9_.}])/(root/(go|\.)|(work|Users)/[a-z.])|\b(proxy|sum)\.golang\.org\b|\b(deb|ftp)\.debian\.org\b|\b(pypi|files\.pythonhosted)\.org\b|\bregistry\.npmjs\.org\b`)

// wordsHere is the file that has to say them.
const wordsHere = "hack/lint/rules.go"
