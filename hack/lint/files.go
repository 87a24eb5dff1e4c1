package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// file is a text file of the tree.
type file struct {
	path string
	text string
	dir  string // of the file, from the top
	own  bool   // belongs to the module at the top
}

func (f file) goFile() bool { return strings.HasSuffix(f.path, ".go") }
func (f file) test() bool   { return strings.HasSuffix(f.path, "_test.go") }

// read takes the text files of a tree, without what is built and what git keeps.
func read(tree fs.FS) ([]file, error) {
	var files []file
	var modules []string // folders that have a go.mod of their own
	err := fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "bin", "dist"}, p), d.IsDir() && d.Name() == "testdata":
			return fs.SkipDir
		case d.IsDir() || !d.Type().IsRegular() || strings.HasSuffix(p, ".zst"):
			return nil
		}
		b, err := fs.ReadFile(tree, p)
		if err != nil {
			return err
		}
		if path.Base(p) == "go.mod" && p != "go.mod" {
			modules = append(modules, path.Dir(p)+"/")
		}
		if utf8.Valid(b) && path.Base(p) != "go.sum" {
			files = append(files, file{path: p, text: string(b), dir: path.Dir(p)})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read tree: %w", err)
	}
	for i := range files {
		files[i].own = !slices.ContainsFunc(modules, func(m string) bool { return strings.HasPrefix(files[i].path, m) })
	}
	return files, nil
}

func checkText(f file) (findings []string) {
	if f.path == wordsHere {
		return nil
	}
	for i, line := range strings.Split(f.text, "\n") {
		if w := words.FindString(line); w != "" {
			findings = append(findings, fmt.Sprintf("%s:%d: says %q, which belongs to a machine", f.path, i+1, strings.TrimSpace(w)))
		}
	}
	return findings
}

func checkGo(f file) (findings, warnings []string) {
	if n := strings.Count(f.text, "\n"); n > maxLines {
		findings = append(findings, fmt.Sprintf("%s: %d lines; at most %d", f.path, n, maxLines))
	} else if n > warnLines {
		warnings = append(warnings, fmt.Sprintf("%s: %d lines; aim at %d", f.path, n, warnLines))
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), f.path, f.text, parser.ImportsOnly)
	if err != nil {
		return append(findings, fmt.Sprintf("%s: %v", f.path, err)), warnings
	}
	if vague.MatchString(parsed.Name.Name) || vague.MatchString(path.Base(f.dir)) {
		findings = append(findings, fmt.Sprintf("%s: package name %q says nothing of what is in it", f.path, parsed.Name.Name))
	}
	if !f.own || f.test() {
		return findings, warnings
	}
	allowed, known := mayImport[f.dir]
	anything := !known && slices.ContainsFunc(free, func(t string) bool { return strings.HasPrefix(f.dir, t) })
	if !known && !anything {
		findings = append(findings, fmt.Sprintf("%s: package %s has no place in the picture (mayImport in hack/lint)", f.path, f.dir))
	}
	for _, imp := range parsed.Imports {
		name, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			continue
		}
		if ours, ok := strings.CutPrefix(name, module+"/"); ok {
			if known && !slices.Contains(allowed, ours) {
				findings = append(findings, fmt.Sprintf("%s: %s must not import %s", f.path, f.dir, ours))
			}
			continue
		}
		findings = append(findings, checkExternal(f, name)...)
	}
	return findings, warnings
}

func checkExternal(f file, name string) (findings []string) {
	for _, rule := range external {
		if rule.imports.MatchString(name) && (rule.by == nil || !rule.by.MatchString(f.dir)) {
			findings = append(findings, fmt.Sprintf("%s: %s must not import %s: %s", f.path, f.dir, name, rule.why))
		}
	}
	return findings
}
