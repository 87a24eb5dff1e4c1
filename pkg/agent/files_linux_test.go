package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
)

func fileRequest(t *testing.T, name string, body any) *peer {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, t.Context(), map[string]Handler{
		frame.RequestRead: readFile, frame.RequestWrite: writeFile, frame.RequestStat: statFile, frame.RequestList: listFiles,
	})
	p.send(frame.TypeRequest, frame.Request{Name: name, Body: raw})
	return p
}

func sumOf(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

func TestReadFromAnOffsetProvesTheWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	data := []byte("0123456789")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, offset := range []int64{0, 4, 10} {
		p := fileRequest(t, frame.RequestRead, frame.ReadRequest{Path: path, Offset: offset})
		p.grant(100)
		var end frame.End
		p.wait(frame.TypeEnd, &end)
		if p.data.String() != string(data[offset:]) || end.SHA256 != sumOf(data) || end.Size != 10-offset {
			t.Errorf("offset %d: %q, %+v", offset, &p.data, end)
		}
	}
	p := fileRequest(t, frame.RequestRead, frame.ReadRequest{Path: path, Offset: 11})
	var refusal frame.Error
	p.wait(frame.TypeError, &refusal)
	if refusal.Code != frame.CodeOffset {
		t.Errorf("%+v", refusal)
	}
}

func TestReadNoticesAFileThatGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	p := fileRequest(t, frame.RequestRead, frame.ReadRequest{Path: path})
	p.wait(frame.TypeProgress, nil) // it has seen the size, and waits for credit
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("more")
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	p.grant(2 << 20)
	var refusal frame.Error
	p.wait(frame.TypeError, &refusal)
	if refusal.Code != frame.CodeChanged {
		t.Errorf("%+v", refusal)
	}
}

// upload sends data as the rest of a file whose checksum is claimed to be sum.
func upload(t *testing.T, req frame.WriteRequest, data []byte, sum string) *peer {
	t.Helper()
	p := fileRequest(t, frame.RequestWrite, req)
	p.wait(frame.TypeCredit, nil)
	send := frame.NewSender(t.Context(), p.w)
	send.Grant(uploadWindow)
	if _, err := send.ReadFrom(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	p.send(frame.TypeEnd, frame.End{Size: int64(len(data)), SHA256: sum})
	return p
}

func TestWriteContinuesAndCommits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	data := []byte("0123456789")
	// A part longer than the offset: what stands behind it is not to be trusted.
	if err := os.WriteFile(path+partSuffix, []byte("0123xxxxxxxxxxxx"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := upload(t, frame.WriteRequest{Path: path, Offset: 4, Size: 10, Mode: 0o640}, data[4:], sumOf(data))
	var end frame.End
	p.wait(frame.TypeEnd, &end)
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Stat(path + partSuffix); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the part is left: %v", err)
	}
}

func TestWriteNeverCommitsWhatIsNotProven(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("the old one"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		part string
		req  frame.WriteRequest
		data string
		code string
	}{
		"wrong checksum": {"", frame.WriteRequest{Size: 10}, "0123456789", frame.CodeCorrupt},
		"wrong part":     {"0x23", frame.WriteRequest{Offset: 4, Size: 10}, "456789", frame.CodeCorrupt},
		"too short":      {"", frame.WriteRequest{Size: 11}, "0123456789", frame.CodeCorrupt},
	} {
		if err := os.WriteFile(path+partSuffix, []byte(c.part), 0o600); err != nil {
			t.Fatal(err)
		}
		c.req.Path = path
		sum := sumOf([]byte("0123456789"))
		if name == "wrong checksum" {
			sum = sumOf(nil)
		}
		p := upload(t, c.req, []byte(c.data), sum)
		var refusal frame.Error
		p.wait(frame.TypeError, &refusal)
		if refusal.Code != c.code {
			t.Errorf("%s: %+v", name, refusal)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != "the old one" {
			t.Errorf("%s: the file is %q, %v", name, got, err)
		}
	}
}

func TestWriteRefusesAnOffsetBeyondThePart(t *testing.T) {
	p := fileRequest(t, frame.RequestWrite, frame.WriteRequest{Path: filepath.Join(t.TempDir(), "file"), Offset: 4, Size: 10})
	var refusal frame.Error
	p.wait(frame.TypeError, &refusal)
	if refusal.Code != frame.CodeOffset {
		t.Errorf("%+v", refusal)
	}
}

// TestOpenPartWaitsForItsPredecessor has one agent still hold the part, which it then renames: the next one must end up
// with a part of its own, not with the renamed file.
func TestOpenPartWaitsForItsPredecessor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	old, err := openPart(t.Context(), path+partSuffix)
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan *os.File, 1)
	go func() {
		f, err := openPart(t.Context(), path+partSuffix)
		if err != nil {
			t.Error(err)
		}
		opened <- f
	}()
	if err := commit(old, frame.WriteRequest{Path: path, Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-opened:
		t.Fatal("it did not wait")
	default:
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	next := <-opened
	defer next.Close()
	if !isStill(next, path+partSuffix) || isStill(next, path) {
		t.Error("it holds the renamed file")
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := openPart(cancelled, path+partSuffix); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}

func TestStat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	stat := func(sum bool) frame.StatReply {
		t.Helper()
		p := fileRequest(t, frame.RequestStat, frame.StatRequest{Path: path, Sum: sum})
		var end frame.End
		p.wait(frame.TypeEnd, &end)
		var reply frame.StatReply
		if err := json.Unmarshal(end.Extra, &reply); err != nil {
			t.Fatal(err)
		}
		return reply
	}
	if got := stat(true); got.Exists || got.Part != -1 {
		t.Errorf("%+v", got)
	}
	if err := errors.Join(os.WriteFile(path, []byte("abc"), 0o640), os.WriteFile(path+partSuffix, []byte("ab"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if got := stat(true); !got.Exists || got.Size != 3 || got.Part != 2 || got.SHA256 != sumOf([]byte("abc")) || got.Mode != 0o640 {
		t.Errorf("%+v", got)
	}
	if got := stat(false); got.SHA256 != "" {
		t.Errorf("%+v", got)
	}
}

// TestList: all below a path with modes and owners; links are named, not followed, and what is no file is left out.
func TestList(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "pki"), 0o750), os.WriteFile(filepath.Join(dir, "pki", "ca.key"), []byte("abc"), 0o600), os.Symlink("/etc", filepath.Join(dir, "pki", "link")),
		syscall.Mkfifo(filepath.Join(dir, "pki", "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	var got frame.ListReply
	list := func(path string, most int) *peer {
		return fileRequest(t, frame.RequestList, frame.ListRequest{Path: path, Most: most})
	}
	list(dir, 4).reply(&got)
	if len(got.Files) != 4 || got.Files[1].Mode != 0o750|fs.ModeDir || got.Files[2].Size != 3 || got.Files[2].Mode != 0o600 || got.Files[2].UID != os.Getuid() || got.Files[3].Link != "/etc" {
		t.Errorf("%+v", got.Files)
	}
	if e := list(dir, 3).refusal("more than 3 files"); e.Code != frame.CodeBadRequest {
		t.Errorf("%+v", e)
	}
	list(filepath.Join(dir, "nothing"), 3).refusal("no such file")
	list(filepath.Join(dir, "pki", "ca.key"), 1).reply(&got)
	if len(got.Files) != 1 {
		t.Errorf("%+v", got)
	}
}
