package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/apiserver"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// hold keeps its container, until its client is gone.
func hold(ctx context.Context, s *Session) error {
	s.Progress(agentapi.Serving[struct{}]{Served: &struct{}{}})
	<-ctx.Done()
	return context.Cause(ctx)
}

// serveEtcd runs an etcd on a snapshot that was uploaded, until its client is gone.
func serveEtcd(ctx context.Context, s *Session) (err error) {
	var req agentapi.ServeEtcdRequest
	if err := s.Decode(&req); err != nil {
		return err
	}
	report := &verify.Report{Raw: req.Raw, AuthEnabled: req.AuthEnabled, Content: snapshot.Content{DBSize: req.DBSize}}
	etcd, err := rehearse.Serve(ctx, rehearse.Config{
		Snapshot: req.Path, Raw: req.Raw, Report: report, Dir: filepath.Dir(req.Path),
		Progress: func(step string) { s.Progress(agentapi.Serving[agentapi.ServedEtcd]{Step: step}) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, etcd.Close()) }()
	served := agentapi.ServedEtcd{Dir: etcd.Dir, Endpoint: etcd.Endpoint, Version: etcd.EtcdVersion()}
	if served.CA, served.Cert, served.Key, err = etcd.ClientFiles(); err != nil {
		return err
	}
	s.Progress(agentapi.Serving[agentapi.ServedEtcd]{Served: &served})
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-etcd.Ended():
		return errors.New("the etcd on the snapshot ended")
	}
}

// serveAPI runs an API server on that etcd, until its client is gone.
func serveAPI(ctx context.Context, s *Session) error {
	var req agentapi.ServeAPIRequest
	if err := s.Decode(&req); err != nil {
		return err
	}
	api, err := apiserver.Start(ctx, apiserver.Config{Dir: req.Etcd.Dir, Endpoint: req.Etcd.Endpoint,
		CA: req.Etcd.CA, Cert: req.Etcd.Cert, Key: req.Etcd.Key, Prefix: req.Prefix, EncryptionConfig: req.EncryptionConfig})
	if err != nil {
		return err
	}
	defer api.Stop()
	if req.EncryptionConfig != "" { // it has been read
		if err := os.Remove(req.EncryptionConfig); err != nil {
			return err
		}
	}
	s.Progress(agentapi.Serving[agentapi.ServedAPI]{Served: &agentapi.ServedAPI{Access: api.Access, Version: api.Version}})
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-api.Done():
		return errors.New("the API server on the snapshot ended: " + api.Ended())
	}
}
