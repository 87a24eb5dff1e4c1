package program

import (
	"path"
	"regexp"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/shell"
)

// shellFile is a script that a program's command line names and that a
// ConfigMap has: run by a shell, or by itself.
func shellFile(argv []string, h shell.Host) (script string, args []string, ok bool) {
	if h.File == nil {
		return "", nil, false
	}
	if shells[path.Base(argv[0])] {
		if argv = operands(argv[1:]); len(argv) == 0 {
			return "", nil, false
		}
		script, ok = h.File(argv[0])
		return script, argv, ok
	}
	if script, ok = h.File(argv[0]); !ok {
		return "", nil, false
	}
	first, _, _ := strings.Cut(script, "\n")
	interpreter := strings.Fields(strings.TrimPrefix(first, "#!"))
	if !strings.HasPrefix(first, "#!") || len(interpreter) == 0 {
		return "", nil, false
	}
	if path.Base(interpreter[0]) == "env" {
		interpreter = operands(interpreter[1:])
	}
	return script, argv, len(interpreter) > 0 && shells[path.Base(interpreter[0])]
}

// operands leaves out a shell's own flags.
func operands(argv []string) []string {
	for len(argv) > 0 && (strings.HasPrefix(argv[0], "-") || strings.HasPrefix(argv[0], "+")) {
		long := strings.HasPrefix(argv[0], "--")
		if !long && strings.HasSuffix(argv[0], "o") && len(argv) > 1 {
			argv = argv[1:] // -o pipefail
		}
		argv = argv[1:]
	}
	return argv
}

// behind finds etcd's own command line among the arguments of a program that
// starts it: launcher --flag -- /usr/local/bin/etcd --name=a.
func behind(argv []string) []string {
	for i := 1; i < len(argv); i++ {
		if rest := argv[i:]; runsMember(rest) && flagsLookLikeEtcd(rest[1:]) {
			return rest
		}
	}
	return nil
}

var (
	// toolName is of images and programs that have to do with etcd and are none.
	toolName = regexp.MustCompile(`ctl|utl|back|snap|restor|manager|operator|defrag|exporter|proxy|gateway|metric|probe|health|dump|monitor|cron|job|migrat|copy|compact|cert|druid|kine`)
	// idle are programs that a shell ends with when it starts no server.
	idle = Words("etcd sleep tail cat echo true false wait trap exit read test [ : pause kubectl curl wget")
	// serverSettings are those of etcd's that no client has a use for.
	serverSettings = Words(`data-dir wal-dir listen-client-urls advertise-client-urls listen-peer-urls initial-advertise-peer-urls
	initial-cluster initial-cluster-state initial-cluster-token quota-backend-bytes`)
	dataPath = regexp.MustCompile(`etcd|data`)
	tlsPath  = regexp.MustCompile(`pki|cert|tls|ssl`)
)

// Launched tells an etcd that is started by a program which cannot be looked
// into: by its image, by the volume for its data, and by what others reach it
// by. All three have to be there. ofSet says that a StatefulSet makes the pod;
// starter is that program.
func Launched(pod *corev1.Pod, c *corev1.Container, h shell.Host, ofSet bool) (starter string, signs []string) {
	progs := ContainerPrograms(c, h)
	image := ImageBase(c.Image)
	if starter = starterOf(progs); starter == "" || (!strings.Contains(image, "etcd") || toolName.MatchString(image)) && c.Name != "etcd" {
		return "", nil
	}
	data := DataMount(pod, c)
	if data == nil {
		return "", nil
	}
	signs = []string{"image", "the volume at " + data.MountPath}
	for _, p := range c.Ports {
		if p.ContainerPort == 2379 || p.ContainerPort == 2380 {
			return starter, append(signs, "port "+strconv.Itoa(int(p.ContainerPort)))
		}
	}
	for _, e := range c.Env {
		if flag, ok := strings.CutPrefix(e.Name, "ETCD_"); ok && serverSettings[flagName(flag)] {
			return starter, append(signs, "$"+e.Name)
		}
	}
	if ofSet || pod.Spec.Hostname != "" && pod.Spec.Subdomain != "" {
		return starter, append(signs, "a name of its own in the network")
	}
	return "", nil
}

// starterOf is the program that may start etcd; "" where it is known to do
// something else.
func starterOf(progs []shell.Invocation) string {
	if len(progs) == 0 {
		return "the image's entrypoint"
	}
	for i := len(progs) - 1; i >= 0; i-- {
		argv := progs[i].Argv
		if rest := operands(argv[1:]); shells[path.Base(argv[0])] && len(rest) > 0 {
			argv = rest // of a script that could not be read
		}
		base := path.Base(argv[0])
		if !idle[base] && !toolName.MatchString(base) && (len(progs) == 1 || strings.Contains(base, "etcd")) {
			return argv[0]
		}
	}
	return ""
}

// DataMount is where a container can keep a database.
func DataMount(pod *corev1.Pod, c *corev1.Container) *corev1.VolumeMount {
	for i := range c.VolumeMounts {
		m := &c.VolumeMounts[i]
		v := VolumeOf(pod, m.Name)
		if v == nil || m.ReadOnly || tlsPath.MatchString(m.MountPath) || !dataPath.MatchString(m.MountPath+" "+m.Name) {
			continue
		}
		if v.PersistentVolumeClaim != nil || v.Ephemeral != nil || v.HostPath != nil || v.EmptyDir != nil || v.CSI != nil {
			return m
		}
	}
	return nil
}

// Assume fills in how clients reach an etcd whose start cannot be looked into.
// Its data directory is left open: nothing is ever written by a guess.
func Assume(raw map[string]string, c *corev1.Container, env *Environment) {
	if raw["listen-client-urls"] != "" {
		return
	}
	scheme, from := "http", "it has no certificates"
	for _, name := range []string{"ETCDCTL_CACERT", "ETCDCTL_CERT"} {
		if v, ok := env.Lookup(name); ok && v != "" {
			scheme, from = "https", "$"+name+" is set"
		}
	}
	if raw["cert-file"] != "" {
		scheme, from = "https", "it has a certificate"
	}
	for _, m := range c.VolumeMounts {
		if tlsPath.MatchString(m.MountPath) && scheme == "http" {
			scheme, from = "https", "it has certificates at "+m.MountPath
		}
	}
	raw["listen-client-urls"] = scheme + "://0.0.0.0:2379"
	env.Notes.Add("clients are assumed to be served at port 2379 with %s, since %s", scheme, from)
}
