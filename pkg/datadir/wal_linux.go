package datadir

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// ids are who a member is, in etcd's hexadecimal form. They are in no database, only at the head of each file of the log.
type ids struct{ cluster, member string }

// readIDs reads them from the newest file of a log that has them. etcd gives a file its name once its head is written,
// so that they can be read while etcd runs too.
func readIDs(dir string) (ids, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil {
		return ids{}, fmt.Errorf("list log: %w", err)
	}
	if len(files) == 0 {
		return ids{}, fmt.Errorf("read ids: no log in %s", dir)
	}
	slices.Sort(files)
	slices.Reverse(files)
	var errs []error
	for _, path := range files {
		found, err := idsOf(path)
		if err == nil {
			return found, nil
		}
		errs = append(errs, err)
	}
	return ids{}, fmt.Errorf("read ids: %w", errors.Join(errs...))
}

const (
	walMetadata = 1 // the type of the record that we want
	// It is the second one, after the checksum of the file before.
	walRecords    = 3
	walRecordSize = 4 << 10
)

var errWAL = errors.New("not the log of an etcd")

func idsOf(path string) (ids, error) {
	f, err := os.Open(path)
	if err != nil {
		return ids{}, err
	}
	defer f.Close()
	for range walRecords {
		kind, data, err := walRecord(f)
		if err != nil {
			return ids{}, fmt.Errorf("%s: %w", path, err)
		}
		if kind != walMetadata {
			continue
		}
		fields, _, err := varints(data)
		if err != nil || fields[2] == 0 {
			return ids{}, fmt.Errorf("%s: %w", path, errWAL)
		}
		return ids{cluster: hexID(fields[2]), member: hexID(fields[1])}, nil
	}
	return ids{}, fmt.Errorf("%s: %w", path, errWAL)
}

// walFrame reads what precedes a record: its length in the lower 56 bits of a little-endian number whose top byte is the
// number of bytes that pad it.
func walFrame(r io.Reader) (size, padding uint64, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, 0, err
	}
	n := binary.LittleEndian.Uint64(head[:])
	if n>>63 == 1 {
		padding = n >> 56 & 7
	}
	return n & (1<<56 - 1), padding, nil
}

// walRecord reads a record: {1: type, 2: checksum, 3: data}.
func walRecord(r io.Reader) (kind uint64, data []byte, err error) {
	size, padding, err := walFrame(r)
	if err != nil {
		return 0, nil, err
	}
	if size == 0 || size > walRecordSize {
		return 0, nil, errWAL
	}
	body := make([]byte, size+padding)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, err
	}
	numbers, blobs, err := varints(body[:size])
	return numbers[1], blobs[3], err
}

// varints takes a flat protobuf message apart: the numbers and the bytes of its first fields.
func varints(b []byte) (numbers [4]uint64, blobs [4][]byte, err error) {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return numbers, blobs, errWAL
		}
		b = b[n:]
		var number uint64
		var blob []byte
		switch kind {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			blob, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, kind, b)
		}
		if n < 0 {
			return numbers, blobs, errWAL
		}
		if int(num) < len(numbers) {
			numbers[num], blobs[num] = number, blob
		}
		b = b[n:]
	}
	return numbers, blobs, nil
}

const (
	walEntry = 2
	walState = 3
	// restoredTerm is the term with which etcdutl begins a log. Who votes writes a higher one first; without a majority
	// that would vote nobody does (etcd asks before it votes).
	restoredTerm = 1
	// walBlob is what of a record is kept: a state and the head of an entry are shorter.
	walBlob = 64
)

// elected tells whether a log knows of an election since it was made by etcdutl. The answer stands near its beginning.
func elected(dir string) (bool, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil || len(files) == 0 {
		return false, errors.Join(err, fmt.Errorf("read terms: no log in %s", dir))
	}
	slices.Sort(files)
	for _, path := range files {
		if found, err := electedIn(path); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

func electedIn(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for {
		kind, data, err := walHead(r)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return false, nil // its end: zeros, or a record that is just being written
		}
		if err != nil {
			return false, fmt.Errorf("read terms in %s: %w", path, err)
		}
		// A cut message: what could be read of it counts.
		fields, _, _ := varints(data)
		if kind == walState && fields[1] > restoredTerm || kind == walEntry && fields[2] > restoredTerm {
			return true, nil
		}
	}
}

// walHead is walRecord for records of any size, of whose data it returns the beginning.
func walHead(r *bufio.Reader) (kind uint64, data []byte, err error) {
	size, padding, err := walFrame(r)
	if err != nil {
		return 0, nil, err
	}
	if size == 0 {
		return 0, nil, io.EOF
	}
	body := make([]byte, min(size, walBlob))
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, err
	}
	if _, err := io.CopyN(io.Discard, r, int64(size+padding)-int64(len(body))); err != nil {
		return 0, nil, err
	}
	for len(body) > 0 {
		num, wire, n := protowire.ConsumeTag(body)
		if n < 0 {
			return kind, nil, nil
		}
		body = body[n:]
		if num == 3 && wire == protowire.BytesType {
			_, n := protowire.ConsumeVarint(body)
			return kind, body[max(n, 0):], nil
		}
		v, n := protowire.ConsumeVarint(body)
		if n < 0 {
			return kind, nil, nil
		}
		if num == 1 {
			kind = v
		}
		body = body[n:]
	}
	return kind, nil, nil
}

func hexID(id uint64) string { return strconv.FormatUint(id, 16) }
