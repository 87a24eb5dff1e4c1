package program

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/shell"
)

// TestPrograms checks what a container's command comes to. "…" stands for a
// part that only running it could tell.
func TestPrograms(t *testing.T) {
	env := map[string]string{"POD_NAME": "etcd-1", "FLAGS": "--name=a  --data-dir=/d", "EMPTY": "", "ETCD_NAME": "from-env"}
	h := shell.Host{Hostname: "etcd-1", FQDN: "etcd-1.etcd.ns.svc.cluster.local", IP: "10.0.0.1", Env: func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}}
	sh := func(script string, args ...string) []string { return append([]string{"sh", "-c", script}, args...) }
	for name, c := range map[string]struct {
		argv []string
		want string // the last program
		env  string // NAME=value of it
	}{
		"plain":                 {argv: []string{"etcd", "--name", "a"}, want: "etcd|--name|a"},
		"exec":                  {argv: sh("exec etcd --name=a"), want: "etcd|--name=a"},
		"shell flags":           {argv: []string{"/bin/bash", "-euo", "pipefail", "-c", "etcd --name=a"}, want: "etcd|--name=a"},
		"long shell flags":      {argv: []string{"bash", "--norc", "-e", "-o", "pipefail", "-c", "etcd"}, want: "etcd"},
		"continued":             {argv: sh("exec etcd \\\n  --name=a \\\r\n  --data-dir=/d\n"), want: "etcd|--name=a|--data-dir=/d"},
		"quotes":                {argv: sh(`etcd --name="$POD_NAME" --x='$POD_NAME' --y="a b\"c" --z=a\ b`), want: `etcd|--name=etcd-1|--x=$POD_NAME|--y=a b"c|--z=a b`},
		"split":                 {argv: sh("etcd $FLAGS $EMPTY"), want: "etcd|--name=a|--data-dir=/d"},
		"not split":             {argv: sh(`etcd "$FLAGS" "$EMPTY"`), want: "etcd|--name=a  --data-dir=/d|"},
		"default":               {argv: sh("etcd ${EMPTY:-x} ${NONE:-y} ${POD_NAME:-z} ${POD_NAME:+w}"), want: "etcd|x|y|etcd-1|w"},
		"nested default":        {argv: sh(`etcd ${NONE:-https://${POD_NAME}:2379}`), want: "etcd|https://etcd-1:2379"},
		"ordinal":               {argv: sh("etcd ${HOSTNAME##*-} ${HOSTNAME%-*} ${HOSTNAME#e}"), want: "etcd|1|etcd|tcd-1"},
		"hostname":              {argv: sh("etcd $(hostname) `hostname -f` $(hostname -i)"), want: "etcd|etcd-1|etcd-1.etcd.ns.svc.cluster.local|10.0.0.1"},
		"substitution":          {argv: sh("etcd --a=$(cat /f) --b=$((1+2)) --c=${UNSET}"), want: "etcd|--a=…|--b=3|--c=…"},
		"variables":             {argv: sh("A=1; export B=$A/2; readonly C=\"$B 3\"\netcd $A $B \"$C\""), want: "etcd|1|1/2|1/2 3"},
		"prefix":                {argv: sh("ETCD_NAME=b /usr/bin/etcd"), want: "/usr/bin/etcd", env: "ETCD_NAME=b"},
		"exported":              {argv: sh("export ETCD_DATA_DIR=/d; etcd"), want: "etcd", env: "ETCD_DATA_DIR=/d"},
		"not exported":          {argv: sh("ETCD_DATA_DIR=/d; etcd"), want: "etcd", env: "ETCD_DATA_DIR="},
		"inherited":             {argv: sh("ETCD_NAME=c; etcd"), want: "etcd", env: "ETCD_NAME=c"},
		"env program":           {argv: []string{"env", "-u", "X", "ETCD_NAME=d", "etcd"}, want: "etcd", env: "ETCD_NAME=d"},
		"wrappers":              {argv: sh("exec nice -n -19 ionice -c2 -n0 etcd --name=a"), want: "etcd|--name=a"},
		"tini":                  {argv: []string{"/sbin/tini", "-g", "--", "sh", "-ec", "su-exec etcd etcd --name=a"}, want: "etcd|--name=a"},
		"positional":            {argv: sh(`exec etcd "$@" $1`, "sh", "--name=a", "--x"), want: "etcd|--name=a|--x|--name=a"},
		"set --":                {argv: sh("set -e\nset -- --name=a --x=y\nexec etcd \"$@\""), want: "etcd|--name=a|--x=y"},
		"comment":               {argv: sh("# exec other\netcd --name=a # note"), want: "etcd|--name=a"},
		"redirections":          {argv: sh("etcd --name=a >/log 2>&1 </dev/null || mv /x /y"), want: "mv|/x|/y"},
		"heredoc":               {argv: sh("cat <<EOF > /c\nname: a\nexec other\nEOF\netcd --config-file=/c"), want: "etcd|--config-file=/c"},
		"condition agrees":      {argv: sh("if [ -f /x ]; then S=new; else S=new; fi; etcd $S"), want: "etcd|new"},
		"condition differs":     {argv: sh("if [ -f /x ]; then S=new; else S=existing; fi; etcd --s=$S"), want: "etcd|--s=…"},
		"chained":               {argv: sh("S=new; [ -f /x ] && S=existing; etcd --s=$S"), want: "etcd|--s=…"},
		"loop":                  {argv: sh("P=; for i in 0 1 2; do P=$P,$i; done\netcd --p=$P"), want: "etcd|--p=…"},
		"case":                  {argv: sh("case $1 in\n start) S=a ;;\nesac\nexec etcd --name=a"), want: "etcd|--name=a"},
		"unfinished":            {argv: sh("etcd --a\netcd --b=\"b $(c ${d"), want: "etcd|--a"}, // a shell comes to that line, and ends
		"shift":                 {argv: sh("n=$1; shift; etcd --name=$n $1 $2.", "sh", "a", "--x"), want: "etcd|--name=a|--x|."},
		"shift in a branch":     {argv: sh("[ -n $1 ] && shift; etcd $1", "sh", "a", "b"), want: "etcd|…"},
		"function":              {argv: sh("run() { local d=$2; etcd --name=$1 --data-dir=$d; }; d=/; run b /d", "sh", "a"), want: "etcd|--name=b|--data-dir=/d"},
		"after a function":      {argv: sh("f() { local d=x; e=$1; }; d=/d; f y; etcd $d $e $1", "sh", "a"), want: "etcd|/d|y|a"},
		"function returns":      {argv: sh("f() { if [ -f /x ]; then S=a; return; fi; S=b; }; f; etcd --s=$S"), want: "etcd|--s=…"},
		"calls itself":          {argv: sh("f() { g=$1; f x$1; }; f 1; etcd --n=a"), want: "etcd|--n=a"},
		"append":                {argv: sh("A=1; A+=2; B+=3; etcd $A $B"), want: "etcd|12|…3"},
		"dollar quotes":         {argv: sh(`etcd $'a b' $'c\td' "$'x'"`), want: "etcd|a b|c\td|$'x'"},
		"branch ends":           {argv: sh("if [ -f /x ]; then S=old; exec etcd --s=$S; fi; S=new; exec etcd --s=$S"), want: "etcd|--s=new"},
		"one branch ends":       {argv: sh("S=new; if [ -f /x ]; then S=old; exit 1; fi; etcd --s=$S"), want: "etcd|--s=new"},
		"one branch sets":       {argv: sh("if [ -f /x ]; then S=old; fi; etcd --s=$S"), want: "etcd|--s=…"},
		"every case":            {argv: sh("case $X in a) S=1;; *) S=1;; esac; etcd --s=$S"), want: "etcd|--s=1"},
		"some cases":            {argv: sh("S=0; case $X in a) S=1;; b) S=1;; esac; etcd --s=$S"), want: "etcd|--s=…"},
		"loop from itself":      {argv: sh("A=1; B=1; C=1; while c; do A=$B; B=$C; C=x; done; etcd $A $B $C"), want: "etcd|…|…|…"},
		"counted":               {argv: sh("N=2; echo $((N++)); etcd $N $((N * 3)) $((M + 1))"), want: "etcd|3|9|…"},
		"arithmetic":            {argv: sh("N=2; (( N += 1 )); let M=5; etcd $N $M"), want: "etcd|…|…"},
		"a subshell's own":      {argv: sh("A=1; (A=2); A=3 | A=4; A=5 & etcd $A"), want: "etcd|1"},
		"arrays":                {argv: sh(`A=(x y); B[0]=z; etcd "${A[@]}" ${B[0]} $A`), want: "etcd|…|…|…"},
		"of the text":           {argv: sh("A=a-b-c; etcd ${#A} ${A:2:1} ${A/b/x} ${A^^} ${A//-/,}"), want: "etcd|5|b|a-x-c|A-B-C|a,b,c"},
		"of the unknown":        {argv: sh("A=$(x)-1; etcd ${A##*-} ${#A} ${A:0:1} ${A:-y}"), want: "etcd|…|…|…|…-1"},
		"indirect":              {argv: sh("A=POD_NAME; etcd ${!A}"), want: "etcd|…"},
		"set by default":        {argv: sh(": ${A:=x}; etcd $A"), want: "etcd|x"},
		"unset":                 {argv: sh("unset POD_NAME; etcd $POD_NAME ${POD_NAME-none}"), want: "etcd|…|none"},
		"read":                  {argv: sh("A=1; read -r A B < /f; etcd $A $B"), want: "etcd|…|…"},
		"eval":                  {argv: sh("A='etcd --name=$POD_NAME'; eval \"exec $A\""), want: "etcd|--name=etcd-1"},
		"home":                  {argv: sh("etcd --data-dir ~/data ~root/data"), want: "etcd|--data-dir|…|…"},
		"many words":            {argv: sh("etcd {1..100000000} a{b,c}"), want: "etcd|…|…"},
		"too long":              {argv: sh("A=aaaaaaaaaa" + strings.Repeat(";A=$A$A", 40) + ";etcd ${#A}"), want: "etcd|…"},
		"exec of a redirection": {argv: sh("exec 2>&1; exec > >(tee /log); exec etcd --name=a"), want: "etcd|--name=a"},
		"separators put back":   {argv: sh("OLD=$IFS; IFS=,; A=a,b; etcd $A; IFS=$OLD; B='c d'; etcd $A $B $(x)"), want: "etcd|a,b|c|d|…"},
		"separators unknown":    {argv: sh("IFS=$(x); A='a b'; etcd --n=$A \"$A\" b"), want: "etcd|…|a b|b"},
		"sourced":               {argv: sh("D=/a; . /env; etcd --d=$D --n=$POD_NAME"), want: "etcd|--d=…|--n=etcd-1"},
		"eval of the unknown":   {argv: sh("D=/a; eval \"$(grep D /x)\"; etcd --d=$D"), want: "etcd|--d=…"},
		"if not empty":          {argv: sh("X=$(y); etcd ${X:+--d=/x} ${POD_NAME:+--p}"), want: "etcd|…|--p"},
		"allexport":             {argv: sh("set -o allexport; ETCD_DATA_DIR=/e; set +a; ETCD_NAME2=x; etcd"), want: "etcd", env: "ETCD_DATA_DIR=/e"},
		"declared":              {argv: sh("declare -x ETCD_DATA_DIR=/f; etcd"), want: "etcd", env: "ETCD_DATA_DIR=/f"},
		"no script":             {argv: []string{"sh", "/run.sh"}, want: "sh|/run.sh"},
	} {
		t.Run(name, func(t *testing.T) {
			progs := programs(c.argv, h, nil, 0)
			if len(progs) == 0 {
				t.Fatal("no program")
			}
			last := progs[len(progs)-1]
			got := strings.ReplaceAll(strings.Join(last.Argv, "|"), shell.Unknown, "…")
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if name, want, ok := strings.Cut(c.env, "="); ok && last.Env[name] != want {
				t.Errorf("%s=%q, want %q", name, last.Env[name], want)
			}
		})
	}
}

