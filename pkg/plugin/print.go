package plugin

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

// output is the -o flag. The JSON forms print the documented types as they are.
type output struct {
	format string
	// bare tables have no line of headings.
	bare bool
	also []string // formats of this command besides the common ones: wide, name
}

func (o *output) addFlag(cmd *cobra.Command, also ...string) {
	o.also = also
	forms := append(slices.Clone(also), "json", "yaml", "jsonpath=…", "go-template=…")
	cmd.Flags().StringVarP(&o.format, "output", "o", "", "Output format: "+strings.Join(forms, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(append(slices.Clone(also), "json", "yaml", "jsonpath=", "go-template="), cobra.ShellCompDirectiveNoFileComp))
}

// addBare adds --no-headers, for commands whose table a script reads line by line.
func (o *output) addBare(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.bare, "no-headers", false, "Print tables without the line of headings")
}

// names prints one name a line, for -o name.
func (o *output) names(w io.Writer, names []string) error {
	for _, n := range names {
		if _, err := fmt.Fprintln(w, printable(n)); err != nil {
			return fmt.Errorf("print result: %w", err)
		}
	}
	return nil
}

// table prints rows as kubectl does.
func (o *output) table(w io.Writer, head []string, rows [][]string) error {
	if o.bare {
		head = nil
	}
	return table(w, head, rows)
}

func (o *output) validate(cmd *cobra.Command) error {
	name, _, _ := strings.Cut(o.format, "=")
	switch name {
	case "", "json", "yaml":
		return nil
	case "jsonpath", "go-template":
		if strings.Contains(o.format, "=") {
			return o.parse(cmd)
		}
		return usagef(cmd, "output format %s needs a template: -o %s=…", name, name)
	}
	if slices.Contains(o.also, o.format) {
		return nil
	}
	return usagef(cmd, "unknown output format %q; there are: %s", o.format, strings.Join(append(slices.Clone(o.also), "json", "yaml", "jsonpath=…", "go-template=…"), ", "))
}

// parse refuses a template that is none before anything is done: afterwards a backup would look like a failed one.
func (o *output) parse(cmd *cobra.Command) error {
	name, text, _ := strings.Cut(o.format, "=")
	if name == "jsonpath" {
		if err := jsonpath.New("output").Parse(text); err != nil {
			return usagef(cmd, "parse jsonpath: %w", err)
		}
	} else if _, err := template.New("output").Parse(text); err != nil {
		return usagef(cmd, "parse template: %w", err)
	}
	return nil
}

// data says that a program reads the output.
func (o *output) data() bool { return o.format != "" && !slices.Contains(o.also, o.format) }

// print writes v in a form that programs read.
func (o *output) print(w io.Writer, v any) error {
	name, text, _ := strings.Cut(o.format, "=")
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

// table prints rows under headings; without any where head is nil.
func table(w io.Writer, head []string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	if head != nil {
		fmt.Fprintln(t, strings.Join(head, "\t"))
	}
	for _, r := range rows {
		cells := make([]string, len(r))
		for i, c := range r {
			cells[i] = printable(c)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// printable shows what a terminal would obey instead of sending it there. Names, images and messages are chosen by
// whoever may make a pod or a snapshot, and must not colour, clear or forge lines.
func printable(s string) string {
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

// printableLines is printable for text of several lines.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = printable(l)
	}
	return strings.Join(lines, "\n")
}
