// Package cli is what all commands do alike: output formats, tables, errors of usage, what a terminal is.
package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// UsageError is what is wrong with what was typed; its command's usage is shown with it.
type UsageError struct {
	Cmd *cobra.Command
	err error
}

func (e *UsageError) Error() string { return e.err.Error() }
func (e *UsageError) Unwrap() error { return e.err }

// Usage makes one of an error.
func Usage(cmd *cobra.Command, err error) error { return &UsageError{cmd, err} }

// Usagef makes one.
func Usagef(cmd *cobra.Command, format string, args ...any) error {
	return Usage(cmd, fmt.Errorf(format, args...))
}

// ExitCode ends with this code after everything was said already.
type ExitCode int

func (e ExitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }
