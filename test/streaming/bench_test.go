package streaming

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/podexec"
)

// BenchmarkDownload and BenchmarkUpload move 256 MiB through everything, TLS and proofs included. Client, servers and
// agent share the machine.
func BenchmarkDownload(b *testing.B) {
	bothWays(b, func(b *testing.B, bed *bed, path string, data []byte) {
		if _, err := bed.client.Talk(target, []string{agentPath}, "").Call(b.Context(), read(path), podexec.CallOptions{Sink: io.Discard}); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkUpload(b *testing.B) {
	to := filepath.Join(b.TempDir(), "uploaded")
	bothWays(b, func(b *testing.B, bed *bed, path string, data []byte) {
		if _, err := bed.client.Talk(target, []string{agentPath}, "").CopyTo(b.Context(), bytes.NewReader(data), int64(len(data)), to, podexec.CopyOptions{}); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkBareExec is the ceiling: the same bytes by a plain exec, unproven.
func BenchmarkBareExec(b *testing.B) {
	bothWays(b, func(b *testing.B, bed *bed, path string, data []byte) {
		if err := bed.client.Run(b.Context(), target, podexec.Cmd{Args: []string{"cat", path}, Stdout: io.Discard}); err != nil {
			b.Fatal(err)
		}
	})
}

func bothWays(b *testing.B, one func(b *testing.B, bed *bed, path string, data []byte)) {
	path, _ := randomFile(b, 256<<20)
	data, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	for name, opts := range map[string]bedOptions{"websocket": {}, "spdy": {noTranslator: true}} {
		b.Run(name, func(b *testing.B) {
			bed := newBed(b, opts)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				one(b, bed, path, data)
			}
		})
	}
}
