package program

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/shell"
)

// etcdFlags are the settings looked for. etcd reads each from its command line,
// and from the environment as ETCD_ and the name in capitals.
var etcdFlags = Words(`name data-dir wal-dir config-file listen-client-urls advertise-client-urls listen-peer-urls
	initial-advertise-peer-urls initial-cluster initial-cluster-state initial-cluster-token quota-backend-bytes
	snapshot-count client-cert-auth cert-file key-file trusted-ca-file ca-file peer-cert-file peer-key-file
	peer-trusted-ca-file peer-ca-file auto-tls peer-auto-tls`)

// switches are flags without a value of their own; the word after them is
// not theirs.
var switches = Words(`client-cert-auth peer-client-cert-auth auto-tls peer-auto-tls force-new-cluster
	strict-reconfig-check pre-vote enable-pprof enable-v2 debug log-rotation enable-grpc-gateway
	experimental-initial-corrupt-check`)

// Words is a set of the words in a text.
func Words(words string) map[string]bool {
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

// ParseFlags reads --flag=value, --flag value, and the same with one dash. Of one that is repeated it has the last.
func ParseFlags(args []string) map[string]string { return maps.Collect(Flags(args)) }

// Flags are all flags with their values, in order.
func Flags(args []string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
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
			if !yield(name, value) {
				return
			}
		}
	}
}

// RawSettings gathers etcd's settings by name. As etcd does it: a flag wins
// over the environment, and a configuration file makes it ignore both.
func RawSettings(inv shell.Invocation, env func(string) (string, bool)) map[string]string {
	raw := ParseFlags(inv.Argv[min(1, len(inv.Argv)):])
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

// DropUnknown removes what could not be worked out, and says so.
func DropUnknown(raw map[string]string, n *Notes) {
	for _, flag := range slices.Sorted(maps.Keys(raw)) {
		if !strings.Contains(raw[flag], shell.Unknown) {
			continue
		}
		if etcdFlags[flag] {
			n.Add("--%s is not known: it is made when the container starts", flag)
		}
		delete(raw, flag)
	}
}

// ParseConfigFile flattens etcd's YAML configuration into flags' names.
// member selects the entry where a URL list is kept per member, which is how
// Gardener writes one file for all of them.
func ParseConfigFile(text, member string) (map[string]string, error) {
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
