package snapshot

import "time"

// Keys describes the file of keys that lies beside a snapshot, under the name that KeysPath makes: a tar, encrypted for the same
// recipients as the snapshot.
type Keys struct {
	Size   int64  `json:"size"` // bytes, as stored
	SHA256 string `json:"sha256"`
	// Items are at most MaxKeyItems; Omitted is how many more there are.
	Items   []Key `json:"items"`
	Omitted int   `json:"omitted,omitempty"`
	// Missing is what could not be read: nodes, by number, and what was not known.
	Missing []string `json:"missing,omitempty"`
}

// Key is one file of these: its name and its fingerprint, never its content.
type Key struct {
	// From is the node, by number, or the Secret: "node 1", "Secret team-a/etcd-tls".
	From string `json:"from"`
	Path string `json:"path"`
	Kind string `json:"kind"`
	// Name is a certificate's subject, a manifest's pod, or the providers of an EncryptionConfiguration with the names of their keys.
	Name    string     `json:"name,omitempty"`
	Expires *time.Time `json:"expires,omitempty"` // of a certificate
	// Fingerprint is the SHA-256, in hex, of a certificate, or of the public half of a key.
	Fingerprint string `json:"fingerprint,omitempty"`
}

// Kinds of keys.
const (
	KeyCertificate = "certificate"
	KeyPrivate     = "private key"
	KeyPublic      = "public key"
	KeyEncryption  = "encryption"
	KeyManifest    = "manifest"
	KeyOther       = "other"
)

// MaxKeyItems keeps a sidecar below MaxSidecar.
const MaxKeyItems = 1000

// KeysPath is where the keys of a snapshot are that is stored under this name.
func KeysPath(path string) string { return path + ".keys.tar.age" }
