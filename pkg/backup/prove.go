package backup

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// describe begins the sidecar with what the transfer told.
func (r *run) describe(way reach.Way, reply *agentapi.SnapshotReply, out *output, s *sink) {
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
	f := out.kept()
	if f == nil || r.cfg.Prove == ProveStream {
		r.warnEncrypted(nil)
		return nil
	}
	start := r.Now()
	r.Report.Step("proving: reading every page and key")
	// Written pages go to the disk while they are read: the two together cost little more than either.
	synced := make(chan error, 1)
	go func() { synced <- errors.Join(out.reread(), out.sync()) }()
	report, err := verify.DB(ctx, f, verify.Options{Raw: r.cfg.Raw, TempDir: filepath.Dir(f.Name())})
	serr := <-synced
	if err != nil {
		return fmt.Errorf("prove snapshot: %w", err)
	}
	if serr != nil {
		return fmt.Errorf("prove snapshot: %w", serr)
	}
	side := r.result.Snapshot
	side.Content = &report.Content
	if report.LiveKeys == 0 {
		r.warn("this etcd holds no keys: is it the right one?")
	}
	side.Cluster.KubeSystemUID = report.KubeSystemUID
	r.warnEncrypted(report.Encrypted)
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

// encrypted names the kinds of which the API servers encrypt some.
func encrypted(all []verify.Encryption) string {
	var kinds []string
	for _, e := range all {
		if kind := fmt.Sprintf("%s (%s, key %s)", cmp.Or(e.Kind, e.Prefix), e.Provider, e.KeyName); !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return strings.Join(kinds, ", ")
}

// commit gives file and sidecar their names, one right after the other, when
// both are on disk: a disk that is too full for the one must not leave the
// other, and a kill in between has next to no time to hit.
func (r *run) commit(ctx context.Context, out *output) error {
	r.identify(ctx)
	if out.parcel != nil {
		return r.deliver(ctx, out.parcel)
	}
	if out.file == nil {
		return nil
	}
	// The names were free when the backup began, which may be hours ago.
	if err := cmp.Or(store.Check(out.name(), r.cfg.Force), sidecarFree(out.name(), r.cfg.Force)); err != nil {
		return err
	}
	sidecar, err := snapshot.PrepareSidecar(out.name(), *r.result.Snapshot)
	if err != nil {
		return err
	}
	if err := out.file.Commit(); err != nil {
		sidecar.Abort()
		return err
	}
	if err := sidecar.Commit(); err != nil {
		return fmt.Errorf("%w; the snapshot %s itself is complete and proven", err, out.name())
	}
	r.result.File, r.result.Sidecar = out.name(), snapshot.SidecarPath(out.name())
	return nil
}

// deliver lets the object appear, and then its sidecar: one without that is not complete.
func (r *run) deliver(ctx context.Context, p *parcel) error {
	defer p.close()
	side := *r.result.Snapshot
	if left := p.left(); left > 0 {
		r.Report.Step("sending the rest, %s", size(left))
	}
	length, sum, err := p.finish(side.SHA256)
	if err != nil {
		return err
	}
	side.Size, side.SHA256, side.Scheduled = length, sum, r.cfg.Scheduled
	if r.cfg.Encrypt.Any() {
		side.Encryption = &snapshot.Encryption{Scheme: snapshot.Age, Recipients: r.cfg.Encrypt.Names}
	}
	if r.keys != nil {
		side.Keys = &r.keys.side
	}
	r.result.Snapshot = &side
	if p.url == store.Stdout {
		return nil
	}
	public := side
	if side.Encryption != nil { // who may read the store may not know this
		public.Source.Member, public.Source.Node, public.Source.Endpoint = "", "", ""
	}
	data, err := public.Encode()
	if err != nil {
		return err
	}
	info, err := p.w.Commit(ctx)
	if err != nil {
		return err
	}
	if info.Size != length {
		return fmt.Errorf("write %s: %d bytes were sent, and it has %d", p.url, length, info.Size)
	}
	name := snapshot.SidecarPath(r.name)
	if err = r.putKeys(ctx); err == nil {
		_, err = store.Put(ctx, r.cfg.Store, name, data, r.cfg.Force)
	}
	if err != nil {
		return fmt.Errorf("%w; the snapshot %s itself is complete and proven", err, p.url)
	}
	r.result.File, r.result.Sidecar = p.url, r.cfg.Store.URL(name)
	return nil
}

// identify adds what the cluster says of itself, where this etcd is its own and
// the user may ask. Neither a hosted control plane nor some other etcd in
// kube-system is what this API server speaks of.
func (r *run) identify(ctx context.Context) {
	if r.Clients == nil || !r.ownPlane() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	side := r.result.Snapshot
	if b, err := r.Clients.Core.RESTClient().Get().AbsPath("/version").DoRaw(ctx); err == nil {
		var v version.Info
		if json.Unmarshal(b, &v) == nil {
			side.Cluster.KubernetesVersion = v.GitVersion
		}
	}
	// What the snapshot itself says goes first; encrypted namespaces say nothing.
	if side.Cluster.KubeSystemUID == "" {
		if ns, err := r.Clients.Core.Namespaces().Get(ctx, "kube-system", metav1.GetOptions{}); err == nil {
			side.Cluster.KubeSystemUID = string(ns.UID)
		}
	}
}

// ownPlane: it is in a system namespace and an API server there keeps all that it has in it.
func (r *run) ownPlane() bool {
	if !slices.Contains(controlplane.SystemNamespaces, r.cfg.Plane.Namespace) {
		return false
	}
	return slices.ContainsFunc(r.cfg.Plane.APIServers, func(a controlplane.APIServer) bool {
		return len(a.For) == 0 && a.Namespace == r.cfg.Plane.Namespace
	})
}
