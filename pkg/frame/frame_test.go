package frame

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// record keeps what a Decoder finds, with the pieces of data joined.
type record struct {
	frames []string
	data   bytes.Buffer
}

func (r *record) Control(t Type, payload []byte) error {
	r.frames = append(r.frames, fmt.Sprintf("%v %q", t, payload))
	return nil
}

func (r *record) Data(p []byte) error {
	r.data.Write(p)
	return nil
}

func stream(t testing.TB, write func(w *Writer)) []byte {
	t.Helper()
	var out bytes.Buffer
	write(NewWriter(&out))
	return out.Bytes()
}

func TestDecoderIsIndifferentToTheSizeOfItsPieces(t *testing.T) {
	payload := bytes.Repeat([]byte("0123456789"), 1000)
	wire := stream(t, func(w *Writer) {
		for _, err := range []error{
			w.JSON(TypeHello, Hello{Protocol: Protocol}),
			w.Control(TypeHeartbeat, nil),
			w.data(append(make([]byte, headerSize), payload...)),
			w.Control(TypeProgress, payload),
			w.data(make([]byte, headerSize)),
			w.JSON(TypeEnd, End{Size: 3}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	var whole record
	if _, err := NewDecoder(&whole).Write(wire); err != nil {
		t.Fatal(err)
	}
	if len(whole.frames) != 4 || !bytes.Equal(whole.data.Bytes(), payload) {
		t.Fatalf("%d frames, %d bytes", len(whole.frames), whole.data.Len())
	}
	for _, size := range []int{1, 2, 3, 5, 7, 4096} {
		var got record
		d := NewDecoder(&got)
		for rest := wire; len(rest) > 0; {
			n := min(size, len(rest))
			if _, err := d.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if fmt.Sprint(got.frames) != fmt.Sprint(whole.frames) || !bytes.Equal(got.data.Bytes(), payload) || d.Partial() {
			t.Errorf("pieces of %d: %d frames, %d bytes", size, len(got.frames), got.data.Len())
		}
	}
}

func TestDecoderRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		wire string
		says string
	}{
		"text":           {"sh: agent: not found\n", `"sh: agent: not found\n"`},
		"long frame":     {string([]byte{byte(TypeData), 0, 16, 0, 1}), "1048577 bytes"},
		"text after one": {string([]byte{byte(TypeHeartbeat), 0, 0, 0, 0}) + "oops", "after a frame"},
	} {
		d := NewDecoder(&record{})
		_, err := io.Copy(d, strings.NewReader(c.wire))
		if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error = %v", name, err)
		}
		if _, again := d.Write([]byte{byte(TypeHeartbeat), 0, 0, 0, 0}); again == nil {
			t.Errorf("%s: it went on", name)
		}
	}
}

// FuzzDecoder checks that no input crashes the decoder or makes it hold much, and that its findings do not depend on how
// the input was cut into pieces.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte("text"), uint8(1))
	f.Add([]byte{byte(TypeEnd), 0, 0, 0, 2, '{', '}', byte(TypeData), 0, 0, 0, 1, 7}, uint8(3))
	f.Add([]byte{byte(TypeData), 0xff, 0xff, 0xff, 0xff}, uint8(2))
	f.Fuzz(func(t *testing.T, wire []byte, piece uint8) {
		var whole, pieces record
		_, wholeErr := NewDecoder(&whole).Write(wire)
		d := NewDecoder(&pieces)
		var err error
		for rest := wire; len(rest) > 0 && err == nil; {
			n := min(int(piece)+1, len(rest))
			_, err = d.Write(rest[:n])
			rest = rest[n:]
		}
		if (wholeErr == nil) != (err == nil) || fmt.Sprint(whole.frames) != fmt.Sprint(pieces.frames) || !bytes.Equal(whole.data.Bytes(), pieces.data.Bytes()) {
			t.Errorf("whole: %v %v, in pieces: %v %v", whole.frames, wholeErr, pieces.frames, err)
		}
		if cap(d.control) > 2*len(wire)+1024 {
			t.Errorf("%d bytes held for %d", cap(d.control), len(wire))
		}
	})
}

// connect joins a Sender and a Receiver through frames, as a conversation does.
func connect(t testing.TB, window int64) (*Sender, *Receiver) {
	t.Helper()
	joint := &joint{}
	joint.send = NewSender(t.Context(), NewWriter(NewDecoder(joint)))
	joint.recv = NewReceiver(window, func(total int64) error { joint.send.Grant(total); return nil })
	return joint.send, joint.recv
}

type joint struct {
	send *Sender
	recv *Receiver
}

func (j *joint) Control(Type, []byte) error { return nil }
func (j *joint) Data(p []byte) error        { return j.recv.Put(p) }

func TestTransferProvesItself(t *testing.T) {
	data := make([]byte, 5<<20+11)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	send, recv := connect(t, 300<<10)
	if err := recv.Open(); err != nil {
		t.Fatal(err)
	}
	go func() {
		// By Write in odd pieces, then by ReadFrom.
		half := data[:len(data)/2]
		for len(half) > 0 {
			n := min(len(half), 33333)
			if _, err := send.Write(half[:n]); err != nil {
				recv.Fail(err)
				return
			}
			half = half[n:]
		}
		_, err := send.ReadFrom(bytes.NewReader(data[len(data)/2:]))
		end, endErr := send.End()
		if err := errors.Join(err, endErr); err != nil {
			recv.Fail(err)
			return
		}
		recv.Finish(end)
	}()
	got, err := io.ReadAll(struct{ io.Reader }{recv})
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, error %v", len(got), err)
	}
	if len(recv.free) > 4 {
		t.Errorf("%d buffers for a window of 300 KiB", len(recv.free))
	}
}

