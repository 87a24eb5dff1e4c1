package etcdtest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

// Object makes at least size bytes that compress as a pod in etcd does, to about an eighth: field names, labels and paths
// repeat within and between objects; uids, hashes and times do not.
func Object(r *rand.Rand, size int) []byte {
	var b bytes.Buffer
	b.WriteString("k8s\x00\n\x09\n\x02v1\x12\x03Pod")
	for b.Len() < size {
		fmt.Fprintf(&b, "\x12\x1fapp.kubernetes.io/instance\x12\x10deployment-%d\x1a\x24%08x-%04x-%04x-%04x-%012x", r.IntN(500), r.Uint32(), r.Uint32()&0xffff, r.Uint32()&0xffff, r.Uint32()&0xffff, r.Uint64()&0xffffffffffff)
		fmt.Fprintf(&b, "\x22\x40sha256:%016x%016x\x2a\x14kube-controller-manager\x32\x06Update\x3a\x08FieldsV1", r.Uint64(), r.Uint64())
		fmt.Fprintf(&b, `{"f:metadata":{"f:labels":{".":{},"f:app":{}},"f:ownerReferences":{"k:{\"uid\":\"%016x\"}":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"app-%d\"}":{".":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:resources":{}}}}}`, r.Uint64(), r.IntN(50))
	}
	return b.Bytes()
}
