package restore

import (
	"os"
	"path/filepath"
	"testing"
)

// What is packed is what was proven, or the agents sum it up themselves.
func TestPackedProven(t *testing.T) {
	file := filepath.Join(t.TempDir(), "snapshot.db")
	if err := os.WriteFile(file, []byte("proven"), 0o600); err != nil {
		t.Fatal(err)
	}
	const proven, other = "db5344cc58ca48817a3419331e212b30fc77d25358dcf6b65d8be54c60328491", "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa"
	for name, c := range map[string]struct {
		sha256 string
		raw    bool
		want   bool
	}{
		"what was proven":        {proven, false, true},
		"changed since":          {other, false, false},
		"no checksum of its own": {proven, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &source{path: file, SnapshotRecord: SnapshotRecord{SHA256: c.sha256, Raw: c.raw}}
			defer s.close()
			content, end, err := s.content()
			if err != nil {
				t.Fatal(err)
			}
			defer end()
			if content.Packed == nil || content.PackedProven != c.want {
				t.Errorf("packed %v, proven %t", content.Packed != nil, content.PackedProven)
			}
		})
	}
}
