package objects

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
)

// Journal is a file that says what was brought back, line by line, so that it can be taken back: names and uids, no contents. Several may
// write to it at a time.
type Journal struct {
	file *os.File
	mu   sync.Mutex
	err  error
}

// header is the first line: of which cluster it is.
type header struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Cluster is the UID of its kube-system namespace.
	Cluster string `json:"cluster"`
}

// line is what is about to be made, or was.
type line struct {
	Intent string `json:"intent,omitempty"`
	Made   *Done  `json:"made,omitempty"`
	// Refused ends an intent: the cluster did not make it.
	Refused string `json:"refused,omitempty"`
}

const journalKind = "ObjectsJournal"

// NewJournal begins one, in a file that must not exist.
func NewJournal(path, apiVersion, cluster string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("begin journal: %w", err)
	}
	j := &Journal{file: f}
	return j, j.write(header{apiVersion, journalKind, cluster})
}

// Intend notes what is about to be made, before it is.
func (j *Journal) Intend(a Action) error { return j.write(line{Intent: a.named()}) }

// Refused notes what the cluster did not make.
func (j *Journal) Refused(a Action) error { return j.write(line{Refused: a.named()}) }

// Made notes what was made.
func (j *Journal) Made(d *Done) error { return j.write(line{Made: d}) }

// named is as kubectl takes it: configmaps/a -n shop.
func named(kind, namespace, name string) string {
	if namespace == "" {
		return kind + "/" + name
	}
	return kind + "/" + name + " -n " + namespace
}

func (a Action) named() string { return named(a.live.Name(), a.GetNamespace(), a.GetName()) }

func (j *Journal) write(v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		err = j.append(append(b, '\n'))
	}
	if err == nil {
		err = j.file.Sync() // several at a time are one for the disk
	}
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

// append writes a line. After one that was cut there are no more, or it would be in their midst.
func (j *Journal) append(line []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		_, j.err = j.file.Write(line)
	}
	return j.err
}

// Close ends it.
func (j *Journal) Close() error { return j.file.Close() }

// Brought is what a journal says.
type Brought struct {
	Cluster string
	Made    []Done
	// Unsure are those of which nobody knows whether they were made: the client ended, or heard nothing.
	Unsure []string
}

// ReadJournal reads one; a last line that was cut is what a killed client leaves.
func ReadJournal(path string) (*Brought, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	lines := bytes.Split(data, []byte("\n"))
	var h header
	if json.Unmarshal(lines[0], &h) != nil || h.Kind != journalKind {
		return nil, fmt.Errorf("read journal: %s is no journal of restore objects", path)
	}
	out := &Brought{Cluster: h.Cluster}
	settle := func(is string) { // what was intended is settled
		out.Unsure = slices.DeleteFunc(out.Unsure, func(u string) bool { return u == is })
	}
	for i, text := range lines[1:] {
		var l line
		switch err := json.Unmarshal(text, &l); {
		case len(text) == 0 || err != nil && i == len(lines)-2:
		case err != nil:
			return nil, fmt.Errorf("read journal: line %d is damaged", i+2)
		case l.Intent != "":
			out.Unsure = append(out.Unsure, l.Intent)
		case l.Made != nil:
			out.Made = append(out.Made, *l.Made)
			settle(named(l.Made.kind().Name(), l.Made.Namespace, l.Made.Name))
		default:
			settle(l.Refused)
		}
	}
	return out, nil
}
