// Package program finds out what a container runs, and with which settings, from what its pod says: its command, the shells, wrappers and
// scripts in between, its environment and the files that ConfigMaps have. Nothing is started for it.
package program

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/shell"
)

// wrappers are programs that run another: how many words of their own come
// first, flags and their values aside.
var wrappers = map[string]struct {
	words  int
	valued string // flags that take the next word
}{
	"exec":      {0, "-a"},
	"command":   {0, ""},
	"nice":      {0, "-n --adjustment"},
	"ionice":    {0, "-c -n --class --classdata"},
	"nohup":     {0, ""},
	"env":       {0, "-u --unset -C"},
	"tini":      {0, "-p -e"},
	"dumb-init": {0, "-r"},
	"catatonit": {0, ""},
	"setsid":    {0, ""},
	"stdbuf":    {0, "-i -o -e"},
	"timeout":   {1, "-s -k --signal --kill-after"},
	"chroot":    {1, ""},
	"gosu":      {1, ""},
	"su-exec":   {1, ""},
	"chrt":      {1, ""},
	"taskset":   {1, ""},
	"setpriv":   {0, ""},
}

var shells = map[string]bool{"sh": true, "bash": true, "ash": true, "dash": true, "ksh": true, "zsh": true}

// programs lists what a command line runs in the end, with shells and
// wrappers taken off.
func programs(argv []string, h shell.Host, env map[string]string, depth int) []shell.Invocation {
	argv, env = unwrap(argv, env)
	if len(argv) == 0 {
		return nil
	}
	base := path.Base(argv[0])
	if base == "busybox" && len(argv) > 1 {
		argv, base = argv[1:], argv[1]
	}
	script, rest, ok := "", []string(nil), false
	if shells[base] {
		script, rest, ok = shellScript(argv)
	}
	if !ok {
		script, rest, ok = shellFile(argv, h)
	}
	if !ok || depth > 3 {
		return []shell.Invocation{{Argv: argv, Env: env}}
	}
	outer := h.Env
	h.Env = func(name string) (string, bool) {
		if v, ok := env[name]; ok {
			return v, true
		}
		return outer(name)
	}
	var out []shell.Invocation
	for _, inv := range shell.Run(script, rest, h) {
		for name, v := range env {
			if _, ok := inv.Env[name]; !ok {
				inv.Env[name] = v
			}
		}
		out = append(out, programs(inv.Argv, h, inv.Env, depth+1)...)
	}
	return out
}

// shellScript finds the script of sh -c SCRIPT [NAME [ARG…]], also with other
// flags before or in the same word (-ec, -euo pipefail -c).
func shellScript(argv []string) (script string, args []string, ok bool) {
	for i := 1; i < len(argv); i++ {
		a := argv[i]
		switch {
		case a == "-o" || a == "+o" || a == "-O":
			i++
		case strings.HasPrefix(a, "--"):
		case strings.HasPrefix(a, "-"):
			if strings.Contains(a, "c") {
				i++
				if i < len(argv) && argv[i] == "--" {
					i++
				}
				if i < len(argv) {
					return argv[i], argv[i+1:], true
				}
			} else if strings.HasSuffix(a, "o") {
				i++
			}
		default:
			return "", nil, false
		}
	}
	return "", nil, false
}

func unwrap(argv []string, env map[string]string) ([]string, map[string]string) {
	for len(argv) > 0 {
		base := path.Base(argv[0])
		w, ok := wrappers[base]
		if !ok {
			break
		}
		rest := argv[1:]
		for len(rest) > 0 && strings.HasPrefix(rest[0], "-") {
			flag := rest[0]
			rest = rest[1:]
			if flag == "--" {
				break
			}
			if len(rest) > 0 && containsField(w.valued, flag) {
				rest = rest[1:]
			}
		}
		rest = rest[min(w.words, len(rest)):]
		if base == "env" {
			for len(rest) > 0 && strings.Contains(rest[0], "=") {
				name, v, _ := strings.Cut(rest[0], "=")
				env = with(env, name, v)
				rest = rest[1:]
			}
		}
		argv = rest
	}
	return argv, env
}

