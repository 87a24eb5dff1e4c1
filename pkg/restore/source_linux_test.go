package restore

import (
	"strings"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/disktest"
)

// Where there is no room for a copy without history, the snapshot goes as it is, and what was begun takes no room any more:
// it is enough to compress it.
func TestSentWithoutRoom(t *testing.T) {
	src, err := prove(t.Context(), Config{From: withHistory(t)}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	t.Setenv("TMPDIR", disktest.Small(t, "16k"))
	var user told
	content, err := src.content(t.Context(), true, 0, &user)
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
