package controlplane

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPrograms checks what a container's command comes to. "…" stands for a
// part that only running it could tell.
func TestPrograms(t *testing.T) {
	env := map[string]string{"POD_NAME": "etcd-1", "FLAGS": "--name=a  --data-dir=/d", "EMPTY": "", "ETCD_NAME": "from-env"}
	h := host{hostname: "etcd-1", fqdn: "etcd-1.etcd.ns.svc.cluster.local", ip: "10.0.0.1", env: func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}}
	sh := func(script string, args ...string) []string { return append([]string{"sh", "-c", script}, args...) }
	for name, c := range map[string]struct {
		argv []string
		want string // the last program
		env  string // NAME=value of it
	}{
		"plain":             {argv: []string{"etcd", "--name", "a"}, want: "etcd|--name|a"},
		"exec":              {argv: sh("exec etcd --name=a"), want: "etcd|--name=a"},
		"shell flags":       {argv: []string{"/bin/bash", "-euo", "pipefail", "-c", "etcd --name=a"}, want: "etcd|--name=a"},
		"long shell flags":  {argv: []string{"bash", "--norc", "-e", "-o", "pipefail", "-c", "etcd"}, want: "etcd"},
		"continued":         {argv: sh("exec etcd \\\n  --name=a \\\r\n  --data-dir=/d\n"), want: "etcd|--name=a|--data-dir=/d"},
		"quotes":            {argv: sh(`etcd --name="$POD_NAME" --x='$POD_NAME' --y="a b\"c" --z=a\ b`), want: `etcd|--name=etcd-1|--x=$POD_NAME|--y=a b"c|--z=a b`},
		"split":             {argv: sh("etcd $FLAGS $EMPTY"), want: "etcd|--name=a|--data-dir=/d"},
		"not split":         {argv: sh(`etcd "$FLAGS" "$EMPTY"`), want: "etcd|--name=a  --data-dir=/d|"},
		"default":           {argv: sh("etcd ${EMPTY:-x} ${NONE:-y} ${POD_NAME:-z} ${POD_NAME:+w}"), want: "etcd|x|y|etcd-1|w"},
		"nested default":    {argv: sh(`etcd ${NONE:-https://${POD_NAME}:2379}`), want: "etcd|https://etcd-1:2379"},
		"ordinal":           {argv: sh("etcd ${HOSTNAME##*-} ${HOSTNAME%-*} ${HOSTNAME#e}"), want: "etcd|1|etcd|tcd-1"},
		"hostname":          {argv: sh("etcd $(hostname) `hostname -f` $(hostname -i)"), want: "etcd|etcd-1|etcd-1.etcd.ns.svc.cluster.local|10.0.0.1"},
		"substitution":      {argv: sh("etcd --a=$(cat /f) --b=$((1+2)) --c=${UNSET}"), want: "etcd|--a=…|--b=…|--c=…"},
		"variables":         {argv: sh("A=1; export B=$A/2; readonly C=\"$B 3\"\netcd $A $B \"$C\""), want: "etcd|1|1/2|1/2 3"},
		"prefix":            {argv: sh("ETCD_NAME=b /usr/bin/etcd"), want: "/usr/bin/etcd", env: "ETCD_NAME=b"},
		"exported":          {argv: sh("export ETCD_DATA_DIR=/d; etcd"), want: "etcd", env: "ETCD_DATA_DIR=/d"},
		"not exported":      {argv: sh("ETCD_DATA_DIR=/d; etcd"), want: "etcd", env: "ETCD_DATA_DIR="},
		"inherited":         {argv: sh("ETCD_NAME=c; etcd"), want: "etcd", env: "ETCD_NAME=c"},
		"env program":       {argv: []string{"env", "-u", "X", "ETCD_NAME=d", "etcd"}, want: "etcd", env: "ETCD_NAME=d"},
		"wrappers":          {argv: sh("exec nice -n -19 ionice -c2 -n0 etcd --name=a"), want: "etcd|--name=a"},
		"tini":              {argv: []string{"/sbin/tini", "-g", "--", "sh", "-ec", "su-exec etcd etcd --name=a"}, want: "etcd|--name=a"},
		"positional":        {argv: sh(`exec etcd "$@" $1`, "sh", "--name=a", "--x"), want: "etcd|--name=a|--x|--name=a"},
		"set --":            {argv: sh("set -e\nset -- --name=a --x=y\nexec etcd \"$@\""), want: "etcd|--name=a|--x=y"},
		"comment":           {argv: sh("# exec other\netcd --name=a # note"), want: "etcd|--name=a"},
		"redirections":      {argv: sh("etcd --name=a >/log 2>&1 </dev/null || mv /x /y"), want: "mv|/x|/y"},
		"heredoc":           {argv: sh("cat <<EOF > /c\nname: a\nexec other\nEOF\netcd --config-file=/c"), want: "etcd|--config-file=/c"},
		"condition agrees":  {argv: sh("if [ -f /x ]; then S=new; else S=new; fi; etcd $S"), want: "etcd|new"},
		"condition differs": {argv: sh("if [ -f /x ]; then S=new; else S=existing; fi; etcd --s=$S"), want: "etcd|--s=…"},
		"chained":           {argv: sh("S=new; [ -f /x ] && S=existing; etcd --s=$S"), want: "etcd|--s=…"},
		"loop":              {argv: sh("P=; for i in 0 1 2; do P=$P,$i; done\netcd --p=$P"), want: "etcd|--p=…"},
		"case":              {argv: sh("case $1 in\n start) S=a ;;\nesac\nexec etcd --name=a"), want: "etcd|--name=a"},
		"unfinished":        {argv: sh(`etcd --a="b $(c ${d`), want: "etcd|--a=b …"},
		"no script":         {argv: []string{"sh", "/run.sh"}, want: "sh|/run.sh"},
	} {
		t.Run(name, func(t *testing.T) {
			progs := programs(c.argv, h, nil, 0)
			if len(progs) == 0 {
				t.Fatal("no program")
			}
			last := progs[len(progs)-1]
			got := strings.ReplaceAll(strings.Join(last.argv, "|"), unknown, "…")
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if name, want, ok := strings.Cut(c.env, "="); ok && last.env[name] != want {
				t.Errorf("%s=%q, want %q", name, last.env[name], want)
			}
		})
	}
}

