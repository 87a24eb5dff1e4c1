package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

func files(program string) []entry {
	return []entry{{"LICENSE", 0o644, []byte("licence")}, {program, 0o755, bytes.Repeat([]byte("program"), 10000)}}
}

func TestArchivesAreTheSameTwiceAndReadBack(t *testing.T) {
	for _, p := range platforms {
		t.Run(p.OS+"-"+p.Arch, func(t *testing.T) {
			a, err := bundle(p.Archive(), files(p.Program()))
			if err != nil {
				t.Fatal(err)
			}
			b, err := bundle(p.Archive(), files(p.Program()))
			if err != nil || !bytes.Equal(a, b) {
				t.Fatalf("two archives differ (%v)", err)
			}
			got, err := unbundle(p.Archive(), a)
			if err != nil || len(got) != 2 {
				t.Fatalf("got %d files, %v", len(got), err)
			}
			for i, want := range files(p.Program()) {
				if g := got[i]; g.name != want.name || g.mode.Perm() != want.mode || !bytes.Equal(g.data, want.data) {
					t.Errorf("got %s %v %d bytes, want %s %v %d bytes", g.name, g.mode, len(g.data), want.name, want.mode, len(want.data))
				}
			}
		})
	}
}

// made is a filled manifest and the archives that go with it.
func made(t *testing.T) (text string, archives map[string][]byte) {
	t.Helper()
	archives = map[string][]byte{}
	var all []built
	for _, p := range platforms {
		a, err := bundle(p.Archive(), files(p.Program()))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(a)
		archives[p.Archive()] = a
		all = append(all, built{p, hex.EncodeToString(sum[:])})
	}
	b, err := fill("../../krew/etcd.yaml.tmpl", "v1.2.3", all)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), archives
}

func TestManifestFitsItsArchives(t *testing.T) {
	text, archives := made(t)
	m, err := parse("etcd.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.valid("etcd.yaml", true); err != nil {
		t.Fatal(err)
	}
	if len(m.Spec.Platforms) != 6 {
		t.Fatalf("%d platforms", len(m.Spec.Platforms))
	}
	for _, p := range m.Spec.Platforms {
		if err := p.matches(archives[p.URI[strings.LastIndex(p.URI, "/")+1:]]); err != nil {
			t.Error(err)
		}
	}
}

// Each rule refuses what breaks it.
func TestManifestRules(t *testing.T) {
	good, _ := made(t)
	for name, c := range map[string]struct{ old, new, want string }{
		"name":              {"name: etcd", "name: etcds", `its name is "etcds"`},
		"version without v": {`version: "v1.2.3"`, `version: "1.2.3"`, "is not like v1.2.3"},
		"half a version":    {`version: "v1.2.3"`, `version: "v1.2"`, "is not like v1.2.3"},
		"two lines":         {"shortDescription: Back", "shortDescription: \"a\\nb\" #", "not one line"},
		"a long line":       {"shortDescription: Back", "shortDescription: Back up and back up and back up and", "at most 50"},
		"short sum":         {"sha256: \"", "sha256: \"0\" # ", "sha256"},
		"unknown system":    {"os: darwin", "os: plan9", "selector"},
		"one twice":         {"os: darwin", "os: linux", "twice"},
		"another place":     {"releases/download/v1.2.3/kubectl-etcd_linux_amd64", "releases/download/v1.2.2/kubectl-etcd_linux_amd64", "uri"},
		"another program":   {"bin: kubectl-etcd.exe", "bin: kubectl-etcd", "bin"},
		"unknown field":     {"  homepage:", "  homesite: x\n  homepage:", "unknown field"},
		"no platform":       {"platforms:", "", "no platforms"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.new, 1)
			if c.want == "no platforms" {
				text = good[:strings.Index(good, "  platforms:")] + "  platforms: []\n"
			}
			if text == good {
				t.Fatalf("%q is not in the manifest", c.old)
			}
			m, err := parse("etcd.yaml", []byte(text))
			if err == nil {
				err = m.valid("etcd.yaml", true)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestArchiveRules(t *testing.T) {
	text, archives := made(t)
	m, err := parse("etcd.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p := m.Spec.Platforms[0]
	name := p.URI[strings.LastIndex(p.URI, "/")+1:]
	if err := p.matches(append([]byte{}, archives[name][:100]...)); err == nil || !strings.Contains(err.Error(), "sha256 is") {
		t.Errorf("another archive: got %v", err)
	}
	for what, content := range map[string][]entry{
		"no LICENSE":        {files(p.Bin)[1]},
		"no kubectl-etcd,":  {files(p.Bin)[0]},
		"is not executable": {files(p.Bin)[0], {p.Bin, 0o644, []byte("x")}},
	} {
		a, err := bundle(name, content)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(a)
		p.SHA256 = hex.EncodeToString(sum[:])
		if err := p.matches(a); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

func TestVersions(t *testing.T) {
	for v, want := range map[string]bool{"v1.2.3": true, "v0.0.0-g12ab": true, "v1.2.3-4-gabcdef0-dirty": true, "v1.2.3-rc.1": true,
		"1.2.3": false, "v1.2": false, "v01.2.3": false, "v1.2.3-01": false, "dev": false, "v1.2.3+meta": false} {
		if semver.MatchString(v) != want {
			t.Errorf("%s: want %t", v, want)
		}
	}
}