func TestSenderWaitsForCredit(t *testing.T) {
	send, recv := connect(t, 200<<10)
	done := make(chan error, 1)
	go func() {
		_, err := send.Write(make([]byte, 1<<20))
		done <- err
	}()
	if err := recv.Open(); err != nil {
		t.Fatal(err)
	}
	// With nobody consuming, one frame of 128 KiB fits and a second does not.
	deadline := time.After(5 * time.Second)
	for recv.Received() == 0 {
		select {
		case <-deadline:
			t.Fatal("nothing came")
		case <-time.After(time.Millisecond):
		}
	}
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if got := recv.Received(); got != dataSize {
		t.Errorf("%d bytes came", got)
	}
	send.Stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}

func TestReceiverRefusesWhatWasNotGranted(t *testing.T) {
	recv := NewReceiver(100, func(int64) error { return nil })
	if err := recv.Put([]byte("x")); !errors.Is(err, ErrProtocol) {
		t.Errorf("before Open: %v", err)
	}
	recv = NewReceiver(100, func(int64) error { return nil })
	if err := errors.Join(recv.Open(), recv.Put(make([]byte, 100))); err != nil {
		t.Error(err)
	}
	if err := recv.Put([]byte("x")); !errors.Is(err, ErrProtocol) {
		t.Errorf("beyond the window: %v", err)
	}
}

