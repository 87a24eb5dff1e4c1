package restore

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// Where there is no room for a copy without history, the snapshot goes as it is, and what was begun takes no room any more:
// it is enough to compress it.
func TestSentWithoutRoom(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	src, err := prove(t.Context(), withHistory(t), false)
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	tmp := t.TempDir()
	if err := syscall.Mount("tmpfs", tmp, "tmpfs", 0, "size=16k"); err != nil {
		t.Skipf("mount a small file system: %v", err) // root in a container without CAP_SYS_ADMIN
	}
	t.Cleanup(func() { _ = syscall.Unmount(tmp, syscall.MNT_DETACH) })
	t.Setenv("TMPDIR", tmp)
	var user told
	content, err := src.content(t.Context(), true, &user)
	if err != nil {
		t.Fatal(err)
	}
	if said := strings.Join(user.steps, "|"); !strings.HasPrefix(said, "the history of snapshot.db is sent, too: ") || !strings.Contains(said, "no space left on device") {
		t.Errorf("the user reads %q", said)
	}
	if content.SHA256 != src.SHA256 || content.Packed == nil {
		t.Errorf("what is sent is %+v", content)
	}
	checkSent(t, src, content)
}
