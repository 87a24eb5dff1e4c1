package snapshot

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

const (
	// APIVersion and Kind are the first fields of every sidecar.
	APIVersion = "kubectl-etcd.io/v1"
	Kind       = "Snapshot"

	// MaxSidecar is far above any real sidecar, in bytes; a larger file is something else.
	MaxSidecar = 1 << 20
)

// ProofLevel says how much is known about a snapshot.
type ProofLevel string

const (
	// ProofStream: length, sha256 and etcd's trailer were right when the stream arrived.
	ProofStream ProofLevel = "stream"
	// ProofFull: besides, the database was read from end to end; Content is there.
	ProofFull ProofLevel = "full"
	// ProofUnproven: a raw copy, which has no trailer; only its own length and sha256 are known.
	ProofUnproven ProofLevel = "unproven"
)

// Sidecar is the JSON file beside a snapshot. Its fields are stable: they are only ever added to.
type Sidecar struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`

	// File is the snapshot's name, without folder. It is information: a renamed snapshot is still good.
	File string `json:"file"`
	// Size and SHA256 are of the file as stored, so compressed where it is compressed.
	Size        int64       `json:"size"`
	SHA256      string      `json:"sha256"`
	Compression Compression `json:"compression"`
	// Encryption is what the file is encrypted with, around its compression; nil: it is not.
	Encryption *Encryption `json:"encryption,omitempty"`
	// Keys are what decrypts and identifies beside the snapshot; nil: they were not saved.
	Keys *Keys `json:"keys,omitempty"`
	// Raw marks a copy of a database file, without etcd's trailer.
	Raw   bool       `json:"raw"`
	Proof ProofLevel `json:"proof"`
	// Plain is the snapshot as etcd sent it, trailer included.
	Plain Plain `json:"plain"`

	// Created is when the snapshot was asked for, in UTC.
	Created time.Time `json:"created"`
	// Tool is what wrote the snapshot, with its version.
	Tool string `json:"tool"`
	// Scheduled says that a schedule has asked for it, and nobody by hand.
	Scheduled bool    `json:"scheduled,omitempty"`
	Source    Source  `json:"source"`
	Cluster   Cluster `json:"cluster"`

	// RevisionBefore and RevisionAfter are the member's revision asked for right before and after the stream; the
	// snapshot's own lies between them. Zero when the member was not asked (raw copies).
	RevisionBefore int64 `json:"revisionBefore,omitempty"`
	RevisionAfter  int64 `json:"revisionAfter,omitempty"`

	// Content is there with a full proof only. Its fields are on the sidecar's top level in JSON.
	*Content
}

// Encryption says how a file is encrypted, and for whom.
type Encryption struct {
	Scheme     string   `json:"scheme"` // age
	Recipients []string `json:"recipients"`
}

// Age is the scheme of Encryption.
const Age = "age"

// Plain is length and sha256 of the decompressed snapshot.
type Plain struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Source says where a snapshot came from.
type Source struct {
	Context   string `json:"context,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	Layout    string `json:"layout,omitempty"`
	Member    string `json:"member,omitempty"`
	Node      string `json:"node,omitempty"`
	Via       string `json:"via,omitempty"`
	Endpoint  string `json:"endpoint,omitempty"`
}

// Cluster identifies whose snapshot it is. The ids change with every restore; KubeSystemUID, the UID of the
// kube-system namespace, does not.
type Cluster struct {
	ClusterID         string `json:"clusterID,omitempty"`
	MemberID          string `json:"memberID,omitempty"`
	EtcdVersion       string `json:"etcdVersion,omitempty"`
	StorageVersion    string `json:"storageVersion,omitempty"`
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
	KubeSystemUID     string `json:"kubeSystemUID,omitempty"`
}

// Content is what reading the whole database found.
type Content struct {
	Revision        int64 `json:"revision"`
	CompactRevision int64 `json:"compactRevision"`
	// TotalKeys is the number of revisions in the key bucket, deletions included. (What `etcdutl snapshot status` of
	// etcd 3.5 calls totalKey is a few more: it also counts members and metadata.)
	TotalKeys int64 `json:"totalKeys"`
	// LiveKeys is the number of keys that exist: totalKey of `etcdutl snapshot status` from etcd 3.6 on.
	LiveKeys int64 `json:"liveKeys"`
	// Hash is what `etcdutl snapshot status` calls hash.
	Hash uint32 `json:"hash"`
	// DBSize is the length of the database without the trailer.
	DBSize int64 `json:"dbSize"`
}

// ErrInvalidSidecar says that a file beside the snapshot is not a sidecar that can be understood.
var ErrInvalidSidecar = errors.New("not a valid snapshot sidecar")

// SidecarPath is where the sidecar of a snapshot file is.
func SidecarPath(path string) string { return path + ".json" }

// PendingSidecar is a sidecar that is complete on disk but has no name yet, so that it can get it right after the
// snapshot got its own.
type PendingSidecar struct{ part, target string }

