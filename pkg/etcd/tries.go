package etcd

import (
	"errors"
	"io/fs"
	"strings"
)

// Tries remembers which TLS files did not serve, so that no others are tried
// that have the same fault. The zero value is ready.
type Tries struct{ cas, certs, files map[string]bool }

// Failed takes down what err says of the files it came with, and tells
// whether others may do better.
func (t *Tries) Failed(ca, cert, key string, err error) bool {
	words := err.Error()
	switch {
	case strings.Contains(words, "signed by unknown authority"):
		mark(&t.cas, ca)
	case errors.Is(err, fs.ErrNotExist), strings.Contains(words, "no such file or directory"):
		named := false
		for _, f := range []string{ca, cert, key} {
			if f != "" && strings.Contains(words, f) {
				named = true
				mark(&t.files, f)
			}
		}
		return named || errors.Is(err, fs.ErrNotExist)
	case IsTLS(err), strings.Contains(words, "tls: "), strings.Contains(words, "x509: "):
		mark(&t.certs, cert)
	default:
		return false
	}
	return true
}

// Missing takes down that a file is not there.
func (t *Tries) Missing(file string) { mark(&t.files, file) }

// Worth says that nothing is known against these files.
func (t *Tries) Worth(ca, cert, key string) bool {
	return !t.cas[ca] && !t.certs[cert] && !t.files[ca] && !t.files[cert] && !t.files[key]
}

func mark(set *map[string]bool, name string) {
	if *set == nil {
		*set = map[string]bool{}
	}
	(*set)[name] = true
}
