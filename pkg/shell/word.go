package shell

import (
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// fields makes of written words the words that a program gets: an unquoted variable may be several, or none.
func (s *shell) fields(words ...*syntax.Word) []string {
	var out []string
	for _, w := range words {
		copied := &syntax.Word{Parts: s.known(w.Parts)}
		braces := *copied
		if syntax.SplitBraces(&braces) || s.splitsUnknown(copied) { // how many that is, its author chooses
			out = append(out, Unknown)
			continue
		}
		f, err := expand.Fields(&expand.Config{Env: variables{s}}, copied)
		if err != nil {
			f = []string{Unknown}
		}
		for _, v := range f {
			if len(v) > maxValue {
				v = Unknown
			}
			out = append(out, v)
		}
	}
	return out
}

// splitsUnknown says that a word is split by what is not known.
func (s *shell) splitsUnknown(w *syntax.Word) bool {
	ifs, _ := s.get("IFS")
	return strings.Contains(ifs, Unknown) && slices.ContainsFunc(w.Parts, func(p syntax.WordPart) bool { _, ok := p.(*syntax.ParamExp); return ok })
}

// literal is a word's text, not split.
func (s *shell) literal(w *syntax.Word) string {
	v, err := expand.Literal(&expand.Config{Env: variables{s}}, &syntax.Word{Parts: s.known(w.Parts)})
	if err != nil {
		return Unknown
	}
	return v
}

// mark stands in a word for what is not known of it. The library hands on what is in quotes as it is.
func mark(v string) syntax.WordPart { return &syntax.SglQuoted{Value: v} }

// known copies a word's parts, with a mark for each that cannot be told without running it. What is left, the library expands.
func (s *shell) known(parts []syntax.WordPart) []syntax.WordPart {
	var out []syntax.WordPart
	for i, p := range parts {
		switch p := p.(type) {
		case *syntax.SglQuoted:
			out = append(out, p)
		case *syntax.Lit:
			if i == 0 && strings.HasPrefix(p.Value, "~") { // somebody's home
				out = append(out, mark(Unknown))
				continue
			}
			out = append(out, p)
		case *syntax.DblQuoted:
			quoted := *p
			quoted.Parts = s.known(p.Parts)
			out = append(out, &quoted)
		case *syntax.ParamExp:
			out = append(out, s.parameter(p))
		case *syntax.CmdSubst:
			out = append(out, mark(s.substitute(p)))
		case *syntax.ArithmExp:
			if !s.arithmKnown(p.X) {
				s.forget(p)
				out = append(out, mark(Unknown))
				continue
			}
			out = append(out, p)
		default:
			out = append(out, mark(Unknown))
		}
	}
	return out
}

// parameter leaves a ${…} to the library where all that it needs is known.
func (s *shell) parameter(p *syntax.ParamExp) syntax.WordPart {
	if p.Param == nil || p.Excl || p.Width || p.IsSet || p.Names != 0 || p.Index != nil || p.Flags != nil || p.Modifiers != nil || p.NestedParam != nil {
		return mark(Unknown)
	}
	name := p.Param.Value
	v, set := s.get(name)
	if !syntax.ValidName(name) {
		of := variables{s}.Get(name)
		v, set = of.String(), of.Set || len(name) > 0 && name[0] >= '0' && name[0] <= '9' // an argument that is not there is empty
	}
	if p.Exp != nil && p.Exp.Op == syntax.AlternateUnsetOrNull && v == Unknown { // it may be empty
		return mark(Unknown)
	}
	if p.Exp != nil && slices.Contains(defaults, p.Exp.Op) && p.Exp.Word != nil {
		return s.orElse(p)
	}
	if name == "@" || name == "*" {
		if p.Exp == nil && p.Repl == nil && !p.Length && p.Slice == nil || s.argsKnown() && s.operandsKnown(p) {
			return p
		}
		return mark(Unknown)
	}
	switch {
	case !set, name == "#" && !s.argsKnown(): // the image may set it
		return mark(Unknown)
	case p.Exp == nil && p.Repl == nil && !p.Length && p.Slice == nil:
		return p
	case strings.Contains(v, Unknown) || !s.operandsKnown(p):
		return mark(Unknown)
	}
	return p
}

// defaults are the operators that say what to take where a variable is set, or is not.
var defaults = []syntax.ParExpOperator{syntax.AlternateUnset, syntax.AlternateUnsetOrNull, syntax.DefaultUnset, syntax.DefaultUnsetOrNull,
	syntax.AssignUnset, syntax.AssignUnsetOrNull}

// orElse is ${NAME:-WORD} and its like: the library chooses, among what is known of the word.
func (s *shell) orElse(p *syntax.ParamExp) syntax.WordPart {
	copied, exp := *p, *p.Exp
	exp.Word = &syntax.Word{Parts: s.known(p.Exp.Word.Parts)}
	copied.Exp = &exp
	return &copied
}

// operandsKnown says that all other words in a ${…} are known: patterns, replacements, offsets.
func (s *shell) operandsKnown(p *syntax.ParamExp) bool {
	var words []*syntax.Word
	if p.Exp != nil {
		words = append(words, p.Exp.Word)
	}
	if p.Repl != nil {
		words = append(words, p.Repl.Orig, p.Repl.With)
	}
	for _, w := range words {
		if w != nil && (strings.Contains(s.literal(w), Unknown) || s.runs(w)) {
			return false
		}
	}
	return p.Slice == nil || s.arithmKnown(p.Slice.Offset) && s.arithmKnown(p.Slice.Length)
}

// runs tells whether a word has commands in it, which only a copy of it can do without.
func (s *shell) runs(n syntax.Node) (found bool) {
	syntax.Walk(n, func(n syntax.Node) bool {
		switch n.(type) {
		case *syntax.CmdSubst, *syntax.ProcSubst, *syntax.ArithmExp:
			found = true
		}
		return !found
	})
	return found
}

// arithmKnown says that every variable in an expression is known.
func (s *shell) arithmKnown(x syntax.ArithmExpr) bool {
	if x == nil {
		return true
	}
	ok := true
	syntax.Walk(x, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Lit:
			if syntax.ValidName(n.Value) {
				v, set := s.get(n.Value)
				ok = ok && set && isNumber(v) || ok && v == "0"
			}
		case *syntax.ParamExp:
			_, unknowable := s.parameter(n).(*syntax.SglQuoted)
			ok = ok && !unknowable
			return false
		case *syntax.CmdSubst, *syntax.ProcSubst:
			ok = false
		}
		return ok
	})
	return ok
}

// substitute knows what a few commands print.
func (s *shell) substitute(c *syntax.CmdSubst) string {
	if len(c.Stmts) != 1 {
		return Unknown
	}
	call, ok := c.Stmts[0].Cmd.(*syntax.CallExpr)
	if !ok || len(call.Assigns) > 0 {
		return Unknown
	}
	argv := s.fields(call.Args...)
	known := ""
	switch strings.Join(argv, " ") {
	case "hostname", "hostname -s", "hostname --short", "uname -n":
		known = s.Hostname
	case "hostname -f", "hostname --fqdn":
		known = s.FQDN
	case "hostname -i", "hostname -I":
		known = s.IP
	}
	if known == "" {
		return Unknown
	}
	return known
}

// isNumber tells whether a value is one, other than 0, as far as a shell can reckon with it.
func isNumber(v string) bool {
	n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
	return err == nil && int64(n) != 0
}