// FuzzScript: whatever a pod's author wrote, reading it ends, and in order.
func FuzzScript(f *testing.F) {
	for _, s := range []string{"etcd", "${", "$(", "`", "\"", "'", "\\", "<<", "<<X\n", "a=$((", "${x##*-}", ">&2", "for", "case x in", "${x:-${y", "set -- \"$@\""} {
		f.Add(s)
	}
	h := host{env: func(string) (string, bool) { return "", false }}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) < 4096 {
			programs([]string{"sh", "-c", s}, h, nil, 0)
		}
	})
}

func TestExpandReferences(t *testing.T) {
	env := map[string]string{"A": "1", "EMPTY": ""}
	lookup := func(n string) (string, bool) { v, ok := env[n]; return v, ok }
	for in, want := range map[string]string{
		"$(A)$(A)": "11", "x$(EMPTY)y": "xy", "$(NONE)": "$(NONE)", "$$(A)": "$(A)", "$A ${A}": "$A ${A}", "$": "$", "$(A": "$(A", "$()": "$()",
	} {
		if got := expandReferences(in, lookup); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestParseFlags(t *testing.T) {
	got := parseFlags([]string{"--name=a", "-data-dir", "/d", "--client-cert-auth", "--auto-tls", "word", "--wal-dir", "--x=", "--last"})
	want := map[string]string{"name": "a", "data-dir": "/d", "client-cert-auth": "true", "auto-tls": "true", "wal-dir": "true", "x": "", "last": "true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestImageVersion(t *testing.T) {
	for image, want := range map[string]string{
		"registry.k8s.io/etcd:3.6.8-0": "3.6.8", "quay.io/coreos/etcd:v3.5.21": "3.5.21", "reg:5000/etcd": "", "reg:5000/etcd:v3.4.33@sha256:00": "3.4.33",
		"q/ocp@sha256:aa": "", "g/etcd-wrapper:v3.4.1": "", "etcd:latest": "", "rancher/hardened-etcd:v3.5.26-k3s1-build20260126": "3.5.26", "etcd:12.1.0": "",
	} {
		if got := ImageVersion(image); got != want {
			t.Errorf("%s: got %q, want %q", image, got, want)
		}
	}
}
