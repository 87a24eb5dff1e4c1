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
	"pkg/controlplane": {"pkg/program", "pkg/shell"},
	"pkg/program":      {"pkg/shell"},
	"pkg/shell":        {},
	"pkg/store":        {},
	"pkg/seal":         {},
	"pkg/plan":         {},
	"pkg/await":        {},
	// Proof.
	"pkg/verify":                  {"pkg/boltfile", "pkg/mvcc", "pkg/snapshot"},
	"pkg/verify/etcdtest":         {},
	"pkg/apiserver/apiservertest": {"pkg/apiserver", "pkg/await"},
	"pkg/controlplane/planetest":  {},
	"pkg/boltfile/bolttest":       {},
	"pkg/store/disktest":          {},
	// Stores: none knows another, and only who chooses one by its URL imports it.
	"pkg/store/s3":        {"pkg/store"},
	"pkg/store/gcs":       {"pkg/store"},
	"pkg/store/web":       {"pkg/store"},
	"pkg/store/storetest": {"pkg/store"},
	"pkg/stored":          {"pkg/seal", "pkg/snapshot", "pkg/store"},
	"pkg/catalog":         {"pkg/snapshot", "pkg/store", "pkg/stored"},
	"pkg/child":           {},
	"pkg/rehearse":        {"pkg/child", "pkg/snapshot", "pkg/verify"},
	"pkg/objects":         {"pkg/await", "pkg/controlplane"},
	"pkg/apiserver":       {"pkg/child"},
	"pkg/inside":          {"pkg/apiserver", "pkg/child", "pkg/controlplane", "pkg/mvcc", "pkg/reach", "pkg/rehearse", "pkg/snapshot", "pkg/verify"},
	// The node side.
	"pkg/datadir":  {"pkg/verify", "pkg/rehearse"},
	"pkg/agentapi": {"pkg/apiserver", "pkg/datadir", "pkg/etcd", "pkg/snapshot"},
	"pkg/answer":   {"pkg/agentapi", "pkg/etcd", "pkg/snapshot"},
	"pkg/agent":    {"pkg/answer", "pkg/agentapi", "pkg/apiserver", "pkg/datadir", "pkg/frame", "pkg/snapshot", "pkg/etcd", "pkg/verify", "pkg/rehearse"},
	// The client side.
	"pkg/podexec": {"pkg/frame"},
	"pkg/reach":   {"manifests", "pkg/agentapi", "pkg/answer", "pkg/controlplane", "pkg/datadir", "pkg/etcd", "pkg/frame", "pkg/podexec", "pkg/program", "pkg/rehearse", "pkg/snapshot", "pkg/verify"},
	"pkg/survey":  {"pkg/controlplane", "pkg/etcd", "pkg/reach"},
	"pkg/backup": {"pkg/agentapi", "pkg/controlplane", "pkg/etcd", "pkg/frame", "pkg/keys", "pkg/podexec", "pkg/reach", "pkg/seal", "pkg/snapshot", "pkg/store",
		"pkg/stored", "pkg/survey", "pkg/verify"},
	"pkg/keys":                    {"pkg/controlplane", "pkg/frame", "pkg/program", "pkg/reach", "pkg/snapshot"},
	"pkg/userapi":                 {"pkg/controlplane", "pkg/reach"},
	"pkg/operation":               {"pkg/await", "pkg/plan"},
	"pkg/operation/operationtest": {},
	"pkg/operation/placetest":     {"pkg/operation", "pkg/plan"},
	// What an operation on members needs, whatever it does.
	"pkg/site": {"pkg/agentapi", "pkg/await", "pkg/backup", "pkg/controlplane", "pkg/datadir", "pkg/operation", "pkg/plan", "pkg/reach", "pkg/survey", "pkg/userapi"},
	// What operations do. Ways of restoring stand on the engine, never on each other.
	"pkg/restore":          {"pkg/agentapi", "pkg/await", "pkg/backup", "pkg/controlplane", "pkg/datadir", "pkg/etcd", "pkg/keys", "pkg/operation", "pkg/plan", "pkg/program", "pkg/reach", "pkg/site", "pkg/snapshot", "pkg/stored", "pkg/survey", "pkg/userapi", "pkg/verify"},
	"pkg/restore/hosting":  {"pkg/controlplane", "pkg/reach", "pkg/restore", "pkg/site", "pkg/survey", "pkg/userapi"},
	"pkg/restore/hosted":   {"pkg/await", "pkg/datadir", "pkg/plan", "pkg/restore", "pkg/restore/hosting", "pkg/site"},
	"pkg/restore/exchange": {"pkg/await", "pkg/controlplane", "pkg/datadir", "pkg/plan", "pkg/restore", "pkg/site", "pkg/survey"},
	"pkg/restore/static":   {"pkg/agentapi", "pkg/await", "pkg/controlplane", "pkg/datadir", "pkg/frame", "pkg/operation", "pkg/plan", "pkg/program", "pkg/reach", "pkg/restore", "pkg/restore/exchange", "pkg/site", "pkg/survey", "pkg/userapi"},
	"pkg/restore/hot":      {"pkg/await", "pkg/plan", "pkg/restore", "pkg/restore/exchange", "pkg/restore/hosting", "pkg/site"},
	"pkg/member":           {"pkg/agentapi", "pkg/await", "pkg/controlplane", "pkg/datadir", "pkg/etcd", "pkg/plan", "pkg/reach", "pkg/site", "pkg/survey"},
	"pkg/plugin/cli":       {},
	"pkg/plugin/stores":    {"pkg/catalog", "pkg/plugin/cli", "pkg/seal", "pkg/store", "pkg/store/gcs", "pkg/store/s3", "pkg/store/web", "pkg/stored"},
	"pkg/plugin/backups":   {"pkg/catalog", "pkg/keys", "pkg/plugin/cli", "pkg/plugin/stores", "pkg/seal", "pkg/snapshot", "pkg/store", "pkg/stored"},
	"pkg/plugin/look":      {"pkg/child", "pkg/controlplane", "pkg/inside", "pkg/keys", "pkg/objects", "pkg/plugin/cli", "pkg/plugin/stores", "pkg/reach", "pkg/snapshot", "pkg/stored", "pkg/verify"},
	"pkg/plugin/hint":      {"pkg/backup", "pkg/controlplane", "pkg/etcd", "pkg/reach", "pkg/rehearse", "pkg/site", "pkg/store", "pkg/survey", "pkg/verify"},
	"pkg/plugin": {"manifests", "pkg/backup", "pkg/controlplane", "pkg/etcd", "pkg/frame", "pkg/operation", "pkg/plan", "pkg/member", "pkg/plugin/backups", "pkg/plugin/cli", "pkg/plugin/hint", "pkg/plugin/look", "pkg/plugin/stores", "pkg/podexec", "pkg/reach", "pkg/rehearse", "pkg/restore", "pkg/restore/hosted", "pkg/restore/hot", "pkg/restore/static", "pkg/site",
		"pkg/snapshot", "pkg/store", "pkg/stored", "pkg/survey", "pkg/verify"},
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
	{regexp.MustCompile(`^github\.com/spf13/(cobra|pflag)(/|$)`), regexp.MustCompile(`^(pkg/plugin(/[a-z]+)?|hack/docs)$`),
		"flags become typed configurations there; no other package knows them"},
	{regexp.MustCompile(`^k8s\.io/client-go/kubernetes$`), nil, "the clientset links every API group; use typed clients"},
	{regexp.MustCompile(`^k8s\.io/kubernetes(/|$)`), nil, "Kubernetes itself is not a library"},
	{regexp.MustCompile(`^(k8s\.io|sigs\.k8s\.io)/`), regexp.MustCompile(`^(pkg/(podexec|program|controlplane(/planetest)?|reach|survey|keys|backup|inside|objects|userapi|operation(/operationtest)?|site|restore(/[a-z]+)?|member|plugin(/[a-z]+)?)|cmd/kubectl-etcd|hack/.*|test/.*)$`),
		"this package serves the agent or a workstation without a cluster"},
	{regexp.MustCompile(`^github\.com/(aws|googleapis)/|^cloud\.google\.com/|^google\.golang\.org/api(/|$)`), regexp.MustCompile(`^pkg/store/(s3|gcs)$`), "nothing above pkg/store knows which store it is"},
	{regexp.MustCompile(`^go\.etcd\.io/etcd/server(/|$)`), regexp.MustCompile(`^(hack|test)/`), "etcd's server is run, never linked"},
}

