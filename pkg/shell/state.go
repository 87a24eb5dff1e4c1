package shell

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// variable is one of a script's own: it hides the container's of that name, also when it was unset.
type variable struct {
	value string
	set   bool
}

// state is what a script has set so far.
type state struct {
	vars        map[string]variable
	exported    map[string]bool
	allExported bool
	args        []string // $0, which is always there, $1, …; from the first unknown one on, how many there are is not known either
	ended       bool     // nothing more is run here: exec, exit, return
}

func newState(args []string) state {
	return state{vars: map[string]variable{}, exported: map[string]bool{}, args: args}
}

func (a state) clone() state {
	a.vars, a.exported, a.args = maps.Clone(a.vars), maps.Clone(a.exported), slices.Clone(a.args)
	return a
}

func (a state) same(b state) bool {
	return maps.Equal(a.vars, b.vars) && maps.Equal(a.exported, b.exported) && slices.Equal(a.args, b.args) && a.ended == b.ended
}

// merge is what holds where the script may have come from either.
func (s *shell) merge(a, b state) state {
	switch {
	case b.ended:
		return a
	case a.ended:
		return b
	}
	out := a.clone()
	for name := range b.vars {
		out.vars[name] = b.vars[name]
	}
	for name := range out.vars {
		va, oka := a.get(s.Host, name)
		vb, okb := b.get(s.Host, name)
		if oka != okb || va != vb {
			out.vars[name] = variable{Unknown, true}
		}
	}
	maps.Copy(out.exported, b.exported)
	out.allExported = a.allExported || b.allExported
	if !slices.Equal(a.args, b.args) {
		n := 0
		for n < min(len(a.args), len(b.args)) && a.args[n] == b.args[n] {
			n++
		}
		out.args = append(slices.Clone(a.args[:n]), Unknown)
	}
	return out
}

func (a state) get(h Host, name string) (string, bool) {
	if v, ok := a.vars[name]; ok {
		return v.value, v.set
	}
	if v, ok := h.Env(name); ok {
		return v, true
	}
	switch {
	case name == "HOSTNAME" && h.Hostname != "":
		return h.Hostname, true
	case name == "IFS":
		return " \t\n", true
	}
	return "", false
}

func (s *shell) get(name string) (string, bool) { return s.state.get(s.Host, name) }

func (s *shell) set(name, value string) {
	if len(value) > maxValue {
		value = Unknown
	}
	s.vars[name] = variable{value, true}
	if s.allExported {
		s.exported[name] = true
	}
}

// argument is $N; how many there are is not known past the first unknown one.
func (s *shell) argument(n int) string {
	switch {
	case n < len(s.args):
		return s.args[n]
	case s.argsKnown():
		return ""
	}
	return Unknown
}

func (s *shell) argsKnown() bool {
	return !slices.ContainsFunc(s.args, func(a string) bool { return strings.Contains(a, Unknown) })
}

func (s *shell) shift(n int) {
	switch {
	case n < 0:
	case n < len(s.args):
		s.args = append(slices.Clone(s.args[:1]), s.args[1+n:]...)
	case s.argsKnown(): // more than there are: none is shifted
	default:
		s.args = append(slices.Clone(s.args[:1]), Unknown)
	}
}

// variables gives a shell's to the library that expands words.
type variables struct{ s *shell }

func (v variables) Get(name string) expand.Variable {
	text := func(value string, ok bool) expand.Variable {
		return expand.Variable{Set: ok, Kind: expand.String, Str: value}
	}
	var n int
	switch _, err := fmt.Sscanf(name, "%d", &n); {
	case name == "@" || name == "*":
		return expand.Variable{Set: true, Kind: expand.Indexed, List: v.s.args[1:]}
	case name == "#":
		return text(fmt.Sprint(len(v.s.args)-1), true)
	case err == nil && n >= 0:
		return text(v.s.argument(n), n < len(v.s.args))
	}
	if value, ok := v.s.get(name); name != "IFS" || !strings.Contains(value, Unknown) { // the mark separates nothing
		return text(value, ok)
	}
	return text("", false)
}

// Each is for lists of names, which are not expanded.
func (v variables) Each(func(string, expand.Variable) bool) {}

func (v variables) Set(name string, value expand.Variable) error {
	v.s.set(name, value.String())
	return nil
}

// sourced follows a file where it can be read. One that cannot may set whatever the script has set before.
func (s *shell) sourced(argv []string) {
	if len(argv) > 0 && s.File != nil {
		if text, ok := s.File(argv[0]); ok {
			s.script(text)
			return
		}
	}
	s.forgetAll()
}

func (s *shell) forgetAll() {
	for name := range s.vars {
		s.vars[name] = variable{Unknown, true}
	}
}

// forget makes unknown what a command that is not followed may change.
func (s *shell) forget(node syntax.Node) {
	syntax.Walk(node, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.BinaryArithm:
			s.forgetAssigned(n.X, strings.HasSuffix(n.Op.String(), "=") && !slices.Contains([]string{"==", "!=", "<=", ">="}, n.Op.String()))
		case *syntax.UnaryArithm:
			s.forgetAssigned(n.X, n.Op == syntax.Inc || n.Op == syntax.Dec)
		case *syntax.Assign:
			if n.Name != nil {
				s.set(n.Name.Value, Unknown)
			}
		}
		return true
	})
}

func (s *shell) forgetAssigned(x syntax.ArithmExpr, assigned bool) {
	if w, ok := x.(*syntax.Word); ok && assigned && syntax.ValidName(w.Lit()) {
		s.set(w.Lit(), Unknown)
	}
}
