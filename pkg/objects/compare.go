package objects

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Difference is what became of one object between two servers.
type Difference struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// State is "changed", or "only in" and what the server is called that has it.
	State string `json:"state"`
	// Diff is a unified diff of what differs, as YAML; values of Secrets are not shown.
	Diff string `json:"diff,omitempty"`
}

// changed is the State of an object that both have; of others it is "only in", and in which.
const changed = "changed"

// Sum counts what became of the objects of one kind.
type Sum struct {
	Kind       string `json:"kind"`
	OnlyBefore int    `json:"onlyInSnapshot"`
	OnlyAfter  int    `json:"onlyInOther"`
	Changed    int    `json:"changed"`
	Same       int    `json:"same"`
}

// Comparison is what differs between two servers.
type Comparison struct {
	Sums        []Sum        `json:"sums"`
	Differences []Difference `json:"differences"`
	// Unread are kinds that one of them could not show, with why.
	Unread []string `json:"unread,omitempty"`

	before, after string // what they are called
}

// Compare compares what a selection means on two servers. allFields compares also what a cluster puts there by itself.
func Compare(ctx context.Context, before, after *Server, sel Selection, allFields bool) (*Comparison, error) {
	wants, err := either(before, after, sel)
	if err != nil {
		return nil, err
	}
	c := &Comparison{Sums: []Sum{}, Differences: []Difference{}, before: before.Called, after: after.Called}
	seen := map[string]bool{}
	for _, w := range wants {
		if sel.Labels != "" && w.name != "" && !w.explicit {
			continue // the namespace itself: it was not asked for
		}
		if key := w.Name() + "/" + w.name; !seen[key] {
			seen[key] = true
			if err := c.kind(ctx, before, after, w, sel, allFields); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// either are the kinds that a selection means on one of the two servers, those of the first one first.
func either(before, after *Server, sel Selection) ([]wanted, error) {
	if len(sel.Names) == 0 {
		first, err := before.wants(sel)
		if err != nil {
			return nil, err
		}
		second, err := after.wants(sel)
		return append(first, slices.DeleteFunc(second, func(w wanted) bool {
			return slices.ContainsFunc(first, func(f wanted) bool { return f.Name() == w.Name() })
		})...), err
	}
	var out []wanted
	for _, n := range sel.Names {
		one := sel
		one.Names = []string{n}
		wants, err := before.wants(one)
		var unknown *UnknownKind
		if errors.As(err, &unknown) {
			wants, err = after.wants(one)
		}
		if errors.As(err, &unknown) {
			return nil, &UnknownKind{unknown.Name, before.Called + " or " + after.Called}
		}
		if err != nil {
			return nil, err
		}
		out = append(out, wants...)
	}
	return out, nil
}

// kind compares the objects of one kind; only their text is kept.
func (c *Comparison) kind(ctx context.Context, before, after *Server, w wanted, sel Selection, allFields bool) error {
	sel.Owned = sel.Owned || w.explicit
	was, err := texts(ctx, before, w, sel, allFields)
	var is map[string]shown
	if err == nil {
		is, err = texts(ctx, after, w, sel, allFields)
	}
	if err == nil && sel.Labels != "" { // one whose labels have changed is there all the same
		if err = fill(ctx, after, is, was, w, sel, allFields); err == nil {
			err = fill(ctx, before, was, is, w, sel, allFields)
		}
	}
	if err == nil && w.explicit && w.name != "" && len(was)+len(is) == 0 {
		return fmt.Errorf("neither %s nor %s has %s/%s%s", before.Called, after.Called, w.Name(), w.name, in(sel.Namespace))
	}
	if err == nil {
		err = c.alike(ctx, after, is, was, w, sel, allFields)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && w.explicit:
		return fmt.Errorf("compare %s: %w", w.Name(), err)
	case err != nil:
		c.Unread = append(c.Unread, w.Name()+": "+err.Error())
		return nil
	}
	c.add(w, was, is)
	return nil
}

// shown is an object as it is compared, and the version in which that is.
type shown struct{ version, text string }

// texts are the objects of one kind as they are compared, by their Key. Both servers show them in the same form, where they can.
func texts(ctx context.Context, s *Server, w wanted, sel Selection, allFields bool) (map[string]shown, error) {
	out := map[string]shown{}
	k, err := s.Named(w.Name())
	var unknown *UnknownKind
	if errors.As(err, &unknown) {
		return out, nil // a kind that it does not know has no objects there
	} else if err != nil {
		return out, err
	}
	k.Version = w.Version
	if _, err := s.kindOf(k.GroupVersion().WithKind(k.Kind)); err != nil {
		return out, err
	}
	failed := error(nil)
	err = s.eachOf(ctx, wanted{k, w.name, false}, sel, func(o Object) error {
		text, err := textOf(o, allFields)
		out[o.Key()] = shown{o.Kind.Version, text}
		return err
	}, func(_ string, err error) { failed = err })
	return out, errors.Join(err, failed)
}

// alike asks a server again for what the other one has shown in another version: a snapshot has custom resources in the version that each is stored in.
// What it does not show in that version is told, and not compared.
func (c *Comparison) alike(ctx context.Context, s *Server, mine, other map[string]shown, w wanted, sel Selection, allFields bool) error {
	differ := map[string][]string{} // their keys, by the other's version
	for key, o := range other {
		if m, both := mine[key]; both && m.version != o.version {
			differ[o.version] = append(differ[o.version], key)
		}
	}
	sel.Labels = "" // they may be others now
	for _, version := range slices.Sorted(maps.Keys(differ)) {
		w.Version = version
		again, err := texts(ctx, s, w, sel, allFields)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		unshown := 0
		for _, key := range differ[version] {
			now, there := again[key]
			delete(mine, key)
			switch {
			case there && now.version == version:
				mine[key] = now
			case there || err != nil:
				unshown++
				delete(other, key)
			} // else it was deleted just now
		}
		if unshown > 0 {
			c.Unread = append(c.Unread, fmt.Sprintf("%s: %d are stored in version %s, in which %s does not show them", w.Name(), unshown, version, s.Called))
		}
	}
	return nil
}

// fill adds what only the other server has shown, whatever its labels are.
func fill(ctx context.Context, s *Server, mine, other map[string]shown, w wanted, sel Selection, allFields bool) error {
	missing := maps.Clone(other)
	maps.DeleteFunc(missing, func(key string, _ shown) bool { _, both := mine[key]; return both })
	if len(missing) == 0 {
		return nil
	}
	sel.Labels = ""
	all, err := texts(ctx, s, w, sel, allFields)
	for key := range missing {
		if text, there := all[key]; there {
			mine[key] = text
		}
	}
	return err
}

func (c *Comparison) add(w wanted, was, is map[string]shown) {
	sum := Sum{Kind: w.Name()}
	var keys []string
	for k := range was {
		keys = append(keys, k)
	}
	for k := range is {
		if _, both := was[k]; !both {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		old, had := was[k]
		now, has := is[k]
		d := Difference{Kind: w.Name()}
		d.Namespace, d.Name, _ = strings.Cut(k, "/")
		switch {
		case had && !has:
			sum.OnlyBefore++
			d.State = "only in " + c.before
		case !had:
			sum.OnlyAfter++
			d.State = "only in " + c.after
		case old.text == now.text:
			sum.Same++
			continue
		default:
			sum.Changed++
			d.State, d.Diff = changed, unified(w.Name(), k, c.after, old.text, now.text)
		}
		c.Differences = append(c.Differences, d)
	}
	if len(keys) > 0 {
		c.Sums = append(c.Sums, sum)
	}
}

// textOf is an object as it is compared.
func textOf(o Object, allFields bool) (string, error) {
	if !allFields {
		Clean(o)
	}
	text, err := json.Marshal(o.Object)
	return string(text), err
}

// unified is what differs, as YAML. Of a Secret it shows which values differ, and none.
func unified(kind, key, after, old, now string) string {
	a, b := map[string]any{}, map[string]any{}
	if json.Unmarshal([]byte(old), &a) != nil || json.Unmarshal([]byte(now), &b) != nil {
		return ""
	}
	if kind == "secrets" {
		mask(a, b)
	}
	lines := func(m map[string]any) []string {
		y, err := yaml.Marshal(m)
		if err != nil {
			return nil
		}
		return difflib.SplitLines(strings.TrimSuffix(string(y), "\n"))
	}
	text, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{A: lines(a), B: lines(b), FromFile: "snapshot " + kind + " " + strings.TrimPrefix(key, "/"), ToFile: after, Context: 3})
	if err != nil {
		return ""
	}
	return text
}

// mask replaces the values of two Secrets by whether they are the same.
func mask(a, b map[string]any) {
	for _, field := range []string{"data", "stringData"} {
		x, _, _ := unstructured.NestedMap(a, field)
		y, _, _ := unstructured.NestedMap(b, field)
		for k, v := range x {
			if y[k] == v {
				x[k], y[k] = "*** (the same)", "*** (the same)"
				continue
			}
			x[k] = "*** (in the snapshot)"
			if _, both := y[k]; both {
				y[k] = "*** (in the other)"
			}
		}
		for k := range y {
			if _, both := x[k]; !both {
				y[k] = "*** (in the other)"
			}
		}
		if x != nil {
			a[field] = x
		}
		if y != nil {
			b[field] = y
		}
	}
	// What was applied last has the values, too.
	for _, m := range []map[string]any{a, b} {
		unstructured.RemoveNestedField(m, "metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration")
	}
}
