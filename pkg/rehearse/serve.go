package rehearse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/child"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// Served is an etcd that runs on a restored snapshot, and that only our user can reach.
type Served struct {
	// Endpoint is where its clients reach it: a socket in a private folder, or on Windows a port on the loopback interface.
	Endpoint string
	Client   *clientv3.Client
	// Dir is the private folder that has its data. What its callers put there goes with it.
	Dir    string
	Report *verify.Report

	config Config
	place  place
	server *server
	after  *child.Watcher
	result Result
}

// Serve restores a snapshot and leaves an etcd running on it. What fails leaves nothing behind.
func Serve(ctx context.Context, c Config) (*Served, error) {
	s, err := serve(ctx, c)
	if err != nil {
		return nil, failed(ctx, "start etcd on the snapshot", err)
	}
	return s, nil
}

// EtcdVersion is that of the etcd that runs, such as 3.6.8.
func (s *Served) EtcdVersion() string { return s.result.EtcdVersion }

// ClientFiles are what another client needs of TLS, as its etcd's user root: files in Dir; empty where its etcd has no users.
func (s *Served) ClientFiles() (ca, cert, key string, err error) {
	id := s.server.identity
	if id == nil {
		return "", "", "", nil
	}
	cert, key, err = writePair(filepath.Join(s.Dir, "client"), id.client.Certificates[0])
	return id.ca, cert, key, err
}

// Ended is closed when etcd is gone.
func (s *Served) Ended() <-chan struct{} { return s.server.Done() }

// Close ends etcd and removes its data.
func (s *Served) Close() error {
	if s.Client != nil {
		_ = s.Client.Close()
	}
	if s.server != nil {
		s.server.Stop()
	}
	s.after.Stop()
	s.place.remove()
	if s.Dir == "" {
		return nil
	}
	if err := os.RemoveAll(s.Dir); err != nil {
		return fmt.Errorf("remove temporary folder: %w", err)
	}
	return nil
}

func serve(ctx context.Context, c Config) (_ *Served, err error) {
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	s := &Served{config: c, Report: c.Report}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	tools, err := findTools(ctx, c)
	if err != nil {
		return nil, err
	}
	s.result = Result{EtcdVersion: tools.etcdVersion, RestoreTool: filepath.Base(tools.restore), RestoreToolVersion: tools.restoreVersion}
	if s.Report == nil {
		c.Progress("verify")
		if s.Report, err = verify.File(ctx, c.Snapshot, verify.Options{Raw: c.Raw, TempDir: c.Dir}); err != nil {
			return nil, err
		}
	}
	if s.Dir, err = makeDir(c); err != nil {
		return nil, err
	}
	if err := s.choosePlace(); err != nil {
		return nil, err
	}
	id, err := s.restore(ctx, tools)
	if err != nil {
		return nil, err
	}
	return s, s.start(ctx, tools, id)
}

// choosePlace is before anything is written, so that all goes also when we are killed.
func (s *Served) choosePlace() (err error) {
	if s.place, err = choosePlace(s.Dir, s.Report.AuthEnabled); err == nil {
		s.after = child.RemoveAfterUs(s.Dir, s.place.sockets)
	}
	return err
}

// restore builds the data, and who may read it where its etcd has users.
func (s *Served) restore(ctx context.Context, t tools) (id *identity, err error) {
	plain, took, err := unpack(ctx, s.config, s.Dir)
	if err != nil {
		return nil, err
	}
	s.result.Unpack = took
	s.config.Progress("restore")
	if s.Report.AuthEnabled {
		if id, err = newIdentity(s.Dir); err != nil {
			return nil, err
		}
	}
	started := time.Now()
	err = restore(ctx, t, plain, s.place, s.Report.Raw)
	s.result.Restore = time.Since(started)
	if filepath.Dir(plain) == s.Dir {
		_ = os.Remove(plain) // its data is restored, and its room may be wanted
	}
	return id, err
}

func (s *Served) start(ctx context.Context, t tools, id *identity) (err error) {
	s.config.Progress("start")
	quota := s.config.QuotaBytes
	if quota == 0 {
		quota = max(minQuota, 2*s.Report.DBSize)
	}
	timeout := s.config.StartTimeout
	if timeout == 0 {
		timeout = defaultStartTimeout
	}
	started := time.Now()
	if s.server, err = startEtcd(t.etcd, s.place, quota, id); err != nil {
		return err
	}
	s.Endpoint = s.server.endpoint
	if s.Client, err = s.server.waitHealthy(ctx, timeout); err != nil {
		return err
	}
	s.result.Start = time.Since(started)
	return nil
}
