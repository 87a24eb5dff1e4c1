package verify

import (
	"bytes"
	"strings"
)

// maxKinds bounds how many kinds are counted: an etcd that no Kubernetes uses may have as many as keys.
const maxKinds = 4096

// count notes that there is one more of a key's kind, or one less.
func (c *content) count(key []byte, by int64) {
	kind := kindOf(key)
	if by == 0 || kind == nil || c.objects == nil {
		return
	}
	if _, known := c.objects[string(kind)]; !known && len(c.objects) >= maxKinds {
		c.objects = nil
		return
	}
	c.objects[string(kind)] += by
}

// kindOf is the part of an object's key that all of its kind share, or nil: "/registry/pods" of a pod's. Two kinds have
// "services" in common, and those of custom resources their group.
func kindOf(key []byte) []byte {
	end := 0
	for n, parts := 0, 2; n < parts; n++ {
		if end >= len(key) || key[end] != '/' {
			return nil
		}
		length := bytes.IndexByte(key[end+1:], '/')
		if length < 0 {
			return nil
		}
		part := key[end+1 : end+1+length]
		if n == 1 && (string(part) == "services" || bytes.IndexByte(part, '.') >= 0) {
			parts = 3
		}
		end += 1 + length
	}
	return key[:end]
}

// ObjectOf is the kind of the object that a key is of, as in Report.Objects, and its namespace; empty where the key is not beneath
// the prefix, and where the kind has no namespaces.
func ObjectOf(key []byte, prefix string) (kind, namespace string) {
	rest, ok := bytes.CutPrefix(key, []byte(prefix+"/"))
	if !ok {
		return "", ""
	}
	parts := strings.Split(string(rest), "/")
	n := 1
	if parts[0] == "services" || strings.Contains(parts[0], ".") {
		n = 2
	}
	if len(parts) <= n {
		return strings.Join(parts, "/"), ""
	}
	if kind = strings.Join(parts[:n], "/"); len(parts) > n+1 {
		namespace = parts[n]
	}
	return kind, namespace
}

// plainPrefix tells whether a prefix is one part of a key, after which kindOf sees the kind.
func plainPrefix(prefix string) bool {
	return len(prefix) > 1 && prefix[0] == '/' && !strings.Contains(prefix[1:], "/")
}

// objectsOf are the counts beneath the only prefix.
func (c *content) objectsOf() map[string]int64 {
	// Of several control planes nobody knows here whose objects are asked for. A prefix of several parts is none to kindOf.
	// And keys that were handed to other passes are counted there, not by kind.
	if len(c.report.Kubernetes) != 1 || !plainPrefix(c.report.Kubernetes[0].Prefix) || len(c.live.Later) > 0 {
		return nil
	}
	out := map[string]int64{}
	for kind, n := range c.objects {
		if name, ok := strings.CutPrefix(kind, c.report.Kubernetes[0].Prefix+"/"); ok && n > 0 {
			out[name] = n
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
