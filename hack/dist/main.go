// dist makes release archives that are the same whoever builds them when, and the krew manifest that names their sums:
//
//	dist -version v1.2.3 -ldflags "…" [-out dist] [-platforms linux/amd64,…]
//	dist -check-template
//
// The second form only checks that krew/etcd.yaml.tmpl would give a valid manifest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, w io.Writer) error {
	f := flag.NewFlagSet("dist", flag.ContinueOnError)
	version := f.String("version", "", "version of the release: v1.2.3")
	ldflags := f.String("ldflags", "", "for go build")
	out := f.String("out", "dist", "folder for what is made; it is replaced")
	list := f.String("platforms", "", "only these, as os/arch,…")
	template := f.Bool("check-template", false, "only check the manifest's template")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *template {
		return checkTemplate()
	}
	chosen, err := choose(*list)
	if err != nil {
		return err
	}
	r := release{version: *version, ldflags: *ldflags, root: ".", out: *out, log: w}
	if err := r.make(ctx, chosen); err != nil {
		return err
	}
	// A release of some platforms only is for trying out; krew wants all.
	return check(*out, len(chosen) == len(platforms))
}

// platform is a system that the plugin is released for.
type platform struct{ OS, Arch string }

var platforms = []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}, {"windows", "arm64"}}

// Program is the name of the plugin's file.
func (p platform) Program() string {
	if p.OS == "windows" {
		return "kubectl-etcd.exe"
	}
	return "kubectl-etcd"
}

func (p platform) Archive() string {
	if p.OS == "windows" {
		return fmt.Sprintf("kubectl-etcd_%s_%s.zip", p.OS, p.Arch)
	}
	return fmt.Sprintf("kubectl-etcd_%s_%s.tar.gz", p.OS, p.Arch)
}

func choose(list string) ([]platform, error) {
	if list == "" {
		return platforms, nil
	}
	var out []platform
	for _, name := range strings.Split(list, ",") {
		goos, arch, _ := strings.Cut(name, "/")
		p := platform{goos, arch}
		for _, q := range platforms {
			if p == q {
				out = append(out, p)
			}
		}
		if len(out) == 0 || out[len(out)-1] != p {
			return nil, errors.New("not a platform of the release: " + name)
		}
	}
	return out, nil
}
