package agent

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
)

// listFiles tells what is at a path and below it. Sockets, pipes and devices are left out.
func listFiles(ctx context.Context, s *Session) error {
	var req frame.ListRequest
	if err := s.Decode(&req); err != nil {
		return err
	}
	var reply frame.ListReply
	err := filepath.WalkDir(req.Path, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f := frame.File{Path: path, Mode: info.Mode(), Size: info.Size(), ModTime: info.ModTime()}
		if owner, ok := info.Sys().(*syscall.Stat_t); ok {
			f.UID, f.GID = int(owner.Uid), int(owner.Gid)
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			if f.Link, err = os.Readlink(path); err != nil {
				return err
			}
		case !info.IsDir() && !info.Mode().IsRegular():
			return nil
		}
		if len(reply.Files) == req.Most {
			return frame.Errorf(frame.CodeBadRequest, "list %s: there are more than %d files", req.Path, req.Most)
		}
		reply.Files = append(reply.Files, f)
		return nil
	})
	if err != nil {
		return err
	}
	return s.End(reply)
}
