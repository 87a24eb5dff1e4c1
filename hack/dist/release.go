package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// Sizes that users feel; see docs/performance.md.
const (
	maxProgram = 95e6
	maxArchive = 40e6
)

type release struct {
	version string
	ldflags string
	root    string // of the repository
	out     string
	log     io.Writer
}

// built is a platform with the archive that was made for it, as the manifest's template sees it.
type built struct {
	platform
	SHA256 string
}

// make builds, packs, sums up and fills the manifest in.
func (r release) make(ctx context.Context, chosen []platform) error {
	if !semver.MatchString(r.version) {
		return fmt.Errorf("version %q is not like v1.2.3", r.version)
	}
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(r.out, "krew"), 0o755); err != nil { //nolint:gosec // a release is for all
		return err
	}
	var all []built
	var sums strings.Builder
	for _, p := range chosen {
		started := time.Now()
		archive, program, err := r.pack(ctx, p)
		if err != nil {
			return fmt.Errorf("make archive for %s/%s: %w", p.OS, p.Arch, err)
		}
		sum := sha256.Sum256(archive)
		b := built{p, hex.EncodeToString(sum[:])}
		all = append(all, b)
		fmt.Fprintf(&sums, "%s  %s\n", b.SHA256, p.Archive())
		fmt.Fprintf(r.log, "%-34s %5.1f MB, program %5.1f MB, %.0f s\n", p.Archive(), float64(len(archive))/1e6, float64(program)/1e6, time.Since(started).Seconds())
	}
	if err := os.WriteFile(filepath.Join(r.out, "checksums.txt"), []byte(sums.String()), 0o644); err != nil { //nolint:gosec // a release is for all
		return err
	}
	manifest, err := fill(filepath.Join(r.root, "krew", "etcd.yaml.tmpl"), r.version, all)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, "krew", "etcd.yaml"), manifest, 0o644) //nolint:gosec // a release is for all
}

// pack builds the plugin for a platform and packs it.
func (r release) pack(ctx context.Context, p platform) (archive []byte, program int, err error) {
	dir, err := os.MkdirTemp("", "kubectl-etcd-dist-")
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, p.Program())
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "disable_grpc_modules", "-ldflags", r.ldflags, "-o", path, "./cmd/kubectl-etcd")
	cmd.Dir = r.root
	// Nothing of the builder's own settings: they would end up in the program.
	cmd.Env = append(os.Environ(), "GOOS="+p.OS, "GOARCH="+p.Arch, "CGO_ENABLED=0", "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, 0, fmt.Errorf("build: %w: %s", err, out)
	}
	binary, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, err
	}
	licence, err := os.ReadFile(filepath.Join(r.root, "LICENSE"))
	if err != nil {
		return nil, 0, err
	}
	archive, err = bundle(p.Archive(), []entry{{"LICENSE", 0o644, licence}, {p.Program(), 0o755, binary}})
	if err != nil {
		return nil, 0, err
	}
	if len(binary) > maxProgram || len(archive) > maxArchive {
		return nil, 0, fmt.Errorf("program %.1f MB, archive %.1f MB; at most %.0f and %.0f", float64(len(binary))/1e6, float64(len(archive))/1e6, maxProgram/1e6, maxArchive/1e6)
	}
	return archive, len(binary), os.WriteFile(filepath.Join(r.out, p.Archive()), archive, 0o644) //nolint:gosec // a release is for all
}

// fill fills the manifest's template in.
func fill(path, version string, all []built) ([]byte, error) {
	t, err := template.ParseFiles(path)
	if err != nil {
		return nil, fmt.Errorf("read manifest's template: %w", err)
	}
	var out bytes.Buffer
	if err := t.Option("missingkey=error").Execute(&out, map[string]any{"Version": version, "Platforms": all}); err != nil {
		return nil, fmt.Errorf("fill manifest in: %w", err)
	}
	// The comment is about the template.
	text := out.Bytes()
	for bytes.HasPrefix(text, []byte("#")) {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return text, nil
}
