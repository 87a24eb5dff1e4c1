package verify

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/mvcc"
)

const (
	// maxEncrypted bounds of how many objects it is remembered how they are encrypted: about 16 MiB.
	maxEncrypted = 1 << 18
	// maxCiphers bounds how many pairs of kind and key are listed.
	maxCiphers = 1 << 10
	// maxKeyName is far above the name of any key; what is longer is no header that an API server has written.
	maxKeyName = 256
)

// Encryption says how many objects of a kind can be read with a certain key only. That key is in no snapshot: it is in the
// API servers' EncryptionConfiguration, or with a KMS plugin.
type Encryption struct {
	// Prefix is that of the control plane, and Kind as in Report.Objects: secrets, stable.example.com/crontabs. Kind is empty
	// beneath a prefix of several parts.
	Prefix string `json:"prefix,omitempty"`
	Kind   string `json:"kind,omitempty"`
	// Provider is aescbc, aesgcm, secretbox or kms, with the Version of its format. KeyName is the key's name in the
	// EncryptionConfiguration, or that of the KMS plugin.
	Provider string `json:"provider"`
	Version  string `json:"version"`
	KeyName  string `json:"keyName"`
	// Objects is their number. Where very many are encrypted, some may be counted that were encrypted so only once.
	Objects int64 `json:"objects"`
}

// encryptions counts the objects that exist by how they are encrypted.
type encryptions struct {
	// now tells which of the counts an object is in.
	now    map[mvcc.KeyHash]uint16
	index  map[Encryption]uint16
	counts []Encryption
}

// put says that an object is stored like this from now on, or does not exist any more.
func (e *encryptions) put(key, value []byte, deleted bool) {
	provider, version, name, encrypted := encryptedBy(value)
	encrypted = encrypted && !deleted
	if !encrypted && len(e.now) == 0 {
		return // as in most clusters, which have no encryption
	}
	h := mvcc.HashKey(key)
	if before, was := e.now[h]; was {
		e.counts[before].Objects--
		delete(e.now, h)
	}
	if !encrypted {
		return
	}
	if i, ok := e.find(Encryption{Kind: string(kindOf(key)), Provider: provider, Version: version, KeyName: name}); ok {
		e.counts[i].Objects++
		if len(e.now) < maxEncrypted {
			e.now[h] = i
		}
	}
}

func (e *encryptions) find(c Encryption) (uint16, bool) {
	if e.index == nil {
		e.index, e.now = map[Encryption]uint16{}, map[mvcc.KeyHash]uint16{}
	}
	i, known := e.index[c]
	if !known {
		if len(e.counts) >= maxCiphers {
			return 0, false
		}
		i = uint16(len(e.counts))
		e.index[c], e.counts = i, append(e.counts, c)
	}
	return i, true
}

// encryptedBy reads the header of a value that an API server has encrypted: k8s:enc:PROVIDER:VERSION:NAME:
func encryptedBy(value []byte) (provider, version, name string, ok bool) {
	rest, ok := bytes.CutPrefix(value, encryptedMagic)
	if !ok {
		return "", "", "", false
	}
	parts := bytes.SplitN(rest[:min(len(rest), maxKeyName)], []byte(":"), 4)
	if len(parts) < 4 {
		return "", "", "", false
	}
	return string(parts[0]), string(parts[1]), string(parts[2]), true
}

// list tells prefix and kind apart, of what kindOf left together.
func (e *encryptions) list(planes []Kubernetes) []Encryption {
	var out []Encryption
	for _, c := range e.counts {
		if c.Objects > 0 {
			c.Prefix, c.Kind = splitKind(c.Kind, planes)
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b Encryption) int {
		return cmp.Or(strings.Compare(a.Prefix, b.Prefix), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Provider, b.Provider), strings.Compare(a.KeyName, b.KeyName))
	})
	return out
}

// splitKind takes the prefix for one part, unless a control plane is known whose prefix has several.
func splitKind(path string, planes []Kubernetes) (prefix, kind string) {
	for _, p := range planes {
		if !plainPrefix(p.Prefix) && strings.HasPrefix(p.Prefix+"/", path+"/") {
			return p.Prefix, ""
		}
	}
	if i := strings.IndexByte(strings.TrimPrefix(path, "/"), '/'); i > 0 {
		return path[:i+1], path[i+2:]
	}
	return path, ""
}
