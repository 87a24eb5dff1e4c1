package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/controlplane"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/reach"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// nodesAtOnce is how many nodes are read at the same time.
const nodesAtOnce = 5

// Collection is what was read, in memory only.
type Collection struct {
	// Items say what there is, and Missing what there is not. Nodes are numbered in them, not named.
	Items   []snapshot.Key
	Missing []string
	// Ciphers are those of all EncryptionConfigurations.
	Ciphers []Cipher

	entries []entry
	// encryption are the EncryptionConfigurations, under their real names; unread the nodes that could not be read.
	encryption map[place]bool
	unread     map[string]bool
}

// Collect reads the keys. What cannot be read is told, and left out, as long as nothing is missing that must not be: an
// EncryptionConfiguration, or every node.
func (s *Sources) Collect(ctx context.Context, c *reach.Clients, o reach.Options) (*Collection, error) {
	out := &Collection{Missing: slices.Clone(s.Unknown), encryption: map[place]bool{}, unread: map[string]bool{}}
	if err := s.readObjects(ctx, c, out); err != nil {
		return nil, err
	}
	if err := s.readNodes(ctx, c, o, out); err != nil {
		return nil, err
	}
	if err := s.complete(out); err != nil {
		return nil, err
	}
	out.anonymize(s.Nodes)
	slices.SortStableFunc(out.Items, func(a, b snapshot.Key) int {
		return cmp.Or(strings.Compare(a.From, b.From), strings.Compare(a.Path, b.Path))
	})
	slices.SortStableFunc(out.entries, func(a, b entry) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

func (s *Sources) readObjects(ctx context.Context, c *reach.Clients, out *Collection) error {
	r := program.NewReader(ctx, c.Core)
	for _, o := range s.Objects {
		data, err := r.Get(o.Kind, o.Namespace, o.Name)
		if apierrors.IsNotFound(err) {
			if !o.Optional {
				s.warn("%s is mounted, and is not there", o)
				out.Missing = append(out.Missing, o.String())
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("save keys: %w", err)
		}
		for key, value := range data {
			e := entry{frame.File{Path: key, Mode: 0o600, ModTime: time.Now()}, []byte(value)}
			out.add(e, place{o.String(), key}, o.String(), path.Join(strings.ToLower(o.Kind)+"s", o.Namespace, o.Name, key))
		}
	}
	return nil
}

// readNodes reads all nodes. It is an error when none can be read, and nothing else was.
func (s *Sources) readNodes(ctx context.Context, c *reach.Clients, o reach.Options, out *Collection) error {
	o.Operation = "keys"
	reads := make([]nodeRead, len(s.Nodes))
	var g errgroup.Group
	g.SetLimit(nodesAtOnce)
	for i, n := range s.Nodes {
		g.Go(func() error {
			reads[i].read(ctx, c, n, s.data, o)
			return nil
		})
	}
	_ = g.Wait()
	var failed []error
	for i, n := range s.Nodes {
		r, number := reads[i], fmt.Sprintf("node %d", i+1)
		if r.left != nil {
			s.warn("%v; remove what is left with: kubectl etcd cleanup -n %s --running", r.left, n.beside.Namespace)
		}
		if ctx.Err() != nil {
			continue
		}
		if r.err != nil {
			s.warn("the keys of node %s are not saved: %v", n.Name, r.err)
			failed, out.Missing, out.unread[n.Name] = append(failed, r.err), append(out.Missing, number), true
			continue
		}
		for _, file := range r.skipped {
			s.warn("%s of node %s is not saved, and no flag names it: %s", file.path, n.Name, file.why)
			out.Missing = append(out.Missing, file.path+" of "+number)
		}
		for _, f := range r.files {
			out.add(f, place{n.Name, f.Path}, number, path.Join("nodes", n.Name, f.Path))
		}
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case len(failed) > 0 && len(out.Items) == 0:
		return fmt.Errorf("save keys: %w", errors.Join(failed...))
	}
	return nil
}

// add takes up a file: where it is, where it is from for everybody, and its name in the archive.
func (c *Collection) add(e entry, at place, from, name string) {
	if e.Mode.IsRegular() {
		k := describe(e.data)
		k.From, k.Path = from, at.path
		c.Items = append(c.Items, k)
		if k.Kind == snapshot.KeyEncryption {
			ciphers, _ := Ciphers(string(e.data)) // it was read as one
			c.Ciphers, c.encryption[at] = append(c.Ciphers, ciphers...), true
		}
	}
	e.Path = name
	c.entries = append(c.entries, e)
}

// complete compares what was read with what the API servers name. One on a node that could not be read is no error where another
// API server's was read.
func (s *Sources) complete(c *Collection) error {
	var unread error
	read := 0
	for want, pod := range s.wanted {
		at := want
		if to, ok := resolve(c.entries, path.Join("nodes", want.of), want.path); ok {
			at.path = to
		}
		err := fmt.Errorf("save keys: %s of %s, which API server %s names with --%s, is no EncryptionConfiguration that can be read", want.path, want.of, pod, controlplane.EncryptionFlag)
		switch {
		case c.encryption[at]:
			read++
		case c.unread[want.of]:
			unread = err
		default:
			return err
		}
	}
	if read == 0 {
		return unread
	}
	return nil
}

// anonymize leaves the nodes' names out of what everybody may read: whoever may list the backups need not know them.
func (c *Collection) anonymize(nodes []Node) {
	var public []*string
	for i := range c.Items {
		public = append(public, &c.Items[i].Name, &c.Items[i].Path, &c.Items[i].From)
	}
	for i := range c.Missing {
		public = append(public, &c.Missing[i])
	}
	for i, n := range slices.Backward(nodes) { // node-10 before node-1
		name := regexp.MustCompile(`(^|[^A-Za-z0-9])` + regexp.QuoteMeta(n.Name) + `($|[^A-Za-z0-9])`)
		for _, text := range public {
			*text = name.ReplaceAllString(*text, fmt.Sprintf("${1}node-%d${2}", i+1))
		}
	}
}