func TestReceiverEnds(t *testing.T) {
	data := []byte("some data")
	sum := sha256.Sum256(data)
	good := End{Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
	cut := errors.New("cut")
	for name, c := range map[string]struct {
		end  func(r *Receiver)
		want error
		gets int
	}{
		"well":         {func(r *Receiver) { r.Finish(good) }, nil, len(data)},
		"short":        {func(r *Receiver) { r.Finish(End{Size: good.Size + 1, SHA256: good.SHA256}) }, ErrCorrupt, len(data)},
		"wrong":        {func(r *Receiver) { r.Finish(End{Size: good.Size, SHA256: strings.Repeat("0", 64)}) }, ErrCorrupt, len(data)},
		"cut":          {func(r *Receiver) { r.Fail(cut) }, cut, len(data)},
		"cut after":    {func(r *Receiver) { r.Finish(good); r.Fail(cut) }, nil, len(data)},
		"aborted":      {func(r *Receiver) { r.Abort(cut) }, cut, 0},
		"cancelled on": {func(r *Receiver) { r.Finish(good); r.Abort(cut) }, cut, 0},
	} {
		recv := NewReceiver(100, func(int64) error { return nil })
		if err := errors.Join(recv.Open(), recv.Put(data)); err != nil {
			t.Fatal(err)
		}
		c.end(recv)
		got, err := io.ReadAll(recv)
		if !errors.Is(err, c.want) || len(got) != c.gets {
			t.Errorf("%s: %d bytes, error %v", name, len(got), err)
		}
	}
}

func TestResumedTransferProvesTheWhole(t *testing.T) {
	data := []byte("the first part and the second")
	send, recv := connect(t, 1000)
	h := sha256.New()
	h.Write(data[:15])
	recv.SetHash(h)
	if err := errors.Join(send.Seed(bytes.NewReader(data[:15])), recv.Open()); err != nil {
		t.Fatal(err)
	}
	if _, err := send.Write(data[15:]); err != nil {
		t.Fatal(err)
	}
	end, err := send.End()
	if err != nil {
		t.Fatal(err)
	}
	recv.Finish(end)
	got, err := io.ReadAll(recv)
	whole := sha256.Sum256(data)
	if err != nil || string(got) != string(data[15:]) || end.SHA256 != hex.EncodeToString(whole[:]) || end.Size != int64(len(data)-15) {
		t.Errorf("%q, %+v, error %v", got, end, err)
	}
}

func TestSmallWritesAreNotKeptForLong(t *testing.T) {
	send, recv := connect(t, 1000)
	if err := recv.Open(); err != nil {
		t.Fatal(err)
	}
	if _, err := send.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1)
	if n, err := recv.Read(buf); n != 1 || err != nil { // it comes without a Flush
		t.Errorf("%d, %v", n, err)
	}
}

func TestWriterStopsAfterAPartialFrame(t *testing.T) {
	boom := errors.New("boom")
	w := NewWriter(failing{boom})
	if err := w.Control(TypeHeartbeat, nil); !errors.Is(err, boom) {
		t.Errorf("error = %v", err)
	}
	w.w = io.Discard
	if err := w.Control(TypeHeartbeat, nil); !errors.Is(err, boom) {
		t.Errorf("it went on: %v", err)
	}
	if err := NewWriter(io.Discard).Control(TypeProgress, make([]byte, MaxPayload+1)); err == nil {
		t.Error("it wrote a frame that nobody reads")
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestDataPathDoesNotAllocate(t *testing.T) {
	send, recv := connect(t, 1<<20)
	if err := recv.Open(); err != nil {
		t.Fatal(err)
	}
	piece, buf := make([]byte, dataSize), make([]byte, dataSize)
	allocations := testing.AllocsPerRun(100, func() {
		if _, err := send.Write(piece); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(recv, buf); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > 1 { // the queue's slice moves on now and then
		t.Errorf("%v allocations per frame", allocations)
	}
}

func TestCredit(t *testing.T) {
	var got record
	if err := SendCredit(NewWriter(NewDecoder(&got)))(1 << 40); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("Credit %q", binary.BigEndian.AppendUint64(nil, 1<<40))
	if len(got.frames) != 1 || got.frames[0] != want {
		t.Errorf("%v", got.frames)
	}
	if total, err := ParseCredit(binary.BigEndian.AppendUint64(nil, 7)); total != 7 || err != nil {
		t.Errorf("%d, %v", total, err)
	}
	if _, err := ParseCredit([]byte("short")); !errors.Is(err, ErrProtocol) {
		t.Errorf("error = %v", err)
	}
}
