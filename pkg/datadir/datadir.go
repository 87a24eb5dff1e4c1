// Package datadir is what can be done to the data directory of one etcd member, on the member's own volume: look at it,
// build another one beside it with the etcdutl of the member's image, and exchange the two.
//
// The unit of the exchange is the folder `member`, because the data directory itself may be where a volume is mounted,
// and such a folder can be neither renamed nor have a sibling on its own file system. Everything of ours is in
// `.kubectl-etcd/OPERATION` inside the data directory:
//
//	snapshot.db    what was uploaded; removed once the data is built from it
//	data.part/     a build that has not ended
//	journal.json   the operation's journal, where the etcd that has it is what is exchanged; fate.json what an agent decided alone
//	data/          a build that has: its `member`, and after the exchange the old one; build.json tells how it was built
//
// Every function can be repeated: what is done already is not done again, and what was cut short is put right first.
// A `member` folder that etcd may need is never deleted.
package datadir

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"time"
)

// What is refused, and why. All else is an error of the operating system or of the context.
var (
	// ErrLocked: etcd, or something else, has the database open. The lock on it is the only proof of the contrary.
	ErrLocked = errors.New("database is in use")
	// ErrNoSpace: the volume is too small for what was asked; nothing was left on it that was not there before.
	ErrNoSpace = errors.New("not enough space on the volume")
	// ErrTooOld: the image's own tool cannot do what was asked.
	ErrTooOld = errors.New("etcd's tool in this image is too old")
	// ErrInode: neither side is the folder that was asked for, so someone else has been at work.
	ErrInode = errors.New("not the expected folder")
	// ErrDifferent: the operation has built its data already, from other parameters.
	ErrDifferent = errors.New("data was built with other parameters")
	// ErrBusy: another process works on this data directory: perhaps one whose client has just gone.
	ErrBusy = errors.New("another operation is at work on this data directory")
	// ErrBadSnapshot: etcd's tool refuses the snapshot.
	ErrBadSnapshot = errors.New("snapshot cannot be restored")
	// ErrSeparateLog: the member has its log outside of its data directory, and the two cannot be exchanged at once.
	ErrSeparateLog = errors.New("members with a separate --wal-dir are not supported")
	// ErrInvalid: the request makes no sense.
	ErrInvalid = errors.New("invalid request")
)

// Place is a data directory and the operation that works on it.
type Place struct {
	DataDir string `json:"dataDir"`
	// WALDir is where the member has its log, if that is another folder than DataDir/member/wal.
	WALDir string `json:"walDir,omitempty"`
	// Op is the operation's id, a name for a folder; Inspect needs none.
	Op string `json:"op,omitempty"`
}

// Kept is the data directory in which an operation keeps what it has set aside; only Inspect and a raw copy take it.
func (p Place) Kept() Place {
	return Place{DataDir: path.Join(p.DataDir, oursName, p.Op, dataName)}
}

// The names of what is ours inside a data directory.
const (
	oursName = ".kubectl-etcd"
	dataName = "data"
)

// overhead is what a build and the etcd on it need beyond the database: two files of the log, which etcd allocates in
// advance (64 MiB each), and room in which the database grows (16 MiB at a time).
const overhead = 160 << 20

// toBuild is the room that data built of a snapshot needs, beside the snapshot itself.
func toBuild(snapshot int64) int64 { return snapshot + snapshot/10 + overhead }

// Room is how many bytes have to be free on a volume for a snapshot of that size and for the data built of it.
func Room(snapshot int64) int64 { return snapshot + toBuild(snapshot) }

// State is what Inspect finds. Sizes are bytes. Inodes are strings in JSON: they can be above 2^53.
type State struct {
	// Exists tells whether there is a folder `member`. Inode to TreeSize are its; where there is none, the owner is that
	// of the data directory or of the nearest folder above it.
	Exists bool        `json:"exists"`
	Inode  uint64      `json:"inode,string"`
	UID    uint32      `json:"uid"`
	GID    uint32      `json:"gid"`
	Mode   fs.FileMode `json:"mode"`
	// Locked tells that a live etcd holds the database.
	Locked   bool  `json:"locked"`
	DBSize   int64 `json:"dbSize"`
	TreeSize int64 `json:"treeSize"` // what the folder takes on the disk

	// Free is what this process may still use.
	Free   int64  `json:"free"`
	Total  int64  `json:"total"`
	FSType string `json:"fsType"`
	// ReadOnly is the file system's; Writable tells whether this process may write into the data directory.
	ReadOnly bool `json:"readOnly"`
	Writable bool `json:"writable"`

	// RevisionKnown tells that the database could be read: it is there, whole, and not locked. After a crash of etcd the
	// last moments may be in its log only.
	RevisionKnown   bool   `json:"revisionKnown"`
	Revision        int64  `json:"revision,omitempty"`
	CompactRevision int64  `json:"compactRevision,omitempty"`
	ConsistentIndex uint64 `json:"consistentIndex,omitempty"`
	// ClusterID and MemberID are hexadecimal, as etcdctl prints them, and known from the log also while etcd runs.
	ClusterID string `json:"clusterID,omitempty"`
	MemberID  string `json:"memberID,omitempty"`
	// Elected tells that the log knows of an election. One that etcdutl has made, and nobody has voted in since, knows of
	// none: then that cluster has never had this member's vote for a leader. A log that cannot be read counts as one that does.
	Elected bool `json:"elected,omitempty"`

	Operations []Operation `json:"operations,omitempty"`
	// Notes are what could not be read, and why.
	Notes []string `json:"notes,omitempty"`
}

