package datadir

import "errors"

var (
	// ErrNoExchange: the file system cannot exchange two folders at once, and while etcd is only frozen there must never
	// be a moment without data.
	ErrNoExchange = errors.New("file system cannot exchange two folders at once")
	// ErrHolder: what holds the database is not the one etcd that was looked for.
	ErrHolder = errors.New("the process that holds the database cannot be frozen")
	// ErrThawed: etcd was frozen, no order came in time or something failed, and it runs on as if nothing had been.
	ErrThawed = errors.New("etcd was left as it was")
)

// HotRequest asks to exchange a member's data under its etcd: it is frozen, the folders are exchanged, it is killed, and
// whatever runs it starts it on the new data.
type HotRequest struct {
	Place
	// Inode is that of the folder `member` afterwards. The same with the old inode undoes it.
	Inode uint64 `json:"inode,string"`
	// HoldMillis is how long etcd may stay frozen without an order: from 100 to 10000.
	HoldMillis int `json:"holdMillis"`
	// AloneMillis is for how long to wait, after the exchange, for a term in the new data's log: without one, old data and new are exchanged
	// back. 0 leaves them.
	AloneMillis int `json:"aloneMillis,omitempty"`
	// Peers are the URLs at which the new etcd serves its peers. With them the answer comes when it does: it has done its initial corruption
	// check by then, and another member that starts does not have to wait for it.
	Peers []string `json:"peers,omitempty"`
}

// Order is what a client says in the course of Hot. It goes on only when told, so that all members of a cluster can be
// at the same point.
type Order string

// The orders, which come one after the other.
const (
	OrderFreeze Order = "freeze"
	OrderGo     Order = "go"
	// OrderFollow is for the agent at Ready, which tells Following: from here it goes on by itself should its client be gone. The members before
	// it may have taken the old cluster's quorum along then, and nobody could reach this one through its own API server.
	OrderFollow Order = "follow"
)

// Point is where Hot waits for an order.
type Point string

// The points. Ready waits for OrderFreeze, Frozen for OrderGo.
const (
	Ready     Point = "ready"
	Following Point = "following"
	Frozen    Point = "frozen"
)

// HotState is what Hot has found at a point.
type HotState struct {
	Point Point `json:"point"`
	// Inode is that of `member` now.
	Inode uint64 `json:"inode,string"`
	// PID is of the etcd that is to be killed, or has been frozen; 0: none runs.
	PID int `json:"pid,omitempty"`
	// Elected is State.Elected; while etcd is frozen it stays as it is.
	Elected bool `json:"elected,omitempty"`
}

// Switched is how Hot ended.
type Switched struct {
	Exchanged
	// Killed is the etcd that was; 0: none ran.
	Killed int `json:"killed,omitempty"`
	// Serving says that the new etcd was seen to serve its peers.
	Serving bool `json:"serving,omitempty"`
}

// Thawed is what Thaw did.
type Thawed struct {
	// PID is of the etcd that was frozen and runs again; 0: none was.
	PID int `json:"pid,omitempty"`
}
