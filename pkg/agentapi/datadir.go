package agentapi

import "github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"

// Names of the requests about a member's data directory, with their bodies and replies, which are of package datadir.
// The upload between prepare and build is a frame.RequestWrite to the path that prepare names.
const (
	RequestInspect  = "inspect"  // datadir.Place → datadir.State
	RequestPrepare  = "prepare"  // PrepareRequest → datadir.Prepared
	RequestUnpack   = "unpack"   // UnpackRequest → frame.WriteReply
	RequestBuild    = "build"    // datadir.BuildRequest → datadir.Built; progress: strings
	RequestExchange = "exchange" // datadir.ExchangeRequest → datadir.Exchanged
	RequestDiscard  = "discard"  // datadir.Place → datadir.Discarded
	RequestDrop     = "drop"     // datadir.DropRequest → datadir.Discarded
	// The orders of a hot exchange are uploaded, a line each, in its conversation; its progress is datadir.HotState.
	RequestHot  = "hot"  // datadir.HotRequest → datadir.Switched
	RequestThaw = "thaw" // datadir.Place → datadir.Thawed
	RequestNote = "note" // datadir.NoteRequest → datadir.Noted
	// Whether a hot exchange could begin.
	RequestHotCheck = "hot-check" // datadir.Place → datadir.HotState
)

// Codes of their refusals; frame.CodeNoSpace and frame.CodeBadRequest are others.
const (
	CodeLocked      = "locked"          // datadir.ErrLocked
	CodeTooOld      = "tool-too-old"    // datadir.ErrTooOld
	CodeNoTool      = "no-tool"         // rehearse.ErrNoBinary
	CodeInode       = "wrong-inode"     // datadir.ErrInode
	CodeDifferent   = "built-otherwise" // datadir.ErrDifferent
	CodeBusy        = "busy"            // datadir.ErrBusy
	CodeBadSnapshot = "bad-snapshot"    // datadir.ErrBadSnapshot
	CodeSeparateLog = "separate-log"    // datadir.ErrSeparateLog
	CodeJoined      = "joined"          // datadir.ErrJoined
	CodeNoExchange  = "no-exchange"     // datadir.ErrNoExchange
	CodeHolder      = "wrong-holder"    // datadir.ErrHolder
	CodeThawed      = "thawed"          // datadir.ErrThawed, for no other of these reasons
)

// UnpackRequest makes a plain file of an uploaded one that is a zstd stream, and removes that. Size and SHA256 (hex) are
// what the plain file has to have; no SHA256 means that etcd's tool will check it.
type UnpackRequest struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"`
}

// PrepareRequest asks for room for a snapshot.
type PrepareRequest struct {
	datadir.Place
	Size int64 `json:"size"` // bytes of the plain snapshot
}
