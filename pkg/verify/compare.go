package verify

import (
	"strconv"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// compare compares every field of the sidecar that the file can answer. The hash of the stored file comes first, and was
// compared already when this is called.
func compare(s *snapshot.Sidecar, r *Report) error {
	var firstErr error
	check := func(field, sidecar, file string) {
		if firstErr == nil && sidecar != file {
			firstErr = &SidecarError{Field: field, Sidecar: sidecar, File: file}
		}
	}
	number := func(field string, sidecar, file int64) { check(field, formatInt(sidecar), formatInt(file)) }
	// What the writer of the sidecar did not know is empty there.
	known := func(field, sidecar, file string) {
		if sidecar != "" {
			check(field, sidecar, file)
		}
	}

	check("sha256", s.SHA256, r.SHA256)
	number("size", s.Size, r.Size)
	check("compression", strconv.Quote(string(s.Compression)), strconv.Quote(string(r.Compression)))
	check("plain.sha256", s.Plain.SHA256, r.Plain.SHA256)
	number("plain.size", s.Plain.Size, r.Plain.Size)
	check("raw", strconv.FormatBool(s.Raw), strconv.FormatBool(r.Raw))
	if c := s.Content; c != nil {
		number("revision", c.Revision, r.Revision)
		number("compactRevision", c.CompactRevision, r.CompactRevision)
		number("totalKeys", c.TotalKeys, r.TotalKeys)
		number("liveKeys", c.LiveKeys, r.LiveKeys)
		number("hash", int64(c.Hash), int64(r.Hash))
		number("dbSize", c.DBSize, r.DBSize)
	}
	// The snapshot was taken between the two questions. An empty database is at revision 1 without any entry.
	if s.RevisionBefore > 0 && max(r.Revision, 1) < s.RevisionBefore {
		check("revisionBefore", formatInt(s.RevisionBefore), formatInt(r.Revision))
	}
	if s.RevisionAfter > 0 && r.Revision > s.RevisionAfter {
		check("revisionAfter", formatInt(s.RevisionAfter), formatInt(r.Revision))
	}
	known("cluster.storageVersion", s.Cluster.StorageVersion, r.StorageVersion)
	if s.Cluster.KubeSystemUID != "" && r.KubeSystemUID != "" {
		check("cluster.kubeSystemUID", s.Cluster.KubeSystemUID, r.KubeSystemUID)
	}
	return firstErr
}
