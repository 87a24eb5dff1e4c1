package controlplane

import (
	"cmp"
	"strconv"
	"strings"
)

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
		ServerTLS:           TLSFiles{cmp.Or(raw["trusted-ca-file"], raw["ca-file"]), raw["cert-file"], raw["key-file"]},
		PeerTLS:             TLSFiles{cmp.Or(raw["peer-trusted-ca-file"], raw["peer-ca-file"]), raw["peer-cert-file"], raw["peer-key-file"]},
	}
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
