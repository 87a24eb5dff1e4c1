package objects

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Collect are the objects of a selection, clean, in an order in which they can be made.
func (s *Server) Collect(ctx context.Context, sel Selection, failed func(what string, err error)) ([]Object, error) {
	var out []Object
	err := s.Each(ctx, sel, func(o Object) error {
		Clean(o)
		out = append(out, o)
		return nil
	}, failed)
	slices.SortStableFunc(out, func(a, b Object) int {
		return cmp.Or(cmp.Compare(Rank(a.Kind), Rank(b.Kind)), strings.Compare(a.Kind.Name(), b.Kind.Name()), strings.Compare(a.Key(), b.Key()))
	})
	return out, err
}

// Encode is an object as YAML or JSON.
func Encode(o Object, asJSON bool) ([]byte, error) {
	if asJSON {
		b, err := json.MarshalIndent(o.Object, "", "  ")
		return append(b, '\n'), err
	}
	return yaml.Marshal(o.Object)
}

// Folder makes a folder that only the user can enter, and refuses one in which something is.
func Folder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	there, err := os.ReadDir(path)
	switch {
	case err != nil:
		return fmt.Errorf("read folder: %w", err)
	case len(there) > 0:
		return fmt.Errorf("folder %s has %d files already", path, len(there))
	}
	return nil
}

// Write writes one file for each object into a Folder, only the user's: NUMBER-KIND[-NAMESPACE]-NAME.yaml, of which the number is
// the order in which kubectl apply -f takes them. It returns how many there are.
func Write(folder string, all []Object, asJSON bool) (n int, err error) {
	ext := ".yaml"
	if asJSON {
		ext = ".json"
	}
	width := len(fmt.Sprint(len(all)))
	for i, o := range all {
		parts := []string{fmt.Sprintf("%0*d", width, i+1), o.Kind.Name()}
		if o.GetNamespace() != "" {
			parts = append(parts, o.GetNamespace())
		}
		b, err := Encode(o, asJSON)
		if err != nil {
			return i, err
		}
		name := fileName(strings.Join(append(parts, o.GetName()), "-")) + ext
		if err := os.WriteFile(filepath.Join(folder, name), b, 0o600); err != nil {
			return i, fmt.Errorf("write object: %w", err)
		}
	}
	return len(all), nil
}

// fileName is a name that every system takes: names of roles can have colons.
func fileName(s string) string {
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`:/\*?"<>|%`, r) || r < ' ' {
			return '_'
		}
		return r
	}, s)
	return s[:min(len(s), 200)]
}
