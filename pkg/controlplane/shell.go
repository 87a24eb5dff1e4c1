package controlplane

import (
	"path"
	"strings"
)

// invocation is one program that a container runs: its arguments, program
// first, and what the script set in its environment.
type invocation struct {
	argv []string
	env  map[string]string
}

// host answers what a script asks its surroundings for.
type host struct {
	env      func(string) (string, bool) // the container's environment
	hostname string
	fqdn     string
	ip       string
	file     func(path string) (string, bool) // a file of its own that can be read; nil: none can
}

// shell follows a script from top to bottom without running anything. Both
// branches of a condition are taken, so that all programs are seen; a variable
// which the branches set differently, or that a loop sets, is unknown.
type shell struct {
	host
	vars     map[string]string
	exported map[string]bool
	allExp   bool
	args     []string // $0, $1, …
	cond     int
	loop     int
	found    []invocation
}

func runScript(script string, args []string, h host) []invocation {
	s := &shell{host: h, vars: map[string]string{}, exported: map[string]bool{}, args: args}
	var words []token
	skip, chained := false, false
	flush := func() {
		s.command(words, chained)
		words = nil
	}
	for _, t := range lex(script) {
		switch {
		case t.op == ">":
			skip = true
		case t.op != "":
			flush()
			chained = t.op == "&&" || t.op == "||"
			skip = false
		case skip:
			skip = false
		default:
			words = append(words, t)
		}
	}
	flush()
	return s.found
}

// command takes one simple command, keywords before it included.
func (s *shell) command(words []token, chained bool) {
	for len(words) > 0 {
		kw, _ := words[0].literal()
		switch kw {
		case "if", "case":
			s.cond++
		case "fi", "esac":
			s.cond--
		case "while", "until":
			s.loop++
		case "done":
			s.loop--
		case "for":
			s.loop++
			if len(words) > 1 {
				name, _ := words[1].literal()
				s.vars[name] = unknown
			}
			return
		case "then", "else", "elif", "do", "!", "time", "{", "}":
		default:
			s.simple(words, chained)
			return
		}
		if kw == "case" {
			return
		}
		words = words[1:]
	}
}

func (s *shell) simple(words []token, chained bool) {
	prefix := map[string]string{}
	for len(words) > 0 {
		name, rest, ok := assignment(words[0])
		if !ok {
			break
		}
		prefix[name] = strings.Join(s.expand(token{seg: rest}, false), " ")
		words = words[1:]
	}
	if len(words) == 0 {
		for name, v := range prefix {
			s.set(name, v, chained)
		}
		return
	}
	switch kw, _ := words[0].literal(); kw {
	case "export", "readonly", "local", "declare", "typeset":
		s.declare(words[1:], kw == "export", chained)
		return
	}
	var argv []string
	for _, w := range words {
		argv = append(argv, s.expand(w, true)...)
	}
	if len(argv) == 0 {
		return
	}
	if argv[0] == "set" {
		s.builtinSet(argv[1:])
		return
	}
	env := map[string]string{}
	for name, v := range s.vars {
		_, inherited := s.host.env(name)
		if s.exported[name] || s.allExp || inherited {
			env[name] = v
		}
	}
	for name, v := range prefix {
		env[name] = v
	}
	s.found = append(s.found, invocation{argv, env})
}

func (s *shell) declare(words []token, export, chained bool) {
	for _, w := range words {
		name, rest, ok := assignment(w)
		if !ok {
			name, _ = w.literal()
		} else {
			s.set(name, strings.Join(s.expand(token{seg: rest}, false), " "), chained)
		}
		if export {
			s.exported[name] = true
		}
	}
}

func (s *shell) builtinSet(args []string) {
	for i, a := range args {
		switch {
		case a == "--":
			s.args = append([]string{"sh"}, args[i+1:]...)
			return
		case strings.HasPrefix(a, "-") && strings.Contains(a, "a"):
			s.allExp = true
		}
	}
}

func (s *shell) set(name, value string, chained bool) {
	old, was := s.get(name)
	if s.loop > 0 || (s.cond > 0 || chained) && was && old != "" && old != value {
		value = unknown
	}
	s.vars[name] = value
}

func (s *shell) get(name string) (string, bool) {
	if v, ok := s.vars[name]; ok {
		return v, true
	}
	if v, ok := s.host.env(name); ok {
		return v, true
	}
	if name == "HOSTNAME" && s.hostname != "" {
		return s.hostname, true
	}
	return "", false
}

