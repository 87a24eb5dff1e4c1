package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// What krew and its index ask of a manifest (krew's internal/index/validation and the index's CONTRIBUTING), as rules of
// our own: krew's code is not a library.
var (
	semver     = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*)?$`)
	safeName   = regexp.MustCompile(`^[\w-]+$`)
	safeSHA256 = regexp.MustCompile(`^[a-f0-9]{64}$`)
)

// shortLimit is where `kubectl krew search` cuts a description off.
const shortLimit = 50

type manifest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Version          string             `json:"version"`
		Homepage         string             `json:"homepage"`
		ShortDescription string             `json:"shortDescription"`
		Description      string             `json:"description"`
		Caveats          string             `json:"caveats"`
		Platforms        []manifestPlatform `json:"platforms"`
	} `json:"spec"`
}

type manifestPlatform struct {
	Selector struct {
		MatchLabels map[string]string `json:"matchLabels"`
	} `json:"selector"`
	URI    string `json:"uri"`
	SHA256 string `json:"sha256"`
	Bin    string `json:"bin"`
	Files  []struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"files"`
}

// check checks what was made in a folder: the manifest, and that the archives are what it says.
func check(dir string, all bool) error {
	path := filepath.Join(dir, "krew", "etcd.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	m, err := parse(filepath.Base(path), text)
	if err != nil {
		return err
	}
	errs := []error{m.valid(filepath.Base(path), all)}
	for _, p := range m.Spec.Platforms {
		archive, err := os.ReadFile(filepath.Join(dir, filepath.Base(p.URI)))
		if err == nil {
			err = p.matches(archive)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// checkTemplate checks the manifest that the template would give.
func checkTemplate() error {
	path := filepath.Join("krew", "etcd.yaml.tmpl")
	var all []built
	for _, p := range platforms {
		all = append(all, built{p, strings.Repeat("0", 64)})
	}
	text, err := fill(path, "v0.0.0", all)
	if err != nil {
		return err
	}
	m, err := parse(path, text)
	if err != nil {
		return err
	}
	return m.valid(strings.TrimSuffix(filepath.Base(path), ".tmpl"), true)
}

// parse is strict: krew refuses fields that it does not know.
func parse(path string, text []byte) (*manifest, error) {
	m := new(manifest)
	if err := yaml.UnmarshalStrict(text, m); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return m, nil
}

// valid checks a manifest by itself. all: it must have every platform.
func (m *manifest) valid(file string, all bool) error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(file+": "+format, args...))
		}
	}
	s := m.Spec
	want(m.APIVersion == "krew.googlecontainertools.github.com/v1alpha2" && m.Kind == "Plugin", "is %s %s, not krew's Plugin", m.APIVersion, m.Kind)
	want(safeName.MatchString(m.Metadata.Name) && m.Metadata.Name+".yaml" == file, "its name is %q", m.Metadata.Name)
	want(semver.MatchString(s.Version), "version %q is not like v1.2.3", s.Version)
	want(s.ShortDescription != "" && !strings.ContainsAny(s.ShortDescription, "\r\n"), "shortDescription is not one line")
	want(len(s.ShortDescription) <= shortLimit, "shortDescription has %d characters; at most %d", len(s.ShortDescription), shortLimit)
	want(strings.HasPrefix(s.Homepage, "https://") && s.Description != "", "homepage or description is missing")
	want(len(s.Platforms) > 0, "no platforms")
	var seen []platform
	for i, p := range s.Platforms {
		labels := p.Selector.MatchLabels
		here := platform{labels["os"], labels["arch"]}
		want(len(labels) == 2 && slices.Contains(platforms, here), "platforms[%d]: selector %v", i, labels)
		want(!slices.Contains(seen, here), "platforms[%d]: %v twice", i, here)
		seen = append(seen, here)
		want(p.URI == "https://github.com/kubectl-etcd/kubectl-etcd/releases/download/"+s.Version+"/"+here.Archive(), "platforms[%d]: uri %s", i, p.URI)
		want(safeSHA256.MatchString(p.SHA256), "platforms[%d]: sha256 %q", i, p.SHA256)
		want(p.Bin == here.Program(), "platforms[%d]: bin %q", i, p.Bin)
		want(len(p.Files) > 0, "platforms[%d]: files is empty", i)
	}
	want(!all || len(seen) == len(platforms), "%d platforms; want %d", len(seen), len(platforms))
	return errors.Join(errs...)
}

// matches checks an archive against its platform in the manifest.
func (p manifestPlatform) matches(archive []byte) error {
	name := filepath.Base(p.URI)
	sum := sha256.Sum256(archive)
	if got := hex.EncodeToString(sum[:]); got != p.SHA256 {
		return fmt.Errorf("%s: sha256 is %s, the manifest says %s", name, got, p.SHA256)
	}
	files, err := unbundle(name, archive)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	has := func(n string) bool {
		return slices.ContainsFunc(files, func(e entry) bool { return e.name == n && len(e.data) > 0 })
	}
	var errs []error
	if !has("LICENSE") {
		errs = append(errs, fmt.Errorf("%s: no LICENSE", name))
	}
	installed := false
	for _, f := range p.Files {
		if !has(f.From) {
			errs = append(errs, fmt.Errorf("%s: no %s, which the manifest installs", name, f.From))
		}
		installed = installed || f.From == p.Bin && f.To == "."
	}
	if !installed {
		errs = append(errs, fmt.Errorf("%s: the manifest does not install %s", name, p.Bin))
	}
	for _, e := range files {
		if e.name == p.Bin && e.mode&0o111 == 0 {
			errs = append(errs, fmt.Errorf("%s: %s is not executable", name, e.name))
		}
	}
	return errors.Join(errs...)
}
