package store

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Schemes are the kinds of places that are not paths, as their URLs begin.
var Schemes = []string{"s3", "gs", "oss", "https", "http"}

// Location is where something is: a path, or an object in a bucket.
type Location struct {
	Scheme string // one of Schemes; empty for a path
	Bucket string // with https: the whole URL, which may hold a signature
	Name   string // in the bucket, or the path
}

// Parse reads what the user named. A URL of a kind that is not known is an error, and no path.
func Parse(text string) (Location, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return Location{Name: text}, nil
	}
	if !slices.Contains(Schemes, scheme) {
		return Location{}, fmt.Errorf("%s:// is not a place for snapshots; there are: s3://, gs://, oss://, https:// to read, and paths", scheme)
	}
	if scheme == "https" || scheme == "http" {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			return Location{}, fmt.Errorf("%s:// names no host", scheme)
		}
		return Location{Scheme: scheme, Bucket: text, Name: strings.TrimPrefix(u.Path, "/")}, nil
	}
	bucket, name, _ := strings.Cut(rest, "/")
	if bucket == "" {
		return Location{}, fmt.Errorf("%s names no bucket", text)
	}
	for _, part := range strings.Split(name, "/") {
		if part == "." || part == ".." {
			return Location{}, fmt.Errorf("%s: an object's name has neither . nor .. as a part", text)
		}
	}
	return Location{Scheme: scheme, Bucket: bucket, Name: name}, nil
}

// Remote says that it is no path.
func (l Location) Remote() bool { return l.Scheme != "" }

// Address says that it is one object, which can only be read.
func (l Location) Address() bool { return l.Scheme == "http" || l.Scheme == "https" }

// Several says that it is not one object but all that are below it.
func (l Location) Several() bool { return l.Name == "" || strings.HasSuffix(l.Name, "/") }
