package operation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plan"
)

// Format is the version of what journals say, which changes when a client that knows the last one would misread the next. Those
// of before there was one have none, and are as 1.
const Format = 1

// document is a journal as it is written.
type document struct {
	Format int `json:"format,omitempty"`
	*plan.Operation
}

// Encode is a journal as text; data is what all steps share.
func Encode(o *plan.Operation, data any) ([]byte, error) {
	var err error
	if o.Data, err = json.Marshal(data); err == nil {
		var text []byte
		if text, err = json.MarshalIndent(document{Format, o}, "", "  "); err == nil {
			return text, nil
		}
	}
	return nil, fmt.Errorf("encode journal: %w", err)
}

// Decode reads a journal, of this version or an older one. What it does not know it refuses: it would be lost at the next save.
func Decode(text []byte) (*plan.Operation, error) {
	var v struct{ Format int }
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	if v.Format > Format {
		return nil, fmt.Errorf("it has format %d, and this version reads up to %d", v.Format, Format)
	}
	d := document{Operation: &plan.Operation{}}
	return d.Operation, Strict(text, &d)
}

// Strict decodes JSON, and refuses what into has no place for.
func Strict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its end")
	}
	return nil
}
