package controlplane

import (
	"fmt"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/shell"
)

// etcdFlags are the settings looked for. etcd reads each from its command line,
// and from the environment as ETCD_ and the name in capitals.
var etcdFlags = set(`name data-dir wal-dir config-file listen-client-urls advertise-client-urls listen-peer-urls
	initial-advertise-peer-urls initial-cluster initial-cluster-state initial-cluster-token quota-backend-bytes
	snapshot-count client-cert-auth cert-file key-file trusted-ca-file ca-file peer-cert-file peer-key-file
	peer-trusted-ca-file peer-ca-file auto-tls peer-auto-tls`)

// switches are flags without a value of their own; the word after them is
// not theirs.
var switches = set(`client-cert-auth peer-client-cert-auth auto-tls peer-auto-tls force-new-cluster
	strict-reconfig-check pre-vote enable-pprof enable-v2 debug log-rotation enable-grpc-gateway
	experimental-initial-corrupt-check`)

func set(words string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(words) {
		out[w] = true
	}
	return out
}

func flagName(env string) string { return strings.ToLower(strings.ReplaceAll(env, "_", "-")) }
func envName(flag string) string {
	return "ETCD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// parseFlags reads --flag=value, --flag value, and the same with one dash.
func parseFlags(args []string) map[string]string {
	out := map[string]string{}
	for i := 0; i < len(args); i++ {
		a := args[i]
		if len(a) < 2 || a[0] != '-' {
			continue
		}
		name, value, given := strings.Cut(strings.TrimLeft(a, "-"), "=")
		switch {
		case given:
		case switches[name] || i+1 == len(args) || strings.HasPrefix(args[i+1], "-"):
			value = "true"
		default:
			i++
			value = args[i]
		}
		out[name] = value
	}
	return out
}

// rawSettings gathers etcd's settings by name. As etcd does it: a flag wins
// over the environment, and a configuration file makes it ignore both.
func rawSettings(inv shell.Invocation, env func(string) (string, bool)) map[string]string {
	raw := parseFlags(inv.Argv[min(1, len(inv.Argv)):])
	for flag := range etcdFlags {
		if _, ok := raw[flag]; ok {
			continue
		}
		if v, ok := inv.Env[envName(flag)]; ok {
			raw[flag] = v
		} else if v, ok := env(envName(flag)); ok {
			raw[flag] = v
		}
	}
	return raw
}

// dropUnknown removes what could not be worked out, and says so.
func dropUnknown(raw map[string]string, n *notes) {
	for _, flag := range sortedKeys(raw) {
		if !strings.Contains(raw[flag], shell.Unknown) {
			continue
		}
		if etcdFlags[flag] {
			n.add("--%s is not known: it is made when the container starts", flag)
		}
		delete(raw, flag)
	}
}

func settingsOf(raw map[string]string) Settings {
	return Settings{
		DataDir:             raw["data-dir"],
		WALDir:              raw["wal-dir"],
		ListenClientURLs:    urls(raw["listen-client-urls"]),
		AdvertiseClientURLs: urls(raw["advertise-client-urls"]),
		ListenPeerURLs:      urls(raw["listen-peer-urls"]),
		AdvertisePeerURLs:   urls(raw["initial-advertise-peer-urls"]),
		InitialCluster:      raw["initial-cluster"],
		InitialClusterState: raw["initial-cluster-state"],
		InitialClusterToken: raw["initial-cluster-token"],
		QuotaBytes:          number(raw["quota-backend-bytes"]),
		SnapshotCount:       number(raw["snapshot-count"]),
		ClientCertAuth:      boolean(raw["client-cert-auth"]),
		ServerTLS:           TLSFiles{first(raw["trusted-ca-file"], raw["ca-file"]), raw["cert-file"], raw["key-file"]},
		PeerTLS:             TLSFiles{first(raw["peer-trusted-ca-file"], raw["peer-ca-file"]), raw["peer-cert-file"], raw["peer-key-file"]},
	}
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func number(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(s, 64) // YAML makes 8.589934592e+09 of a large number
		if err != nil {
			return 0
		}
		n = int64(f)
	}
	return n
}

// boolean reads what etcd does: its flags and variables are Go's. One that it
// does not accept keeps it from starting.
func boolean(s string) bool {
	b, err := strconv.ParseBool(s)
	return err == nil && b
}

func urls(s string) []string {
	var out []string
	for _, u := range strings.Split(s, ",") {
		if u = strings.TrimSpace(u); u != "" {
			out = append(out, u)
		}
	}
	return out
}

// parseConfigFile flattens etcd's YAML configuration into flags' names.
// member selects the entry where a URL list is kept per member, which is how
// Gardener writes one file for all of them.
func parseConfigFile(text, member string) (map[string]string, error) {
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return nil, fmt.Errorf("parse etcd configuration: %w", err)
	}
	out := map[string]string{}
	for key, v := range doc {
		switch key {
		case "client-transport-security":
			security(out, "", v)
		case "peer-transport-security":
			security(out, "peer-", v)
		default:
			out[key] = scalar(v, member)
		}
	}
	return out, nil
}

func security(out map[string]string, prefix string, v any) {
	m, _ := v.(map[string]any)
	for key, v := range m {
		out[prefix+key] = scalar(v, "")
	}
}

func scalar(v any, member string) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = scalar(v[i], member)
		}
		return strings.Join(parts, ",")
	case map[string]any:
		if mine, ok := v[member]; ok {
			return scalar(mine, member)
		}
		return ""
	case nil:
		return ""
	}
	return fmt.Sprint(v)
}

// clusterPeers reads an initial-cluster value: member name to peer URLs.
func clusterPeers(initial string) map[string][]string {
	out := map[string][]string{}
	for _, entry := range strings.Split(initial, ",") {
		name, url, ok := strings.Cut(strings.TrimSpace(entry), "=")
		if ok && name != "" {
			out[name] = append(out[name], url)
		}
	}
	return out
}
