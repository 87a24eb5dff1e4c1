package controlplane

import "strings"

// A shell script is read only far enough to learn how it would start etcd:
// words, quotes, variables, and where one command ends. Whatever would have to
// be run to be known (a command substitution) becomes the mark unknown, which
// no value in a command line can contain.
const unknown = "\x00"

type segKind int

const (
	segText segKind = iota
	segVar          // the inside of ${…}, or a bare name
	segCommand
)

type segment struct {
	kind   segKind
	text   string
	quoted bool
}

// token is a word, or an operator (op != "").
type token struct {
	op  string
	seg []segment
}

func (t token) literal() (string, bool) {
	if len(t.seg) == 1 && t.seg[0].kind == segText && !t.seg[0].quoted {
		return t.seg[0].text, true
	}
	return "", false
}

type lexer struct {
	in  string
	pos int
	out []token
	cur *token
	// heredocs are delimiters whose bodies follow the current line.
	heredocs []string
}

func lex(script string) []token {
	l := &lexer{in: script}
	for l.pos < len(l.in) {
		l.next()
	}
	l.endWord()
	return l.out
}

func (l *lexer) endWord() {
	if l.cur != nil {
		l.out = append(l.out, *l.cur)
		l.cur = nil
	}
}

func (l *lexer) add(kind segKind, text string, quoted bool) {
	if l.cur == nil {
		l.cur = &token{}
	}
	if n := len(l.cur.seg); n > 0 && kind == segText && l.cur.seg[n-1].kind == segText && l.cur.seg[n-1].quoted == quoted {
		l.cur.seg[n-1].text += text
		return
	}
	l.cur.seg = append(l.cur.seg, segment{kind, text, quoted})
}

func (l *lexer) op(op string) {
	l.endWord()
	l.out = append(l.out, token{op: op})
	l.pos += len(op)
}

func (l *lexer) next() {
	c := l.in[l.pos]
	switch {
	case c == '\\':
		l.escape()
	case c == '\n':
		l.op("\n")
		l.skipHeredocs()
	case c == ' ' || c == '\t' || c == '\r':
		l.endWord()
		l.pos++
	case c == '#' && l.cur == nil:
		if i := strings.IndexByte(l.in[l.pos:], '\n'); i >= 0 {
			l.pos += i
		} else {
			l.pos = len(l.in)
		}
	case c == '\'':
		end := strings.IndexByte(l.in[l.pos+1:], '\'')
		if end < 0 {
			end = len(l.in) - l.pos - 1
		}
		l.add(segText, l.in[l.pos+1:l.pos+1+end], true)
		l.pos += end + 2
	case c == '"':
		l.doubleQuoted()
	case c == '$' || c == '`':
		l.expansion(false)
	case c == '<' || c == '>':
		l.redirect()
	case strings.IndexByte(";&|()", c) >= 0:
		op := string(c)
		if l.pos+1 < len(l.in) && (c == '&' || c == '|' || c == ';') && l.in[l.pos+1] == c {
			op += string(c)
		}
		l.op(op)
	default:
		l.add(segText, string(c), false)
		l.pos++
	}
}

func (l *lexer) escape() {
	if l.pos+1 < len(l.in) {
		// A backslash before the line's end joins two lines; files written on
		// Windows have a carriage return in between.
		if rest := l.in[l.pos+1:]; strings.HasPrefix(rest, "\r\n") {
			l.pos++
		} else if rest[0] != '\n' {
			l.add(segText, rest[:1], true)
		}
	}
	l.pos += 2
}

func (l *lexer) doubleQuoted() {
	l.add(segText, "", true)
	for l.pos++; l.pos < len(l.in); {
		switch c := l.in[l.pos]; {
		case c == '"':
			l.pos++
			return
		case c == '\\' && l.pos+1 < len(l.in) && strings.IndexByte("$`\"\\\n", l.in[l.pos+1]) >= 0:
			if l.in[l.pos+1] != '\n' {
				l.add(segText, l.in[l.pos+1:l.pos+2], true)
			}
			l.pos += 2
		case c == '$' || c == '`':
			l.expansion(true)
		default:
			l.add(segText, string(c), true)
			l.pos++
		}
	}
}

// expansion reads what begins with $ or a backquote.
func (l *lexer) expansion(quoted bool) {
	rest := l.in[l.pos:]
	switch {
	case rest[0] == '`':
		end := strings.IndexByte(rest[1:], '`')
		if end < 0 {
			end = len(rest) - 1
		}
		l.add(segCommand, rest[1:1+end], quoted)
		l.pos += min(end+2, len(rest))
	case strings.HasPrefix(rest, "$("):
		n := balanced(rest[1:], '(', ')')
		l.add(segCommand, strings.TrimSuffix(rest[2:1+n], ")"), quoted)
		l.pos += 1 + n
	case strings.HasPrefix(rest, "${"):
		n := balanced(rest[1:], '{', '}')
		l.add(segVar, strings.TrimSuffix(rest[2:1+n], "}"), quoted)
		l.pos += 1 + n
	default:
		n := nameLen(rest[1:])
		if n == 0 && len(rest) > 1 && strings.IndexByte("@*#?0123456789", rest[1]) >= 0 {
			n = 1
		}
		if n == 0 {
			l.add(segText, "$", quoted)
		} else {
			l.add(segVar, rest[1:1+n], quoted)
		}
		l.pos += 1 + n
	}
}

// balanced is the length of s up to the bracket that closes its first one.
func balanced(s string, open, shut byte) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case open:
			depth++
		case shut:
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

func nameLen(s string) int {
	i := 0
	for i < len(s) && (s[i] == '_' || s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z' || i > 0 && s[i] >= '0' && s[i] <= '9') {
		i++
	}
	return i
}

// redirect reads one redirection, drops the file descriptor before it, and
// emits the operator ">", whose next word is the target.
func (l *lexer) redirect() {
	if l.cur != nil {
		if fd, ok := l.cur.literal(); ok && strings.Trim(fd, "0123456789") == "" {
			l.cur = nil
		}
	}
	l.endWord()
	start := l.pos
	for l.pos < len(l.in) && strings.IndexByte("<>&|", l.in[l.pos]) >= 0 {
		l.pos++
	}
	op := l.in[start:l.pos]
	if op == "<<" {
		if l.pos < len(l.in) && l.in[l.pos] == '-' {
			l.pos++
		}
		line, _, _ := strings.Cut(l.in[l.pos:], "\n")
		if f := strings.Fields(line); len(f) > 0 {
			l.heredocs = append(l.heredocs, strings.Trim(f[0], `'"\`))
		}
	}
	l.out = append(l.out, token{op: ">"})
}

func (l *lexer) skipHeredocs() {
	for _, delim := range l.heredocs {
		for l.pos < len(l.in) {
			line, _, _ := strings.Cut(l.in[l.pos:], "\n")
			l.pos = min(l.pos+len(line)+1, len(l.in))
			if strings.TrimSpace(line) == delim {
				break
			}
		}
	}
	l.heredocs = nil
}
