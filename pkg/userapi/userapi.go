// Package userapi asks the API servers of a hosted control plane for what they show to the users of its cluster: each pod by
// itself, as a controller of that cluster does.
package userapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
)

// Server is a workload of API servers, and the port on which its pods serve.
type Server struct {
	Object string `json:"object"` // NAMESPACE/KIND/NAME
	Port   int    `json:"port"`
}

// Access is how the cluster's own API is asked: with a kubeconfig that one of its controllers uses. The
// journal has its place only.
type Access struct {
	// Own says that it is the cluster which is talked to anyway, and that its user asks.
	Own     bool     `json:"own,omitempty"`
	Secret  string   `json:"secret,omitempty"` // NAMESPACE/NAME
	Key     string   `json:"key,omitempty"`
	Servers []Server `json:"servers"`
}

// Find looks for one among those who use a control plane's etcd and those who use its API; where there is none, the note says
// why API servers will not be asked.
func Find(ctx context.Context, c *reach.Clients, namespace string, writers, controllers []controlplane.Writer) (_ *Access, note string) {
	const unasked = "the API servers will not be asked whether they have read everything anew: "
	a := &Access{}
	for _, w := range writers {
		port, ok := w.APIServerPort()
		switch {
		case !ok || w.Replicas == 0:
		case w.Namespace != namespace:
			return nil, unasked + w.ID() + " is in namespace " + w.Namespace
		default:
			a.Servers = append(a.Servers, Server{w.Namespace + "/" + w.ID(), port})
		}
	}
	if len(a.Servers) == 0 {
		return nil, ""
	}
	if err := c.Require(ctx, namespace, reach.Rights(reach.Forward)); err != nil {
		return nil, unasked + err.Error()
	}
	for _, w := range controllers {
		for _, v := range w.Template.Spec.Volumes {
			if v.Secret == nil {
				continue
			}
			s, err := c.Core.Secrets(namespace).Get(ctx, v.Secret.SecretName, metav1.GetOptions{})
			if err != nil {
				continue // optional, or not for these eyes
			}
			for _, key := range slices.Sorted(maps.Keys(s.Data)) {
				if _, err := userOf(s, key); err == nil {
					a.Secret, a.Key = namespace+"/"+s.Name, key
					return a, ""
				}
			}
		}
	}
	return nil, unasked + "no Secret of a controller manager or scheduler holds a kubeconfig"
}

// userOf reads a kubeconfig that needs no other files.
func userOf(s *corev1.Secret, key string) (*restclient.Config, error) {
	raw, err := clientcmd.Load(s.Data[key])
	if err != nil {
		return nil, err
	}
	if len(raw.Contexts) == 0 {
		return nil, errors.New("it is no kubeconfig")
	}
	cfg, err := clientcmd.NewDefaultClientConfig(*raw, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, err
	}
	if cfg.CAFile != "" || cfg.CertFile != "" || cfg.KeyFile != "" || cfg.BearerTokenFile != "" || cfg.ExecProvider != nil || cfg.AuthProvider != nil {
		return nil, errors.New("it names files or programs that are not here")
	}
	return cfg, nil
}

// API is one pod of an API server. Close it.
type API struct {
	client *http.Client
	host   string // with https://
	pod    string
	user   string // who asks, for people
}

// Open reaches one pod of an API server through its port.
func Open(ctx context.Context, c *reach.Clients, a Access, namespace, pod string, port int) (*API, error) {
	cfg, err := a.config(ctx, c)
	if err != nil {
		return nil, err
	}
	cfg.Dial, cfg.Timeout = reach.PodDialer(c, namespace, pod, port), 10*time.Second
	cfg.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil } // one that leads to other clusters leads nowhere here
	client, err := restclient.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("make client for pod %s: %w", pod, err)
	}
	host := cfg.Host
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	user := "the user of Secret " + a.Secret
	if a.Own {
		user = "this kubeconfig's user"
	}
	return &API{client, strings.TrimSuffix(host, "/"), pod, user}, nil
}

// config is of the user that asks.
func (a Access) config(ctx context.Context, c *reach.Clients) (*restclient.Config, error) {
	if a.Own {
		return restclient.CopyConfig(c.Config), nil
	}
	ns, name, _ := strings.Cut(a.Secret, "/")
	s, err := c.Core.Secrets(ns).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	cfg, err := userOf(s, a.Key)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig in Secret %s: %w", a.Secret, err)
	}
	return cfg, nil
}

// Ready asks whether it serves.
func (u *API) Ready(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.host+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := u.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("pod %s is not ready: %s", u.pod, resp.Status)
	}
	return nil
}

// Close ends its connections.
func (u *API) Close() { u.client.CloseIdleConnections() }

// list asks for metadata only. There is no list, and no error, of what this user may not see.
func (u *API) list(ctx context.Context, path string, query url.Values) (*metav1.PartialObjectMetadataList, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.host+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
	resp, err := u.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusNotFound:
		return nil, nil
	case resp.StatusCode == http.StatusGone:
		return nil, ErrCompacted
	case resp.StatusCode != http.StatusOK:
		return nil, errors.New(resp.Status)
	}
	list := &metav1.PartialObjectMetadataList{}
	return list, json.Unmarshal(body, list)
}
