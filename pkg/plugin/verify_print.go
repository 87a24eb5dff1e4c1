package plugin

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/plugin/cli"

	"github.com/dustin/go-humanize"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/verify"
)

// maxShown bounds what is printed of a list that can be long; JSON has all of it.
const maxShown = 20

func (o *verifyOptions) print(v verified) error {
	rows := [][]string{
		{"file", v.File}, {"size", humanize.IBytes(uint64(v.Size)) + compressed(v)}, {"sha256", v.SHA256}, {"proof", string(v.Proof)},
		{"trailer", map[bool]string{true: "matches", false: "none"}[v.Trailer]}, {"sidecar", dash(v.Sidecar)},
		{"revision", fmt.Sprintf("%d (compacted to %d)", v.Revision, v.CompactRevision)},
		{"keys", fmt.Sprintf("%d live, %d revisions", v.LiveKeys, v.TotalKeys)}, {"hash", fmt.Sprintf("%x", v.Hash)},
		{"database", fmt.Sprintf("%s, %s in use", humanize.IBytes(uint64(v.DBSize)), humanize.IBytes(uint64(v.InUse)))},
	}
	rows = append(rows, shown("kube-system UID", identities(v.Report))...)
	rows = append(rows, []string{"etcd", fmt.Sprintf("cluster version %s, storage version %s", cmp.Or(v.ClusterVersion, "unknown"), cmp.Or(v.StorageVersion, "none (before 3.6)"))})
	rows = append(rows, shown("members", members(v.Report))...)
	rows = append(rows, shown("alarms", alarms(v.Report))...)
	rows = append(rows, []string{"auth", auth(v.Report)})
	rows = append(rows, shown("encrypted", encrypted(v.Encrypted))...)
	if r := v.Rehearsal; r != nil {
		rows = append(rows, []string{"rehearsal", fmt.Sprintf("etcd %s serves revision %d with %d keys; restore took %s, start %s", r.EtcdVersion, r.Revision, r.LiveKeys,
			r.Restore.Round(10*time.Millisecond), r.Start.Round(10*time.Millisecond))})
	}
	if err := cli.Table(o.app.Out, []string{"WHAT", "VALUE"}, rows); err != nil {
		return err
	}
	for _, n := range v.Notes {
		o.app.warn("%s", n)
	}
	if v.Raw {
		o.app.warn("no trailer: nothing proves the values in this file against changed bytes")
	}
	return nil
}

// shown makes a row of each value; the first one has the name.
func shown(name string, values []string) [][]string {
	if len(values) == 0 {
		return [][]string{{name, "-"}}
	}
	if n := len(values); n > maxShown {
		values = append(values[:maxShown:maxShown], fmt.Sprintf("and %d more: see -o json", n-maxShown))
	}
	var rows [][]string
	for _, v := range values {
		rows, name = append(rows, []string{name, v}), ""
	}
	return rows
}

// identities are the UIDs, each with its prefix where there are several.
func identities(r *verify.Report) []string {
	var out []string
	for _, k := range r.Kubernetes {
		uid := k.KubeSystemUID
		if k.Encrypted {
			uid = "encrypted"
		}
		if len(r.Kubernetes) > 1 || k.Encrypted {
			uid += " (" + k.Prefix + ")"
		}
		out = append(out, uid)
	}
	return out
}

func members(r *verify.Report) []string {
	var out []string
	for _, m := range r.Members {
		name := cmp.Or(m.Name, m.ID)
		if m.Learner {
			name += " (learner)"
		}
		out = append(out, name)
	}
	return out
}

func alarms(r *verify.Report) []string {
	var out []string
	for _, a := range r.Alarms {
		out = append(out, fmt.Sprintf("%s of member %s", a.Type, r.MemberName(a.MemberID)))
	}
	return out
}

// auth is about etcd's own users, which are not those of Kubernetes.
func auth(r *verify.Report) string {
	on := map[bool]string{true: "on", false: "off"}[r.AuthEnabled]
	var users []string
	for _, u := range r.AuthUsers {
		users = append(users, u.Name)
	}
	if n := len(users); n > maxShown {
		users = append(users[:maxShown], fmt.Sprintf("and %d more", n-maxShown))
	}
	if len(users) == 0 {
		return on
	}
	return on + "; users: " + strings.Join(users, ", ")
}

// encrypted says what takes which key to read.
func encrypted(list []verify.Encryption) []string {
	prefixes := map[string]bool{}
	for _, e := range list {
		prefixes[e.Prefix] = true
	}
	var out []string
	for _, e := range list {
		kind := cmp.Or(e.Kind, "objects")
		if len(prefixes) > 1 || e.Kind == "" {
			kind += " of " + e.Prefix
		}
		key := "key " + e.KeyName
		if e.Provider == "kms" {
			key = "plugin " + e.KeyName
		}
		out = append(out, fmt.Sprintf("%s: %s %s, %s (%d)", kind, e.Provider, e.Version, key, e.Objects))
	}
	return out
}

func compressed(v verified) string {
	if v.Compression == "" {
		return ""
	}
	return fmt.Sprintf(" (%s, %s plain)", v.Compression, humanize.IBytes(uint64(v.Plain.Size)))
}
