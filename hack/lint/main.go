// lint checks what the Go tools do not: which package may import which, what may be linked into which program, names,
// lengths, and words that belong to somebody's machine. It runs at the top of the tree and prints one line per finding.
package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
)

func main() {
	findings, warnings, err := lint(os.DirFS("."), goListDeps)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lint:", err)
		os.Exit(2)
	}
	for _, w := range warnings {
		fmt.Println("warning:", w)
	}
	for _, f := range findings {
		fmt.Println(f)
	}
	if len(findings) > 0 {
		fmt.Printf("lint: %d findings\n", len(findings))
		os.Exit(1)
	}
}

// lint checks a tree. deps lists everything that is linked into a program of the tree.
func lint(tree fs.FS, deps func(program string) ([]string, error)) (findings, warnings []string, err error) {
	files, err := read(tree)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range files {
		findings = append(findings, checkText(f)...)
		if f.goFile() {
			fs, ws := checkGo(f)
			findings, warnings = append(findings, fs...), append(warnings, ws...)
		}
		if f.path == "go.mod" && strings.Contains(f.text, "k8s.io/kubernetes ") {
			findings = append(findings, "go.mod: k8s.io/kubernetes is in the plugin's module")
		}
	}
	for _, rule := range neverIn {
		all, err := deps(rule.program)
		if err != nil {
			return nil, nil, err
		}
		for _, d := range all {
			if rule.imports.MatchString(d) {
				findings = append(findings, fmt.Sprintf("%s: links %s (%s)", rule.program, d, rule.why))
			}
		}
	}
	slices.Sort(findings)
	return findings, warnings, nil
}

// goListDeps asks Go. The agent runs on Linux only; what other systems link besides is theirs.
func goListDeps(program string) ([]string, error) {
	cmd := exec.Command("go", "list", "-deps", "./"+program)
	cmd.Env = append(os.Environ(), "GOOS=linux")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list what %s links: %w", program, err)
	}
	return strings.Fields(string(out)), nil
}
