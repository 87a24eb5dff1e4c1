package restore

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// What is packed is what was proven, or the agents sum it up themselves.
func TestPackedProven(t *testing.T) {
	file, tmp := filepath.Join(t.TempDir(), "snapshot.db"), t.TempDir()
	t.Setenv("TMPDIR", tmp)
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
			s := &source{SnapshotRecord: SnapshotRecord{SHA256: c.sha256, Raw: c.raw, Size: 6}}
			defer s.close()
			if err := s.open(file); err != nil {
				t.Fatal(err)
			}
			content := s.content()
			if left, _ := os.ReadDir(tmp); len(left) > 0 && runtime.GOOS != "windows" {
				t.Errorf("whoever kills this client finds %v", left)
			}
			if content.Packed == nil || content.PackedProven != c.want {
				t.Errorf("packed %v, proven %t", content.Packed != nil, content.PackedProven)
			}
		})
	}
}
