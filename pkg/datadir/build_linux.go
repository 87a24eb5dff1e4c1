package datadir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// buildTimeout bounds etcd's tool. It copies a database that has been proven, so that only a dead disk comes near.
const buildTimeout = 30 * time.Minute

// Build makes a member folder of the uploaded snapshot, with the etcdutl that it finds on the PATH, and then removes the
// snapshot. What fails leaves nothing but the snapshot; what is killed leaves data.part, which the next Build or Prepare
// removes. progress is told what is being done.
func Build(ctx context.Context, r BuildRequest, progress func(step string)) (*Built, error) {
	b, err := here.build(ctx, r, progress)
	return b, noSpace(err)
}

func (r BuildRequest) check() error {
	if err := r.Place.check(); err != nil {
		return err
	}
	switch {
	case r.Name == "" || r.InitialCluster == "" || r.Token == "" || len(r.PeerURLs) == 0:
		return fmt.Errorf("%w: a build needs name, initial cluster, token and peer URLs", ErrInvalid)
	case r.Bump < 0:
		return fmt.Errorf("%w: a bump of %d", ErrInvalid, r.Bump)
	}
	return nil
}

func (h host) build(ctx context.Context, r BuildRequest, progress func(string)) (*Built, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	end, err := h.begin(ctx, r.Place, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("build: nothing has been uploaded: %w", err)
	}
	if err != nil {
		return nil, err
	}
	defer end()
	done, err := r.record()
	if err != nil {
		return nil, err
	}
	if done != nil {
		if !done.Request.same(r) {
			return nil, fmt.Errorf("%w: operation %s has to be discarded first", ErrDifferent, r.Op)
		}
		return &done.Result, r.dropSnapshot()
	}
	if err := removeTree(r.op(buildingName)); err != nil {
		return nil, err
	}
	info, err := os.Stat(r.op(snapshotName))
	if err != nil {
		return nil, fmt.Errorf("build: %w", err)
	}
	tool, err := findTool(ctx, r.Bump)
	if err != nil {
		return nil, err
	}
	free, _, err := h.free(r.op())
	if err != nil {
		return nil, err
	}
	if need := toBuild(info.Size()); free < need {
		return nil, fmt.Errorf("%w: the data built of a snapshot of %s needs %s (%d bytes), %s (%d bytes) are free",
			ErrNoSpace, mib(info.Size()), mib(need), need, mib(free), free)
	}
	built, err := r.make(ctx, tool, progress)
	if err != nil {
		return nil, h.undoBuild(r, err, free)
	}
	return built, r.dropSnapshot()
}

// undoBuild removes what was built and says so; before is how much was free.
func (h host) undoBuild(r BuildRequest, err error, before int64) error {
	full := errors.Is(noSpace(err), ErrNoSpace) || strings.Contains(err.Error(), "no space left on device") ||
		strings.Contains(err.Error(), "disk quota exceeded")
	if rerr := removeTree(r.op(buildingName)); rerr != nil {
		return errors.Join(err, rerr)
	}
	if !full {
		return err
	}
	after, _, _ := h.free(r.op())
	return fmt.Errorf("%w: it became full while the data was built (%s were free before); what was built has been removed, %s are free now: %w",
		ErrNoSpace, mib(before), mib(after), err)
}

// same tells whether two requests build the same data.
func (r BuildRequest) same(o BuildRequest) bool {
	peers := slices.Equal(r.PeerURLs, o.PeerURLs)
	return peers && r.Name == o.Name && r.InitialCluster == o.InitialCluster && r.Token == o.Token && r.Bump == o.Bump && r.Raw == o.Raw
}

