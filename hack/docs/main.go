// docs makes docs/reference from the command line itself, so that the pages cannot say anything else than the help does:
//
//	docs [-check] FOLDER
//
// With -check it changes nothing and fails when a page is not what it would make.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin"
)

func main() {
	only := flag.Bool("check", false, "only check that the pages are up to date")
	flag.Parse()
	err := run(flag.Arg(0), *only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

func run(dir string, only bool) error {
	if dir == "" {
		return errors.New("usage: docs [-check] FOLDER")
	}
	want := pages(plugin.Command())
	if only {
		return check(dir, want)
	}
	return write(dir, want)
}

// pages are the reference, by file name.
func pages(root *cobra.Command) map[string][]byte {
	out := map[string][]byte{}
	for _, c := range all(root) {
		out[fileName(c)] = page(c)
	}
	out["README.md"] = index(root)
	return out
}

// all are the commands of a command, each before its own.
func all(parent *cobra.Command) (out []*cobra.Command) {
	for _, c := range parent.Commands() {
		// help is cobra's, and completion's own commands are scripts for shells.
		if c.IsAvailableCommand() && c.Name() != "help" && parent.Name() != "completion" {
			out = append(append(out, c), all(c)...)
		}
	}
	return out
}

// name is what is typed after `kubectl etcd`.
func name(c *cobra.Command) string {
	return strings.TrimPrefix(c.CommandPath(), c.Root().CommandPath()+" ")
}

func fileName(c *cobra.Command) string { return strings.ReplaceAll(name(c), " ", "-") + ".md" }

const generated = "<!-- Made by `make docs`; do not edit. -->\n"

// index is the page of the command itself: what there is, and the flags that all have.
func index(root *cobra.Command) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s# kubectl etcd\n\n%s\n\n| command | |\n|---|---|\n", generated, text(root.Long))
	for _, c := range all(root) {
		fmt.Fprintf(&b, "| [`%s`](%s) | %s |\n", name(c), fileName(c), cell(c.Short))
	}
	flags(&b, "Flags of all commands", root.PersistentFlags())
	return b.Bytes()
}

func page(c *cobra.Command) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s# kubectl etcd %s\n\n%s.\n\n```text\n%s\n```\n", generated, name(c), c.Short, strings.Replace(c.UseLine(), "kubectl-etcd", "kubectl etcd", 1))
	if c.Long != "" {
		fmt.Fprintf(&b, "\n%s\n", text(c.Long))
	}
	if c.Example != "" {
		fmt.Fprintf(&b, "\n## Examples\n\n```sh\n%s\n```\n", outdent(c.Example))
	}
	flags(&b, "Flags", c.LocalNonPersistentFlags())
	b.WriteString("\nThe [flags of all commands](README.md#flags-of-all-commands) choose the cluster and how much is said.\n")
	return b.Bytes()
}

// text is a help text; its list of exit codes keeps its columns.
func text(long string) string {
	before, codes, found := strings.Cut(strings.TrimSpace(long), "Exit codes:\n")
	if !found {
		return before
	}
	rows := "| exit code | |\n|---|---|"
	for _, line := range strings.Split(strings.TrimSpace(codes), "\n") {
		code, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, err := strconv.Atoi(code); err != nil { // the line before goes on
			rows = strings.TrimSuffix(rows, " |") + " " + cell(strings.TrimSpace(line)) + " |"
			continue
		}
		rows += fmt.Sprintf("\n| %s | %s |", code, cell(strings.TrimSpace(what)))
	}
	return before + rows
}

func outdent(example string) string {
	lines := strings.Split(example, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "  ")
	}
	return strings.Join(lines, "\n")
}

func flags(b *bytes.Buffer, title string, set *pflag.FlagSet) {
	var rows []string
	set.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "help" {
			rows = append(rows, row(f))
		}
	})
	if len(rows) > 0 {
		fmt.Fprintf(b, "\n## %s\n\n| flag | default | |\n|---|---|---|\n%s", title, strings.Join(rows, ""))
	}
}

func row(f *pflag.Flag) string {
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	value := f.DefValue
	// One machine's home folder is not another's.
	if home, err := os.UserHomeDir(); err == nil {
		value = strings.Replace(value, home, "$HOME", 1)
	}
	if slices.Contains([]string{"", "false", "[]"}, value) || f.Value.Type() == "count" {
		value = ""
	} else {
		value = "`" + value + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s |\n", name, value, cell(f.Usage))
}

// cell keeps a text from ending its cell of a table.
func cell(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(s) }

func write(dir string, want map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // documentation is for all
		return err
	}
	for name, b := range want {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil { //nolint:gosec // documentation is for all
			return err
		}
	}
	stale, err := others(dir, want)
	if err != nil {
		return err
	}
	for _, name := range stale {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// check fails on pages that differ, are missing, or belong to a command that is gone.
func check(dir string, want map[string][]byte) error {
	wrong, err := others(dir, want)
	if err != nil {
		return err
	}
	for name, b := range want {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(got, b) {
			wrong = append(wrong, name)
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return fmt.Errorf("not up to date in %s: %s; run: make docs", dir, strings.Join(wrong, ", "))
	}
	return nil
}

// others are pages of ours that are not wanted any more.
func others(dir string, want map[string][]byte) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if _, ok := want[e.Name()]; !ok && filepath.Ext(e.Name()) == ".md" {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