// PrepareSidecar writes the sidecar of the snapshot at path under another name, readable by its owner only. APIVersion
// and Kind are filled in. Commit or Abort ends it.
func PrepareSidecar(path string, s Sidecar) (_ *PendingSidecar, err error) {
	data, err := s.Encode()
	if err != nil {
		return nil, err
	}
	target := SidecarPath(path)
	// CreateTemp makes the file with mode 0600.
	f, err := os.CreateTemp(filepath.Dir(target), "."+filepath.Base(target)+".*.part")
	if err != nil {
		return nil, fmt.Errorf("write sidecar: %w", err)
	}
	if _, err = f.Write(append(data, '\n')); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return nil, fmt.Errorf("write sidecar: %w", err)
	}
	return &PendingSidecar{part: f.Name(), target: target}, nil
}

// Encode is the sidecar as it is stored. APIVersion and Kind are filled in.
func (s Sidecar) Encode() ([]byte, error) {
	s.APIVersion, s.Kind = APIVersion, Kind
	s.Created = s.Created.UTC().Truncate(time.Second)
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("write sidecar: %w", err)
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write sidecar: %w", err)
	}
	if len(data) >= MaxSidecar {
		return nil, fmt.Errorf("write sidecar: it would have %d bytes, and nobody reads more than %d", len(data), MaxSidecar)
	}
	return data, nil
}

// Commit gives the sidecar its name, atomically. An existing one is replaced.
func (p *PendingSidecar) Commit() error {
	if err := os.Rename(p.part, p.target); err != nil {
		_ = os.Remove(p.part)
		return fmt.Errorf("write sidecar: %w", err)
	}
	syncFolder(filepath.Dir(p.target))
	return nil
}

// Abort removes what was written.
func (p *PendingSidecar) Abort() { _ = os.Remove(p.part) }

// WriteSidecar writes the sidecar of the snapshot at path in one go: see PrepareSidecar.
func WriteSidecar(path string, s Sidecar) error {
	p, err := PrepareSidecar(path, s)
	if err != nil {
		return err
	}
	return p.Commit()
}

// syncFolder makes a rename survive a power cut where the system can (Windows cannot sync a folder); the file's own
// content is synced already, so an error changes nothing that could be reported usefully.
func syncFolder(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		d.Close()
	}
}

// ReadSidecar reads the sidecar of the snapshot at path. The error is fs.ErrNotExist when there is none, and
// ErrInvalidSidecar when it is something else. Unknown fields are ignored: a newer version may have written it.
func ReadSidecar(path string) (*Sidecar, error) {
	target := SidecarPath(path)
	// Looked at before it is opened: opening a pipe would block for ever.
	info, err := os.Stat(target)
	if err != nil {
		return nil, fmt.Errorf("read sidecar: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read sidecar %s: %w: not a regular file", target, ErrInvalidSidecar)
	}
	f, err := os.Open(target)
	if err != nil {
		return nil, fmt.Errorf("read sidecar: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSidecar+1))
	if err != nil {
		return nil, fmt.Errorf("read sidecar: %w", err)
	}
	return DecodeSidecar(target, data)
}

// DecodeSidecar reads what a sidecar holds; name is for the error, which is ErrInvalidSidecar where it is something else.
func DecodeSidecar(name string, data []byte) (*Sidecar, error) {
	if len(data) > MaxSidecar {
		return nil, fmt.Errorf("read sidecar %s: %w: larger than %d bytes", name, ErrInvalidSidecar, MaxSidecar)
	}
	var s Sidecar
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("read sidecar %s: %w: %w", name, ErrInvalidSidecar, err)
	}
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("read sidecar %s: %w", name, err)
	}
	return &s, nil
}

func (s *Sidecar) validate() error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrInvalidSidecar, fmt.Sprintf(format, args...))
	}
	if s.APIVersion != APIVersion || s.Kind != Kind {
		return fail("apiVersion %q, kind %q; want %q, %q", s.APIVersion, s.Kind, APIVersion, Kind)
	}
	if s.Size <= 0 || s.Plain.Size <= 0 {
		return fail("size %d, plain size %d", s.Size, s.Plain.Size)
	}
	sums := []string{s.SHA256, s.Plain.SHA256}
	if s.Keys != nil {
		sums = append(sums, s.Keys.SHA256)
	}
	for _, sum := range sums {
		if b, err := hex.DecodeString(sum); err != nil || len(b) != TrailerSize {
			return fail("sha256 %q", sum)
		}
	}
	if s.Compression != None && s.Compression != Zstd {
		return fail("compression %q", s.Compression)
	}
	if s.Encryption != nil && s.Encryption.Scheme != Age {
		return fail("encryption %q", s.Encryption.Scheme)
	}
	switch s.Proof {
	case ProofStream, ProofFull, ProofUnproven:
	default:
		return fail("proof %q", s.Proof)
	}
	if s.Proof == ProofFull && s.Content == nil {
		return fail("full proof without content")
	}
	return nil
}
