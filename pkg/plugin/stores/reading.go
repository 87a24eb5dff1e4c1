package stores

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/catalog"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/seal"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/stored"
)

// Terminal is how a command talks to a person.
type Terminal interface {
	// Explain says what only -v shows.
	Explain(format string, args ...any)
	// Progress is told of bytes; Done ends it.
	Progress(done, total, wire int64)
	Done()
	// Secret asks for a passphrase.
	Secret(prompt string) ([]byte, error)
}

// Reading are the flags of commands that read snapshots from wherever they are.
type Reading struct {
	identities []string
	passphrase string

	keys  *seal.Identities // once they were read: a passphrase is asked for once
	found *Place           // what Fetch has read
}

// Add adds them.
func (r *Reading) Add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&r.identities, "identity", nil, "File of a key that decrypts: age's or SSH's; repeat it")
	cmd.Flags().StringVar(&r.passphrase, "passphrase-file", "", "File whose first line is the passphrase that decrypts")
}

// Keys reads what decrypts.
func (r *Reading) Keys(t Terminal) (seal.Identities, error) {
	if r.keys != nil {
		return *r.keys, nil
	}
	ids, err := seal.From(r.identities, t.Secret)
	if err == nil && r.passphrase != "" {
		err = ids.WithPassphraseFile(r.passphrase)
	}
	if err == nil {
		r.keys = &ids
	}
	return ids, err
}

// Place is where what was read is, or what text names: the newest one may be another by now.
func (r *Reading) Place(ctx context.Context, cmd *cobra.Command, flags *Flags, text string, t Terminal) (Place, error) {
	if r.found != nil {
		return *r.found, nil
	}
	return flags.Find(ctx, cmd, text, nil, t)
}

// Elsewhere says that a snapshot has to be brought here first: it is in a store, or encrypted.
func Elsewhere(text string) bool {
	if strings.Contains(text, "://") || isLatest(text) {
		return true
	}
	if info, err := os.Stat(text); err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(text)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 64)
	n, _ := io.ReadFull(f, head)
	return seal.Sealed(head[:n])
}

func isLatest(text string) bool {
	if path.Base(text) != "latest" {
		return false
	}
	_, err := os.Stat(text)
	return err != nil // not a file that is called so
}

// Fetch brings what was named here. of, which may be nil, chooses the control plane that PLACE/latest is about.
func (r *Reading) Fetch(ctx context.Context, cmd *cobra.Command, flags *Flags, text string, of *Plane, t Terminal) (*stored.Snapshot, error) {
	ids, err := r.Keys(t)
	if err != nil {
		return nil, err
	}
	p, err := flags.Find(ctx, cmd, text, of, t)
	if err != nil {
		return nil, err
	}
	r.found = &p
	defer t.Done()
	return stored.Fetch(ctx, p.Store, p.Name, stored.Options{Identities: ids,
		Progress: func(done, total int64) { t.Progress(done, total, -1) },
		Cut:      func(err error) { t.Explain("%v; going on", err) }})
}

// Find is what was named, without reading it. of, which may be nil, chooses the control plane that PLACE/latest is about.
func (f *Flags) Find(ctx context.Context, cmd *cobra.Command, text string, of *Plane, t Terminal) (Place, error) {
	if !isLatest(text) {
		p, err := f.Open(ctx, cmd, text, t.Explain)
		if err == nil && p.Remote() && p.Several() {
			err = cli.Usagef(cmd, "%s is no snapshot; name one, or the newest: %s/latest", Shown(text), strings.TrimSuffix(Shown(text), "/"))
		}
		return p, err
	}
	p, err := f.OpenFolder(ctx, cmd, strings.TrimSuffix(text, "latest"), t.Explain)
	if err != nil {
		return p, err
	}
	all, err := catalog.List(ctx, p.Store, p.Name)
	if err != nil {
		return p, err
	}
	e, err := of.newest(ctx, all, text)
	if err != nil {
		return p, err
	}
	t.Explain("%s is %s", text, e.URL)
	p.Name = e.Name
	return p, nil
}

// Plane says whose snapshot is wanted.
type Plane struct {
	Namespace, Name string
	// Ask tells the UID of its kube-system namespace, or "" where nobody can say; it is asked only where names do not suffice. It may
	// be nil.
	Ask func(ctx context.Context) string

	uid string
}

func (p *Plane) fits(e catalog.Entry) bool {
	if p == nil {
		return true
	}
	if p.uid != "" {
		return e.Snapshot.Cluster.KubeSystemUID == p.uid
	}
	return e.Snapshot.Source.Namespace == p.Namespace && e.Snapshot.Source.Name == p.Name
}

// newest never guesses between two control planes that are called alike.
func (p *Plane) newest(ctx context.Context, all []catalog.Entry, text string) (*catalog.Entry, error) {
	e := catalog.Newest(all, p.fits)
	if e == nil {
		whose := ""
		if p != nil {
			whose = " of " + p.Namespace + "/" + p.Name
		}
		return nil, &store.Error{What: "find " + text, Err: fmt.Errorf("there is no proven snapshot%s", whose), Way: "see what there is with: kubectl etcd backup list " + strings.TrimSuffix(text, "latest")}
	}
	var planes []string
	for _, other := range all {
		if other.Proven() && p.fits(other) && !slices.Contains(planes, other.Plane()) {
			planes = append(planes, other.Plane())
		}
	}
	if len(planes) > 1 && p != nil && p.Ask != nil && p.uid == "" {
		if p.uid = p.Ask(ctx); p.uid != "" {
			return p.newest(ctx, all, text)
		}
	}
	if len(planes) > 1 {
		return nil, &store.Error{What: "find " + text, Err: fmt.Errorf("there are snapshots of %d control planes: %s", len(planes), strings.Join(planes, ", ")), Way: "name the snapshot; see: kubectl etcd backup list " + strings.TrimSuffix(text, "latest")}
	}
	return e, nil
}

// Sealing are the flags of commands that encrypt.
type Sealing struct {
	to         []string
	passphrase string
}

// Add adds them.
func (s *Sealing) Add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&s.to, "encrypt-to", nil, "Encrypt for this recipient: age1…, ssh-ed25519 …, ssh-rsa …, or @FILE; repeat it")
	cmd.Flags().StringVar(&s.passphrase, "passphrase-file", "", "Encrypt with the passphrase that is the first line of this file")
}

// Recipients reads for whom; none where nothing was said.
func (s *Sealing) Recipients() (seal.Recipients, error) {
	if s.passphrase != "" {
		if len(s.to) > 0 {
			return seal.Recipients{}, fmt.Errorf("--passphrase-file goes without --encrypt-to: age has no file for both")
		}
		return seal.WithPassphrase(s.passphrase)
	}
	return seal.To(s.to)
}

// Shown is what may be shown of what was typed: an address can hold a signature.
func Shown(text string) string {
	if !strings.HasPrefix(text, "http://") && !strings.HasPrefix(text, "https://") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		return "an address that is no URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
