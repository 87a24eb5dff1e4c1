package reach

import (
	"regexp"
	"time"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/program"
)

// etcdctl refuses a flag whose variable is in its environment. What the pod
// says of its environment is known; what comes from a ConfigMap, a Secret or
// the image is known only when etcdctl names it. A shell clears such variables
// for the call; without one the flags are left out, and the variables serve.
type clearing int

const (
	notYet       clearing = iota // flags whose variables the pod sets are left out
	byShell                      // all flags are given, their variables are cleared
	byLeavingOut                 // there is no shell; so are those that etcdctl has named
)

var conflicting = regexp.MustCompile(`conflicting environment variable[^\n]*?"(ETCDCTL_[A-Z_]+)`)

// conflict is the variable that etcdctl would not have beside its flag; "" is another error.
func conflict(err error) string {
	if err == nil {
		return ""
	}
	if m := conflicting.FindStringSubmatch(err.Error()); m != nil {
		return m[1]
	}
	return ""
}

// clear makes the next call go without the variable; false when that was tried.
func (l *execLink) clear(name string) bool {
	if l.clearing == notYet {
		l.opts.log("member %s: %s is set in its container beside the flag; clearing it for the call", l.member.Name, name)
		l.clearing = byShell
		l.named = map[string]bool{name: true}
		return true
	}
	if l.clearing == byShell || l.named[name] {
		return false
	}
	l.named[name] = true
	return true
}

// unset takes etcdctl's command as its arguments.
const unset = "unset ETCDCTL_ENDPOINTS ETCDCTL_CACERT ETCDCTL_CERT ETCDCTL_KEY ETCDCTL_COMMAND_TIMEOUT ETCDCTL_WRITE_OUT; "

// leftOut says that a flag is not given, since its variable is there.
func (l *execLink) leftOut(env string) bool {
	return l.clearing != byShell && (l.named[env] || l.preset()[env])
}

// preset is what the container's environment sets, as far as the pod says it.
func (l *execLink) preset() map[string]bool {
	set := map[string]bool{}
	if l.member.Object == nil {
		return set
	}
	for _, c := range program.Containers(&l.member.Object.Spec) {
		if c.Name != l.member.Container {
			continue
		}
		for _, e := range c.Env {
			set[e.Name] = true
		}
	}
	return set
}

// etcdctlArgs is etcdctl with the flags that reach this member. Without a
// limit the command takes as long as it takes.
func (l *execLink) etcdctlArgs(limit time.Duration) []string {
	files := clientTLS(l.member)[l.tls]
	args := []string{"etcdctl"}
	if l.clearing == byShell {
		args = []string{"sh", "-c", unset + `exec "$@"`, "sh", "etcdctl"}
	}
	for _, f := range []struct{ flag, env, value string }{
		{"endpoints", "ETCDCTL_ENDPOINTS", l.member.Endpoint},
		{"cacert", "ETCDCTL_CACERT", files.CA},
		{"cert", "ETCDCTL_CERT", files.Cert},
		{"key", "ETCDCTL_KEY", files.Key},
		{"command-timeout", "ETCDCTL_COMMAND_TIMEOUT", limit.String()},
	} {
		if f.value != "" && f.value != "0s" && !l.leftOut(f.env) {
			args = append(args, "--"+f.flag+"="+f.value)
		}
	}
	return args
}

func (l *execLink) asJSON() []string {
	if l.leftOut("ETCDCTL_WRITE_OUT") {
		return nil
	}
	return []string{"-w", "json"}
}