// Operation is what lies in a data directory for one operation.
type Operation struct {
	Op   string `json:"op"`
	Size int64  `json:"size"` // on the disk
	// HasSnapshot: the upload is there, whole. HasPart: an upload or a build was cut short.
	HasSnapshot bool `json:"hasSnapshot,omitempty"`
	HasPart     bool `json:"hasPart,omitempty"`
	// Built is how and with what result the data was built. When State.Inode is Built.Inode, it has been exchanged.
	Built *Built `json:"built,omitempty"`
	// Inode is that of data/member: what an exchange brings; 0 when there is none.
	Inode uint64 `json:"inode,string"`
	// HalfExchanged: an exchange by two renames was cut short; any Exchange puts it right.
	HalfExchanged bool `json:"halfExchanged,omitempty"`
	// Journal is what Note has written; Fate what an agent has decided that was left alone.
	Journal json.RawMessage `json:"journal,omitempty"`
	Fate    *Fate           `json:"fate,omitempty"`
	// Discarded: it is being deleted, or that was cut short; Discard ends it.
	Discarded bool `json:"discarded,omitempty"`
}

// Fate is what became of a member's new data without anybody's word.
type Fate struct {
	// Stays: the member has voted on the new data, or taken something from a leader. Otherwise the old data was exchanged in again.
	Stays bool      `json:"stays"`
	At    time.Time `json:"at"` // by the node's clock
}

// NoteRequest asks to keep a journal beside the data.
type NoteRequest struct {
	Place
	Journal json.RawMessage `json:"journal"`
}

// Noted says that it is there.
type Noted struct{}

// maxJournal is more than any is, bytes.
const maxJournal = 1 << 20

// Prepared is where an upload goes, and what is there already.
type Prepared struct {
	Path string `json:"path"`
	// Size is that of the complete upload that is there already; -1 when there is none.
	Size int64 `json:"size"`
	// Built tells that the operation needs no upload any more.
	Built *Built `json:"built,omitempty"`
	Free  int64  `json:"free"`
}

// BuildRequest says what data is built of the uploaded snapshot.
type BuildRequest struct {
	Place
	Name           string   `json:"name"`
	InitialCluster string   `json:"initialCluster"`
	Token          string   `json:"token"`
	PeerURLs       []string `json:"peerURLs"`
	// Bump is added to the revision, and the result marked as compacted; 0 leaves the revision as it is.
	Bump int64 `json:"bump"`
	// Raw accepts a database without etcd's sum at its end.
	Raw bool `json:"raw,omitempty"`
}

// Built is what came of a BuildRequest.
type Built struct {
	Inode           uint64   `json:"inode,string"` // of the member folder that was built
	ClusterID       string   `json:"clusterID"`
	MemberID        string   `json:"memberID"`
	Revision        int64    `json:"revision"`
	CompactRevision int64    `json:"compactRevision"`
	Size            int64    `json:"size"` // on the disk
	Seconds         float64  `json:"seconds"`
	Tool            string   `json:"tool"` // etcdutl, or etcdctl before etcd 3.5
	ToolVersion     string   `json:"toolVersion"`
	Notes           []string `json:"notes,omitempty"`
}

// ExchangeRequest says what `member` shall be. The same with the old inode undoes it.
type ExchangeRequest struct {
	Place
	// Inode is that of the folder `member` afterwards. 0: there shall be none, which undoes an exchange on a volume that
	// had none.
	Inode uint64 `json:"inode,string"`
	// Exists tells whether there was a member folder before the operation.
	Exists bool `json:"exists"`
	// Unless is a member's id, hexadecimal: when the folder that is there is that member's, it stays, with ErrJoined.
	Unless string `json:"unless,omitempty"`
	// Wait is for how many seconds to wait for the lock of a database that is being closed.
	Wait int `json:"wait,omitempty"`
}

// Exchanged is how the folders are now.
type Exchanged struct {
	Inode uint64 `json:"inode,string"` // of `member`; 0: there is none
	Other uint64 `json:"other,string"` // of data/member; 0: there is none
	// Exchanged is false when it was so already.
	Exchanged bool `json:"exchanged"`
	// Atomic is false when the file system cannot exchange two folders at once, and two renames were needed.
	Atomic bool `json:"atomic"`
}

// DropRequest asks to delete a member's data: the one thing here that cannot be undone.
type DropRequest struct {
	Place
	// Inode is that of the folder `member` that is meant; another one is not touched.
	Inode uint64 `json:"inode,string"`
	// Wait is as in ExchangeRequest.
	Wait int `json:"wait,omitempty"`
}

// Discarded is what Discard, or Drop, gave back.
type Discarded struct {
	Freed int64 `json:"freed"`
}
