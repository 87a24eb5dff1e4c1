package rehearse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

const (
	versionTimeout = 10 * time.Second
	restoreTimeout = 30 * time.Minute
)

// tools are the programs and what they say of themselves.
type tools struct {
	etcd, etcdVersion       string
	restore, restoreVersion string
}

func findTools(ctx context.Context, c Config) (t tools, err error) {
	etcd, err := FindTool(ctx, c.Etcd, "etcd", "--version")
	if err != nil {
		return t, err
	}
	restore, err := FindTool(ctx, c.Etcdutl, "etcdutl", "version")
	return tools{etcd.Path, etcd.Version, restore.Path, restore.Version}, err
}

func findProgram(path, name string) (string, error) {
	if path == "" {
		path = name
	}
	found, err := exec.LookPath(path)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrNoBinary, name, err)
	}
	// Absolute, because the programs run in the temporary folder.
	return filepath.Abs(found)
}

var versionLine = regexp.MustCompile(`(?m)^etcd\w* [Vv]ersion: *(\S+)`)

func programVersion(ctx context.Context, path, arg string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, arg)
	cmd.Env = environment()
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s does not run here: %w", ErrNoBinary, path, err)
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("%w: %s is something else: it says %q", ErrNoBinary, path, firstLine(out))
	}
	return string(m[1]), nil
}

// environment is all that etcd's programs get of ours: in a member's image, ETCD_* variables configure the member.
func environment() []string {
	env := []string{
		"ETCDCTL_API=3", // etcdctl before 3.4 asks for it
		"ETCD_UNSUPPORTED_ARCH=" + runtime.GOARCH,
	}
	for _, name := range []string{"PATH", "TMPDIR", "SYSTEMROOT", "TEMP"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// unpack returns the path of a plain snapshot: the file itself, or its decompressed form in dir.
func unpack(ctx context.Context, c Config, dir string) (path string, took time.Duration, err error) {
	start := time.Now()
	f, err := os.Open(c.Snapshot)
	if err != nil {
		return "", 0, fmt.Errorf("open snapshot: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	plain, compression, err := snapshot.Open(f, info.Size())
	if err != nil {
		return "", 0, err
	}
	defer plain.Close()
	if compression == snapshot.None {
		path, err = filepath.Abs(c.Snapshot)
		return path, 0, err
	}
	c.Progress("unpack")
	path = filepath.Join(dir, "snapshot.db")
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", 0, fmt.Errorf("unpack snapshot: %w", err)
	}
	_, err = io.Copy(out, snapshot.WithContext(ctx, plain))
	if err = errors.Join(err, out.Close()); err != nil {
		return "", 0, fmt.Errorf("unpack snapshot: %w", err)
	}
	return path, time.Since(start), nil
}

// restore builds a data directory with etcd's own tool. The trailer is skipped only for a database that has none.
func restore(ctx context.Context, t tools, plain string, p place, raw bool) error {
	ctx, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	args := []string{"snapshot", "restore", plain, "--name", memberName, "--data-dir", dataDir,
		"--initial-cluster", memberName + "=" + p.peer, "--initial-advertise-peer-urls", p.peer,
		"--initial-cluster-token", "kubectl-etcd-rehearsal"}
	if raw {
		args = append(args, "--skip-hash-check")
	}
	if err := (Tool{Path: t.restore}).Run(ctx, p.dir, args...); err != nil {
		return fmt.Errorf("%w: %w", ErrRestore, err)
	}
	return nil
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(string(bytes.TrimSpace(b)), "\n")
	return line[:min(len(line), 200)]
}
