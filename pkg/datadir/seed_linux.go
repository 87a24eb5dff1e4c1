package datadir

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Seed makes a member folder that holds nothing but who the member is: a log whose head names the cluster and the
// member, as etcd writes it when it joins. An etcd that finds a log asks nobody and ignores all --initial-* flags; it waits
// for its leader, which finds it by its peer URLs and sends it everything.
//
// The log is written here, and not by an etcd that joins for a moment from another pod: the other members may refuse
// such a one (they compare a peer's address with the names in its certificate), and what it acknowledged to its leader
// could never be taken back. Nothing has been acknowledged in the name of a member that was only seeded.
func Seed(ctx context.Context, r SeedRequest, progress func(step string)) (*Built, error) {
	b, err := here.seed(ctx, r, progress)
	return b, noSpace(err)
}

func (h host) seed(ctx context.Context, r SeedRequest, progress func(string)) (_ *Built, err error) {
	head, err := r.head()
	if err != nil {
		return nil, err
	}
	if err := makeDataDir(r.DataDir); err != nil {
		return nil, err
	}
	end, err := h.begin(ctx, r.Place, true)
	if err != nil {
		return nil, err
	}
	defer end()
	if err := makeFolder(r.op(), ownerOf(r.DataDir)); err != nil {
		return nil, err
	}
	done, err := r.record()
	if err != nil {
		return nil, err
	}
	if done != nil {
		if done.Result.ClusterID != r.ClusterID || done.Result.MemberID != r.MemberID {
			return nil, fmt.Errorf("%w: operation %s has to be discarded first", ErrDifferent, r.Op)
		}
		return &done.Result, nil
	}
	if err := removeTree(r.op(buildingName)); err != nil {
		return nil, err
	}
	progress("seed")
	b, err := r.make(ctx, head)
	if err != nil {
		return nil, errors.Join(err, removeTree(r.op(buildingName)))
	}
	return b, nil
}

// make builds in data.part and gives it its name once all of it is on the disk.
func (r SeedRequest) make(ctx context.Context, head []byte) (*Built, error) {
	start := time.Now()
	b := &Built{Tool: "seed"}
	member := r.op(buildingName, "member")
	for _, dir := range []string{r.op(buildingName), member, filepath.Join(member, "snap"), filepath.Join(member, "wal")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
	}
	if err := writeLog(filepath.Join(member, "wal", firstLog), head); err != nil {
		return nil, err
	}
	found, err := readIDs(filepath.Join(member, "wal"))
	if err != nil {
		return nil, err
	}
	b.ClusterID, b.MemberID = found.cluster, found.member
	if b.Inode, err = inodeOf(member); err != nil {
		return nil, err
	}
	o := ownerOf(r.DataDir)
	kept, err := o.settle(ctx, r.op(buildingName))
	if err != nil {
		return nil, err
	}
	if kept > 0 {
		b.Notes = append(b.Notes, fmt.Sprintf("the data belongs to the user that made it, not to %d:%d as the old data does: only root can change that", o.uid, o.gid))
	}
	if b.Size, err = sizeOnDisk(ctx, member); err != nil {
		return nil, err
	}
	b.Seconds = time.Since(start).Seconds()
	build := BuildRequest{Place: r.Place}
	if err := build.write(record{Request: build, Result: *b}, o); err != nil {
		return nil, err
	}
	if err := os.Rename(r.op(buildingName), r.op(dataName)); err != nil {
		return nil, err
	}
	return b, syncFolder(r.op())
}

const (
	// firstLog is the name of the first file of a log: its number and the index that it begins with.
	firstLog = "0000000000000000-0000000000000000.wal"
	// logSize is what etcd allocates for each file. It fills the rest with zeros, which a reader takes for the end.
	logSize = 64_000_000

	walChecksum = 4
	walSnapshot = 5
)

func writeLog(path string, head []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(head)
	if err == nil {
		err = f.Truncate(logSize)
	}
	return errors.Join(err, f.Close())
}

// head is how etcd begins a log: a checksum of nothing, who the member is, and that its state is empty.
func (r SeedRequest) head() ([]byte, error) {
	if err := r.Place.check(); err != nil {
		return nil, err
	}
	var ids [2]uint64
	for i, s := range []string{r.MemberID, r.ClusterID} {
		id, err := strconv.ParseUint(s, 16, 64)
		if err != nil || id == 0 || s != hexID(id) {
			return nil, fmt.Errorf("%w: %q is no id", ErrInvalid, s)
		}
		ids[i] = id
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	head := appendRecord(nil, walChecksum, 0, nil)
	for _, record := range []struct {
		kind uint64
		data []byte
	}{{walMetadata, numbers(ids[0], ids[1])}, {walSnapshot, numbers(0, 0)}} {
		_, _ = sum.Write(record.data) // the sum of each record goes on from the one before
		head = appendRecord(head, record.kind, sum.Sum32(), record.data)
	}
	return head, nil
}

// numbers is a protobuf message of two of them.
func numbers(first, second uint64) []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), first)
	return protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), second)
}

// appendRecord is walRecord's opposite.
func appendRecord(to []byte, kind uint64, sum uint32, data []byte) []byte {
	b := numbers(kind, uint64(sum))
	if data != nil {
		b = protowire.AppendBytes(protowire.AppendTag(b, 3, protowire.BytesType), data)
	}
	size := uint64(len(b))
	if padding := (8 - size%8) % 8; padding > 0 {
		size |= (0x80 | padding) << 56
		b = append(b, make([]byte, padding)...)
	}
	return append(binary.LittleEndian.AppendUint64(to, size), b...)
}

// joined refuses to take away the data of a member that has joined: what it has acknowledged to its leader is in there
// only. It is asked again with the database locked, so that no etcd can join in between.
func (r ExchangeRequest) joined() error {
	if r.Unless == "" {
		return nil
	}
	if found, err := readIDs(r.log()); err == nil && found.member == r.Unless {
		return fmt.Errorf("exchange: %w as %s", ErrJoined, r.Unless)
	}
	return nil
}
