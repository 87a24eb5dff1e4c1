package look

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/kms/pkg/util"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/child"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/inside"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/keys"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/stored"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// savedKeys looks for an EncryptionConfiguration among the keys that were saved with a snapshot, where something in it is encrypted and
// none was named. It is written into a folder, which forget removes.
func (o *opening) savedKeys(ctx context.Context, cmd *cobra.Command, a App, text string, report *verify.Report, into *inside.Config) (forget func(), err error) {
	forget = func() {}
	needed := slices.DeleteFunc(slices.Clone(report.Encrypted), func(e verify.Encryption) bool { return e.Prefix != into.Prefix })
	if into.EncryptionConfig != "" || len(needed) == 0 {
		return forget, nil
	}
	if into.Bench != nil {
		if err := a.SameCluster(ctx, report); err != nil {
			a.Say("keys that were saved with the snapshot are sent only into the cluster that it is of (%v): name them with --encryption-config", err)
			return forget, ctx.Err()
		}
	}
	data, err := o.readKeys(ctx, cmd, a, text)
	if err != nil || data == nil {
		return forget, err
	}
	dir, err := os.MkdirTemp("", "kubectl-etcd-keys-*")
	if err != nil {
		return forget, fmt.Errorf("create temporary folder: %w", err)
	}
	after := child.RemoveAfterUs(dir)
	forget = func() { after.Stop(); _ = os.RemoveAll(dir) }
	folder := filepath.Join(dir, "keys")
	if _, err = keys.Extract(bytes.NewReader(data), folder, []string{"encryption"}); err == nil {
		into.EncryptionConfig, err = decrypting(folder, needed)
	}
	switch {
	case err != nil:
		a.Warn("the keys that were saved with the snapshot are not used: %v", err)
	case into.EncryptionConfig == "":
		a.Warn("none of the EncryptionConfigurations that were saved with the snapshot decrypts what is in it")
	default:
		a.Say("decrypting with the EncryptionConfiguration that was saved with the snapshot")
	}
	return forget, nil
}

// readKeys are the keys beside a snapshot; nil where there are none that can be read.
func (o *opening) readKeys(ctx context.Context, cmd *cobra.Command, a App, text string) ([]byte, error) {
	p, err := o.Place(ctx, cmd, a.Stores(), text, a)
	if err != nil || p.Address() {
		return nil, ctx.Err() // it was read from an address: there is nothing beside it
	}
	if _, err := stored.KeysOf(ctx, p.Store, p.Name); err != nil {
		a.Explain("no keys beside the snapshot: %v", err)
		return nil, ctx.Err()
	}
	ids, err := o.Keys(a)
	if err != nil {
		return nil, err
	}
	data, err := stored.ReadKeys(ctx, p.Store, p.Name, ids)
	if err != nil {
		a.Warn("the keys that were saved with the snapshot are not used: %v", err)
		return nil, ctx.Err()
	}
	return data, nil
}

// decrypting is the file below a folder that knows every key that is needed. One with a KMS plugin is none: the plugin is not here.
func decrypting(folder string, needed []verify.Encryption) (found string, err error) {
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || found != "" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		has, err := keys.Ciphers(string(text))
		if err != nil {
			return nil // it is something else
		}
		kms := slices.ContainsFunc(has, func(c keys.Cipher) bool { return c.Provider == "kms" })
		lacks := slices.ContainsFunc(needed, func(e verify.Encryption) bool {
			return !slices.Contains(has, keys.Cipher{Provider: e.Provider, Key: e.KeyName})
		})
		if !kms && !lacks {
			found = path
		}
		return nil
	})
	return found, err
}

// plugins refuses a KMS plugin that is not there: the API server would wait for it, and not say for what.
func (o *opening) plugins(ctx context.Context) error {
	if o.config.EncryptionConfig == "" {
		return nil
	}
	text, err := os.ReadFile(o.config.EncryptionConfig)
	if err != nil {
		return fmt.Errorf("read --encryption-config: %w", err)
	}
	all, err := keys.Plugins(string(text))
	if err != nil {
		return nil //nolint:nilerr // the API server says what is wrong with it
	}
	const without = "or leave that plugin out of the file: then what it has encrypted cannot be read, and all else can"
	for _, p := range all {
		if o.config.Bench != nil {
			return &inside.Error{Reason: "open snapshot in a pod: --encryption-config names the KMS plugin " + p.Name + ", which does not run there", Way: "open it on a machine where the plugin runs, with --in=local; " + without}
		}
		conn, err := dialPlugin(ctx, p.Endpoint)
		if err != nil {
			return &inside.Error{Reason: "open snapshot: the KMS plugin " + p.Name + " of --encryption-config does not answer", Cause: err, Way: "start it on this machine, with its key; " + without}
		}
		_ = conn.Close()
	}
	return nil
}

func dialPlugin(ctx context.Context, endpoint string) (net.Conn, error) {
	path, err := util.ParseEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: 2 * time.Second}
	return d.DialContext(ctx, "unix", path)
}
