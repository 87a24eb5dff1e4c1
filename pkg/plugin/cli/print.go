package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"text/template"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/util/jsonpath"
	"sigs.k8s.io/yaml"
)

// Output is the -o flag. The JSON forms print the documented types as they are.
type Output struct {
	Format string
	// bare tables have no line of headings.
	bare bool
	Also []string // formats of this command besides the common ones: wide, name
}

func (o *Output) AddFlag(cmd *cobra.Command, also ...string) {
	o.Also = also
	forms := append(slices.Clone(also), "json", "yaml", "jsonpath=…", "go-template=…")
	cmd.Flags().StringVarP(&o.Format, "output", "o", "", "Output format: "+strings.Join(forms, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(append(slices.Clone(also), "json", "yaml", "jsonpath=", "go-template="), cobra.ShellCompDirectiveNoFileComp))
}

// AddBare adds --no-headers, for commands whose table a script reads line by line.
func (o *Output) AddBare(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.bare, "no-headers", false, "Print tables without the line of headings")
}

// Names prints one name a line, for -o name.
func (o *Output) Names(w io.Writer, names []string) error {
	for _, n := range names {
		if _, err := fmt.Fprintln(w, Printable(n)); err != nil {
			return fmt.Errorf("print result: %w", err)
		}
	}
	return nil
}

// Table prints rows as kubectl does.
func (o *Output) Table(w io.Writer, head []string, rows [][]string) error {
	if o.bare {
		head = nil
	}
	return Table(w, head, rows)
}

func (o *Output) Validate(cmd *cobra.Command) error {
	name, _, _ := strings.Cut(o.Format, "=")
	switch name {
	case "", "json", "yaml":
		return nil
	case "jsonpath", "go-template":
		if strings.Contains(o.Format, "=") {
			return o.parse(cmd)
		}
		return Usagef(cmd, "output format %s needs a template: -o %s=…", name, name)
	}
	if slices.Contains(o.Also, o.Format) {
		return nil
	}
	return Usagef(cmd, "unknown output format %q; there are: %s", o.Format, strings.Join(append(slices.Clone(o.Also), "json", "yaml", "jsonpath=…", "go-template=…"), ", "))
}

// parse refuses a template that is none before anything is done: afterwards a backup would look like a failed one.
func (o *Output) parse(cmd *cobra.Command) error {
	name, text, _ := strings.Cut(o.Format, "=")
	if name == "jsonpath" {
		if err := jsonpath.New("output").Parse(text); err != nil {
			return Usagef(cmd, "parse jsonpath: %w", err)
		}
	} else if _, err := template.New("output").Parse(text); err != nil {
		return Usagef(cmd, "parse template: %w", err)
	}
	return nil
}

// Data says that a program reads the output.
func (o *Output) Data() bool { return o.Format != "" && !slices.Contains(o.Also, o.Format) }

// Print writes v in a form that programs read.
func (o *Output) Print(w io.Writer, v any) error {
	name, text, _ := strings.Cut(o.Format, "=")
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	switch name {
	case "json":
		_, err = fmt.Fprintf(w, "%s\n", b)
	case "yaml":
		if b, err = yaml.JSONToYAML(b); err == nil {
			_, err = w.Write(b)
		}
	case "jsonpath", "go-template":
		var tree any
		if err := utiljson.Unmarshal(b, &tree); err != nil { // keeps whole numbers whole
			return fmt.Errorf("print result: %w", err)
		}
		if name == "go-template" {
			t, terr := template.New("output").Parse(text)
			if terr != nil {
				return fmt.Errorf("parse template: %w", terr)
			}
			return t.Execute(w, tree)
		}
		p := jsonpath.New("output").AllowMissingKeys(true) // as kubectl
		if err := p.Parse(text); err != nil {
			return fmt.Errorf("parse jsonpath: %w", err)
		}
		return p.Execute(w, tree)
	}
	return err
}

// Table prints rows under headings; without any where head is nil.
func Table(w io.Writer, head []string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	if head != nil {
		fmt.Fprintln(t, strings.Join(head, "\t"))
	}
	for _, r := range rows {
		cells := make([]string, len(r))
		for i, c := range r {
			cells[i] = Printable(c)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// Printable shows what a terminal would obey instead of sending it there. Names, images and messages are chosen by
// whoever may make a pod or a snapshot, and must not colour, clear or forge lines.
func Printable(s string) string {
	obeyed := func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError
	}
	if strings.IndexFunc(s, obeyed) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if obeyed(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// PrintableLines is printable for text of several lines.
func PrintableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = Printable(l)
	}
	return strings.Join(lines, "\n")
}
