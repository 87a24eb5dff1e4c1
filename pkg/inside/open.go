// Package inside looks into a snapshot. A real etcd and a real API server are started on it, on this machine or in a pod, and for
// our user only, so that kubectl itself is the browser, and every kind that the cluster knew can be read.
package inside

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/apiserver"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/rehearse"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// Error is why a snapshot cannot be opened, with the way out.
type Error struct {
	Reason, Way string
	Cause       error
}

func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Reason
	}
	return fmt.Sprintf("%s: %v", e.Reason, e.Cause)
}
func (e *Error) Unwrap() error { return e.Cause }

// Hint is the way out.
func (e *Error) Hint() string { return e.Way }

// noProgram says that a program is not here.
func noProgram(err error) error {
	return &Error{Reason: "open snapshot", Cause: err, Way: "a snapshot is opened with etcd's and Kubernetes' own programs: put etcd, etcdutl and kube-apiserver on the PATH, name them with --etcd, --etcdutl and --kube-apiserver, or use those of a control plane with --in=pod"}
}

// Config says what is opened and with which programs.
type Config struct {
	// Etcd is the snapshot, and etcd's programs. A Report in it spares a verification.
	Etcd rehearse.Config
	// APIServer is the path of kube-apiserver, by default the one on the PATH.
	APIServer string
	// Prefix is what the control plane's keys start with (its --etcd-prefix); empty: the snapshot has one only.
	Prefix string
	// EncryptionConfig is the path of an EncryptionConfiguration, for what is encrypted at rest; empty: there is none.
	EncryptionConfig string
	// Uploaded is told of bytes that are sent into a pod; nil is silent.
	Uploaded func(done, total int64)
	// Bench is where both run in a pod, with the images of a control plane; nil: they run on this machine.
	Bench *Bench
}

// Server is a snapshot that is open.
type Server struct {
	// Kubeconfig is the path of a file that leads to it, which only our user can read.
	Kubeconfig string
	// Version is that of the API server, such as 1.36.3; EtcdVersion that of its etcd.
	Version, EtcdVersion string
	Prefix               string
	Report               *verify.Report
	// Start is how long etcd and the API server took together, from the snapshot's file.
	Start time.Duration

	open     opened
	from     rehearse.Config
	mu       sync.Mutex
	names    map[schema.GroupResource]map[types.NamespacedName]bool // of custom resources; nil: not read yet
	client   *apiserver.Client
	decrypts bool
}

// opened is an etcd and an API server on a snapshot, wherever they run.
type opened interface {
	// Access is how the API server is reached from this machine.
	Access() apiserver.Access
	Versions() (etcd, kubernetes string)
	// Dir is a folder of this machine that only our user can enter, and that goes with it.
	Dir() string
	// Wait returns why one of them ended by itself, or nil when ctx is over.
	Wait(ctx context.Context) error
	Close() error
}

// Open brings a snapshot up. What fails leaves nothing behind; what does not is ended by Close.
func Open(ctx context.Context, c Config) (_ *Server, err error) {
	if c.Etcd.Progress == nil {
		c.Etcd.Progress = func(string) {}
	}
	began := time.Now()
	if c.Etcd.Report == nil {
		c.Etcd.Progress("verify")
		if c.Etcd.Report, err = verify.File(ctx, c.Etcd.Snapshot, verify.Options{Raw: c.Etcd.Raw, TempDir: c.Etcd.Dir}); err != nil {
			return nil, err
		}
	}
	s := &Server{Report: c.Etcd.Report, from: c.Etcd, decrypts: c.EncryptionConfig != ""}
	if s.Prefix, err = Prefix(s.Report, c.Prefix); err != nil {
		return nil, err
	}
	if err := s.readable(); err != nil {
		return nil, err
	}
	if c.Bench == nil {
		s.open, err = openHere(ctx, c, s.Prefix)
	} else {
		s.open, err = openInPod(ctx, c, s.Prefix)
	}
	if err != nil {
		return nil, err
	}
	s.EtcdVersion, s.Version = s.open.Versions()
	s.client = s.open.Access().Client()
	s.Kubeconfig = filepath.Join(s.open.Dir(), "kubeconfig")
	if err := writeKubeconfig(s.Kubeconfig, s.open.Access()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.Start = time.Since(began)
	return s, nil
}

// readable refuses what no API server starts on: it reads these kinds for itself.
func (s *Server) readable() error {
	for _, e := range s.Report.Encrypted {
		switch e.Kind {
		case "namespaces", "clusterroles", "clusterrolebindings", "roles", "rolebindings", "apiextensions.k8s.io/customresourcedefinitions", "apiregistration.k8s.io/apiservices", "services/specs":
			if e.Prefix == s.Prefix && !s.decrypts {
				return &Error{Reason: fmt.Sprintf("open snapshot: its %s are encrypted with %s, key %s, and no API server starts without them", e.Kind, e.Provider, e.KeyName),
					Way: "name the API servers' EncryptionConfiguration with --encryption-config"}
			}
		}
	}
	return nil
}

// Close ends both and removes all that they had.
func (s *Server) Close() error { return s.open.Close() }

// REST is how clients reach it.
func (s *Server) REST() (*rest.Config, error) {
	return clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
}

// CacheDir is where kubectl is to keep what it learns of this API server: ports are used again, for other snapshots.
func (s *Server) CacheDir() string { return filepath.Join(s.open.Dir(), "cache") }

// Wait returns when ctx ends, which is no error, or when etcd or the API server has ended by itself.
func (s *Server) Wait(ctx context.Context) error { return s.open.Wait(ctx) }

// Prefix chooses the control plane that is opened: the one that was named, or the only one.
func Prefix(r *verify.Report, named string) (string, error) {
	var all []string
	for _, k := range r.Kubernetes {
		if all = append(all, k.Prefix); k.Prefix == named {
			return named, nil
		}
	}
	switch {
	case len(all) == 0:
		return "", &Error{Reason: "open snapshot: it holds no Kubernetes: no key is that of a kube-system namespace"}
	case named != "":
		return "", &Error{Reason: "open snapshot: it holds no Kubernetes under " + named, Way: "name one of these with --etcd-prefix: " + strings.Join(all, ", ")}
	case len(all) > 1:
		return "", &Error{Reason: fmt.Sprintf("open snapshot: it holds %d control planes", len(all)), Way: "name one of these with --etcd-prefix: " + strings.Join(all, ", ")}
	}
	return all[0], nil
}
