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
}

// Order is what a client says in the course of Hot. It goes on only when told, so that all members of a cluster can be
// at the same point.
type Order string

// The orders, which come one after the other.
const (
	OrderFreeze Order = "freeze"
	OrderGo     Order = "go"
)

// Point is where Hot waits for an order.
type Point string

// The points. Ready waits for OrderFreeze, Frozen for OrderGo.
const (
	Ready  Point = "ready"
	Frozen Point = "frozen"
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
}

// Thawed is what Thaw did.
type Thawed struct {
	// PID is of the etcd that was frozen and runs again; 0: none was.
	PID int `json:"pid,omitempty"`
}
