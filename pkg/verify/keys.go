package verify

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// revision is the key of an entry in the key bucket.
type revision struct {
	main, sub int64
	tombstone bool
}

// parseRevision decodes 8 bytes, '_', 8 bytes, and 't' if the revision deletes its key.
func parseRevision(k []byte) (revision, error) {
	if (len(k) != 17 && len(k) != 18) || k[8] != '_' || (len(k) == 18 && k[17] != 't') {
		return revision{}, fmt.Errorf("%x is not a revision", k)
	}
	r := revision{
		main:      int64(binary.BigEndian.Uint64(k)),
		sub:       int64(binary.BigEndian.Uint64(k[9:])),
		tombstone: len(k) == 18,
	}
	if r.main < 0 || r.sub < 0 {
		return revision{}, fmt.Errorf("revision %d/%d is negative", r.main, r.sub)
	}
	return r, nil
}

// keyValue is what is needed of an mvccpb.KeyValue.
type keyValue struct {
	key, value  []byte
	modRevision int64
	lease       int64
}

// decodeEntry decodes an entry of the key bucket, and checks that its two halves agree.
func decodeEntry(key, value []byte) (revision, keyValue, error) {
	rev, err := parseRevision(key)
	if err != nil {
		return rev, keyValue{}, err
	}
	kv, err := parseKeyValue(value)
	if err != nil {
		return rev, kv, fmt.Errorf("revision %d/%d: %w", rev.main, rev.sub, err)
	}
	if !rev.tombstone && len(kv.key) > 0 && kv.modRevision != rev.main {
		return rev, kv, fmt.Errorf("revision %d/%d: says that it is revision %d", rev.main, rev.sub, kv.modRevision)
	}
	return rev, kv, nil
}

var errProto = errors.New("not a valid protobuf message")

// parseKeyValue decodes an mvccpb.KeyValue as strictly as its generated code does. Unknown fields are allowed.
func parseKeyValue(b []byte) (kv keyValue, err error) {
	err = eachField(b, func(n protowire.Number, bytes []byte, varint uint64) error {
		isVarint := bytes == nil
		switch n {
		case 1: // key
			kv.key = bytes
		case 3: // mod_revision
			kv.modRevision = int64(varint)
		case 5: // value
			kv.value = bytes
		case 6: // lease
			kv.lease = int64(varint)
		}
		if wantVarint := n == 2 || n == 3 || n == 4 || n == 6; n <= 6 && wantVarint != isVarint {
			return fmt.Errorf("%w: field %d has the wrong type", errProto, n)
		}
		return nil
	})
	return kv, err
}

// eachField calls f for each field of a protobuf message: with its bytes, not nil, for length-delimited fields, and
// with its number for varints. Fields of other kinds are passed with their encoding as bytes if above field 6 and
// rejected otherwise: none of the messages read here has any.
func eachField(b []byte, f func(n protowire.Number, bytes []byte, varint uint64) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", errProto, protowire.ParseError(n))
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
				return fmt.Errorf("%w: field %d has the wrong type", errProto, num)
			}
			field = []byte{}
		}
		if n < 0 {
			return fmt.Errorf("%w: field %d: %w", errProto, num, protowire.ParseError(n))
		}
		if err := f(num, field, varint); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
