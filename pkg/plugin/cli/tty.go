package cli

import (
	"errors"
	"fmt"
	"io"

	"os"

	"golang.org/x/term"
)

func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Draws says that lines can be drawn over, in colours: not on a terminal that says that it is a plain one (an editor's, a
// build's).
func Draws(w any) bool { return IsTerminal(w) && os.Getenv("TERM") != "dumb" }

// Secret asks for a passphrase on a terminal, which does not show it.
func Secret(in io.Reader, out io.Writer, prompt string) ([]byte, error) {
	f, ok := in.(*os.File)
	if !ok || !IsTerminal(in) {
		return nil, errors.New("a passphrase is asked for, and standard input is no terminal")
	}
	fmt.Fprint(out, prompt)
	phrase, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(out)
	return phrase, err
}
