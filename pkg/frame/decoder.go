package frame

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Handler takes what a Decoder finds. The slices are only valid during the call. An error ends the decoding.
// Neither method may wait for anything slow: whoever writes to the Decoder is the reader of the connection.
type Handler interface {
	// Control takes a whole frame of any type but Data.
	Control(t Type, payload []byte) error
	// Data takes the next bytes of Data frames, in the pieces in which they arrive.
	Data(p []byte) error
}

// Decoder is an io.Writer that takes a stream apart into frames. It is pushed, not pulled, so that data goes from the
// connection's own buffer to the receiver's with one copy.
type Decoder struct {
	h        Handler
	header   [headerSize]byte
	have     int // bytes of the header
	left     int // bytes of the payload still to come
	control  []byte
	anything bool
	err      error
}

// NewDecoder hands the frames to h.
func NewDecoder(h Handler) *Decoder { return &Decoder{h: h} }

// Write takes the next bytes of the stream. After an error it takes no more.
func (d *Decoder) Write(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	rest := p
	for len(rest) > 0 && d.err == nil {
		if d.have < headerSize {
			rest = d.takeHeader(rest)
			continue
		}
		n := min(len(rest), d.left)
		d.takePayload(rest[:n])
		rest = rest[n:]
	}
	if d.err != nil {
		return len(p) - len(rest), d.err
	}
	return len(p), nil
}

// Partial tells whether the stream stopped inside a frame.
func (d *Decoder) Partial() bool { return d.have > 0 }

func (d *Decoder) takeHeader(p []byte) []byte {
	if d.have == 0 && (p[0] < byte(TypeHello) || p[0] >= byte(typeLimit)) {
		d.fail(p)
		return p
	}
	n := copy(d.header[d.have:], p)
	d.have += n
	if d.have == headerSize {
		size := binary.BigEndian.Uint32(d.header[1:])
		if size > MaxPayload {
			d.err = fmt.Errorf("%w: a %v frame of %d bytes", ErrProtocol, d.kind(), size)
			return p
		}
		d.anything = true
		d.left = int(size)
		d.control = d.control[:0]
		if size == 0 {
			d.takePayload(nil)
		}
	}
	return p[n:]
}

func (d *Decoder) kind() Type { return Type(d.header[0]) }

func (d *Decoder) takePayload(p []byte) {
	d.left -= len(p)
	switch {
	case d.kind() == TypeData:
		if len(p) > 0 {
			d.err = d.h.Data(p)
		}
	case d.left > 0:
		d.control = append(d.control, p...)
	case len(d.control) == 0:
		d.err = d.h.Control(d.kind(), p)
	default:
		d.control = append(d.control, p...)
		d.err = d.h.Control(d.kind(), d.control)
	}
	if d.left == 0 {
		d.have = 0
	}
}

// fail quotes what stands where a frame should begin: usually it is a sentence that tells what went wrong.
func (d *Decoder) fail(p []byte) {
	where := "after a frame"
	if !d.anything {
		where = "at its start"
	}
	text := string(p[:min(len(p), 160)])
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) || r == utf8.RuneError }) {
		d.err = fmt.Errorf("%w: %s it has the bytes %x", ErrProtocol, where, p[:min(len(p), 8)])
		return
	}
	d.err = fmt.Errorf("%w: %s it has %q", ErrProtocol, where, text)
}
