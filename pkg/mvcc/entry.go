// Package mvcc reads what etcd keeps in the key bucket of its database: revisions, the keys and values that they have, and
// which keys exist at the last of them. It trusts no byte of it.
package mvcc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Revision is the key of an entry in the key bucket.
type Revision struct {
	Main, Sub int64
	Tombstone bool
}

// ParseRevision decodes 8 bytes, '_', 8 bytes, and 't' if the revision deletes its key.
func ParseRevision(k []byte) (Revision, error) {
	if (len(k) != 17 && len(k) != 18) || k[8] != '_' || (len(k) == 18 && k[17] != 't') {
		return Revision{}, fmt.Errorf("%x is not a revision", k)
	}
	r := Revision{
		Main:      int64(binary.BigEndian.Uint64(k)),
		Sub:       int64(binary.BigEndian.Uint64(k[9:])),
		Tombstone: len(k) == 18,
	}
	if r.Main < 0 || r.Sub < 0 {
		return Revision{}, fmt.Errorf("revision %d/%d is negative", r.Main, r.Sub)
	}
	return r, nil
}

// KeyValue is what is needed of an mvccpb.KeyValue.
type KeyValue struct {
	Key, Value  []byte
	ModRevision int64
	Lease       int64
}

// DecodeEntry decodes an entry of the key bucket, and checks that its two halves agree.
func DecodeEntry(key, value []byte) (Revision, KeyValue, error) {
	rev, err := ParseRevision(key)
	if err != nil {
		return rev, KeyValue{}, err
	}
	kv, err := ParseKeyValue(value)
	if err != nil {
		return rev, kv, fmt.Errorf("revision %d/%d: %w", rev.Main, rev.Sub, err)
	}
	if !rev.Tombstone && len(kv.Key) > 0 && kv.ModRevision != rev.Main {
		return rev, kv, fmt.Errorf("revision %d/%d: says that it is revision %d", rev.Main, rev.Sub, kv.ModRevision)
	}
	return rev, kv, nil
}

// ErrProto says that bytes are no message of protobuf.
var ErrProto = errors.New("not a valid protobuf message")

// ParseKeyValue decodes an mvccpb.KeyValue as strictly as its generated code does. Unknown fields are allowed.
func ParseKeyValue(b []byte) (kv KeyValue, err error) {
	err = EachField(b, func(n protowire.Number, bytes []byte, varint uint64) error {
		isVarint := bytes == nil
		switch n {
		case 1: // key
			kv.Key = bytes
		case 3: // mod_revision
			kv.ModRevision = int64(varint)
		case 5: // value
			kv.Value = bytes
		case 6: // lease
			kv.Lease = int64(varint)
		}
		if wantVarint := n == 2 || n == 3 || n == 4 || n == 6; n <= 6 && wantVarint != isVarint {
			return fmt.Errorf("%w: field %d has the wrong type", ErrProto, n)
		}
		return nil
	})
	return kv, err
}

// EachField calls f for each field of a protobuf message: with its bytes, not nil, for length-delimited fields, and
// with its number for varints. Fields of other kinds are passed with their encoding as bytes if above field 6 and
// rejected otherwise: none of the messages read here has any.
func EachField(b []byte, f func(n protowire.Number, bytes []byte, varint uint64) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", ErrProto, protowire.ParseError(n))
		}
		b = b[n:]
		var field []byte
		var varint uint64
		switch typ {
		case protowire.BytesType:
			if field, n = protowire.ConsumeBytes(b); n >= 0 && field == nil {
				field = []byte{}
			}
		case protowire.VarintType:
			varint, n = protowire.ConsumeVarint(b)
		default:
			if n = protowire.ConsumeFieldValue(num, typ, b); n >= 0 && num <= 6 {
				return fmt.Errorf("%w: field %d has the wrong type", ErrProto, num)
			}
			field = []byte{}
		}
		if n < 0 {
			return fmt.Errorf("%w: field %d: %w", ErrProto, num, protowire.ParseError(n))
		}
		if err := f(num, field, varint); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