// TestVendors: scripts as those who pack etcd write them, each with what it comes to.
func TestVendors(t *testing.T) {
	env := map[string]string{"POD_NAME": "etcd-2", "POD_NAMESPACE": "ns", "REPLICAS": "3", "INITIAL_CLUSTER_SIZE": "3", "SET_NAME": "etcd", "EXTRA_ARGS": "--quota-backend-bytes=8589934592 --metrics=basic"}
	h := shell.Host{Hostname: "etcd-2", FQDN: "etcd-2.etcd.ns.svc.cluster.local", IP: "10.0.0.2", Env: func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}}
	for name, c := range map[string]struct{ script, want string }{
		"wrapper with arguments of its own": {`
			main() {
			  dir=$1; shift
			  exec /usr/local/bin/etcd --data-dir "$dir" "$@"
			}
			main /var/lib/etcd --name "$POD_NAME" $EXTRA_ARGS`,
			"/usr/local/bin/etcd|--data-dir|/var/lib/etcd|--name|etcd-2|--quota-backend-bytes=8589934592|--metrics=basic"},
		"ordinal decides": {`
			ORDINAL=${POD_NAME##*-}
			if [ "$ORDINAL" -lt "$INITIAL_CLUSTER_SIZE" ]; then STATE=new; else STATE=existing; fi
			exec etcd --name ${SET_NAME}-${ORDINAL} --initial-cluster-state $STATE`,
			"etcd|--name|etcd-2|--initial-cluster-state|…"},
		"peers in a loop": {`
			PEERS=""
			for i in $(seq 0 $((REPLICAS - 1))); do
			  PEERS="${PEERS}${PEERS:+,}${SET_NAME}-${i}=http://${SET_NAME}-${i}.${SET_NAME}:2380"
			done
			exec etcd --name ${HOSTNAME} --listen-client-urls http://0.0.0.0:2379 --initial-cluster ${PEERS} --data-dir /var/run/etcd/default.etcd`,
			"etcd|--name|etcd-2|--listen-client-urls|http://0.0.0.0:2379|--initial-cluster|…|--data-dir|/var/run/etcd/default.etcd"},
		"appended flags": {`
			ARGS="--name=$(hostname)"
			ARGS+=" --listen-peer-urls=https://$(hostname -i):2380"
			[ -n "${EXTRA_ARGS}" ] && ARGS="${ARGS} ${EXTRA_ARGS}"
			exec etcd ${ARGS} --data-dir=/data`,
			"etcd|…|--data-dir=/data"},
		"logged and waited for": {`
			set -euo pipefail
			log() { echo "$(date) $*"; }
			log starting
			until nslookup "$POD_NAME.etcd.$POD_NAMESPACE.svc"; do log waiting; sleep 1; done
			trap 'kill -TERM $PID' TERM
			/usr/bin/etcd --name="$POD_NAME" --initial-advertise-peer-urls="https://${POD_NAME}.etcd.${POD_NAMESPACE}.svc:2380" &
			PID=$!
			wait $PID`,
			"/usr/bin/etcd|--name=etcd-2|--initial-advertise-peer-urls=https://etcd-2.etcd.ns.svc:2380"},
	} {
		t.Run(name, func(t *testing.T) {
			got := "none"
			for _, p := range programs([]string{"sh", "-c", c.script}, h, nil, 0) {
				if runsMember(p.Argv) {
					got = strings.ReplaceAll(strings.Join(p.Argv, "|"), shell.Unknown, "…")
				}
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestExpandReferences(t *testing.T) {
	env := map[string]string{"A": "1", "EMPTY": ""}
	lookup := func(n string) (string, bool) { v, ok := env[n]; return v, ok }
	for in, want := range map[string]string{
		"$(A)$(A)": "11", "x$(EMPTY)y": "xy", "$(NONE)": "$(NONE)", "$$(A)": "$(A)", "$A ${A}": "$A ${A}", "$": "$", "$(A": "$(A", "$()": "$()",
	} {
		if got := ExpandReferences(in, lookup); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestParseFlags(t *testing.T) {
	got := ParseFlags([]string{"--name=a", "-data-dir", "/d", "--client-cert-auth", "--auto-tls", "word", "--wal-dir", "--x=", "--last"})
	want := map[string]string{"name": "a", "data-dir": "/d", "client-cert-auth": "true", "auto-tls": "true", "wal-dir": "true", "x": "", "last": "true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
