package shell

import (
	"slices"
	"strings"
	"testing"
)

var nowhere = Host{Env: func(string) (string, bool) { return "", false }}

// TestRun: what a script comes to as a whole. How etcds are started is tested with package controlplane, by the scripts of those
// who start them.
func TestRun(t *testing.T) {
	for script, want := range map[string]string{
		"A=1; x $A; y ${B:-2}":           "x 1|y 2",
		"if a; then x; else y; fi; z":    "a|x|y|z",
		"x $(date)":                      "x …",
		"f() { x $1; }; f a; f b":        "x a|x b",
		"while a; do N=$N.; done; x $N":  "a|x …",
		"x; y (":                         "x",
		"set -- a b; shift; exec x $@":   "exec x b",
		"case $A in a) x;; *) y;; esac":  "x|y",
		strings.Repeat("x;", maxSteps+1): "",
	} {
		var got []string
		for _, p := range Run(script, nil, nowhere) {
			got = append(got, strings.ReplaceAll(strings.Join(p.Argv, " "), Unknown, "…"))
		}
		if !slices.Equal(got, strings.FieldsFunc(want, func(r rune) bool { return r == '|' })) {
			t.Errorf("%.40s: %q, want %q", script, got, want)
		}
	}
}

// FuzzScript: whatever a pod's author wrote, reading it ends, and in order.
func FuzzScript(f *testing.F) {
	for _, s := range []string{"etcd", "${", "$(", "`", "\"", "'", "\\", "<<", "<<X\n", "a=$((", "${x##*-}", ">&2", "for", "case x in", "${x:-${y", "set -- \"$@\""} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, s string) {
		if len(s) < 4096 {
			Run(s, nil, nowhere)
		}
	})
}
