// Package frame is the wire protocol between the plugin and its agent: typed frames over the stdin and stdout of one exec.
//
// A frame is a type byte, a big-endian uint32 length and the payload. One conversation is:
//
//	agent  → Hello            who I am: the sha256 of my own executable comes before any order is taken
//	client → Request          what to do, as JSON
//	both   → Heartbeat        every few seconds, so that silence means a dead link and not a slow disk
//	both   → Credit           how many bytes of Data the other side may have sent in all
//	agent  → Progress, Data…  then End{size, sha256 of the Data} or Error{code, message}
//	client → Data…, End       for uploads
//	client → Ack              I have it all and it is right: you may go
//
// Neither a clean exit nor a closed stream means success; only End does, and only when its length and checksum agree.
// Data is flow-controlled (see Sender and Receiver), because a reader that stops reading an exec's stdout also stops
// reading the pongs that keep the connection alive.
package frame

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Protocol is the version both sides must share.
const Protocol = 1

// Type says what a frame carries.
type Type byte

// The types start above the bytes that text begins with, so that a shell's complaint is never taken for a frame.
const (
	TypeHello Type = 0xe0 + iota
	TypeRequest
	TypeData
	TypeProgress
	TypeEnd
	TypeError
	TypeHeartbeat
	TypeAck
	TypeCredit
	typeLimit
)

var typeNames = [...]string{"Hello", "Request", "Data", "Progress", "End", "Error", "Heartbeat", "Ack", "Credit"}

func (t Type) String() string {
	if t >= TypeHello && t < typeLimit {
		return typeNames[t-TypeHello]
	}
	return fmt.Sprintf("type 0x%02x", byte(t))
}

const (
	headerSize = 5
	// MaxPayload bounds what a reader has to hold of one frame.
	MaxPayload = 1 << 20
	// dataSize is what a Sender puts into one frame: large enough that the cost per frame vanishes, small enough that
	// heartbeats between frames are never late.
	dataSize = 128 << 10
)

var (
	// ErrProtocol is a stream that does not follow the protocol: corrupted, or not from an agent at all.
	ErrProtocol = errors.New("the stream is not the agent's protocol")
	// ErrCorrupt is a transfer whose length or checksum is not what the sender says it sent.
	ErrCorrupt = errors.New("the data received is not the data sent")
)

// Hello is the agent's first frame.
type Hello struct {
	Protocol int    `json:"protocol"`
	SHA256   string `json:"sha256"` // of the agent's own executable
	Version  string `json:"version"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	PID      int    `json:"pid"`
}

// Request is the client's order. The client chooses the timing of both sides.
type Request struct {
	Name            string          `json:"name"`
	Body            json.RawMessage `json:"body,omitempty"`
	HeartbeatMillis int64           `json:"heartbeatMillis,omitempty"`
	SilenceMillis   int64           `json:"silenceMillis,omitempty"`
}

// End closes the data of one direction. When a transfer continues an earlier one at an offset, both sides seed their
// checksum with the bytes before it, so that SHA256 always proves the whole file while Size counts this stream's bytes.
type End struct {
	Size   int64           `json:"size"`
	SHA256 string          `json:"sha256"`
	Extra  json.RawMessage `json:"extra,omitempty"`
}

// Codes every agent may answer with; handlers add their own.
const (
	CodeFailed     = "failed"
	CodeUnknown    = "unknown-request"
	CodeBadRequest = "bad-request"
	CodeNotFound   = "not-found"
	CodePermission = "permission"
	CodeNoSpace    = "no-space"
	CodeCancelled  = "cancelled"
	CodeCorrupt    = "corrupt"
	// CodeCut: the agent's own source ended early; asking again may serve.
	CodeCut = "cut"
)

// Error is a failure that the agent reports; Code is for programs, Message for people.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an Error with a code.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
