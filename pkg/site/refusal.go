package site

import "fmt"

// Refusal is a reason not to begin, with a way out where there is one.
type Refusal struct {
	Reason string
	Way    string // the way out; "": none
}

func (e *Refusal) Error() string { return e.Reason }

// Hint says the way out.
func (e *Refusal) Hint() string { return e.Way }

// Refuse is a reason not to begin; hint is the way out, "" where there is none.
func Refuse(hint, format string, args ...any) error {
	return &Refusal{Reason: fmt.Sprintf(format, args...), Way: hint}
}