// ofTests are packages that only tests import.
var ofTests = regexp.MustCompile(`^(testing|` + regexp.QuoteMeta(module) + `/pkg/(verify/etcdtest|apiserver/apiservertest|boltfile/bolttest|store/(disktest|storetest)|operation/(operationtest|placetest)|controlplane/planetest))$`)

// neverIn says what a program must not contain, however it got there.
var neverIn = []struct {
	program string
	imports *regexp.Regexp
	why     string
}{
	{"cmd/kubectl-etcd-agent", regexp.MustCompile(`^(k8s\.io|sigs\.k8s\.io|github\.com/spf13/cobra)(/|$)`), "the agent is sent over the wire for each backup"},
	{"cmd/kubectl-etcd-agent", ofTests, "tests stay out of programs"},
	{"cmd/kubectl-etcd", ofTests, "tests stay out of programs"},
	{"cmd/kubectl-etcd", regexp.MustCompile(`^(k8s\.io/client-go/kubernetes|k8s\.io/kubernetes/.*|go\.etcd\.io/etcd/server/.*)$`), "the plugin stays below its size"},
}

// vague are names of packages that say nothing of what is in them.
var vague = regexp.MustCompile(`^(utils?|common|helpers?|misc|shared)$`)

// words are what no file may say: paths of somebody's machine, and hosts from which packages come (a build takes those
// from its environment).
var words = regexp.MustCompile(`(^|[^A-Za-z0-9_.}])/(root/(go|\.)|(work|Users)/[a-z.])|\b(proxy|sum)\.golang\.org\b|\b(deb|ftp)\.debian\.org\b|\b(pypi|files\.pythonhosted)\.org\b|\bregistry\.npmjs\.org\b`)

// wordsHere is the file that has to say them.
const wordsHere = "hack/lint/rules.go"
