package plugin

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"text/template"

	"github.com/spf13/cobra"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/util/jsonpath"
	"sigs.k8s.io/yaml"
)

// output is the -o flag. The JSON forms print the documented types as they are.
type output struct {
	format string
	also   []string // formats of this command besides the common ones: wide, name
}

func (o *output) addFlag(cmd *cobra.Command, also ...string) {
	o.also = also
	forms := append(slices.Clone(also), "json", "yaml", "jsonpath=…", "go-template=…")
	cmd.Flags().StringVarP(&o.format, "output", "o", "", "Output format: "+strings.Join(forms, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(append(slices.Clone(also), "json", "yaml", "jsonpath=", "go-template="), cobra.ShellCompDirectiveNoFileComp))
}

func (o *output) validate(cmd *cobra.Command) error {
	name, _, _ := strings.Cut(o.format, "=")
	switch name {
	case "", "json", "yaml":
		return nil
	case "jsonpath", "go-template":
		if strings.Contains(o.format, "=") {
			return nil
		}
		return usagef(cmd, "output format %s needs a template: -o %s=…", name, name)
	}
	if slices.Contains(o.also, o.format) {
		return nil
	}
	return usagef(cmd, "unknown output format %q; there are: %s", o.format, strings.Join(append(slices.Clone(o.also), "json", "yaml", "jsonpath=…", "go-template=…"), ", "))
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
		p := jsonpath.New("output")
		if err := p.Parse(text); err != nil {
			return fmt.Errorf("parse jsonpath: %w", err)
		}
		return p.Execute(w, tree)
	}
	return err
}

// table prints rows under headings, as kubectl does.
func table(w io.Writer, head []string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, strings.Join(head, "\t"))
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	return t.Flush()
}
