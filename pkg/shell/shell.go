// Package shell reads shell scripts to learn which programs they would start, with which arguments and environment. Nothing of
// them is run. What it cannot follow is unknown, never wrong.
package shell

import (
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// Unknown is the mark for what would have to be run to be known: a command substitution, a file's content. No value in a command
// line can contain it.
const Unknown = "\x00"

const (
	// maxSteps and maxValue bound what a script can make of itself: its author is not trusted.
	maxSteps = 10_000
	maxValue = 64 << 10 // bytes
	maxCalls = 16       // of functions, and scripts in eval, one within the other
)

// Invocation is one program that a script runs: its arguments, program
// first, and what the script set in its environment.
type Invocation struct {
	Argv []string
	Env  map[string]string
}

// Host answers what a script asks its surroundings for.
type Host struct {
	Env      func(string) (string, bool) // the container's environment
	Hostname string
	FQDN     string
	IP       string
	File     func(path string) (string, bool) // a file of its own that can be read; nil: none can
}

// shell follows a script from top to bottom. Both branches of a condition are taken, so that all programs are seen; a
// variable that is not the same after both, or that a loop changes, is unknown.
type shell struct {
	Host
	state
	functions map[string]*syntax.Stmt
	returned  []state // of the function that is followed: what held where it returned
	locals    map[string]variable
	depth     int
	steps     int
	found     []Invocation
}

// Run returns the programs that a script runs, in its order. args are $0 and what follows. After what is no shell's
// syntax nothing more is run, as in a shell; of a script without an end, nothing is known.
func Run(script string, args []string, h Host) []Invocation {
	if len(args) == 0 {
		args = []string{"sh"}
	}
	s := &shell{Host: h, state: newState(args), functions: map[string]*syntax.Stmt{}}
	s.script(script)
	if s.steps > maxSteps {
		return nil
	}
	return s.found
}

func (s *shell) script(text string) {
	if s.depth >= maxCalls {
		return
	}
	s.depth++
	defer func() { s.depth-- }()
	// A file written on Windows has a carriage return before each line's end.
	text = strings.ReplaceAll(text, "\r\n", "\n")
	broken := false
	for stmt, err := range syntax.NewParser(syntax.Variant(syntax.LangBash)).StmtsSeq(strings.NewReader(text)) {
		// The parser goes on after an error, and does not take a break for an answer.
		if broken = broken || err != nil; !broken {
			s.list([]*syntax.Stmt{stmt})
		}
	}
}

func (s *shell) list(stmts []*syntax.Stmt) {
	for _, st := range stmts {
		if s.steps++; s.ended || s.steps > maxSteps {
			return
		}
		if st.Background || st.Coprocess {
			s.apart(func() { s.command(st.Cmd) })
		} else {
			s.command(st.Cmd)
		}
	}
}

func (s *shell) command(cmd syntax.Command) {
	switch c := cmd.(type) {
	case nil, *syntax.TestClause: // redirections alone; [[ … ]]
	case *syntax.CallExpr:
		s.call(c)
	case *syntax.DeclClause:
		s.declare(c)
	case *syntax.Block:
		s.list(c.Stmts)
	case *syntax.Subshell:
		s.apart(func() { s.list(c.Stmts) })
	case *syntax.TimeClause:
		if c.Stmt != nil {
			s.list([]*syntax.Stmt{c.Stmt})
		}
	case *syntax.FuncDecl:
		if c.Name != nil { // it has none in "()"
			s.functions[c.Name.Value] = c.Body
		}
	case *syntax.BinaryCmd:
		s.binary(c)
	case *syntax.IfClause:
		s.ifClause(c)
	case *syntax.CaseClause:
		s.caseClause(c)
	case *syntax.WhileClause:
		s.loop(func() { s.list(c.Cond); s.list(c.Do) })
	case *syntax.ForClause:
		s.forClause(c)
	default:
		s.forget(cmd)
	}
}

func (s *shell) binary(c *syntax.BinaryCmd) {
	switch c.Op {
	case syntax.AndStmt, syntax.OrStmt:
		s.list([]*syntax.Stmt{c.X})
		s.either(func() { s.list([]*syntax.Stmt{c.Y}) }, func() {})
	default: // a pipe: each side is a process of its own
		s.apart(func() { s.list([]*syntax.Stmt{c.X}) })
		s.apart(func() { s.list([]*syntax.Stmt{c.Y}) })
	}
}

func (s *shell) ifClause(c *syntax.IfClause) {
	s.list(c.Cond)
	s.either(func() { s.list(c.Then) }, func() {
		switch {
		case c.Else == nil:
		case c.Else.ThenPos.IsValid(): // elif
			s.ifClause(c.Else)
		default:
			s.list(c.Else.Then)
		}
	})
}

func (s *shell) caseClause(c *syntax.CaseClause) {
	var branches []func()
	every := false
	for _, item := range c.Items {
		branches = append(branches, func() { s.list(item.Stmts) })
		every = every || slices.ContainsFunc(item.Patterns, func(w *syntax.Word) bool { return w.Lit() == "*" })
	}
	if !every {
		branches = append(branches, func() {})
	}
	s.either(branches...)
}

func (s *shell) forClause(c *syntax.ForClause) {
	iter, ok := c.Loop.(*syntax.WordIter)
	if !ok {
		s.forget(c.Loop)
	}
	s.loop(func() {
		if ok {
			s.set(iter.Name.Value, Unknown)
		}
		s.list(c.Do)
	})
}

// either follows each branch from where the script is. What holds after all of them holds then.
func (s *shell) either(branches ...func()) {
	if s.ended {
		return
	}
	before := s.state
	after := state{ended: true}
	for i, branch := range branches {
		s.state = before.clone()
		branch()
		if i == 0 {
			after = s.state
		} else {
			after = s.merge(after, s.state)
		}
	}
	s.state = after
}

// loop follows a body that runs never, once or often, until nothing more becomes unknown.
func (s *shell) loop(body func()) {
	found := len(s.found)
	for range 8 {
		before := s.clone()
		s.found = s.found[:found]
		s.either(body, func() {})
		if s.same(before) {
			return
		}
	}
}

// apart follows what runs in a process of its own: its variables are gone with it.
func (s *shell) apart(f func()) {
	before := s.clone()
	f()
	s.state = before
}

// call takes one simple command.
func (s *shell) call(c *syntax.CallExpr) {
	if len(c.Args) == 0 {
		for _, a := range c.Assigns {
			s.set(a.Name.Value, s.value(a))
		}
		return
	}
	prefix := map[string]string{}
	for _, a := range c.Assigns {
		prefix[a.Name.Value] = s.value(a)
	}
	argv := s.fields(c.Args...)
	if len(argv) == 0 {
		return
	}
	if body := s.functions[argv[0]]; body != nil {
		s.function(body, argv)
		return
	}
	if s.builtin(argv) {
		return
	}
	s.found = append(s.found, Invocation{argv, s.environment(prefix)})
	s.ended = argv[0] == "exec"
}

// environment is what a program that is started now has besides the container's own variables.
func (s *shell) environment(prefix map[string]string) map[string]string {
	env := map[string]string{}
	for name, v := range s.vars {
		_, inherited := s.Env(name)
		if v.set && (s.exported[name] || inherited) {
			env[name] = v.value
		}
	}
	for name, v := range prefix {
		env[name] = v
	}
	return env
}

// builtin takes what changes the shell itself; false for all else.
func (s *shell) builtin(argv []string) bool {
	names := argv[1:]
	switch argv[0] {
	case "set":
		s.options(names)
	case "shift":
		n := 1
		if len(names) > 0 {
			n, _ = strconv.Atoi(names[0])
		}
		s.shift(n)
	case "unset":
		for _, name := range names {
			s.vars[name] = variable{}
		}
	case "exec":
		return len(names) == 0 // redirections alone: the script goes on
	case ".", "source":
		s.sourced(names)
	case "exit":
		s.ended = true
	case "return":
		s.returned = append(s.returned, s.clone())
		s.ended = true
	case "eval":
		text := strings.Join(names, " ")
		if strings.Contains(text, Unknown) {
			s.forgetAll()
			return true
		}
		s.script(text)
	case "read", "mapfile", "readarray", "getopts":
		for _, name := range names {
			if syntax.ValidName(name) {
				s.set(name, Unknown)
			}
		}
	case "printf":
		if len(names) < 2 || names[0] != "-v" {
			return false
		}
		s.set(names[1], Unknown)
	default:
		return false
	}
	return true
}

func (s *shell) options(args []string) {
	for i, a := range args {
		switch {
		case a == "--":
			s.args = append(slices.Clone(s.args[:1]), args[i+1:]...)
			return
		case strings.HasPrefix(a, "-"):
			s.allExported = s.allExported || strings.Contains(a, "a")
		case strings.HasPrefix(a, "+"):
			s.allExported = s.allExported && !strings.Contains(a, "a")
		case i > 0 && strings.HasSuffix(args[i-1], "o") && args[i-1] != "--": // set -o pipefail
			s.allExported = s.allExported || a == "allexport"
		default:
			s.args = append(slices.Clone(s.args[:1]), args[i:]...)
			return
		}
	}
}

// function follows a function's body: its arguments are its own, and so are the variables that it says are.
func (s *shell) function(body *syntax.Stmt, argv []string) {
	if s.depth >= maxCalls {
		return
	}
	s.depth++
	defer func() { s.depth-- }()
	args, returned, locals := s.args, s.returned, s.locals
	s.args, s.returned, s.locals = append(slices.Clone(s.args[:1]), argv[1:]...), nil, map[string]variable{}
	s.list([]*syntax.Stmt{body})
	for _, r := range s.returned {
		s.state = s.merge(s.state, r)
	}
	for name, v := range s.locals {
		s.vars[name] = v
	}
	s.args, s.returned, s.locals = args, returned, locals
}

func (s *shell) declare(c *syntax.DeclClause) {
	export := c.Variant.Value == "export"
	for _, a := range c.Args {
		name := ""
		switch {
		case a.Name != nil:
			name = a.Name.Value
		case a.Value != nil: // a flag, or a word that is NAME=VALUE only when it is known
			word := s.literal(a.Value)
			if export = export || strings.HasPrefix(word, "-") && strings.Contains(word, "x"); strings.HasPrefix(word, "-") {
				continue
			}
			var v string
			var ok bool
			if name, v, ok = strings.Cut(word, "="); ok && syntax.ValidName(name) {
				s.set(name, v)
			}
		}
		if c.Variant.Value == "local" && s.locals != nil && name != "" {
			if _, again := s.locals[name]; !again {
				s.locals[name] = s.vars[name]
			}
		}
		if a.Name != nil && !a.Naked {
			s.set(name, s.value(a))
		}
		if export && name != "" {
			s.exported[name] = true
		}
	}
}

// value is what an assignment gives its variable.
func (s *shell) value(a *syntax.Assign) string {
	if a.Array != nil || a.Index != nil {
		return Unknown
	}
	v := ""
	if a.Value != nil {
		v = s.literal(a.Value)
	}
	if a.Append {
		old, ok := s.get(a.Name.Value)
		if !ok { // the image may set it
			old = Unknown
		}
		v = old + v
	}
	return v
}
