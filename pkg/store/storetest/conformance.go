// Package storetest is what every store has to keep to.
package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
)

// Run tests a store; open makes an empty one, for one test.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	tests := map[string]func(*testing.T, store.Store){
		"appears when it is committed": appears, "an end that is no commit": aborts, "never overwrites": overwrites, "one of two wins": races,
		"large": large, "reads from an offset": offsets, "changed under a reader": changed, "missing": missing, "lists": lists,
		"ends with its context": cancelled, "odd names": odd,
	}
	probe := open(t)
	if _, ok := probe.(store.Sweeper); ok {
		tests["sweeps"] = sweeps
	}
	if _, ok := probe.(store.Signer); ok {
		tests["signs"] = signs
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// Put makes an object, or fails the test.
func Put(t *testing.T, s store.Store, name string, data []byte) store.Info {
	t.Helper()
	info, err := store.Put(t.Context(), s, name, data, false)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// Get reads an object, or fails the test.
func Get(t *testing.T, s store.Store, name string) []byte {
	t.Helper()
	data, err := store.ReadAll(t.Context(), s, name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Names are those of all objects that begin like this, sorted.
func Names(t *testing.T, s store.Store, prefix string) []string {
	t.Helper()
	names := []string{}
	if err := s.List(t.Context(), prefix, func(i store.Info) error { names = append(names, i.Name); return nil }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func absent(t *testing.T, s store.Store, name string) {
	t.Helper()
	if i, err := s.Stat(t.Context(), name); !store.Missing(err) {
		t.Errorf("%s is there: %+v, %v", name, i, err)
	}
	if names := Names(t, s, ""); slices.Contains(names, name) {
		t.Errorf("listed: %v", names)
	}
}

// Bytes are the same ones for a size.
func Bytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(b)
	return b
}

func appears(t *testing.T, s store.Store) {
	w, err := s.Create(t.Context(), "a/b.db", store.CreateOptions{Size: 5})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "hello"); err != nil {
		t.Fatal(err)
	}
	absent(t, s, "a/b.db")
	info, err := w.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.Abort() // does nothing
	there, err := s.Stat(t.Context(), "a/b.db")
	if err != nil || there.Size != 5 || there.Version == "" || there.Version != info.Version || time.Since(there.Changed).Abs() > time.Hour {
		t.Errorf("%+v, %+v, %v", there, info, err)
	}
	if got := Get(t, s, "a/b.db"); string(got) != "hello" {
		t.Errorf("%q", got)
	}
	if err := s.Delete(t.Context(), "a/b.db"); err != nil {
		t.Error(err)
	}
	absent(t, s, "a/b.db")
	if err := s.Delete(t.Context(), "a/b.db"); err != nil {
		t.Errorf("what is not there: %v", err)
	}
}

func aborts(t *testing.T, s store.Store) {
	for _, size := range []int{0, 5, 20 << 20} {
		w, err := s.Create(t.Context(), "x.db", store.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(Bytes(size)); err != nil {
			t.Fatal(err)
		}
		w.Abort()
		w.Abort()
		absent(t, s, "x.db")
		unswept(t, s, 0)
	}
}

func unswept(t *testing.T, s store.Store, want int) (found []store.Upload) {
	t.Helper()
	if sweeper, ok := s.(store.Sweeper); ok {
		if err := sweeper.Uploads(t.Context(), "", func(u store.Upload) error { found = append(found, u); return nil }); err != nil {
			t.Fatal(err)
		}
		if want >= 0 && len(found) != want {
			t.Errorf("unfinished uploads: %+v", found)
		}
	}
	return found
}

func overwrites(t *testing.T, s store.Store) {
	Put(t, s, "x.db", []byte("first"))
	if _, err := s.Create(t.Context(), "x.db", store.CreateOptions{}); !errors.Is(err, store.ErrExists) {
		t.Errorf("create: %v", err)
	}
	for _, size := range []int{5, 20 << 20} {
		name := fmt.Sprintf("%d.db", size)
		w, err := s.Create(t.Context(), name, store.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(Bytes(size)); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Put(t.Context(), s, name, []byte("meanwhile"), true); err != nil {
			if errors.Is(err, store.ErrBusy) { // it is locked
				w.Abort()
				continue
			}
			t.Fatal(err)
		}
		if _, err := w.Commit(t.Context()); !errors.Is(err, store.ErrExists) {
			t.Errorf("commit: %v", err)
		}
		if got := Get(t, s, name); string(got) != "meanwhile" {
			t.Errorf("%d bytes", len(got))
		}
	}
	unswept(t, s, 0)
	if _, err := store.Put(t.Context(), s, "x.db", []byte("second"), true); err != nil {
		t.Error(err)
	}
	if got := Get(t, s, "x.db"); string(got) != "second" {
		t.Errorf("replaced: %q", got)
	}
}

func races(t *testing.T, s store.Store) {
	var all sync.WaitGroup
	var mu sync.Mutex
	won := []string{}
	for i := range 5 {
		all.Go(func() {
			data := fmt.Sprint("of ", i)
			_, err := store.Put(t.Context(), s, "one.db", []byte(data), false)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won = append(won, data)
			case !errors.Is(err, store.ErrExists) && !errors.Is(err, store.ErrBusy):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(won) != 1 || string(Get(t, s, "one.db")) != won[0] {
		t.Errorf("won: %v", won)
	}
}

func large(t *testing.T, s store.Store) {
	data := Bytes(37<<20 + 11)
	w, err := s.Create(t.Context(), "large.db", store.CreateOptions{Size: int64(len(data))})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{bytes.NewReader(data)}, make([]byte, 100_003)); err != nil {
		t.Fatal(err)
	}
	absent(t, s, "large.db")
	info, err := w.Commit(t.Context())
	if err != nil || info.Size != int64(len(data)) {
		t.Fatal(info, err)
	}
	h := sha256.New()
	r := store.Patience.Read(t.Context(), s, info, nil)
	if _, err := io.Copy(h, r); err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(data); !bytes.Equal(h.Sum(nil), sum[:]) {
		t.Error("other bytes come out")
	}
}

func offsets(t *testing.T, s store.Store) {
	info := Put(t, s, "x.db", []byte("0123456789"))
	for offset, want := range map[int64]string{0: "0123456789", 1: "123456789", 9: "9"} {
		r, err := s.Open(t.Context(), "x.db", offset, info.Version)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != want || r.Close() != nil {
			t.Errorf("from %d: %q, %v", offset, got, err)
		}
	}
}

func changed(t *testing.T, s store.Store) {
	first := Put(t, s, "x.db", []byte("first"))
	time.Sleep(10 * time.Millisecond) // a file system's clock ticks
	if _, err := store.Put(t.Context(), s, "x.db", []byte("other"), true); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Open(t.Context(), "x.db", 2, first.Version); !errors.Is(err, store.ErrChanged) {
		t.Errorf("%v, %v", r, err)
	}
	r := store.Patience.Read(t.Context(), s, first, nil)
	if data, err := io.ReadAll(r); !errors.Is(err, store.ErrChanged) {
		t.Errorf("%q, %v", data, err)
	}
}

func missing(t *testing.T, s store.Store) {
	if _, err := s.Open(t.Context(), "no/such.db", 0, ""); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), s.URL("no/such.db")) {
		t.Errorf("open: %v", err)
	}
	if _, err := s.Stat(t.Context(), "no/such.db"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat: %v", err)
	}
	if names := Names(t, s, "no/"); len(names) != 0 {
		t.Errorf("%v", names)
	}
}

func lists(t *testing.T, s store.Store) {
	var want []string
	var all sync.WaitGroup
	turns := make(chan struct{}, 16)
	for i := range 1100 { // more than a page
		name := fmt.Sprintf("p/%04d.db", i)
		want = append(want, name)
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			if _, err := store.Put(t.Context(), s, name, []byte("x"), false); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	Put(t, s, "q/other.db", []byte("x"))
	if got := Names(t, s, "p/"); !slices.Equal(got, want) {
		t.Errorf("%d names", len(got))
	}
	if got := Names(t, s, "p/010"); len(got) != 10 {
		t.Errorf("with a part of a name: %v", got)
	}
	stop := errors.New("enough")
	seen := 0
	if err := s.List(t.Context(), "", func(store.Info) error { seen++; return stop }); !errors.Is(err, stop) || seen != 1 {
		t.Errorf("after %d: %v", seen, err)
	}
}

// sweeps finds what a killed client has left.
func sweeps(t *testing.T, s store.Store) {
	sweeper, ok := s.(store.Sweeper)
	if !ok {
		t.Fatal("not any more")
	}
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	w, err := s.Create(ctx, "p/left.db", store.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := w.Write(Bytes(20 << 20)); err != nil {
		t.Fatal(err)
	}
	unswept(t, s, 1)
	kill()
	// A part that was under way makes its upload anew, here as with Amazon's, as long as the server is at it.
	for none, end := 0, time.Now().Add(time.Minute); none < 20 && time.Now().Before(end); none++ {
		found := unswept(t, s, -1)
		if len(found) > 0 {
			none = 0
		}
		for _, u := range found {
			if u.Name != "p/left.db" || time.Since(u.Begun).Abs() > time.Hour {
				t.Errorf("%+v", u)
			}
			for range 2 { // twice is no error
				if err := sweeper.Drop(t.Context(), u); err != nil {
					t.Error(err)
				}
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	unswept(t, s, 0)
	w.Abort() // finds it gone
	absent(t, s, "p/left.db")
}

func signs(t *testing.T, s store.Store) {
	signer, ok := s.(store.Signer)
	if !ok {
		t.Fatal("not any more")
	}
	Put(t, s, "a b/c+d.db", []byte("signed"))
	url, err := signer.Sign(t.Context(), "a b/c+d.db", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(url) //nolint:noctx,gosec // what a user does
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if data, err := io.ReadAll(resp.Body); err != nil || string(data) != "signed" {
		t.Errorf("%d, %q, %v", resp.StatusCode, data, err)
	}
}

func cancelled(t *testing.T, s store.Store) {
	cause := errors.New("enough of it")
	for _, size := range []int{5, 20 << 20} {
		ctx, cancel := context.WithCancelCause(t.Context())
		w, err := s.Create(ctx, "x.db", store.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(Bytes(size)); err != nil {
			t.Fatal(err)
		}
		cancel(cause)
		if _, err := w.Commit(ctx); !errors.Is(err, cause) && !errors.Is(err, context.Canceled) {
			t.Errorf("commit: %v", err)
		}
		w.Abort()
		absent(t, s, "x.db")
		unswept(t, s, 0)
	}
}

func odd(t *testing.T, s store.Store) {
	for _, name := range []string{"a b.db", "a+b.db", "ä/ö.db", "a%20b.db", "a?b=c.db", "a#b.db"} {
		Put(t, s, name, []byte(name))
		if got := Get(t, s, name); string(got) != name {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := Names(t, s, "a"); len(got) != 5 {
		t.Errorf("%q", got)
	}
}
