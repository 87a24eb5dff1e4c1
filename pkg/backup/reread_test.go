package backup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// TestReread: somebody else's hand in the file, or a disk that forgets, is noticed before the file gets its name.
func TestReread(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	f, err := store.Create(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	o := &output{file: f}
	for _, s := range []string{"what ", "was ", "sent"} {
		if _, err := o.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.reread(); err != nil {
		t.Fatal(err)
	}
	other, err := os.OpenFile(f.Name(), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.WriteAt([]byte("W"), 5); err != nil {
		t.Fatal(err)
	}
	if err := o.reread(); err == nil {
		t.Error("a changed byte was not noticed")
	}
	if !o.rewind() {
		t.Fatal("it cannot begin anew")
	}
	if err := o.reread(); err != nil {
		t.Errorf("an empty file, begun anew: %v", err)
	}
}
