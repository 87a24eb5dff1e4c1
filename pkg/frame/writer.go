package frame

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Writer writes whole frames, each with one Write of the underlying writer, and may be used by several goroutines:
// heartbeats and progress go between the data frames of another.
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
	err error
}

// NewWriter writes frames to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Control writes one frame.
func (w *Writer) Control(t Type, payload []byte) error {
	if len(payload) > MaxPayload {
		return fmt.Errorf("write %v frame: %d bytes are over the limit of %d", t, len(payload), MaxPayload)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if cap(w.buf) < headerSize {
		w.buf = make([]byte, headerSize, 512)
	}
	w.buf = append(w.buf[:headerSize], payload...)
	return w.put(t, w.buf)
}

// JSON writes one frame with v as its payload.
func (w *Writer) JSON(t Type, v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %v frame: %w", t, err)
	}
	return w.Control(t, payload)
}

// data writes a Data frame from a buffer whose first headerSize bytes are room for the header: nothing is copied.
func (w *Writer) data(framed []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.put(TypeData, framed)
}

// put remembers the first failure: after a partial write any further frame would be misread.
func (w *Writer) put(t Type, framed []byte) error {
	if w.err != nil {
		return w.err
	}
	framed[0] = byte(t)
	binary.BigEndian.PutUint32(framed[1:headerSize], uint32(len(framed)-headerSize))
	if _, err := w.w.Write(framed); err != nil {
		w.err = fmt.Errorf("write %v frame: %w", t, err)
	}
	return w.err
}
