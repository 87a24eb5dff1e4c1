package frame

import (
	"io/fs"
	"time"
)

// Names of the requests about files at rest, which every agent answers.
const (
	RequestRead  = "read"
	RequestWrite = "write"
	RequestStat  = "stat"
	RequestList  = "list" // ListRequest → ListReply
)

// Codes of their errors.
const (
	// CodeChanged: the file was not at rest while it was read.
	CodeChanged = "changed"
	// CodeOffset: there is less of the file than the client wants to continue after.
	CodeOffset = "bad-offset"
)

// ReadRequest asks for a file from an offset on. The checksum in the End is that of the whole file, so a copy that was
// put together from several conversations is proven by the last of them.
type ReadRequest struct {
	Path   string `json:"path"`
	Offset int64  `json:"offset"`
}

// ReadReply describes the file that was read.
type ReadReply struct {
	Size    int64       `json:"size"`
	Mode    fs.FileMode `json:"mode"`
	ModTime time.Time   `json:"modTime"`
}

// WriteRequest uploads Size bytes in all, of which this conversation brings those from Offset on. They go to PATH.part,
// which becomes PATH once the checksum of the whole has been seen to agree with the client's.
type WriteRequest struct {
	Path   string      `json:"path"`
	Offset int64       `json:"offset"`
	Size   int64       `json:"size"`
	Mode   fs.FileMode `json:"mode"`
}

// WriteReply describes the file that was written: SHA256 is of all its bytes.
type WriteReply struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// StatRequest asks about a file and about an upload of it that was cut short. Sum asks for the checksum too.
type StatRequest struct {
	Path string `json:"path"`
	Sum  bool   `json:"sum,omitempty"`
}

// StatReply answers it. Part is the size of PATH.part, -1 when there is none.
type StatReply struct {
	Exists bool        `json:"exists"`
	Size   int64       `json:"size"`
	Mode   fs.FileMode `json:"mode"`
	SHA256 string      `json:"sha256,omitempty"`
	Part   int64       `json:"part"`
}

// ListRequest asks what is at a path and below it. More than Most files are refused.
type ListRequest struct {
	Path string `json:"path"`
	Most int    `json:"most"`
}

// ListReply answers it, each folder before what is in it. Links are not followed.
type ListReply struct {
	Files []File `json:"files"`
}

// File is one of a list: a regular file, a folder, or a link.
type File struct {
	Path    string      `json:"path"`
	Mode    fs.FileMode `json:"mode"`
	UID     int         `json:"uid"`
	GID     int         `json:"gid"`
	Size    int64       `json:"size"` // bytes
	ModTime time.Time   `json:"modTime"`
	Link    string      `json:"link,omitempty"` // where a link leads
}