func assignment(t token) (name string, value []segment, ok bool) {
	if len(t.seg) == 0 || t.seg[0].kind != segText || t.seg[0].quoted {
		return "", nil, false
	}
	name, rest, ok := strings.Cut(t.seg[0].text, "=")
	if !ok || name == "" || nameLen(name) != len(name) {
		return "", nil, false
	}
	value = append([]segment{{text: rest, quoted: true}}, t.seg[1:]...)
	return name, value, true
}

// expand makes of one written word the words it stands for: an unquoted
// variable may be several, or none.
func (s *shell) expand(t token, split bool) []string {
	var out []string
	var cur strings.Builder
	open := false
	for _, g := range t.seg {
		var v string
		switch g.kind {
		case segText:
			v, open = g.text, true
		case segCommand:
			v = s.substitute(g.text)
		case segVar:
			if (g.text == "@" || g.text == "*") && len(s.args) > 1 && split {
				out = append(out, s.args[1:len(s.args)-1]...)
				cur.WriteString(s.args[len(s.args)-1])
				open = true
				continue
			}
			v = s.parameter(g.text)
		}
		if g.quoted || !split || g.kind == segText {
			cur.WriteString(v)
			open = open || g.quoted || v != ""
			continue
		}
		f := strings.Fields(v)
		for i, w := range f {
			if i > 0 {
				out = append(out, cur.String())
				cur.Reset()
			}
			cur.WriteString(w)
			open = true
		}
	}
	if open {
		out = append(out, cur.String())
	}
	return out
}

func (s *shell) substitute(cmd string) string {
	f := strings.Fields(cmd)
	if len(f) == 0 || len(f) > 2 || f[0] != "hostname" && f[0] != "uname" {
		return unknown
	}
	known := s.hostname
	if f[0] == "uname" && (len(f) == 1 || f[1] != "-n") {
		return unknown
	}
	if f[0] == "hostname" && len(f) == 2 {
		switch f[1] {
		case "-s", "--short":
		case "-f", "--fqdn":
			known = s.fqdn
		case "-i", "-I":
			known = s.ip
		default:
			return unknown
		}
	}
	if known == "" {
		return unknown
	}
	return known
}

// parameter is the value of what stands between the braces of ${…}.
func (s *shell) parameter(expr string) string {
	n := nameLen(expr)
	if n == 0 {
		if len(expr) == 1 && expr[0] >= '0' && expr[0] <= '9' && int(expr[0]-'0') < len(s.args) {
			return s.args[expr[0]-'0']
		}
		if expr == "@" || expr == "*" {
			return ""
		}
		return unknown
	}
	name, op := expr[:n], expr[n:]
	v, ok := s.get(name)
	word := func(skip int) string { return s.inner(op[skip:]) }
	switch {
	case op == "":
		if !ok {
			return unknown // the image may set it
		}
		return v
	case strings.HasPrefix(op, ":-"), strings.HasPrefix(op, ":="):
		if v == "" {
			return word(2)
		}
		return v
	case strings.HasPrefix(op, "-"), strings.HasPrefix(op, "="):
		if !ok {
			return word(1)
		}
		return v
	case strings.HasPrefix(op, ":+"):
		if v == "" {
			return ""
		}
		return word(2)
	case strings.HasPrefix(op, ":?"), strings.HasPrefix(op, "?"):
		if !ok {
			return unknown
		}
		return v
	case ok && (op[0] == '#' || op[0] == '%'):
		return trimPattern(v, op)
	}
	return unknown
}

func (s *shell) inner(text string) string {
	var out strings.Builder
	for i, t := range lex(text) {
		if i > 0 {
			out.WriteString(" ")
		}
		out.WriteString(t.op + strings.Join(s.expand(t, false), " "))
	}
	return out.String()
}

// trimPattern does ${v#p}, ${v##p}, ${v%p} and ${v%%p}.
func trimPattern(v, op string) string {
	if strings.Contains(v, unknown) {
		return unknown
	}
	front, pattern := op[0] == '#', op[1:]
	longest := pattern != "" && pattern[0] == op[0]
	if longest {
		pattern = pattern[1:]
	}
	// A "*" of the shell crosses slashes, one of path.Match does not.
	flat := func(s string) string { return strings.ReplaceAll(s, "/", "\x01") }
	for i := 0; i <= len(v); i++ {
		n := i
		if longest {
			n = len(v) - i
		}
		cut, keep := v[:n], v[n:]
		if !front {
			keep, cut = v[:len(v)-n], v[len(v)-n:]
		}
		if ok, err := path.Match(flat(pattern), flat(cut)); err == nil && ok {
			return keep
		}
	}
	return v
}
