package verify

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/mvcc"
)

// kubeSystemKey is what the key of the kube-system namespace ends in, whatever the prefix.
var kubeSystemKey = []byte("/namespaces/kube-system")

var (
	protobufMagic  = []byte("k8s\x00")
	encryptedMagic = []byte("k8s:enc:")
)

// namespaceUID reads metadata.uid of a stored namespace. ok is false when the value is of another kind of object;
// a custom resource or a ConfigMap can have a key that ends the same.
func namespaceUID(value []byte) (uid string, encrypted, ok bool) {
	if bytes.HasPrefix(value, encryptedMagic) {
		return "", true, true
	}
	if bytes.HasPrefix(value, protobufMagic) {
		uid, ok = protobufNamespaceUID(value[len(protobufMagic):])
		return uid, false, ok
	}
	uid, ok = jsonNamespaceUID(value)
	return uid, false, ok
}

// protobufNamespaceUID decodes runtime.Unknown{1: TypeMeta{1: apiVersion, 2: kind}, 2: raw}, and in raw
// Namespace{1: ObjectMeta{5: uid}}.
func protobufNamespaceUID(b []byte) (string, bool) {
	unknown := subfields(b)
	typeMeta := subfields(unknown[1])
	if string(typeMeta[1]) != "v1" || string(typeMeta[2]) != "Namespace" {
		return "", false
	}
	meta := subfields(subfields(unknown[2])[1])
	return string(meta[5]), len(meta[5]) > 0
}

// subfields returns the length-delimited fields 1 to 5 of a message: nothing if it is damaged.
func subfields(b []byte) (fields [6][]byte) {
	err := mvcc.EachField(b, func(n protowire.Number, field []byte, _ uint64) error {
		if int(n) < len(fields) {
			fields[n] = field
		}
		return nil
	})
	if err != nil {
		return [6][]byte{}
	}
	return fields
}

// NamespaceUID reads the UID of a namespace as an API server stores it; false when the value is none, or encrypted.
func NamespaceUID(value []byte) (string, bool) {
	uid, encrypted, ok := namespaceUID(value)
	return uid, ok && !encrypted && uid != ""
}

// jsonNamespaceUID is protobufNamespaceUID for clusters that store JSON.
func jsonNamespaceUID(value []byte) (string, bool) {
	var ns struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			UID string `json:"uid"`
		} `json:"metadata"`
	}
	if json.Unmarshal(value, &ns) != nil || ns.APIVersion != "v1" || ns.Kind != "Namespace" {
		return "", false
	}
	return ns.Metadata.UID, ns.Metadata.UID != ""
}
