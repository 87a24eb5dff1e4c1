// Package stores opens the places that a user names: paths, buckets, addresses. It is the only one that knows all kinds of stores.
package stores

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/gcs"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/s3"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/store/web"
)

// Flags are what URLs cannot say, the same for every command that takes one.
type Flags struct {
	s3 s3.Options
	ca string
}

// Prefix begins the names of environment variables that stand for flags.
const Prefix = "KUBECTL_ETCD_"

// Add adds the flags, to all commands at once. Each is also an environment variable: --s3-endpoint is KUBECTL_ETCD_S3_ENDPOINT.
func (f *Flags) Add(fs *pflag.FlagSet) {
	fs.StringVar(&f.s3.Endpoint, "s3-endpoint", "", "The service of an s3:// or oss:// URL, where it is not Amazon's or the region's own: https://HOST[:PORT]")
	fs.StringVar(&f.s3.Region, "s3-region", "", "Region of the bucket")
	fs.BoolVar(&f.s3.PathStyle, "s3-path-style", false, "Put the bucket behind the host's name instead of before it")
	fs.StringVar(&f.s3.Profile, "s3-profile", "", "Profile of the shared configuration that holds the credentials")
	fs.StringVar(&f.ca, "s3-ca", "", "File with the CA certificate of the service")
	fs.StringVar(&f.s3.StorageClass, "s3-storage-class", "", "Storage class of new objects: STANDARD_IA, …")
	fs.StringVar(&f.s3.SSE, "s3-sse", "", "Encryption of new objects by the service: aes256, kms, kms:KEY")
}

// complete takes from the environment what was not typed.
func (f *Flags) complete(cmd *cobra.Command) error {
	for _, name := range []string{"s3-endpoint", "s3-region", "s3-path-style", "s3-profile", "s3-ca", "s3-storage-class", "s3-sse"} {
		flag := cmd.Flags().Lookup(name)
		value, ok := os.LookupEnv(Prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
		if flag == nil || flag.Changed || !ok || value == "" {
			continue
		}
		if err := flag.Value.Set(value); err != nil {
			return fmt.Errorf("%s%s: %w", Prefix, strings.ToUpper(strings.ReplaceAll(name, "-", "_")), err)
		}
	}
	if f.ca == "" {
		return nil
	}
	data := []byte(f.ca)
	if !strings.Contains(f.ca, "-----BEGIN") {
		var err error
		if data, err = os.ReadFile(f.ca); err != nil {
			return fmt.Errorf("read --s3-ca: %w", err)
		}
	}
	f.s3.CA = data
	return nil
}

// Place is where something is: a store, and a name in it.
type Place struct {
	store.Location
	Store store.Store
}

// Open opens what was named. Paths are a store of files; nothing of an SDK is touched for them. log is told which credentials were
// found.
func (f *Flags) Open(ctx context.Context, cmd *cobra.Command, text string, log func(string, ...any)) (p Place, err error) {
	if p.Location, err = store.Parse(text); err != nil {
		return p, cli.Usage(cmd, err)
	}
	if err := f.complete(cmd); err != nil {
		return p, cli.Usage(cmd, err)
	}
	switch p.Scheme {
	case "":
		p.Store = store.Folder("")
	case "s3", "oss":
		o := f.s3
		o.OSS, o.Log = p.Scheme == "oss", log
		p.Store, err = s3.Open(ctx, p.Bucket, o)
	case "gs":
		p.Store, err = gcs.Open(ctx, p.Bucket, log)
	default:
		p.Store, err = web.Open(p.Bucket, f.s3.CA)
	}
	return p, err
}

// OpenFolder opens what holds many: a bucket, what is below a prefix, or a folder of files. Names are then below that.
func (f *Flags) OpenFolder(ctx context.Context, cmd *cobra.Command, text string, log func(string, ...any)) (Place, error) {
	p, err := f.Open(ctx, cmd, text, log)
	if err != nil {
		return p, err
	}
	switch p.Scheme {
	case "":
		info, err := os.Stat(p.Name)
		if err != nil {
			return p, fmt.Errorf("list %s: %w", text, err)
		}
		if !info.IsDir() {
			return p, cli.Usagef(cmd, "%s is a file; name a folder", text)
		}
		p.Store, p.Name = store.Folder(p.Name), ""
	case "http", "https":
		return p, cli.Usagef(cmd, "%s:// holds one object and cannot be listed; name a bucket, or a folder in it", p.Scheme)
	default:
		if !p.Several() { // prod and prod/ are the same to whoever lists
			p.Name += "/"
		}
	}
	return p, nil
}