func (r BuildRequest) dropSnapshot() error {
	if err := os.Remove(r.op(snapshotName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncFolder(r.op())
}

// make builds in data.part and gives it its name once all of it is on the disk.
func (r BuildRequest) make(ctx context.Context, tool rehearse.Tool, progress func(string)) (*Built, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, buildTimeout, fmt.Errorf("%s has not ended after %v", filepath.Base(tool.Path), buildTimeout))
	defer cancel()
	progress("restore")
	if err := tool.Run(ctx, r.op(), r.arguments()...); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %w", ErrBadSnapshot, err)
	}
	b := &Built{Tool: filepath.Base(tool.Path), ToolVersion: tool.Version}
	member := r.op(buildingName, "member")
	progress("check")
	if err := b.look(ctx, member); err != nil {
		return nil, err
	}
	progress("sync")
	o := ownerOf(r.DataDir)
	kept, err := o.settle(ctx, r.op(buildingName))
	if err != nil {
		return nil, err
	}
	if kept > 0 {
		b.Notes = append(b.Notes, fmt.Sprintf("the data belongs to the user that built it, not to %d:%d as the old data does: only root can change that", o.uid, o.gid))
	}
	if b.Size, err = sizeOnDisk(ctx, member); err != nil {
		return nil, err
	}
	b.Seconds = time.Since(start).Seconds()
	if err := r.write(record{Request: r, Result: *b}, o); err != nil {
		return nil, err
	}
	if err := os.Rename(r.op(buildingName), r.op(dataName)); err != nil {
		return nil, err
	}
	return b, syncFolder(r.op())
}

func (r BuildRequest) arguments() []string {
	args := []string{"snapshot", "restore", snapshotName, "--name", r.Name, "--data-dir", buildingName,
		"--initial-cluster", r.InitialCluster, "--initial-advertise-peer-urls", strings.Join(r.PeerURLs, ","),
		"--initial-cluster-token", r.Token}
	if r.Raw {
		args = append(args, "--skip-hash-check")
	}
	if r.Bump > 0 {
		args = append(args, "--bump-revision", strconv.FormatInt(r.Bump, 10), "--mark-compacted")
	}
	return args
}

// look reads from the data itself what has been built.
func (b *Built) look(ctx context.Context, member string) (err error) {
	if b.Inode, err = inodeOf(member); err != nil {
		return err
	}
	found, err := readIDs(filepath.Join(member, "wal"))
	if err != nil {
		return err
	}
	b.ClusterID, b.MemberID = found.cluster, found.member
	f, err := os.Open(database(member))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	peeked, err := verify.Peek(ctx, f, info.Size())
	if err != nil {
		return fmt.Errorf("read the database that was built: %w", err)
	}
	b.Revision, b.CompactRevision = peeked.Revision, peeked.CompactRevision
	return nil
}

// write puts the record beside the member folder, on the disk.
func (r BuildRequest) write(rec record, o owner) error {
	path := r.op(buildingName, recordName)
	b, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if _, err := o.give(path, info); err != nil {
		return err
	}
	return syncFolder(r.op(buildingName))
}

// findTool finds what restores in this image: etcdutl, or in images before etcd 3.5 etcdctl.
func findTool(ctx context.Context, bump int64) (rehearse.Tool, error) {
	tool, err := rehearse.FindTool(ctx, "", "etcdutl", "version")
	if err != nil {
		var other error
		if tool, other = rehearse.FindTool(ctx, "", "etcdctl", "version"); other != nil || !before(tool.Version, 3, 5, 0) {
			return rehearse.Tool{}, err
		}
	}
	// 3.5.10 was the first to have --bump-revision.
	if bump > 0 && before(tool.Version, 3, 5, 10) {
		return rehearse.Tool{}, fmt.Errorf("%w: %s %s cannot raise the revision, 3.5.10 can; without that, API servers and controllers keep objects that are no longer there",
			ErrTooOld, filepath.Base(tool.Path), tool.Version)
	}
	return tool, nil
}

// before compares a version with another one; what is no version is before all others.
func before(version string, than ...int) bool {
	version, _, _ = strings.Cut(version, "-")
	parts := strings.Split(version, ".")
	for i, n := range than {
		if i >= len(parts) {
			return true
		}
		if v, err := strconv.Atoi(parts[i]); err != nil || v != n {
			return err != nil || v < n
		}
	}
	return false
}
