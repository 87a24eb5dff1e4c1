package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agent"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// describe begins the sidecar with what the transfer told.
func (r *run) describe(way reach.Way, reply *agent.SnapshotReply, out *output, s *sink) {
	side := &snapshot.Sidecar{
		APIVersion: snapshot.APIVersion, Kind: snapshot.Kind,
		File: filepath.Base(out.name()), Raw: r.cfg.Raw, Proof: snapshot.ProofStream,
		Plain:   snapshot.Plain{Size: reply.Plain.Size, SHA256: reply.Plain.SHA256},
		Size:    reply.Plain.Size,
		SHA256:  reply.Plain.SHA256,
		Created: r.started.Truncate(time.Second), Tool: r.Tool,
		Source: snapshot.Source{Context: r.cfg.Context, Namespace: r.cfg.Plane.Namespace, Name: r.cfg.Plane.Name, Layout: string(r.cfg.Plane.Layout),
			Member: r.member.Name, Node: r.member.Node, Via: string(way), Endpoint: r.member.Endpoint},
	}
	if out.compressed {
		side.Compression, side.Size, side.SHA256 = snapshot.Zstd, s.wire, s.storedSHA256()
	}
	if r.cfg.Raw {
		side.Proof = snapshot.ProofUnproven
	}
	if b, a := reply.Before, reply.After; b != nil && a != nil {
		side.RevisionBefore, side.RevisionAfter = b.Revision, a.Revision
		side.Cluster = snapshot.Cluster{ClusterID: b.ClusterID.String(), MemberID: b.MemberID.String(), EtcdVersion: b.Version}
	}
	r.result.Snapshot = side
}

// prove reads the whole database, before it has its name.
func (r *run) prove(ctx context.Context, out *output) error {
	full := r.cfg.Prove == ProveFull || r.cfg.Prove == ProveAuto && out.file != nil
	if !full || out.file == nil {
		return nil
	}
	start := r.Now()
	r.Report.Step("proving: reading every page and key")
	// Written pages go to the disk while they are read: the two together cost little more than either.
	synced := make(chan error, 1)
	go func() { synced <- out.file.Sync() }()
	report, err := verify.DB(ctx, out.file.Name(), verify.Options{Raw: r.cfg.Raw, TempDir: filepath.Dir(out.name())})
	serr := <-synced
	if err != nil {
		return fmt.Errorf("prove snapshot: %w", err)
	}
	if serr != nil {
		return fmt.Errorf("write %s: %w", out.name(), serr)
	}
	side := r.result.Snapshot
	side.Content = &report.Content
	side.Cluster.KubeSystemUID = report.KubeSystemUID
	// Not what the member says of itself: after a start or an upgrade that runs ahead of what its database holds.
	side.Cluster.StorageVersion = report.StorageVersion
	if !r.cfg.Raw {
		side.Proof = snapshot.ProofFull
		// An etcd in which nothing was ever written is at revision 1, with no entry that says so.
		if max(side.Revision, 1) < side.RevisionBefore || side.Revision > side.RevisionAfter {
			return fmt.Errorf("prove snapshot: its revision %d is not between the member's before (%d) and after (%d) the snapshot", side.Revision, side.RevisionBefore, side.RevisionAfter)
		}
	}
	r.result.ProofSeconds = r.Now().Sub(start).Seconds()
	return nil
}

// commit puts the sidecar in place and then gives the file its name: a disk
// that is too full for the one must not leave the other without it. Where the
// name cannot be given, the sidecar is what it was before.
func (r *run) commit(ctx context.Context, out *output) error {
	r.identify(ctx)
	if out.file == nil {
		return nil
	}
	sidecar := snapshot.SidecarPath(out.name())
	old, oldErr := os.ReadFile(sidecar)
	if err := snapshot.WriteSidecar(out.name(), *r.result.Snapshot); err != nil {
		return err
	}
	if err := out.file.Commit(); err != nil {
		if oldErr == nil {
			return errors.Join(err, os.WriteFile(sidecar, old, 0o600))
		}
		return errors.Join(err, os.Remove(sidecar))
	}
	r.result.File, r.result.Sidecar = out.name(), sidecar
	return nil
}

// identify adds what the cluster says of itself, where this is its own etcd and
// where the user may ask; a hosted control plane's versions are not this API server's.
func (r *run) identify(ctx context.Context) {
	own := false
	for _, ns := range controlplane.SystemNamespaces {
		own = own || r.cfg.Plane.Namespace == ns
	}
	if !own || r.Clients == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c := &r.result.Snapshot.Cluster
	if b, err := r.Clients.Core.RESTClient().Get().AbsPath("/version").DoRaw(ctx); err == nil {
		var v version.Info
		if json.Unmarshal(b, &v) == nil {
			c.KubernetesVersion = v.GitVersion
		}
	}
	if c.KubeSystemUID == "" {
		if ns, err := r.Clients.Core.Namespaces().Get(ctx, "kube-system", metav1.GetOptions{}); err == nil {
			c.KubeSystemUID = string(ns.UID)
		}
	}
}
