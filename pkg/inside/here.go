package inside

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/apiserver"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
)

// here is a snapshot that is open on this machine.
type here struct {
	etcd *rehearse.Served
	api  *apiserver.Server
}

func openHere(ctx context.Context, c Config, prefix string) (_ opened, err error) {
	if _, _, err := apiserver.Find(ctx, c.APIServer); err != nil {
		return nil, noProgram(err) // before anything is restored
	}
	h := &here{}
	if h.etcd, err = rehearse.Serve(ctx, c.Etcd); errors.Is(err, rehearse.ErrNoBinary) {
		return nil, noProgram(err)
	} else if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	c.Etcd.Progress("API server")
	a := apiserver.Config{Program: c.APIServer, Dir: h.etcd.Dir, Endpoint: h.etcd.Endpoint, Prefix: prefix, EncryptionConfig: c.EncryptionConfig, EtcdEnded: h.etcd.Ended()}
	if a.EncryptionConfig != "" {
		if a.EncryptionConfig, err = filepath.Abs(a.EncryptionConfig); err != nil {
			return nil, err
		}
	}
	if a.CA, a.Cert, a.Key, err = h.etcd.ClientFiles(); err != nil {
		return nil, err
	}
	if h.api, err = apiserver.Start(ctx, a); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("start API server on the snapshot: %w", err)
	}
	return h, nil
}

func (h *here) Access() apiserver.Access            { return h.api.Access }
func (h *here) Versions() (etcd, kubernetes string) { return h.etcd.EtcdVersion(), h.api.Version }
func (h *here) Dir() string                         { return h.etcd.Dir }

func (h *here) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-h.api.Done():
		return fmt.Errorf("the API server on the snapshot ended: %s", h.api.Ended())
	case <-h.etcd.Ended():
		return errors.New("the etcd on the snapshot ended")
	}
}

func (h *here) Close() error {
	if h.api != nil {
		h.api.Stop()
	}
	return h.etcd.Close()
}

// writeKubeconfig writes a kubeconfig that only our user can read.
func writeKubeconfig(path string, a apiserver.Access) error {
	const name = "snapshot"
	k := clientcmdapi.NewConfig()
	k.Clusters[name] = &clientcmdapi.Cluster{Server: a.URL(), CertificateAuthorityData: a.CA}
	k.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: a.Token}
	k.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	k.CurrentContext = name
	return clientcmd.WriteToFile(*k, path)
}