func containsField(fields, s string) bool {
	for _, f := range strings.Fields(fields) {
		if f == s {
			return true
		}
	}
	return false
}

func with(env map[string]string, name, value string) map[string]string {
	out := map[string]string{name: value}
	for k, v := range env {
		if k != name {
			out[k] = v
		}
	}
	return out
}

// ContainerPrograms is what a container runs as far as its pod says; nil when
// only the image knows.
func ContainerPrograms(c *corev1.Container, h shell.Host) []shell.Invocation {
	argv := append(append([]string{}, c.Command...), c.Args...)
	if len(argv) == 0 || len(c.Command) == 0 && (strings.HasPrefix(argv[0], "-") || argv[0] == "start-etcd" || argv[0] == "server") {
		return nil
	}
	for i := range argv {
		argv[i] = ExpandReferences(argv[i], h.Env)
	}
	return programs(argv, h, nil, 0)
}

// ImageBase is the last part of an image's name, without tag and digest.
func ImageBase(image string) string {
	image, _, _ = strings.Cut(image, "@")
	base := path.Base(image)
	base, _, _ = strings.Cut(base, ":")
	return base
}

// EtcdProcess tells whether the container runs an etcd member, and with which
// arguments. known is false when the image's entrypoint starts it.
func EtcdProcess(c *corev1.Container, h shell.Host) (inv shell.Invocation, known, ok bool) {
	progs := ContainerPrograms(c, h)
	for i := len(progs) - 1; i >= 0; i-- {
		if runsMember(progs[i].Argv) {
			return progs[i], true, true
		}
	}
	for _, p := range progs {
		if argv := behind(p.Argv); argv != nil {
			return shell.Invocation{Argv: argv, Env: p.Env}, true, true
		}
	}
	image := ImageBase(c.Image)
	script := len(progs) == 1 && strings.HasSuffix(progs[0].Argv[0], ".sh") && !toolName.MatchString(path.Base(progs[0].Argv[0]))
	if progs != nil && !script {
		return shell.Invocation{}, false, false
	}
	if image == "etcd-wrapper" || image == "etcd" && c.Name == "etcd" && hasEnv(c, "BACKUP_ENDPOINT") {
		return shell.Invocation{}, false, true // Gardener's images
	}
	// Debian's and the vendors' etcd images start etcd by themselves; a
	// setting of etcd's tells them from a tool's image of that name.
	if image != "etcd" && c.Name != "etcd" {
		return shell.Invocation{}, false, false
	}
	if progs == nil && len(c.Args) > 0 && flagsLookLikeEtcd(c.Args) {
		argv := append([]string{"etcd"}, c.Args...)
		for i := range argv {
			argv[i] = ExpandReferences(argv[i], h.Env)
		}
		return shell.Invocation{Argv: argv}, true, true
	}
	for _, e := range c.Env {
		if isSetting(e.Name) && (!script || serverSettings[flagName(strings.TrimPrefix(e.Name, "ETCD_"))]) {
			return shell.Invocation{}, false, true
		}
	}
	return shell.Invocation{}, false, false
}

func hasEnv(c *corev1.Container, name string) bool {
	for _, e := range c.Env {
		if e.Name == name {
			return true
		}
	}
	return false
}

// runsMember is true for etcd itself, not for its proxy and gateway, nor for
// a question about its version.
func runsMember(argv []string) bool {
	if path.Base(argv[0]) != "etcd" {
		return false
	}
	for _, a := range argv[1:] {
		switch {
		case a == "grpc-proxy" || a == "gateway" || a == "--version" || a == "-version" || a == "--help" || a == "-h":
			return false
		case !strings.HasPrefix(a, "-"):
			return true
		}
	}
	return true
}

func flagsLookLikeEtcd(args []string) bool {
	for _, a := range args {
		name, _, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if strings.HasPrefix(a, "-") && etcdFlags[name] && name != "name" {
			return true
		}
	}
	return false
}
