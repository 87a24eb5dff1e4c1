package plugin

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/hint"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify/etcdtest"
)

// apiServer has a kube-system namespace and no pods, and writes down what it was asked.
type apiServer struct {
	status int
	uid    string

	mu    sync.Mutex
	asked []string
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked = append(a.asked, r.Method+" "+r.URL.Path)
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/api/v1/namespaces/kube-system":
		w.WriteHeader(a.status)
		if a.status != http.StatusOK {
			fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":%d,"message":"namespaces \"kube-system\" is forbidden: User \"u\" cannot get"}`, a.status)
			return
		}
		fmt.Fprintf(w, `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":%q}}`, a.uid)
	default:
		fmt.Fprint(w, `{"kind":"List","apiVersion":"v1","items":[]}`)
	}
}

// TestRehearseUploadsOnlyHome: without being told, a snapshot goes into no other cluster than its own.
func TestRehearseUploadsOnlyHome(t *testing.T) {
	b := etcdtest.Find(t, "3.6")
	s := etcdtest.Start(t, b)
	empty := s.Save(t)
	s.Fill(t, 10)
	full := s.Save(t)
	t.Setenv("PATH", t.TempDir())
	const namespace, pods = "GET /api/v1/namespaces/kube-system", "GET /api/v1/namespaces/kube-system/pods"
	other := "00000000-3e4f-4a5b-8c6d-7e8f9a0b1c2d"
	for _, c := range []struct {
		name, file, uid string
		args            []string
		status          int
		asked           []string // to begin with
		words           string
	}{
		{"own", full, etcdtest.KubeSystemUID, []string{"--rehearse"}, 200, []string{namespace, pods}, "find an etcd image to rehearse with"},
		{"other", full, other, []string{"--rehearse"}, 200, []string{namespace}, "has the UID " + etcdtest.KubeSystemUID + `, that of the context "c" has ` + other},
		{"forbidden", full, etcdtest.KubeSystemUID, []string{"--rehearse"}, 403, []string{namespace}, "is forbidden"},
		{"unknown", empty, "", []string{"--rehearse"}, 200, nil, "does not tell"},
		{"target", full, etcdtest.KubeSystemUID, []string{"--rehearse", "--target", "a/b"}, 200, nil, "name another etcd"},
		{"namespace", full, etcdtest.KubeSystemUID, []string{"--rehearse", "-n", "a"}, 200, nil, "name another etcd"},
		{"told", full, other, []string{"--rehearse=pod"}, 200, []string{pods}, "find an etcd image to rehearse with"},
	} {
		t.Run(c.name, func(t *testing.T) {
			api := &apiServer{status: c.status, uid: c.uid}
			srv := httptest.NewServer(api)
			defer srv.Close()
			config := filepath.Join(t.TempDir(), "config")
			text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}], clusters: [{name: c, cluster: {server: %q}}], users: [{name: u, user: {}}]}`, srv.URL)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var out, errOut bytes.Buffer
			code := Execute(t.Context(), genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &out, ErrOut: &errOut}, append([]string{"verify", c.file, "--kubeconfig", config}, c.args...))
			if code == exitOK || !strings.Contains(errOut.String(), c.words) {
				t.Errorf("code %d: %s", code, &errOut)
			}
			if n := len(c.asked); len(api.asked) < n || !slices.Equal(api.asked[:n], c.asked) || !slices.Contains(c.asked, pods) && len(api.asked) > n {
				t.Errorf("asked %q", api.asked)
			}
			refused := !slices.Contains(c.asked, pods)
			if hinted := strings.Contains(errOut.String(), "hint: install etcd and etcdutl on the PATH, or let a member's image do it: kubectl etcd verify FILE --rehearse=pod"); hinted != refused {
				t.Errorf("%s", &errOut)
			}
		})
	}
}

// TestWrittenHint: the way out of a snapshot that another program has opened for writing has the flags of the command.
func TestWrittenHint(t *testing.T) {
	written := fmt.Errorf("verify x.db: %w", verify.ErrWritten)
	sidecar := fmt.Errorf("verify x.db: %w", &verify.SidecarError{Field: "sha256", Cause: verify.ErrWritten})
	root := Command()
	for _, c := range []struct {
		command string
		err     error
		words   []string
	}{
		{"verify", written, []string{"read it with --raw;"}},
		{"verify", sidecar, []string{"--raw --no-sidecar"}},
		{"restore", written, []string{"without its last 32 bytes with --skip-hash-check"}},
		{"restore", sidecar, []string{"move the sidecar away", "--skip-hash-check"}},
	} {
		cmd, _, err := root.Find([]string{c.command})
		if err != nil {
			t.Fatal(err)
		}
		got := hint.For(cmd, c.err)
		for _, w := range c.words {
			if !strings.Contains(got, w) {
				t.Errorf("%s: %v: %s", c.command, c.err, got)
			}
		}
	}
}
