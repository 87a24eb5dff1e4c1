package mvcc

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/boltfile/bolttest"
)

func TestParseKeyValueIsAsStrictAsProtobuf(t *testing.T) {
	varint := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 7)
	for name, c := range map[string]struct {
		data []byte
		ok   bool
	}{
		"empty":                   {nil, true},
		"varint":                  {varint, true},
		"unknown varint":          {protowire.AppendVarint(protowire.AppendTag(nil, 77, protowire.VarintType), 7), true},
		"unknown fixed":           {protowire.AppendFixed64(protowire.AppendTag(nil, 77, protowire.Fixed64Type), 7), true},
		"key as varint":           {protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7), false},
		"revision as bytes":       {protowire.AppendBytes(protowire.AppendTag(nil, 3, protowire.BytesType), nil), false},
		"revision as fixed":       {protowire.AppendFixed64(protowire.AppendTag(nil, 3, protowire.Fixed64Type), 7), false},
		"cut":                     {varint[:1], false},
		"field 0":                 {[]byte{0, 0}, false},
		"length beyond the end":   {[]byte{0x0a, 5, 'a'}, false},
		"length beyond reason":    {[]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, false},
		"varint of eleven digits": {append([]byte{0x10}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), false},
	} {
		if _, err := ParseKeyValue(c.data); (err == nil) != c.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestParseRevision(t *testing.T) {
	good := append(bolttest.EntryKey(5), 't')
	if r, err := ParseRevision(good); err != nil || r.Main != 7 || r.Sub != 0 || !r.Tombstone {
		t.Errorf("got %+v, %v", r, err)
	}
	for name, k := range map[string][]byte{
		"short": good[:16], "long": append(good, 't'), "mark": append(bolttest.EntryKey(5), 'x'), "negative": append([]byte{0x80}, bolttest.EntryKey(5)[1:]...),
	} {
		if _, err := ParseRevision(k); err == nil {
			t.Errorf("%s: %x is accepted", name, k)
		}
	}
}

// FuzzKeyValue looks for values of which the decoder makes more than they are.
func FuzzKeyValue(f *testing.F) {
	f.Add(bolttest.EntryValue(1, 10))
	f.Fuzz(func(t *testing.T, data []byte) {
		if kv, err := ParseKeyValue(data); err == nil && len(kv.Key)+len(kv.Value) > len(data) {
			t.Errorf("key %q, value %q", kv.Key, kv.Value)
		}
	})
}
